//! Stands for `export` in a binary that is built without the feature `otel`: nothing is exported, and whoever asks for it is
//! told so once.

use std::convert::Infallible;

use runlet_blocks::CallId;
use runlet_kernel::WorkflowControlBlock;
use runlet_proto::call::{Answer, Call};
use runlet_proto::failure::Failure;

use crate::core::Core;
use crate::inbound::AttemptId;
use crate::run_record::RunRecord;

/// The variables that ask for an export.
const WANTED: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// What the environment says of the export of traces.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// The variable that asks for one.
    wanted: Option<&'static str>,
}

/// Why there can be no export. Without the feature nothing can be wrong.
pub type ExportError = Infallible;

impl Export {
    /// Looks whether somebody asks for one.
    ///
    /// # Errors
    /// None without the feature.
    pub fn from_environment() -> Result<Self, ExportError> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Ok(Self { wanted: WANTED.into_iter().find(is_set) })
    }
}

/// No export.
#[derive(Debug)]
pub(crate) struct Exporting;

impl Exporting {
    pub(crate) fn start(export: &Export) -> Result<Self, ExportError> {
        if let Some(variable) = export.wanted {
            tracing::warn!(
                "{variable} is set, and nothing will be exported: this runlet is built without OpenTelemetry export; \
                 `cargo build --release --features otel` builds it in"
            );
        }
        Ok(Self)
    }

    /// Spans that were exported, and that were dropped for each reason.
    pub(crate) const fn counts(&self) -> (u64, [u64; 4]) {
        (0, [0; 4])
    }

    pub(crate) async fn close(self) {}
}

/// Of a trace: whether it is exported.
#[derive(Debug, Default)]
pub(crate) struct Recorded(());

impl Recorded {
    /// It is not.
    const fn stays_so(&mut self) {
        self.0 = ();
    }
}

/// Of a span: what is exported beside what is shown.
#[derive(Debug, Default)]
pub(crate) struct Facts(());

impl Facts {
    pub(crate) const fn bytes(&self) -> usize {
        0
    }
}

impl Core {
    pub(crate) const fn place_in_trace(&self, record: &mut RunRecord) {
        record.trace.recorded.stays_so();
    }

    pub(crate) const fn export_begin(&self, _id: AttemptId) {}

    pub(crate) const fn export_call(&self, _id: AttemptId, _call: CallId, _made: &Call) {}

    pub(crate) const fn export_answer(&self, _id: AttemptId, _call: CallId, _answer: &Answer) {}

    pub(crate) const fn export_failure(&self, _id: AttemptId, _failure: Option<&Failure>) {}

    pub(crate) const fn export_run<P>(&self, _run: &WorkflowControlBlock<P>, _record: &RunRecord) {}
}
