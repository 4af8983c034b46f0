//! What [`open`](crate::open) returns: everything a supervisor needs to go on where the last one stopped.

use std::collections::BTreeMap;

use runlet_proto::control::LogLine;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;

use crate::entry::{Began, BlockDone, Child, Stored, StoredSource};
use crate::memory::StoredMemory;

/// What is to be recovered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The workflows that are deployed, by name.
    pub workflows: Vec<StoredWorkflow>,
    /// Every version of a workflow that an open run needs.
    pub programs: Vec<StoredSource>,
    /// The runs that have not ended, oldest first.
    pub runs: Vec<OpenRun>,
    /// Idempotency keys younger than [`KEY_AGE_MAX`](crate::limits::KEY_AGE_MAX), oldest first.
    pub keys: Vec<StoredKey>,
    /// Definitions that are deployed, or needed by an open run, and cannot be read as they were written.
    pub damaged_sources: Vec<DamagedSource>,
    /// Runs that have not ended and whose record cannot be read whole: they are to be ended.
    pub damaged: Vec<DamagedRun>,
    /// When each workflow had its last COMPLETED run that is still kept, in milliseconds since the Unix epoch.
    pub completed: Vec<(String, u64)>,
    /// What workflows share in the embedded store.
    pub memory: StoredMemory,
    /// Keys and messages that cannot be read as they were written, each in one sentence. They are left out.
    pub damaged_memory: Vec<String>,
}

/// A deployed workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWorkflow {
    /// Its definition.
    pub source: StoredSource,
    /// When it was deployed, in milliseconds since the Unix epoch.
    pub deployed_at_ms: u64,
}

/// An idempotency key and the run it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: [u8; 32],
    /// The run. It may be gone, if retention has removed it.
    pub run: RunId,
    /// When the run was created, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun<P = Stored> {
    /// How it began.
    pub began: Began<P>,
    /// Its blocks that did something, by their position in the definition.
    pub blocks: BTreeMap<u16, BlockProgress<P>>,
    /// Whether a user paused it.
    pub paused: bool,
    /// Its priority.
    pub priority: u8,
    /// What it wrote.
    pub log: Vec<LogLine>,
    /// What workers of it died of.
    pub deaths: Vec<String>,
    /// Runs that its blocks have begun.
    pub children: Vec<Child>,
}

/// How far a block of an open run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockProgress<P = Stored> {
    /// It ended.
    Done(BlockDone<P>),
    /// It failed and waits for its next attempt.
    Waiting {
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Retries so far.
        retries: u32,
        /// Why it failed.
        failure: Failure,
        /// When it is tried again, in milliseconds since the Unix epoch.
        retry_at_ms: u64,
    },
    /// An attempt was about to have its effect, and nothing says how it ended.
    Unknown {
        /// The attempt, from 1.
        attempt: u32,
    },
}

/// A definition that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedSource {
    /// Name of the workflow.
    pub workflow: String,
    /// Its version.
    pub version: String,
    /// What is wrong with it, in one sentence.
    pub why: String,
}

/// A run that cannot be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRun {
    /// The run.
    pub run: RunId,
    /// What cannot be read, in one sentence.
    pub why: String,
}
