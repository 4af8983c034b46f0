//! Every bound of a connection, by name.

/// What one read asks the kernel for, and what an idle connection's read buffer holds, in bytes.
pub const READ_BYTES: usize = 64 * 1024;

/// A buffer that grew beyond this for a big frame shrinks back to [`READ_BYTES`] once the frame is gone, in bytes.
pub const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// A writer with this many unsent bytes takes no further message; a peer that never reads cannot make us hold more than
/// this and one frame.
pub const WRITE_BUFFERED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest first frame, in bytes: a `Hello` is ten bytes, and whoever announces more than this speaks something else.
pub const HELLO_BYTES_MAX: usize = 64;

/// How long the connecting side waits for the other side's `Hello`, in milliseconds.
pub const CONNECT_HANDSHAKE_MS_MAX: u64 = 5_000;

/// Longest path of a Unix socket, in bytes, without the terminating zero (unix(7), `sun_path`).
pub(crate) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Longest message of a [`crate::handoff::Handoff`], in bytes: the paths of what a worker with programs may read are the
/// longest there is to be said.
pub(crate) const HANDOFF_BYTES_MAX: usize = 8 * 1024;

/// Descriptors of one blocking connection that may wait to be taken; a further one is closed.
pub(crate) const DESCRIPTORS_MAX: usize = 4;
