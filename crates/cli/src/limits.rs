//! Every bound of the command line and of the launcher.

use std::time::Duration;

/// Longest text of one definition, in bytes: a frame must hold it and what stands around it.
pub(crate) const DEFINITION_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long a worker of `runlet doctor` may take to try one act.
pub(crate) const ACT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest `--input`, in bytes.
pub(crate) const INPUT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most definition files one command takes.
pub(crate) const DEFINITIONS_MAX: usize = 10_000;

/// How long `runlet up` waits for a child to say that it is ready.
pub(crate) const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest line a child may say when it is ready, in bytes.
pub(crate) const READY_LINE_BYTES_MAX: u64 = 4_096;

/// Delay before a child that died is started again; doubles from death to death.
pub(crate) const RESTART_DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest delay between two starts of a child.
pub(crate) const RESTART_DELAY_MAX: Duration = Duration::from_secs(10);

/// A child that stayed up this long starts over with the shortest delay.
pub(crate) const STEADY_AFTER: Duration = Duration::from_secs(60);

/// How long the gateway may take to answer what is under way before `runlet up` kills it.
pub(crate) const GATEWAY_STOP_TIMEOUT: Duration = Duration::from_secs(45);

/// How much longer than its own drain the supervisor may take before `runlet up` kills it.
pub(crate) const SUPERVISOR_STOP_GRACE: Duration = Duration::from_secs(10);

/// How long a supervisor lets live runs go on after it was told to end, unless it was told otherwise at its start.
pub(crate) const DRAIN_DEFAULT: &str = "30s";

/// Memory that all heavy runs together may be allowed, unless the supervisor was told otherwise at its start.
pub(crate) const HEAVY_MEMORY_DEFAULT: &str = "4GiB";

/// How long ended runs are kept, unless the supervisor was told otherwise at its start.
pub(crate) const KEEP_DEFAULT: &str = "7d";

/// In how many bytes on disk.
pub(crate) const KEEP_BYTES_DEFAULT: &str = "1GiB";

/// Most connections the demo shop serves at once.
pub(crate) const SHOP_CONNECTIONS_MAX: usize = 512;

/// How long a client of the demo shop may take for the TLS handshake, and for the head of a request.
pub(crate) const SHOP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Replies to other requests that may wait on one control connection while one is being followed.
pub(crate) const REPLIES_PARKED_MAX: usize = 64;

/// Shortest time between two listings of `top`: the supervisor has other things to do.
pub(crate) const TOP_DELAY_MIN: Duration = Duration::from_millis(100);

/// Longest time between two listings of `top`.
pub(crate) const TOP_DELAY_MAX: Duration = Duration::from_hours(24);

/// Widest column of the names of workflows and blocks on the screen of `top`.
pub(crate) const TOP_NAME_COLUMNS_MAX: usize = 20;

/// Bytes of a definition shown with one mistake; lines beyond it are cut.
pub(crate) const EXCERPT_BYTES_MAX: usize = 600;

/// How many of them stand before the mistake.
pub(crate) const EXCERPT_BYTES_BEFORE: usize = 80;

/// Longest mark under a mistake, in bytes of the text it marks.
pub(crate) const MARK_BYTES_MAX: usize = 400;

/// Longest configuration file, in bytes.
pub(crate) const CONFIGURATION_BYTES_MAX: u64 = 1024 * 1024;

/// Most sockets a service manager may pass.
pub(crate) const PASSED_MAX: usize = 16;

/// `--memory-bytes`.
pub(crate) const MEMORY_BYTES_DEFAULT: &str = "64MiB";

/// `--memory-value`.
pub(crate) const MEMORY_VALUE_DEFAULT: &str = "1MiB";

/// `--memory-message-bytes`.
pub(crate) const MEMORY_MESSAGE_BYTES_DEFAULT: &str = "64MiB";
