//! Why the kernel did not take an event.

use std::sync::Arc;

use runlet_proto::ids::{BlockIndex, RunId};
use runlet_proto::state::RunState;

use crate::plan::PlanError;

/// An event that was not taken. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// As many runs are live as there may be.
    #[error("{limit} runs are live, the most there may be; submit again when some of them have ended")]
    Full {
        /// The bound.
        limit: usize,
    },
    /// The id is in use, by a live run or by an ended one that was not forgotten yet.
    #[error("run {run} exists already; a run id is used once")]
    DuplicateRun {
        /// The id.
        run: RunId,
    },
    /// There is no such run, or it was forgotten.
    #[error("there is no run {run}")]
    UnknownRun {
        /// The id.
        run: RunId,
    },
    /// The run is in a terminal state.
    #[error("run {run} is {state} already")]
    AlreadyEnded {
        /// The run.
        run: RunId,
        /// COMPLETED, FAILED or STOPPED.
        state: RunState,
    },
    /// It is paused already.
    #[error("run {run} is PAUSED already")]
    AlreadyPaused {
        /// The run.
        run: RunId,
    },
    /// It cannot be resumed, since it is not paused.
    #[error("run {run} is {state}, not PAUSED")]
    NotPaused {
        /// The run.
        run: RunId,
        /// What it is instead.
        state: RunState,
    },
    /// Its heavy blocks could never be admitted.
    #[error(
        "workflow `{workflow}` needs {need_bytes} bytes for its heavy blocks, and all heavy runs together may hold \
         {budget_bytes}; lower its `limits.memory`, or give the supervisor more (--heavy-memory)"
    )]
    OverMemoryBudget {
        /// The workflow.
        workflow: Arc<str>,
        /// What a run of it is admitted with.
        need_bytes: u64,
        /// The whole budget.
        budget_bytes: u64,
    },
    /// The plan cannot be scheduled.
    #[error("workflow `{workflow}` cannot be scheduled: {cause}")]
    BadPlan {
        /// The workflow.
        workflow: Arc<str>,
        /// What is wrong with it.
        cause: PlanError,
    },
    /// An answer of the current attempt that its phase does not allow: a fault of the caller.
    #[error("block {} of run {run} is {phase}; `{event}` is not possible then", block.0)]
    Illegal {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// What the block does.
        phase: &'static str,
        /// What was reported.
        event: &'static str,
    },
}
