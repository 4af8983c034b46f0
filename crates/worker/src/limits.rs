//! Every bound of a worker, by name.

use std::time::Duration;

/// File descriptors a worker may have open at once: its socket, the null device thrice, and what a library opens for a moment.
pub(crate) const DESCRIPTORS_MAX: u64 = 16;

/// File descriptors a worker with programs may have open at once, and each of these.
pub(crate) const PROGRAM_DESCRIPTORS_MAX: u64 = 256;

/// Bytes of one line that a program writes to its standard error; the rest is cut off.
pub(crate) const STDERR_LINE_BYTES_MAX: usize = 4 * 1024;

/// Bytes read from a pipe at once, and what a pipe usually holds (pipe(7)).
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// How long a worker computes at a stretch while others wait for the CPU, and whoever answers others: the least there is
/// (sched_setattr(2)). Whoever is woken beside a worker is not kept waiting for the milliseconds that are usual.
pub(crate) const SLICE: Duration = Duration::from_micros(100);

/// Signals and timers that the programs of a run may have pending at once.
pub(crate) const SIGNALS_PENDING_MAX: u64 = 64;

/// Bytes a worker's stack may have.
pub(crate) const STACK_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Memory that a worker which tries to exceed its memory is allowed, in bytes; it tries to have twice as much.
pub(crate) const TRIED_MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// CPU time that a worker which tries an act is allowed, in seconds.
pub(crate) const TRIED_CPU_S_MAX: u64 = 2;
