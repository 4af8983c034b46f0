//! The control blocks of the founding document: what is known of a run and of its blocks.

use std::fmt;
use std::sync::Arc;

use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::state::{BlockStatus, Lane, RunState};

use crate::aged::PlaceId;
use crate::plan::Plan;
use crate::ready::EntryId;
use crate::shape::open_dependencies;
use crate::slots::HolderId;
use crate::time::{Span, Time};
use crate::timers::TimerId;
use crate::transition::Phase;

/// Everything about one run.
#[derive(Debug, Clone)]
pub struct WorkflowControlBlock<P> {
    /// Names the run.
    pub id: RunId,
    /// What it executes: workflow, version, the shape of its blocks.
    pub plan: Arc<Plan>,
    /// What it does.
    pub state: RunState,
    /// Its blocks, in definition order.
    pub blocks: Vec<BlockControlObject<P>>,
    /// Input of the run: output of its triggers, input of blocks that depend on nothing.
    pub input: P,
    /// Output of the last block, in definition order, that completed; the input if none did. Only of a COMPLETED run.
    pub output: Option<P>,
    /// The block that was dispatched or continued last; at first the first one that is no trigger.
    pub current_block_index: BlockIndex,
    /// Higher runs first.
    pub priority: Priority,
    /// Heavy if one of its blocks asks for it or the run was promoted.
    pub lane: Lane,
    /// When it was submitted.
    pub created_at: Time,
    /// When something about it changed last.
    pub updated_at: Time,
    /// Why it FAILED or was STOPPED.
    pub error: Option<Box<RunError>>,
    /// Whether its own deadline ended it.
    pub timed_out: bool,
}

/// Everything about one block of a run.
#[derive(Debug, Clone)]
pub struct BlockControlObject<P> {
    /// Unique in its workflow.
    pub id: Arc<str>,
    /// What became of it.
    pub status: BlockStatus,
    /// Its output, once it COMPLETED. A SKIPPED block has none of its own, it passes its input on.
    pub output: Option<P>,
    /// How many attempts failed and were followed by another.
    pub retries: u32,
    /// The last attempt; 0 before the first dispatch.
    pub attempt: Attempt,
    /// When the last attempt began.
    pub started_at: Option<Time>,
    /// When the last attempt ended.
    pub ended_at: Option<Time>,
    /// Why its last attempt failed, if it did; kept on a SKIPPED block that failed under `on_error: "skip"`.
    pub failure: Option<Box<Failure>>,
    pub(crate) phase: Phase,
    /// How many of its dependencies are not done.
    pub(crate) open: u32,
    /// Where the attempt under way was dispatched to.
    pub(crate) lane: Lane,
    /// The queue it stands in.
    pub(crate) place: Place,
    /// The slot it holds.
    pub(crate) holder: Option<HolderId>,
    /// It may be held half-done without a slot.
    pub(crate) parking: bool,
    /// It was, or will be, asked to drop what it has done: it is dispatched again instead of continued.
    pub(crate) again: bool,
    /// The attempt under way has made calls.
    pub(crate) called: bool,
    /// How long the attempt under way held a slot before the one it may hold now.
    pub(crate) used: Span,
    /// Limit of the attempt under way, or time of the next one; never both.
    pub(crate) timer: Option<TimerId>,
    pub(crate) retry_at: Time,
    pub(crate) waits_on: Option<Arc<str>>,
}

/// Where an entry of a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no queue: nothing to do, or its run is paused or not admitted.
    Nowhere,
    /// In the ready queue.
    Ready(EntryId),
    /// In the line for heavy memory.
    Memory(PlaceId),
    /// In the line for a place to be parked at: begun, dropped, and to begin again.
    Parking(PlaceId),
    /// Behind other heavy blocks of its run, which share one worker.
    Worker,
}

/// Why a run ended before its last block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError {
    /// Id of the block that failed or was under way, if there was one.
    pub block: Option<Arc<str>>,
    /// Its attempt; 0 if there was none.
    pub attempt: Attempt,
    /// The cause.
    pub failure: Failure,
}

/// What a BLOCKED run waits for, or one that is READY and waits for more than its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockedOn {
    /// Something outside: `fetch example.org`.
    Call(Arc<str>),
    /// The next attempt of a block, which is this far away.
    Retry(Span),
    /// A part of the memory for heavy runs, this many bytes.
    Memory(u64),
    /// Other runs of its workflow, of which no more than this many go on at once.
    Concurrency(u32),
}

impl fmt::Display for BlockedOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(on) => f.write_str(on),
            Self::Retry(delay) => write!(f, "retry in {delay}"),
            Self::Memory(bytes) => write!(f, "memory, {} MiB", bytes.div_ceil(1 << 20)),
            Self::Concurrency(most) => write!(f, "concurrency {most}"),
        }
    }
}

impl<P> WorkflowControlBlock<P> {
    /// On what a BLOCKED run waits: its first waiting block's call, else its nearest retry. On what a READY one waits, if
    /// not for its turn only: memory, or the end of other runs of its workflow. `None` in any other state.
    #[must_use]
    pub fn blocked_on(&self, now: Time) -> Option<BlockedOn> {
        match self.state {
            RunState::Blocked => {}
            RunState::Ready => return self.ready_but_held(),
            RunState::Running | RunState::Paused | RunState::Completed | RunState::Failed | RunState::Stopped => {
                return None;
            }
        }
        let call = self.blocks.iter().find_map(|block| block.waits_on.clone());
        let retry =
            || self.blocks.iter().filter(|block| block.phase == Phase::Backoff).map(|block| block.retry_at).min();
        call.map(BlockedOn::Call).or_else(|| retry().map(|at| BlockedOn::Retry(at - now)))
    }

    fn ready_but_held(&self) -> Option<BlockedOn> {
        let waits = self.blocks.iter().any(|block| matches!(block.place, Place::Memory(_)));
        let stands = self.blocks.iter().any(|block| !matches!(block.place, Place::Nowhere));
        match self.plan.concurrency {
            _ if waits => Some(BlockedOn::Memory(self.plan.heavy_memory_bytes)),
            // A run stands in no queue before its workflow's line has let it pass.
            Some(most) if !stands => Some(BlockedOn::Concurrency(most.get())),
            _ => None,
        }
    }

    /// Ids of the blocks that its current block depends on.
    pub fn dependencies(&self) -> impl Iterator<Item = &str> {
        self.block_dependencies(self.current_block_index)
    }

    /// Ids of the blocks that `block` depends on.
    pub fn block_dependencies(&self, block: BlockIndex) -> impl Iterator<Item = &str> {
        let dependencies = self.plan.blocks.get(block.as_usize()).map_or(&[][..], open_dependencies);
        dependencies.iter().map(|dependency| &*self.plan.blocks[dependency.as_usize()].id)
    }
}

impl<P> BlockControlObject<P> {
    /// When its next attempt is due, if it waits for one.
    #[must_use]
    pub fn retry_at(&self) -> Option<Time> {
        (self.phase == Phase::Backoff).then_some(self.retry_at)
    }

    /// On what its attempt waits, if it does.
    #[must_use]
    pub fn waits_on(&self) -> Option<&str> {
        self.waits_on.as_deref()
    }

    /// What it does, finer than its status.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Lane of the last attempt.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }
}
