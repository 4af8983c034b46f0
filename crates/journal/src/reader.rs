//! Reading the journal beside its writer, or without one: history, one run, dead letters.

use std::collections::BTreeMap;
use std::path::Path;

use runlet_proto::control::LogLine;
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;

use crate::entry::{Began, Ended, StoredSource};
use crate::error::{OpenError, ReadError};
use crate::recovered::BlockProgress;

/// Which runs are listed, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    /// Only runs in these states; empty for any. A state that is not terminal stands for all runs that have not ended.
    pub states: Vec<RunState>,
    /// Only runs of these workflows; empty for any.
    pub workflows: Vec<String>,
    /// Only runs created at or after this, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only runs that began before this one, for the next page.
    pub before: Option<RunId>,
    /// How many; at most [`HISTORY_RUNS_MAX`](crate::limits::HISTORY_RUNS_MAX).
    pub limit: usize,
}

/// A run in brief.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// Id.
    pub run: RunId,
    /// Name of its workflow.
    pub workflow: String,
    /// Version of the workflow (SHA-256, hexadecimal).
    pub version: String,
    /// COMPLETED, FAILED or STOPPED; absent while it has not ended.
    pub state: Option<RunState>,
    /// The priority it began with.
    pub priority: u8,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_at_ms: Option<u64>,
    /// Why it did not complete, in one sentence.
    pub error: Option<String>,
    /// The last run that repeats it.
    pub retried_by: Option<RunId>,
}

/// All that is stored of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// How it began.
    pub began: Began,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// Of a run that has not ended: its blocks that did something. Those of an ended one are in [`Ended::blocks`].
    pub blocks: BTreeMap<u16, BlockProgress>,
    /// Of a run that has not ended: whether a user paused it.
    pub paused: bool,
    /// Its priority at last.
    pub priority: u8,
    /// What it wrote.
    pub log: Vec<LogLine>,
    /// The last run that repeats it.
    pub retried_by: Option<RunId>,
    /// The definition it executes, if its text is stored.
    pub source: Option<StoredSource>,
}

/// A connection that only reads.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// Opens the journal of a directory for reading.
    ///
    /// # Errors
    /// [`OpenError`] when there is none, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Err(OpenError::Missing { directory: directory.to_owned() })
    }

    /// Runs in brief, newest first, ended and open.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one.
    pub fn history(&self, _filter: &HistoryFilter) -> Result<Vec<RunLine>, ReadError> {
        Ok(Vec::new())
    }

    /// All that is stored of a run, its payloads loaded; `None` if it is not stored.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one, or its record cannot be read.
    pub fn run(&self, _run: RunId) -> Result<Option<StoredRun>, ReadError> {
        Ok(None)
    }

    /// The runs whose id begins or ends with the text (hyphens aside), at most `limit`, newest first.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one.
    pub fn find(&self, _part: &str, _limit: usize) -> Result<Vec<RunId>, ReadError> {
        Ok(Vec::new())
    }

    /// FAILED runs that no later run repeats, newest first.
    ///
    /// # Errors
    /// [`ReadError`] when the database gives one.
    pub fn dead(&self, _limit: usize) -> Result<Vec<RunLine>, ReadError> {
        Ok(Vec::new())
    }
}
