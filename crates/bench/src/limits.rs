//! Every bound of the bench in one place.

use std::time::Duration;

/// How long a system may take until it answers after its start. n8n migrates a database first.
pub const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Time between two looks at something that is awaited: a line in a log, an open port, an idle process.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time between two looks at whether a killed process is gone.
pub const KILL_LOOK_INTERVAL: Duration = Duration::from_micros(200);

/// How long a process group may take to end after SIGTERM, before it gets SIGKILL.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a system may go on working on requests whose clients are gone, before it is started anew.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Window over which a system must have used (almost) no CPU to count as settled. Its memory is looked at after that, so it
/// is also the time in which a system may give back what it no longer needs.
pub const SETTLE_WINDOW: Duration = Duration::from_secs(1);

/// CPU ticks (10 ms each) a settled system may have used in one such window; n8n's timers need some now and then.
pub const SETTLE_TICKS_MAX: u64 = 8;

/// A window that saw fewer requests than this goes on, so that a slow system has a median at all.
pub const WINDOW_REQUESTS_MIN: u64 = 20;

/// How many times its planned length a window may last because of [`WINDOW_REQUESTS_MIN`].
pub const WINDOW_STRETCH_MAX: u32 = 4;

/// Failures after which a point is given up: it measures something else by then.
pub const FAILURES_MAX: u64 = 100;

/// Longest response head the load generator reads.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most header fields in a response.
pub const HEADER_FIELDS_MAX: usize = 64;

/// Longest response body the load generator reads.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most connections of one load.
pub const CONNECTIONS_MAX: usize = 4096;

/// Longest request head the page server reads.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// How much of a log is shown when a system did not start.
pub const LOG_TAIL_BYTES: u64 = 4 * 1024;

/// Open runs that a supervisor is to recover.
pub const RECOVERED_RUNS: u64 = 10_000;
