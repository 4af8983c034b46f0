//! The messages of OTLP (`opentelemetry/proto/trace/v1/trace.proto`, version 1), as far as they are sent and read here.
//!
//! Their fields and numbers are stable. What this writes is read by the project's own structs in the tests.

use std::borrow::Cow;

use crate::limits::TEXT_BYTES_MAX;
use crate::span::{self, Kind, Value};

/// What is sent: `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// What is answered: `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// That not all was taken.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// Why nothing was taken: the `Status` of a refusal.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Refusal {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// Who measured.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

/// A span on its way.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(string, tag = "2")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(int64, tag = "3")]
    Int(i64),
}

/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// Flags of a span: that of W3C Trace Context for a trace that is exported, and two that say whether another process has the
/// parent.
const SAMPLED: u32 = 0x01;
const KNOWS_IF_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

impl Request {
    /// A batch of spans.
    pub(crate) fn new(resource: &Resource, spans: Vec<Span>) -> Self {
        let scope = Scope { name: "runlet".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        Self { resource_spans: vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }] }
    }
}

impl Resource {
    /// With these attributes.
    pub(crate) fn new(attributes: &[(String, String)]) -> Self {
        let attributes = attributes.iter().map(|(key, value)| key_value(key, Any::String(cut(value).into_owned())));
        Self { attributes: attributes.collect() }
    }
}

impl From<span::Span> for Span {
    fn from(span: span::Span) -> Self {
        let span::Span { place, name, kind, began_ns, ended_ns, attributes, events, error } = span;
        let remote = if place.parent_is_remote { KNOWS_IF_REMOTE | IS_REMOTE } else { KNOWS_IF_REMOTE };
        Self {
            trace_id: place.trace_id.to_be_bytes().to_vec(),
            span_id: place.span_id.to_be_bytes().to_vec(),
            trace_state: place.state.to_string(),
            parent_span_id: place.parent_id.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            name: cut(&name).into_owned(),
            kind: match kind {
                Kind::Internal => 1,
                Kind::Server => 2,
                Kind::Client => 3,
            },
            start_time_unix_nano: began_ns,
            end_time_unix_nano: ended_ns.max(began_ns),
            attributes: attributes.into_iter().map(|(key, value)| key_value(key, value.into())).collect(),
            events: events
                .into_iter()
                .map(|event| Event { time_unix_nano: event.at_ns, name: event.name.to_owned() })
                .collect(),
            status: error.map(|message| Status { message: cut(&message).into_owned(), code: ERROR }),
            flags: SAMPLED | remote,
        }
    }
}

impl From<Value> for Any {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => Self::String(cut(&text).into_owned()),
            Value::Number(number) => Self::Int(number),
        }
    }
}

fn key_value(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Text within [`TEXT_BYTES_MAX`].
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use opentelemetry_proto::tonic::common::v1::any_value::Value as TheirValue;
    use prost::Message as _;

    use super::*;
    use crate::span::Place;

    fn span() -> span::Span {
        span::Span {
            place: Place {
                trace_id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
                span_id: 0x1112_1314_1516_1718,
                parent_id: Some(0x2122_2324_2526_2728),
                parent_is_remote: true,
                state: Arc::from("a=1"),
            },
            name: "fetch page".into(),
            kind: Kind::Client,
            began_ns: 1_700_000_000_000_000_001,
            ended_ns: 1_700_000_000_000_000_002,
            attributes: vec![("text", "ä".repeat(TEXT_BYTES_MAX).into()), ("number", (-3_i64).into())],
            events: vec![span::Event { at_ns: 7, name: "began" }],
            error: Some("it failed".to_owned()),
        }
    }

    fn read(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let resource = Resource::new(&[("service.name".to_owned(), "shop".to_owned())]);
        let bytes = Request::new(&resource, spans).encode_to_vec();
        ExportTraceServiceRequest::decode(&*bytes).expect("a message of the protocol")
    }

    #[test]
    fn the_projects_own_messages_read_all_that_is_written() {
        let read = read(vec![span().into()]);
        let of_resource = &read.resource_spans[0];
        let resource = of_resource.resource.as_ref().expect("a resource");
        assert_eq!(resource.attributes[0].key, "service.name");
        let scope = &of_resource.scope_spans[0];
        assert_eq!(scope.scope.as_ref().expect("a scope").name, "runlet");
        let [span] = &scope.spans[..] else { panic!("{scope:?}") };
        assert_eq!(span.trace_id, (1..=16).collect::<Vec<u8>>());
        assert_eq!(span.span_id, (0x11..=0x18).collect::<Vec<u8>>());
        assert_eq!(span.parent_span_id, (0x21..=0x28).collect::<Vec<u8>>());
        assert_eq!((span.trace_state.as_str(), span.name.as_str(), span.flags), ("a=1", "fetch page", 0x301));
        assert_eq!(span.kind, opentelemetry_proto::tonic::trace::v1::span::SpanKind::Client as i32);
        assert_eq!(
            (span.start_time_unix_nano, span.end_time_unix_nano),
            (1_700_000_000_000_000_001, 1_700_000_000_000_000_002)
        );
        let value = |at: usize| span.attributes[at].value.as_ref().and_then(|value| value.value.clone());
        let Some(TheirValue::StringValue(text)) = value(0) else { panic!("{span:?}") };
        assert_eq!(text.len(), TEXT_BYTES_MAX + '…'.len_utf8());
        assert_eq!(value(1), Some(TheirValue::IntValue(-3)));
        assert_eq!((span.events[0].time_unix_nano, span.events[0].name.as_str()), (7, "began"));
        let status = span.status.as_ref().expect("a status");
        assert_eq!(
            (status.code(), status.message.as_str()),
            (opentelemetry_proto::tonic::trace::v1::status::StatusCode::Error, "it failed")
        );
    }

    #[test]
    fn what_has_no_parent_and_did_not_fail_says_so() {
        let place = Place { parent_id: None, parent_is_remote: false, ..span().place };
        let read = read(vec![span::Span { place, error: None, ended_ns: 0, ..span() }.into()]);
        let span = &read.resource_spans[0].scope_spans[0].spans[0];
        assert!(span.parent_span_id.is_empty() && span.status.is_none(), "{span:?}");
        assert_eq!((span.flags, span.end_time_unix_nano), (0x101, span.start_time_unix_nano));
    }

    #[test]
    fn what_a_collector_answers_is_read() {
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() });
        let bytes = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let read = Response::decode(&*bytes).expect("a message").partial_success.expect("not all");
        assert_eq!((read.rejected_spans, read.error_message.as_str()), (3, "too old"));
    }
}
