//! The export of traces to an OpenTelemetry collector: what of a run's trace is noted for it, and when it is given away.
//!
//! A trace that is exported has what `trace` shows, and for each span a few facts beside it. When the run ends, the loop
//! copies the spans and hands them over; names and attributes are made of them on the exporter's thread (`spans`).
//!
//! What a failure says in words is not exported: it may name paths and queries, and quote what was fetched. Its code is, and
//! `runlet inspect` has the rest. Without the feature `otel`, `absent.rs` stands in place of this.

mod spans;

use std::env;
use std::sync::Arc;

use runlet_blocks::CallId;
use runlet_kernel::WorkflowControlBlock;
use runlet_otel::{Exporter, Settings, StartError, WrongVariable};
use runlet_proto::call::{Answer, Call, FetchCall};
use runlet_proto::failure::Failure;
use runlet_proto::state::Lane;

use self::spans::Ended;
use crate::core::{Core, Payload};
use crate::inbound::AttemptId;
use crate::run_record::RunRecord;
use crate::trace::{Span, Trace};
use crate::trace_context::TraceContext;

/// What the environment says of the export of traces.
#[derive(Debug, Clone, Default)]
pub struct Export {
    settings: Option<Arc<Settings>>,
}

/// Why there can be no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A variable cannot be understood.
    #[error("the OpenTelemetry export is not set up right: {0}")]
    Variable(#[from] WrongVariable),
    /// The exporter does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Export {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ExportError::Variable`], which names the variable and what it is to be.
    pub fn from_environment() -> Result<Self, ExportError> {
        Ok(Self { settings: Settings::read(|name| env::var_os(name))?.map(Arc::new) })
    }
}

/// The export, if there is one.
#[derive(Debug)]
pub(crate) struct Exporting {
    to: Option<(Exporter, Arc<Settings>)>,
    /// Spans of runs that had more of them than are kept.
    too_many: u64,
}

impl Exporting {
    pub(crate) fn start(export: &Export) -> Result<Self, ExportError> {
        let to = match &export.settings {
            None => None,
            Some(settings) => {
                let exporter = Exporter::start(settings)?;
                tracing::info!(collector = settings.host(), "traces of runs are exported");
                Some((exporter, Arc::clone(settings)))
            }
        };
        Ok(Self { to, too_many: 0 })
    }

    /// Spans that were exported, and that were dropped for each reason: there was no room, the collector refused them, it could
    /// not be reached, their run had too many.
    pub(crate) fn counts(&self) -> (u64, [u64; 4]) {
        let counts = self.to.as_ref().map(|(exporter, _)| exporter.counts()).unwrap_or_default();
        (counts.exported, [counts.queue_full, counts.refused, counts.failed, self.too_many])
    }

    /// Sends what waits, within a bound.
    pub(crate) async fn close(self) {
        if let Some((exporter, _)) = self.to {
            let _counts = exporter.close().await;
        }
    }
}

/// Of a trace: whether it is exported.
#[derive(Debug, Default)]
pub(crate) struct Recorded(bool);

/// Of a span: what is exported beside what is shown. Nothing of a trace that is not exported.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts(Option<Box<Known>>);

/// What is known of a span.
#[derive(Debug, Default, Clone)]
struct Known {
    /// Of an attempt: where it is executed.
    lane: Option<Lane>,
    /// Of a call: whom it asks.
    asks: Option<Asked>,
    /// What was answered to it: a status of HTTP.
    status: Option<u16>,
    /// Code of the failure it ended with.
    error: Option<Box<str>>,
}

/// Whom a fetch asks for what, without the path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    method: Box<str>,
    address: Box<str>,
    port: u16,
}

impl Facts {
    /// Bytes held, for the bound on what is remembered.
    pub(crate) fn bytes(&self) -> usize {
        let of_text = |known: &Known| {
            let asks = known.asks.as_ref().map_or(0, |asks| asks.method.len() + asks.address.len());
            asks + known.error.as_ref().map_or(0, |error| error.len())
        };
        self.0.as_ref().map_or(0, |known| size_of::<Known>() + of_text(known))
    }

    fn known(&mut self) -> &mut Known {
        self.0.get_or_insert_default()
    }
}

impl Asked {
    fn of(fetch: &FetchCall) -> Self {
        let (address, port) = fetch.server();
        Self { method: fetch.method.as_str().into(), address: address.into(), port }
    }
}

impl Core {
    /// Gives a run that is about to begin its place in a trace, and decides whether that is exported. A caller's trace stays what
    /// it is; without one the run begins a trace of its own.
    pub(crate) fn place_in_trace(&mut self, record: &mut RunRecord) {
        let Some((_, settings)) = &self.export.to else { return };
        let ids = &mut self.run_ids;
        let context = record.trace.context.get_or_insert_with(|| {
            let trace_id = u128::from(ids.next_random()) << 64 | u128::from(ids.next_random());
            Box::new(TraceContext::own(trace_id.max(1)))
        });
        let parent_sampled = (!context.is_own()).then_some(context.sampled);
        // Whom the run asks is told what is true of the run.
        context.sampled = settings.sampler().samples(context.trace_id, parent_sampled);
        record.trace.recorded = Recorded(context.sampled);
    }

    /// An attempt has begun, or has begun again elsewhere.
    pub(crate) fn export_begin(&mut self, id: AttemptId) {
        if self.export.to.is_none() {
            return;
        }
        let block = self.kernel.run(id.run).and_then(|run| run.blocks.get(id.block.as_usize()));
        let Some(lane) = block.map(|block| block.lane()) else { return };
        if let Some(known) = self.known(id, None) {
            known.lane = Some(lane);
        }
    }

    /// An attempt has made a call.
    pub(crate) fn export_call(&mut self, id: AttemptId, call: CallId, made: &Call) {
        let asks = match made {
            Call::Fetch(fetch) => Asked::of(fetch),
            // It asks nobody else: its span has the span of the run that it begins below it.
            Call::Workflow(_) => return,
            // The store is a part of this engine: its span says what it was, and asks nobody.
            Call::Memory(_) | Call::Send(_) | Call::Receive(_) => return,
        };
        if let Some(known) = self.known(id, Some(call)) {
            known.asks = Some(asks);
        }
    }

    /// A call is about to end with its answer.
    pub(crate) fn export_answer(&mut self, id: AttemptId, call: CallId, answer: &Answer) {
        let Some(known) = self.known(id, Some(call)) else { return };
        match answer {
            Answer::Fetch(reply) => known.status = Some(reply.status),
            Answer::Workflow { .. } | Answer::Memory(_) | Answer::Sent(_) | Answer::Received(_) => {}
            Answer::Failed(failure) => known.error = Some(failure.code.as_str().into()),
        }
    }

    /// An attempt is about to end, with a failure if there is one.
    pub(crate) fn export_failure(&mut self, id: AttemptId, failure: Option<&Failure>) {
        if let Some(failure) = failure
            && let Some(known) = self.known(id, None)
        {
            known.error = Some(failure.code.as_str().into());
        }
    }

    /// The run has ended: its spans are given to the exporter, if its trace is exported.
    pub(crate) fn export_run(&mut self, run: &WorkflowControlBlock<Payload>, record: &RunRecord) {
        let Some((exporter, _)) = self.export.to.as_ref().filter(|_| record.trace.recorded.0) else { return };
        let Some(ended) = Ended::of(run, record, self.clock) else { return };
        self.export.too_many += record.trace.dropped();
        exporter.give(ended.count(), move || ended.spans());
    }

    /// What is known of an open span, if its trace is exported.
    fn known(&mut self, id: AttemptId, call: Option<CallId>) -> Option<&mut Known> {
        self.export.to.as_ref()?;
        let trace: &mut Trace = &mut self.runs.get_mut(&id.run)?.trace;
        if !trace.recorded.0 {
            return None;
        }
        let span: &mut Span = trace.open_mut(id.block, id.attempt, call)?;
        Some(span.facts.known())
    }
}
