//! What the kernel needs to know of a workflow's version: the shape of its blocks and the policies, not their work.

use std::num::NonZeroU32;
use std::sync::Arc;

use runlet_proto::ids::{BlockIndex, Priority};
use runlet_proto::state::Lane;

use crate::time::Span;

/// The schedulable shape of one version of a workflow. Shared by all its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the workflow: the unit of round-robin inside a priority, and of `concurrency`.
    pub workflow: Arc<str>,
    /// Content hash of the definition.
    pub version: Arc<str>,
    /// Priority of a run that asks for no other.
    pub priority: Priority,
    /// Most runs of the workflow that may be under way at once; further ones wait READY.
    pub concurrency: Option<NonZeroU32>,
    /// Limit for a whole run, from its creation.
    pub timeout: Option<Span>,
    /// Memory a heavy run is admitted with, in bytes.
    pub heavy_memory_bytes: u64,
    /// The blocks in definition order; at least one.
    pub blocks: Vec<PlanBlock>,
}

/// One block of a [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct PlanBlock {
    /// Id, unique in the plan.
    pub id: Arc<str>,
    /// Whether it is a trigger: completed at submission, with the run's input as its output.
    pub trigger: bool,
    /// Whether it takes no CPU slot: its compute parts are microseconds, done by the caller's loop in place.
    pub brief: bool,
    /// Lane it asks for; a promoted run uses the heavy lane for all its further blocks that are not brief.
    pub lane: Lane,
    /// Whether it may have to wait before it begins, for something that may itself need memory: it is dispatched light at first,
    /// and moved to the heavy lane when nothing keeps it any more, so that it holds no memory while it waits.
    pub gated: bool,
    /// Blocks that must be COMPLETED or SKIPPED before it starts.
    pub dependencies: Vec<BlockIndex>,
    /// Limit for one attempt, from its dispatch, waiting included.
    pub timeout: Option<Span>,
    /// What happens after a failed attempt.
    pub retry: Retry,
    /// What happens after the last failed attempt.
    pub on_error: OnError,
}

/// A retry policy. The delay before attempt *n + 1* is `delay × backoff^(n-1)`, at most `delay_max`; with jitter a
/// uniformly random part of the upper half of it. A failure that says how long to wait makes the delay longer, up to
/// `delay_max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Delay before the second attempt.
    pub delay: Span,
    /// Factor from one delay to the next, at least 1.
    pub backoff: f64,
    /// Longest delay.
    pub delay_max: Span,
    /// Whether delays are spread at random.
    pub jitter: bool,
}

impl Retry {
    /// One attempt, no retry.
    pub const NEVER: Self = Self { attempts: 1, delay: Span(0), backoff: 1.0, delay_max: Span(0), jitter: false };
}

/// What happens after the last failed attempt of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The run FAILED.
    Fail,
    /// The block is SKIPPED and its input is passed on.
    Skip,
}

/// A plan that cannot be scheduled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No blocks.
    #[error("a plan needs at least one block")]
    Empty,
    /// More than [`BlockIndex::MAX_BLOCKS`] blocks.
    #[error("a plan may have at most {} blocks", BlockIndex::MAX_BLOCKS)]
    TooManyBlocks,
    /// More dependencies than 32 bits count; a plan without repetitions has at most a million.
    #[error("a plan may not name more than 4,294,967,295 dependencies")]
    TooManyDependencies,
    /// A dependency on a block that is not there.
    #[error("block {block} depends on block {dependency}, which does not exist")]
    UnknownDependency {
        /// Position of the depending block.
        block: usize,
        /// The missing position.
        dependency: usize,
    },
    /// Blocks that wait for each other.
    #[error("block {block} depends on itself, directly or through others")]
    Cycle {
        /// Position of one block of the cycle.
        block: usize,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn block(id: &str, dependencies: &[u16]) -> PlanBlock {
        PlanBlock {
            id: id.into(),
            trigger: false,
            brief: false,
            lane: Lane::Light,
            gated: false,
            dependencies: dependencies.iter().copied().map(BlockIndex).collect(),
            timeout: None,
            retry: Retry::NEVER,
            on_error: OnError::Fail,
        }
    }

    pub(crate) fn plan(workflow: &str, blocks: Vec<PlanBlock>) -> Plan {
        Plan {
            workflow: workflow.into(),
            version: "1".into(),
            priority: Priority::DEFAULT,
            concurrency: None,
            timeout: None,
            heavy_memory_bytes: 1,
            blocks,
        }
    }

    pub(crate) fn chain(workflow: &str, blocks: u16) -> Plan {
        let one = |at: u16| block(&format!("b{at}"), &at.checked_sub(1).map_or(vec![], |before| vec![before]));
        plan(workflow, (0..blocks).map(one).collect())
    }
}
