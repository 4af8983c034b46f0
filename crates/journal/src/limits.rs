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
