//! Every bound of a worker, by name.

/// File descriptors a worker may have open at once: its socket, the null device thrice, and what a library opens for a moment.
pub(crate) const DESCRIPTORS_MAX: u64 = 16;

/// Bytes a worker's stack may have.
pub(crate) const STACK_BYTES_MAX: u64 = 8 * 1024 * 1024;
