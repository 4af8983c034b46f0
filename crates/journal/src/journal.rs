//! The handle the supervisor holds: configuration, what is heard of the writer, and appending.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use runlet_proto::ids::RunId;

use crate::entry::Entry;
use crate::error::{Backlog, OpenError};
use crate::limits;
use crate::maintain::Collected;
use crate::queue::{Shared, Urgency};
use crate::recover::recover;
use crate::recovered::Recovered;
use crate::retention::now_ms;
use crate::schema;
use crate::store::Store;
use crate::writer::Writer;

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

/// What only tests change.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Name of the SQLite VFS that is used instead of the operating system's.
    pub vfs: Option<String>,
    /// Pages in the write-ahead log that are copied into the database at once.
    pub checkpoint_pages: i32,
    /// Without space, how long until it is tried again at first.
    pub full_retry: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { vfs: None, checkpoint_pages: limits::CHECKPOINT_PAGES, full_retry: limits::FULL_RETRY_FIRST }
    }
}

/// Opens the journal of a directory, or creates it, and starts its writer. `hear` is called on the writer's thread and must
/// not wait for it.
///
/// # Errors
/// [`OpenError`] when the directory cannot be used, another process writes the journal, or the database is damaged or newer.
pub fn open(config: Config, hear: impl Fn(Heard) + Send + 'static) -> Result<(Journal, Recovered), OpenError> {
    open_tuned(config, Tuning::default(), hear)
}

/// As [`open`], for tests.
///
/// # Errors
/// As [`open`].
#[doc(hidden)]
pub fn open_tuned(
    config: Config,
    tuning: Tuning,
    hear: impl Fn(Heard) + Send + 'static,
) -> Result<(Journal, Recovered), OpenError> {
    let Config { directory, retention } = config;
    let full_retry = tuning.full_retry;
    let store = Store::open(&directory, retention, tuning)?;
    let recovered = recover(&store.db, &store.outputs, now_ms());
    let recovered = recovered.map_err(|error| schema::open_error(&directory.join(schema::FILE), &error))?;
    let shared = Arc::new(Shared::default());
    let writer = Writer::new(store, Arc::clone(&shared), Box::new(hear), full_retry);
    let thread = thread::Builder::new().name("journal".to_owned()).spawn(|| writer.run());
    let thread =
        thread.map_err(|cause: io::Error| OpenError::Io { what: "start a thread for", path: directory, cause })?;
    let held = Arc::new(Held { shared, thread: Mutex::new(Some(thread)) });
    Ok((Journal { held }, recovered))
}

/// The journal, for who appends to it. Cheap to clone; the writer ends when one of the clones is closed or all are dropped.
#[derive(Debug, Clone)]
pub struct Journal {
    held: Arc<Held>,
}

/// What all clones hold together.
#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Option<String>>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Journal {
    /// Appends; never waits. The entries of one call are in one transaction. Returns the sequence number of the last one:
    /// entries are numbered from 1 in the order of their appending.
    ///
    /// # Errors
    /// [`Backlog`] when more than [`limits::BACKLOG_BYTES_MAX`] wait to be written, or the journal is closed or has failed.
    pub fn append(&self, entries: Vec<Entry>) -> Result<u64, Backlog> {
        self.held.shared.append(entries, Urgency::Now)
    }

    /// As [`Journal::append`], for entries nobody waits for: they are written with the next ones somebody does wait for, or
    /// after a few milliseconds, or when they have become many. It saves most of the commits under load.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_relaxed(&self, entries: Vec<Entry>) -> Result<u64, Backlog> {
        self.held.shared.append(entries, Urgency::Relaxed)
    }

    /// Has all that was appended so far written now; the number of its last entry.
    #[must_use]
    pub fn flush(&self) -> u64 {
        self.held.shared.flush()
    }

    /// Whether the last commit failed for want of space.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.held.shared.is_full()
    }

    /// How the writer does.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.held.shared.stats()
    }

    /// Applies the retention now, removes output files nobody names, and gives back the free space, between commits; the
    /// answer is given on the writer's thread. If the journal closes before, there is none.
    pub fn gc(&self, answer: impl FnOnce(Collected) + Send + 'static) {
        self.held.shared.collect(Box::new(answer));
    }

    /// Writes what waits, copies the write-ahead log into the database, and ends the writer. Why not all of it was written, if
    /// it was not: who was to hear of that may not listen any more. Not to be called by what [`open`] was given to hear with.
    pub fn close(self) -> Option<String> {
        self.held.shared.close();
        let thread = self.held.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has said so on stderr, and there is nothing left to close.
        thread?.join().unwrap_or_else(|_| Some("the journal's writer panicked".to_owned()))
    }
}
