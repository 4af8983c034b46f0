//! Every bound of shared memory, each with its unit and its reason.

use std::time::Duration;

/// Bytes of a key's name.
pub const KEY_BYTES_MAX: usize = 512;

/// Keys in one listing; more are read page by page.
pub const LIST_ITEMS_MAX: usize = 1_000;

/// Bytes of keys and values in one listing: an answer has to fit into a frame (16 MiB).
pub const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Levels of lists and objects in a value or message: a JSON reader gives up at 128, and an append and a block's output put
/// some around it.
pub const JSON_DEPTH_MAX: usize = 100;

/// Longest time to live of a lock: who forgets to give one back must not keep others out for a day.
pub const LOCK_TTL_MAX: Duration = Duration::from_hours(1);

/// Longest time to live of a key, about a hundred years: a longer one is a slip of the pen.
pub const TTL_MAX: Duration = Duration::from_hours(24 * 36_500);

/// Namespaces of one store.
pub const NAMESPACES_MAX: usize = 1_000;

/// Channels of one store.
pub const CHANNELS_MAX: usize = 1_000;

/// Keys that have expired and are removed at once; a read never shows one that is left.
pub const EXPIRED_AT_ONCE: usize = 1_000;

/// Answers kept for one run, so that a call which is repeated after a crash is not done twice.
pub const ANSWERS_PER_RUN_MAX: usize = 100_000;

/// Bytes of the answers kept for one run: each `append` is answered with the whole list. The oldest go first, and only calls
/// of blocks that are under way can be repeated.
pub const ANSWER_BYTES_PER_RUN_MAX: usize = 16 * 1024 * 1024;

/// Changes that a watcher may lie behind before it is told that it missed some.
pub const WATCH_BACKLOG_MAX: usize = 256;

/// Bytes of a value that a change carries; of a larger one only the version is told.
pub const WATCH_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Keys of a namespace, unless the configuration says otherwise.
pub const KEYS_DEFAULT: u64 = 100_000;

/// Bytes of a namespace, unless the configuration says otherwise.
pub const BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Bytes of one value or message, unless the configuration says otherwise.
pub const VALUE_BYTES_DEFAULT: u64 = 1024 * 1024;

/// Messages of a channel, unless the configuration says otherwise.
pub const MESSAGES_DEFAULT: u64 = 10_000;

/// Bytes of a channel's messages, unless the configuration says otherwise.
pub const MESSAGE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// How long connecting to a Redis server may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a Redis server may take to answer; then the connection counts as broken.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call waits for a Redis server that is away.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause before a command is tried again at first, then twice as long each time up to [`REPEAT_LAST`].
pub const REPEAT_FIRST: Duration = Duration::from_millis(20);

/// See [`REPEAT_FIRST`].
pub const REPEAT_LAST: Duration = Duration::from_secs(1);

/// How long a message that was delivered belongs to its run after its supervisor last said so; it says so three times as
/// often.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long until who waits looks again although nobody told it to: a wake-up may be lost with its connection.
pub const WAIT_RECHECK: Duration = Duration::from_secs(1);

/// How long Redis keeps the answer to a call that must not be done twice.
pub const ANSWER_KEPT: Duration = Duration::from_hours(24);

/// For how long the name of a namespace or a channel counts as known to the server; then it is told again.
pub const NAME_NOTED: Duration = Duration::from_secs(60);

/// Answers of a run that are given up with one command.
pub const FORGOTTEN_AT_ONCE: usize = 500;

/// How often a value is computed anew here, since another writer came first.
pub const COMPUTE_TRIES_MAX: usize = 64;

/// Longest pause before a value is computed anew; each is drawn, so that many writers of one key do not come at once again.
pub const COMPUTE_PAUSE_MAX: Duration = Duration::from_millis(32);

/// Wake-ups that one listener may lie behind.
pub const WAKE_UPS_MAX: usize = 256;
