//! Every bound of the gateway, by name. Those a `Config` can change are its defaults.

use std::time::Duration;

/// Most serving threads that are started by default.
pub const THREADS_DEFAULT_MAX: usize = 4;

/// Connections a thread has before the next one takes any: one busy thread sends more messages at one go than two idle ones,
/// and leaves a core to the supervisor they both wait for.
pub const CONNECTIONS_BEFORE_NEXT_THREAD: usize = 64;

/// Most open connections of all threads together.
pub const CONNECTIONS_MAX: usize = 8_192;

/// Most connections beyond that bound which are being told so, per thread; further ones are closed without a word.
pub const REFUSALS_MAX: usize = 64;

/// Most hook requests that wait for the supervisor, of all threads together.
pub const IN_FLIGHT_MAX: usize = 16_384;

/// Longest request head (request line and header fields), in bytes.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The least that bound can be set to, in bytes (a bound of hyper's).
pub const HEAD_BYTES_MIN: usize = 8 * 1024;

/// Most header fields of a request.
pub const HEADERS_MAX: usize = 100;

/// Request bodies held in memory by one thread, in bytes, beyond which further bodies are refused with 503.
pub const BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Bodies of replies that one thread holds until their clients have taken them, in bytes, beyond which further replies
/// become a 503.
pub const UNTAKEN_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bodies up to this many bytes are not counted there, so that small replies cost nothing and always pass.
pub const REPLY_BYTES_FREE: usize = 4 * 1024;

/// Requests that are encoded and not yet taken by the socket, in bytes, beyond which further ones are refused with 503.
pub const OUTBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long a client may take from the first byte of a request's head to the last.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to send a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest a client can wait for a reply, whatever its hook says.
pub const REPLY_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How long the supervisor may take to say what a run is doing that has given no reply in time; then its client is told
/// without that.
pub const OVERDUE_ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a connection may stay open without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a client may go without taking a single byte of its response.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests in flight may take to end after a shutdown began.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last messages to the supervisor may take to leave at a shutdown.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// What a client that was refused in the middle of its request may still send before its connection is closed, in bytes:
/// closed at once, the connection would be reset and the client might never read why.
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long it may take to do so.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after the operating system refused to accept a connection (out of descriptors, mostly).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the first connections wait in the listener's queue for the supervisor's routes.
pub const FIRST_ROUTES_TIMEOUT: Duration = Duration::from_secs(1);

/// First pause before a new attempt to reach the supervisor; each further one is twice as long.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(20);

/// Longest pause between two attempts to reach the supervisor.
pub const RECONNECT_MAX: Duration = Duration::from_secs(1);

/// What a client is told to wait before it tries again, in seconds.
pub const RETRY_AFTER_S: u32 = 1;

/// HTTP/2: most requests at once on one connection.
pub const STREAMS_MAX: u32 = 128;

/// Most connections to the admin listener; a further one is closed.
pub const ADMIN_CONNECTIONS_MAX: usize = 16;

/// How long a connection to the admin listener may last.
pub const ADMIN_CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the supervisor may take to tell its numbers, and how long one who wants them waits for others who do.
pub const SCRAPE_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections the operating system holds for us until they are accepted.
pub const BACKLOG: u32 = 1_024;

/// Routes that are compared with an unknown path to find the nearest.
pub const SUGGESTION_ROUTES_MAX: usize = 256;

/// Longest unknown path for which the nearest is looked up, in bytes.
pub const SUGGESTION_BYTES_MAX: usize = 128;

/// How long after a thread's last connection memory is given back to the system.
pub const RELEASE_MEMORY_AFTER: Duration = Duration::from_millis(500);

/// What a service manager is told that a stop takes beyond the drain.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
