//! Why something was not written, as far as it matters for what comes next: no space, or anything else.

use std::io;

use rusqlite::ErrorCode;

/// Why something was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no space; it can be tried again.
    Full,
    /// Anything else. What is on disk is known only after a recovery.
    Broken(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(_) | None => Self::Broken(format!("the journal's database cannot be written: {error}")),
        }
    }
}

impl Fault {
    /// Of a file that holds a payload.
    pub(crate) fn of_file(error: &io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full;
        }
        Self::Broken(format!("an output file of the journal cannot be written: {error}"))
    }
}
