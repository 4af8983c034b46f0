//! Every bound of the journal, each with its unit and its reason.

use std::time::Duration;

/// Bytes of entries that wait to be written; beyond it nothing more is taken, since the disk does not keep up.
pub const BACKLOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Bytes of a payload that are stored in the database; a longer one lies in a file of its own, so that pages of the
/// database stay few and equal payloads are stored once.
pub const OUTPUT_INLINE_BYTES_MAX: usize = 256 * 1024;

/// How long ended runs are kept, unless the configuration says otherwise.
pub const RETENTION_AGE_DEFAULT: Duration = Duration::from_hours(7 * 24);

/// How many ended runs are kept, unless the configuration says otherwise.
pub const RETENTION_RUNS_DEFAULT: u64 = 100_000;

/// Bytes of the database and the output files together, unless the configuration says otherwise.
pub const RETENTION_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;

/// How long an idempotency key is kept.
pub const KEY_AGE_MAX: Duration = Duration::from_hours(24);

/// Most runs one listing gives; more are read page by page.
pub const HISTORY_RUNS_MAX: usize = 10_000;

/// Most faults a check names; more say no more.
pub const CHECK_FAULTS_MAX: usize = 100;

/// Bytes of the payloads in one record: the blob has to fit into what the codec reads at once (16 MiB). Further ones become
/// files, unless they are small.
pub(crate) const RECORD_INLINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a payload that never becomes a file. A thousand blocks of this size are another 4 MiB of a record.
pub(crate) const OUTPUT_SMALL_BYTES_MAX: usize = 4 * 1024;

/// Bytes of an output file that are read at once to hash it.
pub(crate) const HASHED_BYTES_AT_ONCE: usize = 256 * 1024;

/// Characters of the cause in a run's line of the history; the whole of it is in its record.
pub(crate) const ERROR_CHARS_MAX: usize = 300;

/// How long the writer waits for another program that holds the database, such as `sqlite3` in somebody's hand.
pub(crate) const BUSY_PATIENCE: Duration = Duration::from_secs(10);

/// KiB of database pages the writer keeps in memory: the ends of its tables and indexes.
pub(crate) const CACHE_KIB: i64 = 4 * 1024;

/// Prepared statements kept; there are fewer.
pub(crate) const STATEMENTS_MAX: usize = 64;

/// Bytes written to see whether there is space again.
pub(crate) const PROBE_BYTES: i64 = 64 * 1024;

/// Pages in the write-ahead log that are copied into the database at once: about 4 MiB, a few milliseconds of a disk.
pub(crate) const CHECKPOINT_PAGES: i32 = 1_000;

/// Free bytes in the database that are kept for what comes next.
pub(crate) const VACUUM_FREE_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Share of the database that may be free: one part in so many. A file that shrinks and grows all the time is written twice.
pub(crate) const VACUUM_FREE_SHARE: u64 = 4;

/// Pages given back at once.
pub(crate) const VACUUM_PAGES: u32 = 256;

/// Ended runs removed at once, at least and at most; between them, twice as many as have just ended, so that retention keeps
/// up with any load.
pub(crate) const RETENTION_RUNS_PER_PIECE: std::ops::RangeInclusive<usize> = 64..=2_048;

/// Bytes of entries in one transaction; the rest is in the next.
pub(crate) const BATCH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Entries in one transaction.
pub(crate) const BATCH_ENTRIES_MAX: usize = 4_096;

/// How long entries nobody waits for may lie before they are written.
pub(crate) const RELAXED_DELAY: Duration = Duration::from_millis(25);

/// Bytes of entries nobody waits for that are written at once.
pub(crate) const RELAXED_BYTES_MAX: u64 = 1024 * 1024;

/// Without space, how long until it is tried again: at first, then twice as long each time up to the last.
pub(crate) const FULL_RETRY_FIRST: Duration = Duration::from_millis(100);

/// See [`FULL_RETRY_FIRST`].
pub(crate) const FULL_RETRY_LAST: Duration = Duration::from_secs(5);

/// How long closing waits for space for what is left to be written.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of the write-ahead log that are kept to be written again: one that grew while somebody read is cut to it.
pub(crate) const LOG_BYTES_KEPT: i64 = 16 * 1024 * 1024;
