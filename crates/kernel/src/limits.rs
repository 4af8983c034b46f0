//! Every bound of the kernel, by name.

use std::num::NonZeroUsize;

use crate::time::Span;

/// Most live runs (READY, RUNNING, BLOCKED, PAUSED) at once; a further submission is refused.
pub const LIVE_RUNS_MAX: usize = 1_000_000;

/// CPU slots of a kernel that was not told how many cores there are.
pub const SLOTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Memory that all heavy runs under way may hold together, unless the caller measured the machine: 1 GiB.
pub const HEAVY_MEMORY_BYTES: u64 = 1 << 30;

/// How long a heavy attempt, or a light one that ticks, may hold its slot while an equal or higher priority waits.
pub const QUANTUM: Span = Span::from_ms(20);

/// A ready entry that has waited this long is dispatched before any priority, in its share of the dispatches
/// ([`AGED_TURN`]): nothing ready waits for ever.
pub const AGEING: Span = Span::from_ms(10_000);

/// One dispatch in so many goes to the oldest aged entry, if there is one. With every dispatch, a backlog older than
/// [`AGEING`] would turn the queue into one long line, and priorities and round-robin would mean nothing.
pub const AGED_TURN: u32 = 4;

/// Light attempts that may be held half-done without a slot, each with a thread and its memory; of the others that are
/// asked for their slot, each drops what it has done and begins again when it is its turn to have such a place.
pub const PARKED_ATTEMPTS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// Most attempts a retry policy may ask for; a higher figure counts as this one.
pub const ATTEMPTS_MAX: u32 = 100;

/// Workflows without a live run whose derived tables are kept for their next run.
pub const IDLE_WORKFLOWS_MAX: usize = 1_024;

/// Versions of one workflow whose derived tables are kept; runs of older versions hold their own.
pub const SHAPES_PER_WORKFLOW_MAX: usize = 4;
