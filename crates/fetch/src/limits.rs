//! Every bound of this crate that is not part of a call, each with its unit and its reason.

use std::time::Duration;

/// Bytes of bodies in memory at once, unless the configuration says otherwise.
pub(crate) const BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of each body that the shared budget does not count, so that small pages never wait for large downloads. How many
/// calls there are at once is the caller's bound.
pub(crate) const BODY_BYTES_FREE: usize = 64 * 1024;

/// First allocation for a body whose length is not announced; a typical page fits after one or two doublings.
pub(crate) const BODY_BYTES_FIRST: usize = 16 * 1024;

/// Largest allocation made on the word of a `content-length` alone; beyond it the buffer grows as bytes arrive.
pub(crate) const BODY_BYTES_ANNOUNCED_MAX: usize = 1024 * 1024;

/// Bytes decompressed before other work of the same thread gets its turn.
pub(crate) const DECOMPRESS_BYTES_PER_TURN: usize = 256 * 1024;

/// Bytes handed to a decompressor at a time, and the size of the buffer between two of them.
pub(crate) const DECOMPRESS_STEP_BYTES: usize = 16 * 1024;

/// Codings in one `content-encoding`; servers use one, and each costs a window of memory.
pub(crate) const CODINGS_MAX: usize = 3;

/// Window of a zstd response as a power of two: 8 MiB, the most that RFC 9659 allows in HTTP.
pub(crate) const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes of response header names and values together.
pub(crate) const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a URL, of a call or of a `location`; browsers and servers agree on less.
pub(crate) const URL_BYTES_MAX: usize = 32 * 1024;

/// Characters of a URL shown in a message.
pub(crate) const SHOWN_CHARS_MAX: usize = 300;

/// Longest time a call may ask for; longer ones are cut to it so that no clock overflows.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longest time a connection may take; a call that allows more gets this. reqwest divides it by the number of a name's
/// addresses, so that one that does not answer leaves time for the next.
pub(crate) const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// What reqwest's own connect timeout is later than that, so that ours is the one that speaks.
pub(crate) const CONNECT_TIMEOUT_LAG: Duration = Duration::from_secs(1);

/// Idle connections kept per server and pool. Between two bursts of fetches, while their pages are being worked on, all
/// connections to a busy server are idle: fewer would be opened anew each time. Each may hold a read buffer of some 400 KiB
/// until [`IDLE_CONNECTION_KEPT`] is over, or until nothing has been fetched for a moment.
pub(crate) const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 64;

/// From such a body on a connection's read buffer has grown to several times its usual 8 KiB.
pub(crate) const SWELLING_BODY_BYTES: usize = 64 * 1024;

/// How long an idle connection is kept.
pub(crate) const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(15);

/// Clients, and so pools, for TLS settings other than the default ones.
pub(crate) const OTHER_CLIENTS_MAX: usize = 16;

/// Bytes of a file of certificates.
pub(crate) const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Lookups that run at once; each holds a thread in `getaddrinfo`.
pub(crate) const LOOKUPS_MAX: usize = 8;

/// Names whose addresses are remembered.
pub(crate) const NAMES_MAX: usize = 256;

/// How long the addresses of a name are remembered. `getaddrinfo` gives no lifetime; this only merges the lookups of a
/// burst of new connections.
pub(crate) const NAME_KEPT: Duration = Duration::from_secs(1);

/// Bytes of a body searched for a `<meta charset>`, as the HTML standard advises.
pub(crate) const PRESCAN_BYTES: usize = 1024;

/// Bytes of a body from which an undeclared encoding is guessed.
pub(crate) const GUESS_BYTES_MAX: usize = 64 * 1024;

/// Times a request is repeated because a pooled connection turned out to be closed.
pub(crate) const STALE_CONNECTIONS_MAX: u32 = 3;
