//! From what went wrong to a failure: its code, the sentence with method, URL and cause, the way out.
//!
//! | code | class, retryable | what happened |
//! |---|---|---|
//! | `url`, `request`, `encoding`, `ca-file` | workflow, no | the call itself cannot be carried out |
//! | `address-refused` | workflow, no | the host is not in the definition and not public |
//! | `dns`, `connect` | upstream, yes | no address, no connection |
//! | `tls` | upstream, only if the connection broke | handshake or certificate |
//! | `closed`, `cut-short` | upstream, yes | the connection ended before the response, or within its body |
//! | `protocol` | upstream, yes | what was sent is not HTTP |
//! | `coding` | upstream, no | `content-encoding` unknown or broken |
//! | `redirect`, `too-large` | upstream, no | a chain that leads nowhere; a limit of the call |
//! | `timeout` | timeout, yes | the message says in which phase |

use std::error::Error;
use std::io;
use std::time::Duration;

use http::Method;
use runlet_proto::failure::Failure;
use url::{Host, Url};

use crate::connect::{ConnectTimedOut, Phase};
use crate::limits;
use crate::names::NameError;
use crate::request::Outgoing;
use crate::rule::Refused;
use crate::tls;

/// Which request of which chain failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) request: &'a Outgoing,
    /// The URL the chain began with, if this is not it.
    pub(crate) redirected_from: Option<&'a str>,
}

impl Place<'_> {
    /// A sentence about this request.
    pub(crate) fn says(&self, cause: impl std::fmt::Display) -> String {
        let shown = shown(&self.request.method, &self.request.url);
        match self.redirected_from {
            Some(from) => format!("{shown}, redirected from {}: {cause}", shown_text(from)),
            None => format!("{shown}: {cause}"),
        }
    }

    pub(crate) fn upstream(&self, code: &str, cause: impl std::fmt::Display) -> Failure {
        Failure::upstream(code, self.says(cause))
    }

    /// An upstream failure that would come again.
    pub(crate) fn lasting(&self, code: &str, cause: impl std::fmt::Display) -> Failure {
        Failure { retryable: false, ..self.upstream(code, cause) }
    }

    pub(crate) fn refused(&self, refused: &Refused) -> Failure {
        let host = self.request.url.host_str().unwrap_or_default();
        let cause = if self.request.url.domain().is_some() {
            format!("refused, since {host} leads to an address that is not public: {refused}")
        } else {
            format!("refused, since {refused}")
        };
        let failure = Failure::workflow("address-refused", self.says(cause));
        if self.redirected_from.is_some() {
            return failure.with_help(
                "a redirect leads to public addresses, or to a host that stands literally in the workflow, at the port that \
                 was asked first, 80 or 443: fetch the last URL itself, or let the operator allow the address range",
            );
        }
        failure.with_help(format!(
            "a host from a template must be public: write {host} literally into the workflow's URL, or let the operator \
             allow the address range"
        ))
    }

    /// The connection could not be opened, or no response came over it.
    pub(crate) fn not_sent(&self, error: &reqwest::Error) -> Failure {
        let causes = causes(error);
        if error.is_builder() {
            // The URL standard lets a few characters through that a request line may not hold.
            return Failure::workflow("url", self.says(format!("HTTP cannot send this URL: {}", flat(&causes))));
        }
        let find_io = || causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>());
        for cause in &causes {
            if let Some(name) = cause.downcast_ref::<NameError>() {
                return self.no_address(name);
            }
            if let Some(late) = cause.downcast_ref::<ConnectTimedOut>() {
                return self.connect_timed_out(late);
            }
            if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                return self.tls(error);
            }
        }
        if error.is_connect() {
            return match find_io() {
                Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => {
                    self.upstream("tls", "the server closed the connection in the middle of the TLS handshake")
                }
                _ => self.upstream("connect", format!("no connection: {}", flat(&causes))),
            };
        }
        self.no_response(&causes)
    }

    /// The connection was there, a response was not.
    fn no_response(&self, causes: &[&(dyn Error + 'static)]) -> Failure {
        match causes.iter().find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
            Some(hyper) if hyper.is_parse_too_large() => {
                self.lasting("too-large", "the head of the response is larger than an HTTP client accepts")
            }
            Some(hyper) if hyper.is_parse() => {
                self.upstream("protocol", format!("the response is not HTTP: {}", flat(causes)))
            }
            _ if is_closed(causes) => self
                .upstream("closed", format!("the server closed the connection without a response: {}", flat(causes))),
            Some(_) | None => self.upstream("protocol", format!("no response: {}", flat(causes))),
        }
    }

    /// The response stopped within its body.
    pub(crate) fn body_broke(&self, error: &reqwest::Error) -> Failure {
        let causes = causes(error);
        let parse = causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>());
        match parse.map(io::Error::kind) {
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                self.upstream("protocol", format!("the body is not HTTP: {}", flat(&causes)))
            }
            _ => self.upstream("cut-short", format!("the body was cut short: {}", flat(&causes))),
        }
    }

    fn no_address(&self, name: &NameError) -> Failure {
        let host = self.request.url.host_str().unwrap_or_default();
        match name {
            NameError::Refused(refused) => self.refused(refused),
            NameError::Lookup(_) | NameError::NoAddress => {
                self.upstream("dns", format!("no address for {host}: {name}"))
            }
        }
    }

    fn connect_timed_out(&self, late: &ConnectTimedOut) -> Failure {
        let during = self.doing(late.during);
        Failure::timeout(self.says(format!("timed out after {} while {during}", shown_time(late.after))))
            .with_help("connect_timeout sets the time for DNS, TCP and TLS together")
    }

    /// The whole exchange took too long before the response began.
    pub(crate) fn timed_out(&self, phase: Phase, after: Duration) -> Failure {
        self.late(self.doing(phase), after)
    }

    /// The whole exchange took too long.
    pub(crate) fn late(&self, during: impl std::fmt::Display, after: Duration) -> Failure {
        Failure::timeout(self.says(format!("timed out after {} while {during}", shown_time(after))))
            .with_help("timeout sets the time for the whole exchange, redirects and body included")
    }

    fn doing(&self, phase: Phase) -> String {
        let url = &self.request.url;
        let host = url.host_str().unwrap_or_default();
        match phase {
            // An address has no name to resolve, so its connection never leaves the first phase.
            Phase::Resolving if matches!(url.host(), Some(Host::Domain(_))) => format!("resolving {host}"),
            Phase::Resolving | Phase::Connecting if url.scheme() == "https" => {
                format!("connecting to {host} (TCP, then TLS)")
            }
            Phase::Resolving | Phase::Connecting => format!("connecting to {host}"),
            Phase::Pooled | Phase::Connected => "waiting for the response".to_owned(),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls names some thirty causes and may add more; few have a help"
    )]
    fn tls(&self, error: &rustls::Error) -> Failure {
        use rustls::CertificateError as Bad;
        let help_trust = "if the server is yours: \"tls\": {\"verify\": false} on the block, or name its certificate \
                          authority with ca_file there or with RUNLET_CA_FILE for the supervisor";
        let (cause, help) = match error {
            rustls::Error::InvalidCertificate(bad) => match bad {
                Bad::UnknownIssuer => (
                    "its certificate is not trusted: self-signed, or from an authority that is not known here"
                        .to_owned(),
                    Some(help_trust),
                ),
                Bad::Other(other) if tls::is_authority_as_server(other) => (
                    "its certificate is not trusted: it is self-signed and an authority's, not a server's".to_owned(),
                    Some(help_trust),
                ),
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                    (format!("its certificate is for another name: {bad}"), Some(help_trust))
                }
                other => (format!("its certificate is not valid: {other}"), Some(help_trust)),
            },
            rustls::Error::InvalidMessage(_) => {
                let help = "the server may speak plain HTTP on this port: try http:// instead of https://";
                (format!("the server does not speak TLS here: {error}"), Some(help))
            }
            rustls::Error::General(general) => {
                (general.clone(), Some("install the system's certificate authorities (package ca-certificates)"))
            }
            other => (other.to_string(), None),
        };
        let failure = self.lasting("tls", format!("TLS: {cause}"));
        match help {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}

/// Whether a pooled connection turned out to be closed, as opposed to a response that was no HTTP.
pub(crate) fn is_stale(error: &reqwest::Error) -> bool {
    is_closed(&causes(error))
}

fn is_closed(causes: &[&(dyn Error + 'static)]) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    causes.iter().any(|cause| {
        let closed = cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
        let broken = cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
        });
        closed || broken
    })
}

/// An error and everything below it. An `io::Error` hides what it carries from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        causes.push(error);
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match carried {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    causes
}

/// The causes in one line, without the layers that only say that something failed and without repetitions.
fn flat(causes: &[&(dyn Error + 'static)]) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in causes.iter().filter(|cause| !cause.is::<reqwest::Error>()) {
        let text = cause.to_string();
        let is_layer = text.starts_with("client error (") || text == "tcp connect error" || text == "connection error";
        if is_layer || said.iter().any(|before| before.contains(&text)) {
            continue;
        }
        said.retain(|before| !text.contains(before.as_str()));
        said.push(text);
    }
    if said.is_empty() { "no cause was given".to_owned() } else { said.join(": ") }
}

/// Method and URL as they may stand in a message.
pub(crate) fn shown(method: &Method, url: &Url) -> String {
    format!("{method} {}", shown_url(url))
}

/// Parameters whose value is a secret more often than not.
const SECRETS: [&str; 11] =
    ["key", "api_key", "apikey", "api-key", "token", "access_token", "auth", "secret", "password", "sig", "signature"];

/// A URL without secrets, cut to a readable length.
fn shown_url(url: &Url) -> String {
    let Some(query) = url.query() else { return cut(url.as_str()) };
    let (before, _) = url.as_str().split_once('?').unwrap_or((url.as_str(), ""));
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => format!("{name}=***"),
        Some(_) | None => pair.to_owned(),
    });
    cut(&format!("{before}?{}", pairs.collect::<Vec<_>>().join("&")))
}

/// A text that should have been a URL, or was one.
pub(crate) fn shown_text(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) => {
            // Fails for URLs that cannot have them.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
            shown_url(&url)
        }
        Err(_) => format!("{:?}", cut(text)),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(limits::SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn shown_time(time: Duration) -> String {
    match time.as_millis() {
        ms if ms >= 1000 && ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn messages_hold_no_secrets_and_no_novels() {
        let url = Url::parse("http://a.example/x?page=1&API_KEY=abc&token&sig=d%26e").unwrap();
        assert_eq!(shown(&Method::GET, &url), "GET http://a.example/x?page=1&API_KEY=***&token&sig=***");
        assert_eq!(shown_text("http://alice:secret@a.example/?token=x"), "http://a.example/?token=***");
        assert_eq!(shown_text("no url"), "\"no url\"");
        assert_eq!(shown_text(&format!("http://a/{}", "é".repeat(900))).chars().count(), limits::SHOWN_CHARS_MAX + 1);
    }

    #[test]
    fn causes_are_said_once() {
        let deep = io::Error::other(io::Error::other("tcp connect error: refused"));
        assert_eq!(flat(&causes(&deep)), "tcp connect error: refused");
        let kinds = io::Error::new(io::ErrorKind::TimedOut, "slow");
        assert_eq!(flat(&causes(&kinds)), "slow");
        assert_eq!(flat(&[]), "no cause was given");
    }

    #[test]
    fn times_are_written_as_in_a_workflow() {
        for (ms, text) in [(0, "0ms"), (250, "250ms"), (1000, "1s"), (1500, "1500ms"), (30_000, "30s")] {
            assert_eq!(shown_time(Duration::from_millis(ms)), text);
        }
    }
}
