//! The handle the supervisor holds: configuration, what is heard of the writer, and the queue to it.

use std::path::PathBuf;
use std::time::Duration;

use runlet_proto::ids::RunId;

use crate::entry::Entry;
use crate::error::{Backlog, OpenError};
use crate::limits;
use crate::recovered::Recovered;

/// Where a journal lies, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its directory: `journal.db`, `journal.lock`, `outputs/`.
    pub directory: PathBuf,
    /// Which ended runs are kept.
    pub retention: Retention,
}

/// Which ended runs are kept: those within all of the given bounds. Open runs are never removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long after their end.
    pub age: Option<Duration>,
    /// How many of them.
    pub runs_max: Option<u64>,
    /// Bytes that the database and the output files may take.
    pub bytes_max: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            age: Some(limits::RETENTION_AGE_DEFAULT),
            runs_max: Some(limits::RETENTION_RUNS_DEFAULT),
            bytes_max: Some(limits::RETENTION_BYTES_DEFAULT),
        }
    }
}

/// What the writer says, on its own thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// All entries up to this sequence number are on disk, but for those of refused runs. Once per commit.
    Durable {
        /// The sequence number.
        up_to: u64,
    },
    /// The disk is full. The entries of these runs, of which nobody has been told, were dropped; nothing else was.
    Full {
        /// The runs.
        refused: Vec<RunId>,
    },
    /// After [`Heard::Full`]: writing works again.
    Room,
    /// A write failed for good. Nothing more is written: the process must end, and recover.
    Failed(String),
}

/// How the writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Transactions committed.
    pub commits: u64,
    /// Entries written.
    pub entries: u64,
    /// Entries that changed nothing, since their run was unknown or had ended. Each is a mistake of who appended it.
    pub out_of_place: u64,
    /// Bytes of entries that wait to be written.
    pub bytes_waiting: u64,
    /// How long the last commit took, from the first statement to the end of its `fsync`.
    pub commit_last: Duration,
    /// How long all commits together took.
    pub commit_total: Duration,
    /// Ended runs that are kept.
    pub runs_kept: u64,
    /// Bytes that the database (without its write-ahead log) and the output files take.
    pub bytes_kept: u64,
}

/// Opens the journal of a directory, or creates it, and starts its writer. `hear` is called on the writer's thread and must
/// not wait for it.
///
/// # Errors
/// [`OpenError`] when the directory cannot be used, another process writes the journal, or the database is damaged or newer.
pub fn open(config: Config, hear: impl Fn(Heard) + Send + 'static) -> Result<(Journal, Recovered), OpenError> {
    let _ = (config, hear);
    Ok((Journal {}, Recovered::default()))
}

/// The journal, for who appends to it. Cheap to clone; the writer ends when the last one is dropped or one is closed.
#[derive(Debug, Clone)]
pub struct Journal {}

impl Journal {
    /// Appends; never waits. The entries of one call are in one transaction. Returns the sequence number of the last one:
    /// entries are numbered from 1 in the order of their appending.
    ///
    /// # Errors
    /// [`Backlog`] when more than [`limits::BACKLOG_BYTES_MAX`] wait to be written, or the journal is closed or has failed.
    pub fn append(&self, entries: Vec<Entry>) -> Result<u64, Backlog> {
        Ok(entries.len() as u64)
    }

    /// Whether the last commit failed for want of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        false
    }

    /// How the writer does.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Applies the retention now and gives back what space it can: answers on the writer's thread.
    pub fn gc(&self, answer: impl FnOnce(crate::maintain::Collected) + Send + 'static) {
        drop(answer);
    }

    /// Writes what waits, copies the write-ahead log into the database, and ends the writer.
    pub fn close(self) {}
}
