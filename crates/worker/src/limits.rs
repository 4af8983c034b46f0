//! Every bound of a worker, by name.

/// File descriptors a worker may have open at once: its socket, the null device thrice, and what a library opens for a moment.
pub(crate) const DESCRIPTORS_MAX: u64 = 16;

/// Bytes a worker's stack may have.
pub(crate) const STACK_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Memory that a worker which tries to exceed its memory is allowed, in bytes; it tries to have twice as much.
pub(crate) const TRIED_MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// CPU time that a worker which tries an act is allowed, in seconds.
pub(crate) const TRIED_CPU_S_MAX: u64 = 2;
