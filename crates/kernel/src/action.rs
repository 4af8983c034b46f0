//! Everything the kernel can ask for: the only way out of it.

use std::sync::Arc;

use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::{BlockStatus, Lane, RunState};

use crate::time::Span;

/// Something for the caller to do. Actions are to be performed in the order they are polled.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin an attempt, or begin it again after it was asked to drop what it had done. Unless the block is brief, it holds a CPU slot from now until `Waiting`, `Yielded` or `Finished`.
    Dispatch {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// Where.
        lane: Lane,
    },
    /// Go on with an attempt that was woken or had yielded; it holds a slot again, unless the block is brief.
    Continue {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// Where.
        lane: Lane,
    },
    /// Take the slot from a running attempt: freeze a worker, ask a light block to yield at its next tick. Answered by
    /// `Yielded`, or by `Waiting` or `Finished` if that came first.
    Preempt {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// Where it runs.
        lane: Lane,
        /// Whether it is to be held as it is, for a `Continue`; else it drops what it has done, for another `Dispatch`.
        keep: bool,
    },
    /// Give an attempt up: its run ended or it timed out. Whatever it still says is stale. If it held a slot, the slot
    /// is free only when the caller reports `Finished` for it (a thread cannot be taken back before its next tick); a
    /// heavy attempt is killed and reported likewise.
    Cancel {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// Where it runs.
        lane: Lane,
        /// Whether it held a slot (or ran in a worker) when it was given up.
        running: bool,
    },
    /// A run reached its terminal state, once. The kernel remembers it until `Kernel::forget`; whoever performs this
    /// action takes what is to be kept and forgets it.
    Ended {
        /// The run.
        run: RunId,
        /// COMPLETED, FAILED or STOPPED.
        state: RunState,
    },
    /// An attempt of a run that is recorded ended, and not with its run: its block is COMPLETED, SKIPPED, or waits for
    /// another attempt.
    Progressed {
        /// The run.
        run: RunId,
        /// The block.
        block: BlockIndex,
    },
    /// A step of an observed run.
    Observe {
        /// The run.
        run: RunId,
        /// The block it is about, if it is about one.
        block: Option<BlockIndex>,
        /// What happened.
        what: Observation,
    },
}

/// A step of an observed run.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// The run changed state.
    State(RunState),
    /// An attempt began.
    Started(Attempt),
    /// An attempt waits.
    Blocked(Arc<str>),
    /// An attempt ended.
    Ended {
        /// How.
        status: BlockStatus,
        /// Why, when it failed.
        failure: Option<Failure>,
        /// How long it took since its dispatch.
        elapsed: Span,
    },
    /// It will be tried again.
    Retry {
        /// After this delay.
        delay: Span,
    },
}
