//! A collector of OpenTelemetry: takes spans over OTLP/HTTP as the test says, reads them with the project's own messages, and
//! tells what it has.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use crate::certificate::Authority;
use crate::runlet::Installation;
use crate::upstream::{Asked, Page, Reply, Upstream};
use crate::wait::Watched;

/// A running collector; ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    upstream: Upstream,
    seen: Arc<Watched<Seen>>,
}

/// What a collector was asked, and what it took.
#[derive(Debug, Default)]
struct Seen {
    asked: Vec<Asked>,
    spans: Vec<Exported>,
}

/// A span that was exported, ids in lower-case hexadecimal digits.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Its trace.
    pub trace_id: String,
    /// The span.
    pub span_id: String,
    /// What it is part of; empty if of nothing.
    pub parent_id: String,
    /// `tracestate`.
    pub state: String,
    /// Flags of W3C Trace Context, and above them whether the parent is in another process.
    pub flags: u32,
    /// What it is.
    pub name: String,
    /// Whom it talks to.
    pub kind: SpanKind,
    /// When it began and ended, in nanoseconds since the Unix epoch.
    pub time_ns: (u64, u64),
    /// What is known of it; numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// What happened meanwhile.
    pub events: Vec<String>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What is known of who exported it.
    pub resource: BTreeMap<String, String>,
}

impl Exported {
    /// An attribute; empty if it has none of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    /// One that takes everything.
    #[must_use]
    pub fn start() -> Self {
        Self::answering([])
    }

    /// One that gives these answers first. What it answers with another status than 200 it has not taken.
    #[must_use]
    pub fn answering(answers: impl IntoIterator<Item = Reply>) -> Self {
        let (seen, handler) = Self::parts(answers.into_iter().collect());
        Self { upstream: Upstream::http(handler), seen }
    }

    /// One that takes everything, over TLS.
    #[must_use]
    pub fn with_tls(authority: &Authority) -> Self {
        let (seen, handler) = Self::parts(VecDeque::new());
        Self { upstream: Upstream::https(authority, 0, handler), seen }
    }

    fn parts(answers: VecDeque<Reply>) -> (Arc<Watched<Seen>>, impl Fn(&Asked) -> Reply + Send + Sync) {
        let seen = Arc::new(Watched::<Seen>::default());
        let answers = Mutex::new(answers);
        let into = Arc::clone(&seen);
        let handler = move |asked: &Asked| {
            let answer = answers.lock().expect("nothing panics with it").pop_front().unwrap_or_else(taken);
            let is_taken = matches!(&answer, Reply::Page(Page { status: 200, .. }));
            let spans = if is_taken { read(asked) } else { Vec::new() };
            into.change(|seen| {
                seen.asked.push(asked.clone());
                seen.spans.extend(spans);
            });
            answer
        };
        (seen, handler)
    }

    /// Its URL, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
    #[must_use]
    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// What it was asked.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.seen.look(|seen| seen.asked.clone())
    }

    /// Waits until it was asked `count` times in all.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_asked(&self, count: usize) {
        self.upstream.wait_asked(count);
    }

    /// What it has.
    #[must_use]
    pub fn spans(&self) -> Vec<Exported> {
        self.seen.look(|seen| seen.spans.clone())
    }

    /// Waits until it has the span of a run and all that belong to it, and returns them, that of the run first.
    ///
    /// # Panics
    /// When it does not get one in time.
    #[must_use]
    pub fn wait_run(&self, workflow: &str) -> Vec<Exported> {
        let found = self.seen.wait(|Seen { spans, .. }| {
            let is_root = |span: &&Exported| {
                span.attribute("runlet.workflow.name") == workflow && !span.attribute("runlet.run.state").is_empty()
            };
            let run = spans.iter().find(is_root)?.attribute("runlet.run.id").to_owned();
            // All spans of a run are given at once, the run's own first, and batches are larger than any run here.
            Some(spans.iter().filter(|span| span.attribute("runlet.run.id") == run).cloned().collect())
        });
        found.unwrap_or_else(|| panic!("no run of {workflow} was exported: {:#?}", self.spans()))
    }
}

/// The answer to what is taken.
#[must_use]
pub fn taken() -> Reply {
    taken_but(0, "")
}

/// The answer to what is taken, but for so many spans.
#[must_use]
pub fn taken_but(rejected_spans: i64, why: &str) -> Reply {
    let partial = ExportTracePartialSuccess { rejected_spans, error_message: why.to_owned() };
    let partial_success = Some(partial).filter(|partial| *partial != ExportTracePartialSuccess::default());
    Page::of("application/x-protobuf", ExportTraceServiceResponse { partial_success }.encode_to_vec()).into()
}

/// The answer to what is not taken.
#[must_use]
pub fn refusal(status: u16) -> Page {
    Page::of("text/plain", "").with_status(status)
}

/// The spans of a request.
///
/// # Panics
/// When it is no request of OTLP/HTTP.
fn read(asked: &Asked) -> Vec<Exported> {
    let header = |name: &str| asked.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((asked.method.as_str(), header("content-type")), ("POST", Some("application/x-protobuf")), "{asked:?}");
    let body = match header("content-encoding") {
        None => asked.body.to_vec(),
        Some("gzip") => {
            let mut body = Vec::new();
            GzDecoder::new(&*asked.body).read_to_end(&mut body).expect("what is called gzip is gzip");
            body
        }
        Some(other) => panic!("the body is coded as {other}"),
    };
    let request = ExportTraceServiceRequest::decode(&*body).expect("a request of OTLP");
    let mut exported = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let failed = span.status.filter(|status| status.code() == StatusCode::Error);
            exported.push(Exported {
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                state: span.trace_state,
                flags: span.flags,
                name: span.name,
                kind: SpanKind::try_from(span.kind).expect("a kind of span"),
                time_ns: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: texts(span.attributes),
                events: span.events.into_iter().map(|event| event.name).collect(),
                error: failed.map(|status| status.message),
                resource: resource.clone(),
            });
        }
    }
    exported
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute that nobody gives: {other:?}"),
    };
    let count = attributes.len();
    let texts: BTreeMap<_, _> = attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect();
    assert_eq!(texts.len(), count, "a name comes twice: {texts:?}");
    texts
}

impl Installation {
    /// The same with the binary that has the feature `otel`, which exports to `url` and waits for nothing.
    ///
    /// # Panics
    /// When that has not been built: scripts/test builds it, and nothing else does.
    #[must_use]
    pub fn exporting_to(self, url: &str) -> Self {
        self.of_feature_otel().with("OTEL_EXPORTER_OTLP_ENDPOINT", url).with("OTEL_BSP_SCHEDULE_DELAY", "1")
    }

    /// The same with the binary that has the feature `otel`.
    #[must_use]
    pub fn of_feature_otel(mut self) -> Self {
        self.program = "runlet-with-otel";
        self
    }

    /// The same with one more variable in the environment.
    #[must_use]
    pub fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.environment.push((variable, value.into()));
        self
    }
}
