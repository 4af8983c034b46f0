//! What the environment says of the export: the variables of the OpenTelemetry specification ("Environment Variable
//! Specification", "OpenTelemetry Protocol Exporter"), as far as they have a meaning here.
//!
//! A variable that is empty counts as not set. One that cannot be understood is an error, never a default: who set it wants
//! something. What a header holds is nowhere repeated.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Url};

use crate::client::causes;
use crate::limits::{
    BATCH_DELAY_DEFAULT, BATCH_SPANS_DEFAULT, BATCH_SPANS_MAX, CERTIFICATE_BYTES_MAX, DURATION_MAX,
    QUEUE_SPANS_DEFAULT, QUEUE_SPANS_MAX, TIMEOUT_DEFAULT,
};
use crate::sampler::{NAMES, Sampler, Unknown};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// Variables that ask for what this exporter cannot do, and what to do instead.
const NOT_HERE: [(&str, &str); 4] = [
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", CLIENT_CERTIFICATE),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", CLIENT_CERTIFICATE),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", CLIENT_CERTIFICATE),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", CLIENT_CERTIFICATE),
];
const CLIENT_CERTIFICATE: &str =
    "certificates of clients are not supported: export to a collector on this host, which can have one";

/// How spans are exported.
#[derive(Clone)]
pub struct Settings {
    /// Where they are sent.
    pub(crate) endpoint: Url,
    /// Header fields of each request.
    pub(crate) headers: HeaderMap,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// Whether bodies are compressed.
    pub(crate) gzip: bool,
    /// Certificate authorities that are trusted beside the system's.
    pub(crate) authorities: Vec<Certificate>,
    /// Who exports them.
    pub(crate) resource: Vec<(String, String)>,
    /// Which traces are exported.
    pub(crate) sampler: Sampler,
    /// Spans that may wait.
    pub(crate) queue_spans: usize,
    /// Spans in one request.
    pub(crate) batch_spans: usize,
    /// How long a batch waits for more.
    pub(crate) batch_delay: Duration,
}

impl fmt::Debug for Settings {
    /// Without what is secret: header fields, and what stands in the URL beside the host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("endpoint", &self.host()).finish_non_exhaustive()
    }
}

/// A variable that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {cause}; {help}")]
pub struct WrongVariable {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub cause: String,
    /// What it is to be.
    pub help: String,
}

/// Whether the environment asks for an export of spans over OTLP.
pub fn is_wanted(get: impl Fn(&str) -> Option<OsString>) -> bool {
    [TRACES_ENDPOINT, ENDPOINT].iter().any(|name| get(name).is_some_and(|value| !value.is_empty()))
}

impl Settings {
    /// Reads the environment; `None` if nothing is to be exported, since no endpoint is named or it is switched off.
    ///
    /// # Errors
    /// [`WrongVariable`] for the first one that cannot be understood.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, WrongVariable> {
        let variables = Variables(&get);
        if variables.is_disabled()? || !is_wanted(&get) {
            return Ok(None);
        }
        if let Some((variable, instead)) =
            NOT_HERE.iter().find(|(name, _)| get(name).is_some_and(|set| !set.is_empty()))
        {
            let cause = "is set".to_owned();
            return Err(WrongVariable { variable, cause, help: (*instead).to_owned() });
        }
        variables.check_protocol()?;
        let queue_spans = variables.count("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS_DEFAULT, QUEUE_SPANS_MAX)?;
        let batch_spans =
            variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SPANS_DEFAULT.min(queue_spans), BATCH_SPANS_MAX)?;
        Ok(Some(Self {
            endpoint: variables.endpoint()?,
            headers: variables.headers()?,
            timeout: variables
                .milliseconds(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"], TIMEOUT_DEFAULT)?,
            gzip: variables.gzip()?,
            authorities: variables.authorities()?,
            resource: variables.resource()?,
            sampler: variables.sampler()?,
            queue_spans,
            batch_spans,
            batch_delay: variables.milliseconds(["OTEL_BSP_SCHEDULE_DELAY"], BATCH_DELAY_DEFAULT)?,
        }))
    }

    /// Scheme, host and port of where spans are sent: what may be shown of the URL.
    #[must_use]
    pub fn host(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }

    /// Which traces are exported.
    #[must_use]
    pub fn sampler(&self) -> Sampler {
        self.sampler
    }
}

/// The environment.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    /// The text of a variable that is set.
    fn text(&self, variable: &'static str) -> Result<Option<String>, WrongVariable> {
        let Some(value) = (self.0)(variable).filter(|value| !value.is_empty()) else { return Ok(None) };
        value
            .into_string()
            .map(|text| Some(text.trim().to_owned()))
            .map_err(|_| wrong(variable, "is not UTF-8", "write it as text"))
    }

    /// The first of these that is set: what is said of traces goes before what is said of everything.
    fn first<const N: usize>(&self, names: [&'static str; N]) -> Result<Option<(&'static str, String)>, WrongVariable> {
        for variable in names {
            if let Some(text) = self.text(variable)? {
                return Ok(Some((variable, text)));
            }
        }
        Ok(None)
    }

    fn is_disabled(&self) -> Result<bool, WrongVariable> {
        let disabled = self.text("OTEL_SDK_DISABLED")?.unwrap_or_default().to_ascii_lowercase();
        let exporter = self.text("OTEL_TRACES_EXPORTER")?.unwrap_or_default();
        let disabled = match disabled.as_str() {
            "true" => true,
            "" | "false" => false,
            other => return Err(wrong("OTEL_SDK_DISABLED", format!("is `{other}`"), "write true or false")),
        };
        match exporter.as_str() {
            "" | "otlp" => Ok(disabled),
            "none" => Ok(true),
            other => Err(wrong(
                "OTEL_TRACES_EXPORTER",
                format!("is `{other}`"),
                "write otlp or none: there are no others here",
            )),
        }
    }

    fn check_protocol(&self) -> Result<(), WrongVariable> {
        match self.first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])? {
            None => Ok(()),
            Some((_, text)) if text == "http/protobuf" => Ok(()),
            Some((variable, text)) => Err(wrong(
                variable,
                format!("is `{text}`"),
                "spans are sent as http/protobuf, which collectors take at port 4318",
            )),
        }
    }

    fn endpoint(&self) -> Result<Url, WrongVariable> {
        let (variable, text) = self.first([TRACES_ENDPOINT, ENDPOINT])?.unwrap_or((ENDPOINT, String::new()));
        let help = "write a URL, such as http://localhost:4318";
        // The value is not repeated: a URL may hold a password.
        let mut url = Url::parse(&text).map_err(|error| wrong(variable, format!("is no URL: {error}"), help))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong(variable, "does not begin with http:// or https:// and a host", help));
        }
        if variable == ENDPOINT {
            let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(url)
    }

    fn headers(&self) -> Result<HeaderMap, WrongVariable> {
        let found = self.first(["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"])?;
        let Some((variable, text)) = found else { return Ok(HeaderMap::new()) };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs(variable, &text)? {
            let unfit = |what| wrong(variable, format!("has a {what} that no header field can have"), PAIRS);
            let mut value = HeaderValue::from_str(&value).map_err(|_| unfit("value"))?;
            value.set_sensitive(true);
            headers.append(HeaderName::from_str(&name).map_err(|_| unfit("name"))?, value);
        }
        Ok(headers)
    }

    fn gzip(&self) -> Result<bool, WrongVariable> {
        match self.first(["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"])? {
            None => Ok(false),
            Some((_, text)) if text == "none" => Ok(false),
            Some((_, text)) if text == "gzip" => Ok(true),
            Some((variable, text)) => Err(wrong(variable, format!("is `{text}`"), "write gzip or none")),
        }
    }

    fn authorities(&self) -> Result<Vec<Certificate>, WrongVariable> {
        let found = self.first(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"])?;
        let Some((variable, path)) = found else { return Ok(Vec::new()) };
        let unusable = |cause: String| {
            wrong(variable, format!("names {path}, which cannot be used: {cause}"), "name a PEM file with certificates")
        };
        let mut pem = Vec::new();
        let file = File::open(&path).map_err(|error| unusable(error.to_string()))?;
        file.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut pem).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("there is no certificate in it".to_owned()));
        }
        // They are looked into when a client is to trust them.
        let trusting = reqwest::Client::builder().no_proxy().tls_certs_only(certificates.iter().cloned());
        trusting.build().map_err(|error| unusable(causes(&error)))?;
        Ok(certificates)
    }

    fn resource(&self) -> Result<Vec<(String, String)>, WrongVariable> {
        let variable = "OTEL_RESOURCE_ATTRIBUTES";
        let text = self.text(variable)?.unwrap_or_default();
        let mut resource: Vec<(String, String)> = vec![
            ("service.name".to_owned(), "runlet".to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("telemetry.sdk.name".to_owned(), "runlet".to_owned()),
            ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
            ("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let name = self.text("OTEL_SERVICE_NAME")?.map(|name| ("service.name".to_owned(), name));
        for (key, value) in pairs(variable, &text)?.into_iter().chain(name) {
            match resource.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => resource.push((key, value)),
            }
        }
        Ok(resource)
    }

    fn sampler(&self) -> Result<Sampler, WrongVariable> {
        let Some(name) = self.text("OTEL_TRACES_SAMPLER")? else { return Ok(Sampler::default()) };
        let argument = self.text("OTEL_TRACES_SAMPLER_ARG")?;
        Sampler::named(&name, argument.as_deref()).map_err(|unknown| match unknown {
            Unknown::Name => wrong("OTEL_TRACES_SAMPLER", format!("is `{name}`"), format!("write {NAMES}")),
            Unknown::Argument => {
                let argument = argument.unwrap_or_default();
                wrong("OTEL_TRACES_SAMPLER_ARG", format!("is `{argument}`"), "write a share from 0 to 1, such as 0.1")
            }
        })
    }

    fn milliseconds<const N: usize>(
        &self,
        names: [&'static str; N],
        default: Duration,
    ) -> Result<Duration, WrongVariable> {
        let Some((variable, text)) = self.first(names)? else { return Ok(default) };
        let most = DURATION_MAX.as_millis();
        let help = || format!("write a whole number of milliseconds from 1 to {most}, such as 10000");
        let read = text.parse::<u64>().ok().map(Duration::from_millis);
        read.filter(|read| !read.is_zero() && *read <= DURATION_MAX)
            .ok_or_else(|| wrong(variable, format!("is `{text}`"), help()))
    }

    fn count(&self, variable: &'static str, default: usize, most: usize) -> Result<usize, WrongVariable> {
        let Some(text) = self.text(variable)? else { return Ok(default) };
        let read = text.parse().ok().filter(|count| (1..=most).contains(count));
        read.ok_or_else(|| wrong(variable, format!("is `{text}`"), format!("write a whole number from 1 to {most}")))
    }
}

const PAIRS: &str = "write name=value, with commas between, and %2C for a comma in a value";

/// A list of pairs as W3C Baggage has it: values are percent-encoded.
fn pairs(variable: &'static str, text: &str) -> Result<Vec<(String, String)>, WrongVariable> {
    let members = (1..).zip(text.split(',')).filter(|(_, member)| !member.trim().is_empty());
    members
        .map(|(number, member)| {
            let broken = |cause: &str| wrong(variable, format!("has {cause} in member {number}"), PAIRS);
            let (name, value) = member.split_once('=').ok_or_else(|| broken("no `=`"))?;
            let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| broken("no UTF-8"))?;
            match name.trim() {
                "" => Err(broken("no name")),
                name => Ok((name.to_owned(), value.into_owned())),
            }
        })
        .collect()
}

fn wrong(variable: &'static str, cause: impl Into<String>, help: impl Into<String>) -> WrongVariable {
    WrongVariable { variable, cause: cause.into(), help: help.into() }
}

#[cfg(test)]
mod tests;
