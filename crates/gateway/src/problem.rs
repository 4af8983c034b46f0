//! What a client is told when there is no answer: problem details as of RFC 9457.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::limits::RETRY_AFTER_S;

/// A problem.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

/// The members of a problem's JSON. What is `None` is left out.
#[derive(Debug, Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// Short, stable name of the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip)]
    headers: HeaderMap,
}

/// The kinds of problems; each is one `type`, one title and one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadPath,
    BadHead,
    UnknownPath,
    UnknownHook,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    BodyTooLarge,
    UriTooLong,
    TooManyRequests,
    HeadTooLarge,
    RunFailed,
    BadReply,
    Internal,
    UpstreamFailed,
    RunStopped,
    SupervisorAway,
    SupervisorLost,
    ShuttingDown,
    Overloaded,
    NoReplyInTime,
    RunTimedOut,
    NoRoom,
}

impl Kind {
    /// Type, title and status.
    const fn parts(self) -> (&'static str, &'static str, StatusCode) {
        use StatusCode as S;
        match self {
            Self::BadPath => ("urn:runlet:problem:bad-path", "Malformed path", S::BAD_REQUEST),
            Self::BadHead => ("urn:runlet:problem:bad-request", "Malformed request", S::BAD_REQUEST),
            Self::UnknownPath => ("urn:runlet:problem:unknown-path", "Nothing is served here", S::NOT_FOUND),
            Self::UnknownHook => ("urn:runlet:problem:unknown-hook", "No such hook", S::NOT_FOUND),
            Self::MethodNotAllowed => {
                ("urn:runlet:problem:method-not-allowed", "Method not allowed", S::METHOD_NOT_ALLOWED)
            }
            Self::RequestTimeout => ("urn:runlet:problem:request-timeout", "Request too slow", S::REQUEST_TIMEOUT),
            Self::Conflict => ("urn:runlet:problem:conflict", "Conflict", S::CONFLICT),
            Self::BodyTooLarge => ("urn:runlet:problem:body-too-large", "Request body too large", S::PAYLOAD_TOO_LARGE),
            Self::UriTooLong => ("urn:runlet:problem:uri-too-long", "URI too long", S::URI_TOO_LONG),
            Self::TooManyRequests => {
                ("urn:runlet:problem:too-many-requests", "Too many requests", S::TOO_MANY_REQUESTS)
            }
            Self::HeadTooLarge => (
                "urn:runlet:problem:head-too-large",
                "Request header fields too large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ),
            Self::RunFailed => ("urn:runlet:problem:run-failed", "The run failed", S::INTERNAL_SERVER_ERROR),
            Self::BadReply => {
                ("urn:runlet:problem:bad-reply", "The run's reply cannot be sent", S::INTERNAL_SERVER_ERROR)
            }
            Self::Internal => ("urn:runlet:problem:internal", "Internal error", S::INTERNAL_SERVER_ERROR),
            Self::UpstreamFailed => ("urn:runlet:problem:upstream-failed", "A called server failed", S::BAD_GATEWAY),
            Self::RunStopped => ("urn:runlet:problem:run-stopped", "The run was stopped", S::SERVICE_UNAVAILABLE),
            Self::SupervisorAway => {
                ("urn:runlet:problem:supervisor-away", "The supervisor is away", S::SERVICE_UNAVAILABLE)
            }
            Self::SupervisorLost => {
                ("urn:runlet:problem:supervisor-lost", "The supervisor went away", S::SERVICE_UNAVAILABLE)
            }
            Self::ShuttingDown => {
                ("urn:runlet:problem:shutting-down", "The supervisor is shutting down", S::SERVICE_UNAVAILABLE)
            }
            Self::Overloaded => ("urn:runlet:problem:overloaded", "The gateway is overloaded", S::SERVICE_UNAVAILABLE),
            Self::NoReplyInTime => ("urn:runlet:problem:no-reply-in-time", "No reply in time", S::GATEWAY_TIMEOUT),
            Self::NoRoom => ("urn:runlet:problem:no-room", "The disk is full", S::INSUFFICIENT_STORAGE),
            Self::RunTimedOut => ("urn:runlet:problem:run-timed-out", "The run timed out", S::GATEWAY_TIMEOUT),
        }
    }

    /// Whether the client may try the same again soon.
    const fn passes(self) -> bool {
        matches!(
            self,
            Self::TooManyRequests | Self::SupervisorAway | Self::SupervisorLost | Self::ShuttingDown | Self::Overloaded
        )
    }
}

impl Problem {
    /// A problem of a kind; `detail` says in one sentence what happened this time.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (name, title, status) = kind.parts();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if kind.passes() {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        let detail = detail.into();
        Self(Box::new(Details {
            kind: name,
            title,
            status,
            detail,
            help: None,
            instance: None,
            run: None,
            block: None,
            attempt: None,
            code: None,
            headers,
        }))
    }

    /// With a way out.
    pub(crate) fn with_help(mut self, help: Option<String>) -> Self {
        self.0.help = help;
        self
    }

    /// With the path it is about, unless something more exact is known.
    pub(crate) fn at(mut self, path: &str) -> Self {
        self.0.instance.get_or_insert_with(|| path.to_owned());
        self
    }

    /// With the run it is about, the block and attempt that failed, if one did, and the name of the cause.
    pub(crate) fn of_run(
        mut self,
        run: runlet_proto::ids::RunId,
        block: Option<String>,
        attempt: u32,
        code: String,
    ) -> Self {
        let run = run.to_string();
        self.0.instance = Some(format!("urn:uuid:{run}"));
        self.0.run = Some(run);
        self.0.attempt = block.is_some().then_some(attempt);
        self.0.block = block;
        self.0.code = Some(code);
        self
    }

    /// With the methods that are allowed.
    pub(crate) fn with_allow(mut self, allow: HeaderValue) -> Self {
        self.0.headers.insert(ALLOW, allow);
        self
    }

    /// With the connection closed after it: the rest of the request is not read.
    pub(crate) fn closing(mut self) -> Self {
        self.0.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        self
    }

    /// As a response.
    pub(crate) fn into_response(mut self) -> Response<Full<Bytes>> {
        let headers = std::mem::take(&mut self.0.headers);
        let mut response = Response::new(Full::new(Bytes::from(self.body())));
        *response.status_mut() = self.0.status;
        *response.headers_mut() = headers;
        response
    }

    /// As the bytes of an HTTP/1.1 response that closes its connection, for where there is no request to answer.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let body = self.body();
        let reason = self.0.status.canonical_reason().unwrap_or("");
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", self.0.status.as_u16()).into_bytes();
        for (name, value) in &self.closing().0.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("texts and numbers always become JSON")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape for `serialize_with`")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_proto::ids::RunId;

    use super::*;

    #[test]
    fn a_problem_has_the_members_of_the_rfc_and_the_run() {
        let problem = Problem::new(Kind::UpstreamFailed, "connection refused")
            .of_run(RunId::from_u128(1), Some("page".into()), 2, "connect".into())
            .at("/hook/x");
        let json: serde_json::Value = serde_json::from_slice(&problem.body()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:runlet:problem:upstream-failed", "title": "A called server failed", "status": 502,
                "detail": "connection refused", "instance": "urn:uuid:00000000-0000-0000-0000-000000000001",
                "run": "00000000-0000-0000-0000-000000000001", "block": "page", "attempt": 2, "code": "connect"
            })
        );
    }

    #[test]
    fn a_problem_without_a_request_is_a_whole_response() {
        let bytes = Problem::new(Kind::Overloaded, "full").into_bytes();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        for field in ["retry-after: 1", "connection: close", &format!("content-length: {}", body.len())] {
            assert!(head.contains(field), "{head}");
        }
    }
}
