//! One request to the collector, and what its answer means (OTLP specification, "OTLP/HTTP Response").

use std::error::Error as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};

use crate::limits::{ANSWER_BYTES_MAX, RETRY_AFTER_MAX, TEXT_BYTES_MAX};
use crate::message::{self, PartialSuccess};
use crate::settings::Settings;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was taken, but for so many spans.
    Taken { rejected: u64, why: String },
    /// The same request may be taken later: not before so long a time, if the collector says when.
    Later { after: Option<Duration>, why: String },
    /// It will never be taken.
    Refused { why: String },
}

/// What carries requests to a collector.
pub(crate) trait Transport {
    /// Sends one, and waits for its answer.
    async fn send(&self, body: Bytes) -> Sent;
}

/// A collector that is reached over HTTP.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    headers: HeaderMap,
    gzip: bool,
}

impl Client {
    /// Makes the client. It goes where the settings say: proxies of the environment and redirects are not followed.
    ///
    /// # Errors
    /// When TLS does not start.
    pub(crate) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let (builder, authorities) = (reqwest::Client::builder(), settings.authorities.iter().cloned());
        let builder = match settings.endpoint.scheme() {
            // What the system trusts is not asked for, and need not be there.
            "http" => builder.tls_certs_only(authorities),
            _ => builder.tls_certs_merge(authorities),
        };
        let http = builder
            .user_agent(concat!("runlet/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let Settings { endpoint, headers, gzip, .. } = settings;
        Ok(Self { http, endpoint: endpoint.clone(), headers: headers.clone(), gzip: *gzip })
    }
}

impl Transport for Client {
    async fn send(&self, body: Bytes) -> Sent {
        let mut request = self.http.post(self.endpoint.clone()).headers(self.headers.clone());
        request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let request = match compressed(self.gzip, &body) {
            Some(compressed) => request.header(CONTENT_ENCODING, "gzip").body(compressed),
            None => request.body(body),
        };
        match request.send().await {
            Ok(response) => answered(response).await,
            // The URL may hold a password or a key.
            Err(error) => Sent::Later { after: None, why: causes(&error.without_url()) },
        }
    }
}

/// The body compressed, if it is to be.
fn compressed(gzip: bool, body: &[u8]) -> Option<Vec<u8>> {
    if !gzip {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

async fn answered(response: Response) -> Sent {
    let status = response.status();
    let after = retry_after(response.headers(), SystemTime::now());
    let body = read(response).await;
    if status.is_success() {
        // An answer that cannot be read, or not whole, still says that the request was taken.
        let read = message::Response::decode(body.as_slice()).unwrap_or_default();
        let PartialSuccess { rejected_spans, error_message } = read.partial_success.unwrap_or_default();
        return Sent::Taken { rejected: u64::try_from(rejected_spans).unwrap_or(0), why: shown(&error_message) };
    }
    let said = message::Refusal::decode(body.as_slice()).map(|refusal| shown(&refusal.message)).unwrap_or_default();
    let why = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Sent::Later { after, why },
        _ => Sent::Refused { why },
    }
}

/// The beginning of the body.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    body
}

/// How long the collector wants to be left alone (RFC 9110, section 10.2.3), within [`RETRY_AFTER_MAX`].
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// What a collector says, for a line of the log.
fn shown(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// An error with what it came from.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_time_to_wait_is_read_in_both_forms_and_bounded() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (value, expected) in [
            ("7", Some(Duration::from_secs(7))),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(Duration::from_secs(10))),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(Duration::ZERO)),
            ("99999999", Some(RETRY_AFTER_MAX)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, now), expected, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_a_collector_says_is_one_line_within_a_bound() {
        assert_eq!(shown("a\nb\u{1b}[1m"), "a b [1m");
        assert!(shown(&"ä".repeat(TEXT_BYTES_MAX)).len() <= TEXT_BYTES_MAX);
    }
}
