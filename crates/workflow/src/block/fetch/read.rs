//! Reads a `fetch` block: what may be written, and what is refused before anything is fetched.

use std::time::Duration;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use url::Url;

use super::{FailOnStatus, Fetch, FetchBody, ResponseAs};
use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::headers::{self, is_token};
use crate::parse::report::{Finding, Report};
use crate::parse::spot::{Fields, Spot, clip};
use crate::parse::strings::plain_key;
use crate::template::{Escape, JsonTemplate, TextTemplate};
use crate::{limits, unavailable};

const TLS_FIELDS: &[Field] = &[
    Field::new("verify", "Whether the server's certificate is verified. Default: true.", Shape::Flag),
    Field::new("ca_file", "PEM file with further certificate authorities.", Shape::Text),
];

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new("url", "Absolute URL, http or https; may be a template.", Shape::Template),
        Field::new("method", "HTTP method. Default: GET, or POST with a body.", Shape::Template),
        Field::new("headers", "Header fields: an object or a list of one-pair objects.", Shape::Headers),
        Field::new("header", "The same as headers.", Shape::Headers),
        Field::new(
            "query",
            "Parameters added to the URL. A list repeats its name, null leaves it out.",
            Shape::Map(&Shape::Any),
        ),
        Field::new("body", "Text that is sent as it is.", Shape::Template),
        Field::new("json", "JSON that is sent; sets content-type.", Shape::Any),
        Field::new("form", "Form fields that are sent URL-encoded; sets content-type.", Shape::Map(&Shape::Any)),
        Field::new("timeout", "Limit for the whole exchange. Default: 30s.", Shape::Duration),
        Field::new("connect_timeout", "Limit for DNS, TCP and TLS together. Default: 10s.", Shape::Duration),
        Field::new("follow_redirects", "Whether redirects are followed. Default: true.", Shape::Flag),
        Field::new(
            "max_redirects",
            "How many redirects are followed. Default: 10.",
            Shape::Integer(0, limits::REDIRECTS_MAX as u64),
        ),
        Field::new("tls", "How the server proves who it is.", Shape::Object(TLS_FIELDS, &[])),
        Field::new("max_body_size", "Largest body, after decompression, at most 64MiB. Default: 10MiB.", Shape::Size),
        Field::new("encoding", "WHATWG label of the text's encoding, whatever the response says.", Shape::Text),
        Field::new(
            "response",
            "How the body is read. Default: auto, by its media type.",
            Shape::Words(&["auto", "json", "text", "bytes"]),
        ),
        Field::new(
            "fail_on_status",
            "Which statuses fail the block: true, all but 200-299 (the default); false, none; a list, all but these.",
            Shape::Either(&[Shape::Flag, Shape::List(1, &Shape::Integer(100, 599))]),
        ),
    ],
    bare: &["tls"],
    unavailable: &unavailable::FETCH_FIELDS,
};

impl Fetch {
    /// Reads the configuration.
    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Self {
        let url = match config.take("url", report) {
            Some(spot) => url(&spot, report),
            None => {
                config.missing("url", "such as \"url\": \"https://example.org/\"", report);
                None
            }
        };
        let body = body(config, report);
        let default_method = if body.is_some() { "POST" } else { "GET" };
        let (tls_verify, ca_file) = config.take("tls", report).map_or((true, None), |spot| tls(&spot, report));
        Self {
            url: url.unwrap_or_else(|| TextTemplate::from_literal("")),
            method: config
                .take("method", report)
                .and_then(|spot| method(&spot, report))
                .unwrap_or_else(|| TextTemplate::from_literal(default_method)),
            headers: config
                .take_either("headers", "header", report)
                .map_or_else(Vec::new, |spot| headers::read(&spot, report)),
            query: config
                .take("query", report)
                .map_or_else(Vec::new, |spot| members(&spot, "an object with query parameters", report)),
            body,
            timeout: duration(config, "timeout", limits::FETCH_TIMEOUT_DEFAULT, report),
            connect_timeout: duration(config, "connect_timeout", limits::FETCH_CONNECT_TIMEOUT_DEFAULT, report),
            redirects_max: redirects(config, report),
            body_bytes_max: config
                .take("max_body_size", report)
                .and_then(|spot| spot.size(limits::FETCH_BODY_BYTES_MAX, report))
                .unwrap_or(limits::FETCH_BODY_BYTES_DEFAULT),
            tls_verify,
            ca_file,
            encoding: config.take("encoding", report).and_then(|spot| encoding(&spot, report)),
            response: config
                .take("response", report)
                .and_then(|spot| spot.word(&RESPONSE_AS, report))
                .unwrap_or(ResponseAs::Auto),
            fail_on_status: config
                .take("fail_on_status", report)
                .and_then(|spot| fail_on_status(&spot, report))
                .unwrap_or(FailOnStatus::NotSuccess),
        }
    }

    /// The host, if it stands literally in the URL: then its author chose it, not a caller.
    pub(crate) fn literal_host(&self) -> Option<String> {
        let authority = match self.url.literal() {
            Some(url) => url,
            // A host is complete only when something after it is literal too: `https://a.example{{ x }}` may be any host.
            None => {
                let prefix = self.url.literal_prefix();
                let start = prefix.find("://")? + 3;
                let end = start + prefix[start..].find(['/', '?', '#', '\\'])?;
                &prefix[..end]
            }
        };
        Url::parse(authority).ok()?.host_str().map(str::to_owned)
    }
}

const RESPONSE_AS: [(&str, ResponseAs); 4] =
    [("auto", ResponseAs::Auto), ("json", ResponseAs::Json), ("text", ResponseAs::Text), ("bytes", ResponseAs::Bytes)];

fn duration(config: &Config<'_, '_>, name: &'static str, default: Duration, report: &mut Report<'_>) -> Duration {
    config.take(name, report).and_then(|spot| spot.timeout(report)).unwrap_or(default)
}

fn url(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<TextTemplate> {
    let template = spot.text(Escape::None, report)?;
    let checked = match template.literal() {
        Some(text) => check_url(text),
        None if template.literal_prefix().is_empty() => Ok(()),
        None => check_url_prefix(template.literal_prefix()),
    };
    match checked {
        Ok(()) => Some(template),
        Err(finding) => {
            spot.refuse(finding, report);
            None
        }
    }
}

fn check_url(text: &str) -> Result<(), Finding> {
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(
            Finding::new("invalid-url", "a URL cannot hold spaces or control characters").help("write %20 for a space")
        );
    }
    check_url_prefix(text)?;
    let url = Url::parse(text)
        .map_err(|error| Finding::new("invalid-url", format!("`{}` is no URL: {error}", clip(text))))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Finding::new("invalid-url", format!("`{}` names no host", clip(text))));
    }
    Ok(())
}

/// What stands before the first expression must be able to begin an `http` or `https` URL.
fn check_url_prefix(prefix: &str) -> Result<(), Finding> {
    let lower = prefix.to_ascii_lowercase();
    let schemes = ["https://", "http://"];
    if schemes.iter().any(|scheme| lower.starts_with(scheme) || scheme.starts_with(&lower)) && !lower.is_empty() {
        return Ok(());
    }
    let finding = match lower.split_once("://") {
        _ if lower.is_empty() => Finding::new("invalid-url", "the URL is empty"),
        Some((scheme, _)) => {
            Finding::new("invalid-url", format!("the scheme is `{}`, expected http or https", clip(scheme)))
        }
        None => Finding::new("invalid-url", format!("`{}` is no absolute URL", clip(prefix)))
            .help(format!("write \"https://{}\"", clip(prefix.trim_start_matches('/')))),
    };
    Err(finding)
}

fn method(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<TextTemplate> {
    let template = spot.text(Escape::None, report)?;
    let Some(text) = template.literal() else { return Some(template) };
    let method = text.to_ascii_uppercase();
    if !is_token(text) || method == "CONNECT" {
        let finding = Finding::new("invalid-value", format!("`{}` is no method a fetch can use", clip(text)));
        spot.refuse(finding.help("such as GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS"), report);
    }
    Some(TextTemplate::from_literal(method))
}

fn body(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<FetchBody> {
    let text = config.take("body", report);
    let json = config.take("json", report);
    let form = config.take("form", report);
    let given: Vec<&Spot<'_, '_>> = [&text, &json, &form].into_iter().flatten().collect();
    for spot in given.iter().skip(1) {
        let finding = Finding::new("invalid-value", "a request has one body: `body`, `json` or `form`");
        spot.refuse(finding.help("keep one of them"), report);
    }
    let text = text.and_then(|spot| {
        if let Value::Object(_) | Value::Array(_) = spot.value {
            let finding = spot.mismatch("a string").help("JSON is sent with `json`, form fields with `form`");
            spot.refuse(finding, report);
            return None;
        }
        spot.text(Escape::None, report).map(FetchBody::Text)
    });
    let json = json.and_then(|spot| spot.json(report)).map(FetchBody::Json);
    let form = form.map(|spot| FetchBody::Form(members(&spot, "an object with form fields", report)));
    text.or(json).or(form)
}

/// Members of an object in order, each any JSON.
fn members(spot: &Spot<'_, '_>, what: &str, report: &mut Report<'_>) -> Vec<(String, JsonTemplate)> {
    let Value::Object(object) = spot.value else {
        spot.expected(what, report);
        return Vec::new();
    };
    let fields = Fields::new(object, spot.place);
    let mut members = Vec::with_capacity(object.properties.len());
    for property in &object.properties {
        let name = property.name.as_str();
        let range = property.name.range();
        plain_key(name, range.start..range.end, &fields, report);
        let member = Spot { value: &property.value, place: spot.place.key(name) };
        if let Value::Object(_) = property.value {
            let finding = member.mismatch("a string, a number, a boolean, null or a list of these");
            member.refuse(finding, report);
        } else if let Some(value) = member.json(report) {
            members.push((name.to_owned(), value));
        }
    }
    members
}

fn redirects(config: &Config<'_, '_>, report: &mut Report<'_>) -> u16 {
    let follow = config.take("follow_redirects", report).and_then(|spot| spot.flag(report));
    let Some(spot) = config.take("max_redirects", report) else {
        return if follow == Some(false) { 0 } else { limits::REDIRECTS_DEFAULT };
    };
    let max = spot.integer(0..=u64::from(limits::REDIRECTS_MAX), report).unwrap_or(0);
    if follow == Some(false) && max > 0 {
        let finding = Finding::new("invalid-value", "`follow_redirects` is false, so there is nothing to limit");
        spot.refuse(finding.help("leave `max_redirects` out"), report);
    }
    u16::try_from(max).unwrap_or(limits::REDIRECTS_MAX)
}

fn tls(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> (bool, Option<String>) {
    let Some(fields) = spot.object("an object such as { \"verify\": false }", report) else { return (true, None) };
    let verify = fields.take("verify").and_then(|spot| spot.flag(report)).unwrap_or(true);
    let ca_file = fields.take("ca_file").and_then(|spot| {
        let path = spot.string(report)?;
        if path.is_empty() || path.contains('\0') {
            spot.refuse(Finding::new("invalid-value", "expected the path of a PEM file"), report);
        }
        Some(path.to_owned())
    });
    fields.finish(&["verify", "ca_file"], report);
    (verify, ca_file)
}

fn encoding(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let label = spot.string(report)?;
    if encoding_rs::Encoding::for_label(label.as_bytes()).is_none() {
        let finding = Finding::new("invalid-value", format!("`{}` is no encoding", clip(label)));
        spot.refuse(finding.help("such as utf-8, windows-1252, shift_jis or gb18030"), report);
        return None;
    }
    Some(label.to_owned())
}

fn fail_on_status(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<FailOnStatus> {
    match spot.value {
        Value::BooleanLit(flag) if flag.value => Some(FailOnStatus::NotSuccess),
        Value::BooleanLit(_) => Some(FailOnStatus::Never),
        Value::Array(list) => {
            if list.elements.is_empty() {
                let finding = Finding::new("invalid-value", "the list of accepted statuses is empty");
                spot.refuse(finding.help("such as [200, 404]"), report);
            }
            let statuses = list
                .elements
                .iter()
                .enumerate()
                .filter_map(|(index, value)| spot.element(index, value).integer(100..=599, report))
                .filter_map(|status| u16::try_from(status).ok())
                .collect();
            Some(FailOnStatus::Unless(statuses))
        }
        Value::StringLit(_) | Value::NumberLit(_) | Value::Object(_) | Value::NullKeyword(_) => {
            spot.expected("true, false or a list of accepted statuses", report);
            None
        }
    }
}
