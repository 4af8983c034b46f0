//! `fetch`: an HTTP request.

mod read;

use std::time::Duration;

pub(crate) use read::KIND;

use crate::template::{JsonTemplate, TextTemplate};

/// Configuration of a `fetch` block.
#[derive(Debug)]
pub struct Fetch {
    /// Absolute URL.
    pub url: TextTemplate,
    /// Method; upper case once rendered.
    pub method: TextTemplate,
    /// Header fields in order.
    pub headers: Vec<(String, TextTemplate)>,
    /// Query parameters added to the URL, in order; a list value repeats its name, `null` leaves it out.
    pub query: Vec<(String, JsonTemplate)>,
    /// What is sent.
    pub body: Option<FetchBody>,
    /// Limit for the whole exchange.
    pub timeout: Duration,
    /// Limit for DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How many redirects are followed.
    pub redirects_max: u16,
    /// Limit of the body in bytes, after decompression.
    pub body_bytes_max: u64,
    /// Whether the server's certificate is verified.
    pub tls_verify: bool,
    /// PEM file with further certificate authorities.
    pub ca_file: Option<String>,
    /// WHATWG label of the encoding, whatever the response says; checked at deploy.
    pub encoding: Option<String>,
    /// How the body is read.
    pub response: ResponseAs,
    /// Which statuses fail the block.
    pub fail_on_status: FailOnStatus,
}

impl Fetch {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        let body = match &self.body {
            None => false,
            Some(FetchBody::Text(text)) => text.literal().is_none(),
            Some(FetchBody::Json(value)) => value.literal().is_none(),
            Some(FetchBody::Form(fields)) => fields.iter().any(|(_, value)| value.literal().is_none()),
        };
        body || self.url.literal().is_none()
            || self.method.literal().is_none()
            || self.headers.iter().any(|(_, value)| value.literal().is_none())
            || self.query.iter().any(|(_, value)| value.literal().is_none())
    }
}

/// Body of a request.
#[derive(Debug)]
pub enum FetchBody {
    /// Text, sent as it is.
    Text(TextTemplate),
    /// A JSON value; sets `content-type: application/json` unless a header says otherwise.
    Json(JsonTemplate),
    /// Form fields, `application/x-www-form-urlencoded`.
    Form(Vec<(String, JsonTemplate)>),
}

/// How a response body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseAs {
    /// By its media type; JSON is parsed too.
    Auto,
    /// As JSON; anything else fails the block.
    Json,
    /// As text.
    Text,
    /// As bytes, Base64 in the output.
    Bytes,
}

/// Which statuses fail the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailOnStatus {
    /// Everything outside 200–299 (the default).
    NotSuccess,
    /// None.
    Never,
    /// Everything that is not in the list.
    Unless(Vec<u16>),
}
