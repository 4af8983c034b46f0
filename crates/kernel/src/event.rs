//! Everything the kernel can be told.

use std::sync::Arc;

use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};

use crate::plan::Plan;
use crate::restore::Restored;

/// Something that happened. `P` is the payload that flows between blocks; the kernel stores and clones it, and never
/// looks inside.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<P> {
    /// A new run.
    Submit(Submit<P>),
    /// A dispatched or continued attempt waits for something outside; it gives its slot back.
    Waiting {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// On what: `fetch example.org`.
        on: Arc<str>,
    },
    /// What a waiting attempt waited for is there; it wants to be continued.
    Woken {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
    },
    /// An attempt that was asked for its slot gave it back, and wants to go on later: to be continued, or to be dispatched
    /// again if it was to drop what it had done.
    Yielded {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
    },
    /// A light attempt belongs in the heavy lane: it gave its slot back and dropped what it had done, if anything, and is
    /// to be dispatched again there. Only what has made no calls can begin again; what is gated has only waited for its gate.
    Moved {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
    },
    /// An attempt ended.
    Finished {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// How.
        result: BlockResult<P>,
        /// A random number, for the jitter of a retry.
        random: u32,
    },
    /// The worker of a heavy run is gone; its attempts under way failed.
    WorkerLost {
        /// The run.
        run: RunId,
        /// Why, from the operating system's own evidence.
        failure: Failure,
        /// A random number, for the jitter of a retry.
        random: u32,
        /// Whether the run is to have no other: then it FAILED, whatever the policies of its blocks say.
        last: bool,
    },
    /// A light run overran its CPU budget: its further blocks that are not brief use the heavy lane.
    Promote {
        /// The run.
        run: RunId,
    },
    /// End a run.
    Stop {
        /// The run.
        run: RunId,
        /// Who or what ended it, for `error`.
        reason: Arc<str>,
    },
    /// Dispatch nothing more of a run until it is resumed.
    Pause {
        /// The run.
        run: RunId,
    },
    /// Undo a pause.
    Resume {
        /// The run.
        run: RunId,
    },
    /// Change the priority of a live run.
    Renice {
        /// The run.
        run: RunId,
        /// Its new priority.
        priority: Priority,
    },
}

/// A new run.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit<P> {
    /// Its id, never used before.
    pub run: RunId,
    /// What it executes.
    pub plan: Arc<Plan>,
    /// Input of the run: output of its trigger, or input of its first blocks.
    pub input: P,
    /// Instead of the plan's priority.
    pub priority: Option<Priority>,
    /// Whether every step of it is to be reported by [`crate::Action::Observe`].
    pub observe: bool,
    /// Whether the end of each attempt is to be reported by [`crate::Action::Progressed`].
    pub record: bool,
    /// What is known of it, if it began before this kernel did. It is taken whatever the bound on live runs says: it was
    /// within that once.
    pub restored: Option<Box<Restored<P>>>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockResult<P> {
    /// It produced an output.
    Completed(P),
    /// Its `when` was false: SKIPPED, its input is passed on.
    Skipped,
    /// It failed.
    Failed(Failure),
}
