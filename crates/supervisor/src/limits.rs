//! Every bound of the supervisor, by name.

use std::time::Duration;

/// Most live runs at once; a further one is refused and its client told to come back.
pub const LIVE_RUNS_MAX: usize = 50_000;

/// Messages from connections, calls and pool threads that may wait for the loop; senders wait beyond that.
pub const INBOUND_MAX: usize = 4_096;

/// Messages the loop takes at one go before it performs what came of them and looks at its timers again.
pub const INBOUND_BATCH: usize = 256;

/// Calls to shared memory in a Redis server that go there together: of more of them the first would be answered later than need
/// be, and nothing would be gained.
pub const TOGETHER_MAX: usize = 32;

/// Groups of such calls under way at once: while the server has some, others are made and read.
pub const TOGETHER_UNDER_WAY_MAX: usize = 8;

/// Such calls that wait for the others; one more goes alone.
pub const TOGETHER_QUEUE_MAX: usize = 4_096;

/// Control connections at once; a further one is closed at once.
pub const CONNECTIONS_MAX: usize = 512;

/// How long accepting pauses after it failed, as it does without file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Requests of one connection that may be unanswered at once; a further one is refused.
pub const PENDING_PER_CONNECTION_MAX: usize = 65_536;

/// Bytes of replies that may wait for a client that does not read; beyond that it is disconnected.
pub const OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of replies that are encoded ahead for a client; a hook's reply beyond it waits as it is.
pub const ENCODED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the bodies of hooks' replies that may wait so for one client; a further one is refused.
pub const REPLIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long a client may take for its side of the handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// Stack of a pool thread, in bytes. Blocks do not recurse over their input.
pub const POOL_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Ended runs that are remembered.
pub const HISTORY_RUNS_MAX: usize = 1_000;

/// Bytes of inputs, outputs, log lines and spans that the remembered runs may hold together.
pub const HISTORY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of one input or output that are remembered of an ended run; a larger one is forgotten and marked so.
pub const HISTORY_OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Log lines kept of one run; the oldest go first.
pub const LOG_LINES_MAX: usize = 1_000;

/// Bytes of the log lines kept of one run; the oldest go first. A small part of [`HISTORY_BYTES_MAX`], so that a run that
/// floods its log is remembered, and others beside it.
pub const LOG_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one log line; the rest is cut off.
pub const LOG_LINE_BYTES_MAX: usize = 4 * 1024;

/// Spans kept of one run, attempts and calls together; the oldest go first.
pub const TRACE_SPANS_MAX: usize = 512;

/// Bytes of one text in a span, such as the cause of a failure; the rest is cut off.
pub const TRACE_TEXT_BYTES_MAX: usize = 256;

/// Workflows that have numbers of their own among the metrics; the rest are counted together.
pub(crate) const METRICS_WORKFLOWS_MAX: usize = 100;

/// Bytes of a `tracestate` that are passed on: what W3C Trace Context asks to be, at the least (section 3.3.1.5).
pub(crate) const TRACE_STATE_BYTES_MAX: usize = 512;

/// Most members of a `tracestate` (section 3.3.1.1); with more it is not valid.
pub(crate) const TRACE_STATE_MEMBERS_MAX: usize = 32;

/// Runs in one listing; the newest are listed.
pub const RUNS_LISTED_MAX: usize = 10_000;

/// Bytes of one input or output shown by an inspection; a larger one is marked instead.
pub const INSPECT_OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Deployed workflows at once.
pub const WORKFLOWS_MAX: usize = 10_000;

/// Longest text of a definition, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the texts of all deployed definitions together; they are kept to be shown.
pub const SOURCES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long connections may take to write what is queued for them when the supervisor ends.
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// How long a pool thread waits for work before it ends.
pub const IDLE_THREAD_ENDS_AFTER: Duration = Duration::from_millis(300);

/// How long after the last run memory is given back to the system: soon, when connections with large buffers are closed; once
/// they are; and when all idle connections to other servers have been closed.
pub const RELEASE_MEMORY_AFTER: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(600), Duration::from_secs(35)];

/// How long a worker that was just told its run has the CPU before others are forked, while some wait idle.
pub(crate) const REFILL_AFTER: Duration = Duration::from_millis(1);

/// Idle workers that wait for a heavy run of any definition.
pub(crate) const WORKERS_SPARE: usize = 2;

/// Runs that may wait for each other in a row, each begun by a block of the one before.
pub(crate) const CHILDREN_DEPTH_MAX: usize = 32;

/// Definitions that idle workers read in advance.
pub(crate) const FAVOURITES_MAX: usize = 2;

/// Idle workers that have read the same definition.
pub(crate) const WORKERS_PER_FAVOURITE: usize = 2;

/// Heavy runs of others after which a definition that is read in advance gives its place to one that comes more often.
pub(crate) const FAVOURITE_STAYS_RUNS: u64 = 16;

/// Zygotes that may end one after the other without a worker in between; then the runs that wait for a worker fail.
pub(crate) const ZYGOTES_LOST_MAX: u32 = 3;

/// Messages that may wait for a worker. More calls than these cannot be under way in one.
pub(crate) const TO_WORKER_MAX: usize = 1_024;

/// Calls that one attempt in a worker may have under way at once: as many as `parallel` of `for_each` may be.
pub(crate) const CALLS_AT_ONCE_MAX: usize = 256;

/// Inputs and outputs up to this size, in bytes, are converted for a worker without leaving the loop's thread.
pub(crate) const CONVERTED_IN_PLACE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are copied for a worker without leaving the loop's thread.
pub(crate) const COPIED_IN_PLACE_BYTES_MAX: u64 = 512 * 1024;

/// Most bytes of what one message hands to a worker beside it; more fails the block. Twice what a fetch may bring, since its
/// output holds a JSON document as text and as value.
pub(crate) const PARCEL_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// Memory a heavy run may take unless its workflow says otherwise.
pub(crate) const HEAVY_RUN_MEMORY_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;

/// CPU time a heavy run may use unless its workflow says otherwise, in seconds.
pub(crate) const HEAVY_CPU_S_DEFAULT: u64 = 60;

/// Nice value of workers: a tenth of the weight of a usual process. They have all of what nobody else wants.
pub const WORKER_NICE_DEFAULT: u8 = 10;

/// Memory that all heavy runs together may be allowed unless the configuration says otherwise: 4 GiB.
pub const HEAVY_MEMORY_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes of the names and paths of all programs that are allowed, lengths counted: those of one workflow fit the message that
/// has its worker forked.
pub(crate) const PROGRAM_PATHS_BYTES_MAX: usize = 7 * 1024;

/// How long a program may take to end once it was asked to; then it is killed.
pub(crate) const PROGRAM_STOP_GRACE: Duration = Duration::from_secs(2);

/// How long processes that an earlier supervisor left behind may take to end once they were killed.
pub(crate) const LEFTOVERS_END_WITHIN: Duration = Duration::from_secs(2);

/// How long a worker may live on after it closed its connection.
pub(crate) const CLOSED_WORKER_ENDS_WITHIN: Duration = Duration::from_millis(200);

/// Largest page, in bytes, that is scraped on a pool thread when the workflow leaves the choice: a fraction of a second of
/// parsing. What lies between is a matter of taste; a worker costs a larger page little beside its parsing.
pub(crate) const LIGHT_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most bytes that an attempt may take to a worker when it is moved there: in JSON they still fit [`PARCEL_BYTES_MAX`].
pub(crate) const MOVED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// CPU time one attempt may use on pool threads before it, or its workflow, is moved to the heavy lane.
pub(crate) const LIGHT_CPU_BUDGET: Duration = Duration::from_millis(200);

/// How long a version of a workflow that overran that budget computes in the heavy lane only.
pub(crate) const OVERRAN_FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// Versions that are remembered to have overrun.
pub(crate) const OVERRAN_WORKFLOWS_MAX: usize = 1_024;

/// Workers one run may cost by their untimely ends; then it is quarantined.
pub(crate) const WORKERS_PER_RUN_MAX: usize = 3;

/// Processes and threads of a worker, itself among them.
pub(crate) const WORKER_TASKS_MAX: u32 = 1;

/// Memory that the control group of a worker may have beyond what its run may take, in bytes: its stack (8 MiB), its own
/// copies of what it shares with its zygote when it is born (some MiB), and what the kernel keeps for it, such as page tables
/// and messages that wait. The limit of its data (RLIMIT_DATA) is exact and comes first.
pub(crate) const GROUP_MEMORY_SLACK_BYTES: u64 = 32 * 1024 * 1024;

/// Control groups without a worker that are kept for the next ones.
pub(crate) const GROUPS_KEPT_MAX: usize = 64;

/// How long processes may take to leave control groups that are to be removed, once they were killed.
pub(crate) const GROUPS_REMOVED_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks whether they have.
pub(crate) const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

pub use runlet_journal::limits::RETENTION_RUNS_DEFAULT;
pub use runlet_memory::limits::{KEYS_DEFAULT as MEMORY_KEYS_DEFAULT, MESSAGES_DEFAULT as MEMORY_MESSAGES_DEFAULT};

/// How long an idempotency key is known.
pub const KEY_AGE_MAX: Duration = Duration::from_hours(24);

/// Idempotency keys known at once; the oldest go first.
pub const KEYS_MAX: usize = 100_000;

/// Requests that read the journal at once.
pub(crate) const PAST_READS_MAX: usize = 8;
/// What a service manager is told that a stop takes beyond the drain: the last answers, the workers' ends, their control groups.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(15);

/// How long who reads the journal waits for what was appended before.
pub(crate) const READ_WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// Runs that COMPLETED and were promised nothing (those that hooks' clients wait for) that are written down within a
/// second. More would push each other out of what the journal keeps within a minute, and would take the CPU from those that
/// are still to be answered.
pub(crate) const RELAXED_PER_SECOND_MAX: u32 = 2_000;

/// Bytes that may wait to be written to the journal before further runs are refused: half of what it takes.
pub(crate) const JOURNAL_WAITING_BYTES_MAX: u64 = runlet_journal::limits::BACKLOG_BYTES_MAX / 2;
