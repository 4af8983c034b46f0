//! Calls: what a block asks of the supervisor. The light lane answers them in-process, a worker over its socket.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::RunId;
use crate::memory::{MemoryCall, MemoryOp, MemoryReply, Message, ReceiveCall, SendCall};
use crate::trace::TraceOutcome;

/// One request of a block to the world outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// An HTTP request.
    Fetch(FetchCall),
    /// A run of another workflow.
    Workflow(WorkflowCall),
    /// Shared memory.
    Memory(MemoryCall),
    /// A message for a channel.
    Send(SendCall),
    /// A message from a channel.
    Receive(ReceiveCall),
}

/// A run of another workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowCall {
    /// Its name.
    pub workflow: String,
    /// JSON text of the run's input.
    pub input: Bytes,
    /// Whether the call is answered when that run ends, or when it has begun.
    pub wait: bool,
}

impl Call {
    /// Whether making it twice may do more than making it once: a request whose method is not idempotent (RFC 9110, section
    /// 9.2.2). A run that a call began is found again by who repeats the call, and so is what a store answered.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        match self {
            Self::Fetch(fetch) => {
                !matches!(fetch.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
            }
            Self::Workflow(_) | Self::Memory(_) | Self::Send(_) | Self::Receive(_) => false,
        }
    }

    /// Bytes of the document that it carries.
    #[must_use]
    pub fn carried_bytes(&self) -> usize {
        match self {
            Self::Fetch(fetch) => fetch.body.as_ref().map_or(0, Bytes::len),
            Self::Workflow(call) => call.input.len(),
            Self::Memory(MemoryCall { op, .. }) => match op {
                MemoryOp::Set { value, .. }
                | MemoryOp::Add { value, .. }
                | MemoryOp::Append { value, .. }
                | MemoryOp::CompareAndSet { value, .. } => value.len(),
                MemoryOp::Get { .. }
                | MemoryOp::Delete { .. }
                | MemoryOp::Take { .. }
                | MemoryOp::List { .. }
                | MemoryOp::Watch { .. }
                | MemoryOp::Unlock => 0,
            },
            Self::Send(call) => call.message.len(),
            Self::Receive(_) => 0,
        }
    }

    /// What a run that waits for this call is BLOCKED on, as `runlet ps` prints it: `fetch example.org`.
    #[must_use]
    pub fn blocked_on(&self) -> String {
        match self {
            Self::Fetch(fetch) => format!("fetch {}", host_of(&fetch.url)),
            Self::Workflow(call) => format!("workflow {}", call.workflow),
            Self::Memory(call) if call.lock.is_some() => format!("lock {}", call.namespace),
            Self::Memory(call) => format!("memory {}", call.namespace),
            Self::Send(call) => format!("send {}", call.channel),
            Self::Receive(call) => format!("receive {}", call.channel),
        }
    }

    /// The call in words, as `runlet trace` prints it: `fetch GET example.org`. Paths and queries may hold what is secret.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Fetch(fetch) => format!("fetch {} {}", fetch.method, host_of(&fetch.url)),
            Self::Memory(MemoryCall { namespace, op, .. }) => match op {
                MemoryOp::List { .. } | MemoryOp::Unlock => format!("memory {namespace} {}", op.name()),
                MemoryOp::Get { key }
                | MemoryOp::Set { key, .. }
                | MemoryOp::Delete { key }
                | MemoryOp::Add { key, .. }
                | MemoryOp::Append { key, .. }
                | MemoryOp::Take { key }
                | MemoryOp::CompareAndSet { key, .. }
                | MemoryOp::Watch { key, .. } => format!("memory {namespace} {} {key}", op.name()),
            },
            Self::Workflow(_) | Self::Send(_) | Self::Receive(_) => self.blocked_on(),
        }
    }
}

/// Host and port of a URL, cut out without judging the rest: this is a label, not a check.
fn host_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#', '\\']).next().unwrap_or(after_scheme);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The answer to a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Call::Fetch`].
    Fetch(Box<FetchReply>),
    /// The call failed.
    Failed(Failure),
    /// To [`Call::Workflow`].
    Workflow {
        /// The run.
        run: RunId,
        /// JSON text of its output, if it was waited for.
        output: Option<Bytes>,
    },
    /// To [`Call::Memory`].
    Memory(MemoryReply),
    /// To [`Call::Send`]: the message's number.
    Sent(u64),
    /// To [`Call::Receive`].
    Received(Message),
}

impl Answer {
    /// Bytes of the documents that it carries.
    #[must_use]
    pub fn carried_bytes(&self) -> usize {
        match self {
            Self::Fetch(reply) => reply.body.len(),
            Self::Failed(_) => 0,
            Self::Workflow { output, .. } => output.as_ref().map_or(0, Bytes::len),
            Self::Memory(MemoryReply::Value(item)) => item.as_ref().map_or(0, |item| item.value.len()),
            Self::Memory(MemoryReply::Items { items, .. }) => items.iter().map(|item| item.value.len()).sum(),
            Self::Sent(_) => 0,
            Self::Received(message) => message.body.len(),
        }
    }

    /// How the call ended, as `runlet trace` prints it: `200, 5120 bytes`.
    #[must_use]
    pub fn outcome(&self) -> TraceOutcome {
        match self {
            Self::Fetch(reply) => TraceOutcome::Answered(format!("{}, {} bytes", reply.status, reply.body.len())),
            Self::Failed(failure) => TraceOutcome::Failed(failure.message.clone()),
            Self::Workflow { run, .. } => TraceOutcome::Answered(format!("run {run}")),
            Self::Memory(MemoryReply::Value(None)) => TraceOutcome::Answered("nothing".to_owned()),
            Self::Memory(MemoryReply::Value(Some(item))) => {
                TraceOutcome::Answered(format!("version {}, {} bytes", item.version, item.value.len()))
            }
            Self::Memory(MemoryReply::Items { items, .. }) => TraceOutcome::Answered(format!("{} keys", items.len())),
            Self::Sent(id) => TraceOutcome::Answered(format!("message {id}")),
            Self::Received(message) => TraceOutcome::Answered(format!("message {}", message.id)),
        }
    }
}

/// An HTTP request, fully rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchCall {
    /// Upper-case method.
    pub method: String,
    /// Absolute URL, `http` or `https`, query parameters included.
    pub url: String,
    /// Hosts (lower case, without port) that stand literally in the definition: their author chose them, so they may
    /// resolve to addresses that are not public.
    pub literal_hosts: Vec<String>,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Bytes>,
    /// Limit for the whole exchange, body included, in milliseconds.
    pub timeout_ms: u64,
    /// Limit for DNS, TCP and TLS together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How many redirects are followed; 0 returns the redirect itself.
    pub redirects_max: u16,
    /// Limit of the body in bytes, counted after decompression.
    pub body_bytes_max: u64,
    /// Whether the server's certificate is verified.
    pub tls_verify: bool,
    /// PEM file with certificate authorities trusted beside the system's.
    pub ca_file: Option<String>,
    /// WHATWG encoding label that overrides what the response says.
    pub encoding: Option<String>,
    /// How the body is to be delivered.
    pub body_as: BodyAs,
}

impl FetchCall {
    /// Whom it asks: host, in lower case and without brackets, and port. Like [`Call::in_words`] a label, cut out without
    /// judging the rest.
    #[must_use]
    pub fn server(&self) -> (String, u16) {
        let host = host_of(&self.url);
        // Colons stand in an address of IPv6, too, which stands in brackets.
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            Some(_) | None => (host, None),
        };
        let is_https = self.url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let default = if is_https { 443 } else { 80 };
        (host.trim_matches(['[', ']']).to_ascii_lowercase(), port.unwrap_or(default))
    }
}

/// How a response body is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyAs {
    /// Text when the media type is text, JSON, XML, form data or unknown but valid UTF-8; bytes otherwise.
    Auto,
    /// Text, whatever the media type says.
    Text,
    /// Bytes.
    Bytes,
}

/// An HTTP response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchReply {
    /// HTTP status.
    pub status: u16,
    /// The URL that answered, after redirects.
    pub url: String,
    /// Header fields in order; names in lower case; `content-encoding` is gone when the body was decompressed.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// URLs that redirected, in order.
    pub redirects: Vec<String>,
    /// Time from the first byte sent to the last byte read, in microseconds.
    pub elapsed_us: u64,
}

/// A response body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Decoded text, and the WHATWG name of the encoding it was in.
    Text {
        /// The text.
        text: String,
        /// Encoding name, such as `UTF-8` or `windows-1252`.
        encoding: String,
    },
    /// Raw bytes.
    Bytes(Bytes),
}

impl Body {
    /// Length in bytes of what is carried.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text { text, .. } => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether nothing is carried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> (String, u16) {
        let fetch = FetchCall {
            method: "GET".to_owned(),
            url: url.to_owned(),
            literal_hosts: Vec::new(),
            headers: Vec::new(),
            body: None,
            timeout_ms: 0,
            connect_timeout_ms: 0,
            redirects_max: 0,
            body_bytes_max: 0,
            tls_verify: true,
            ca_file: None,
            encoding: None,
            body_as: BodyAs::Auto,
        };
        fetch.server()
    }

    #[test]
    fn of_a_url_host_and_port_are_told_and_nothing_else() {
        for (url, host, port) in [
            ("http://example.org", "example.org", 80),
            ("HTTPS://EXAMPLE.org/path?token=1", "example.org", 443),
            ("http://user:word@example.org:8080#x", "example.org", 8080),
            ("https://[::1]/x:1", "::1", 443),
            ("https://[2001:db8::1]:4000?a@b", "2001:db8::1", 4000),
            ("http://127.0.0.1:81\\word", "127.0.0.1", 81),
            ("", "", 80),
        ] {
            assert_eq!(server(url), (host.to_owned(), port), "{url}");
        }
    }
}
