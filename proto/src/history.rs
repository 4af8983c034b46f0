//! Runs of the past: which are asked for, and what goes from the journal.

use serde::{Deserialize, Serialize};

use crate::ids::RunId;
use crate::state::RunState;

/// Which runs of the journal are listed, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HistoryFilter {
    /// Only runs of these workflows; empty for any.
    pub workflows: Vec<String>,
    /// Only runs in these states; empty for any. One that is not terminal stands for all that have not ended.
    pub states: Vec<RunState>,
    /// Only runs created at this time or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only runs older than this one, for the next page.
    pub before: Option<RunId>,
    /// How many; as many as one reply holds without it.
    pub limit: Option<u32>,
    /// Only FAILED runs that no later run repeats.
    pub dead: bool,
}

/// What went from the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Ended runs.
    pub runs: u64,
    /// Files with large outputs.
    pub outputs: u64,
    /// Definitions that neither a run nor a deployment needs.
    pub definitions: u64,
    /// Bytes by which the journal is smaller.
    pub bytes: u64,
}
