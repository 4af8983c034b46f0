//! Every bound of the kernel, by name.

use crate::time::Span;

/// Most live runs (READY, RUNNING, BLOCKED, PAUSED) at once; a further submission is refused.
pub const LIVE_RUNS_MAX: usize = 1_000_000;

/// How long a heavy attempt, or a light one that ticks, may hold its slot while an equal or higher priority waits.
pub const QUANTUM: Span = Span::from_ms(20);

/// A ready entry that has waited this long is dispatched before any priority: nothing ready waits for ever.
pub const AGEING: Span = Span::from_ms(10_000);

/// Most attempts a retry policy may ask for.
pub const ATTEMPTS_MAX: u32 = 100;
