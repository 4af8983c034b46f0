//! What can go wrong with a journal, by who hears of it: who opens it, who reads it, who appends to it.

use std::io;
use std::path::PathBuf;

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory of it cannot be used.
    #[error("cannot {what} {path}: {cause}; check that the directory is writable and the disk is not full")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// Another process writes it.
    #[error(
        "the journal in {directory} is in use: another supervisor holds its lock; stop that one, or give this one a state \
         directory of its own"
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// A newer version of Runlet wrote it.
    #[error(
        "{path} has schema {found}, and this version of Runlet knows schemas up to {known}: start the version that wrote \
         it, or move the file away to begin with an empty journal"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known schema.
        known: i64,
    },
    /// There is none.
    #[error("there is no journal in {directory}: name the state directory of a supervisor that has one")]
    Missing {
        /// The directory.
        directory: PathBuf,
    },
    /// It is no database, or a damaged one.
    #[error(
        "{path} is damaged: {cause}; look at it with `runlet journal check`, then restore it from a backup or move it away \
         (with its -wal and -shm files) to begin with an empty journal"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// The database cannot be used for another reason.
    #[error("cannot open the journal {path}: {cause}; check the file's permissions and the space on its disk")]
    Database {
        /// The database.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database gave an error.
    #[error("cannot read the journal: {0}; if it goes on, look at it with `runlet journal check`")]
    Database(#[from] rusqlite::Error),
    /// What is stored of a run cannot be read.
    #[error("cannot read the record of run {run}: {why}; `runlet journal check` tells what else is damaged")]
    Damaged {
        /// The run.
        run: runlet_proto::ids::RunId,
        /// What cannot be read.
        why: String,
    },
}

/// Entries were not taken: too much waits to be written, or the journal is closed or has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal takes no more entries: {bytes_waiting} bytes wait to be written; the disk does not keep up, has no space \
     or has failed"
)]
pub struct Backlog {
    /// Bytes that wait.
    pub bytes_waiting: u64,
}
