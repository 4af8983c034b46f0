//! What is written: the entries the supervisor appends, and the parts of a run they carry.
//!
//! A payload is a [`Stored`] where the supervisor meets it. Inside the journal the same structures carry what is kept of
//! it (`kept::Kept`), which is why they are generic over it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use runlet_proto::control::LogLine;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::state::{BlockStatus, Lane, RunState};
use runlet_proto::trace::TraceSpan;
use serde::{Deserialize, Serialize};

use crate::memory::MemoryChange;

/// One fact about workflows or runs, to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A definition is deployed; it replaces the one of the same workflow.
    Deployed {
        /// The definition.
        source: StoredSource,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A workflow is no longer deployed. Its runs go on.
    Removed {
        /// Its name.
        workflow: String,
    },
    /// A run begins; with it comes the source it executes, if that is not stored yet (inline runs).
    Began(Box<Began>),
    /// An attempt of a block that must not be repeated is about to have its effect.
    Intent {
        /// The run.
        run: RunId,
        /// Position of the block in its definition.
        block: u16,
        /// The attempt, from 1.
        attempt: u32,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A block ended.
    BlockEnded {
        /// The run.
        run: RunId,
        /// Position of the block in its definition.
        block: u16,
        /// How it ended.
        done: BlockDone,
    },
    /// A retry waits for its time.
    Backoff {
        /// The run.
        run: RunId,
        /// Position of the block in its definition.
        block: u16,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Retries so far.
        retries: u32,
        /// Why it failed.
        failure: Failure,
        /// When it is tried again, in milliseconds since the Unix epoch.
        retry_at_ms: u64,
    },
    /// The state a user gave the run.
    Held {
        /// The run.
        run: RunId,
        /// Whether it is paused.
        paused: bool,
        /// Its priority.
        priority: u8,
    },
    /// A worker of the run ended before its work did.
    Died {
        /// The run.
        run: RunId,
        /// What it died of, in one sentence.
        cause: String,
    },
    /// A block of the run has begun another run, which is found again when the block is executed again.
    ChildBegan {
        /// The run.
        run: RunId,
        /// The run that was begun, and by which call.
        child: Child,
    },
    /// A line the run wrote.
    Log {
        /// The run.
        run: RunId,
        /// The line.
        line: LogLine,
    },
    /// Shared memory has changed, in this order.
    Memory(Vec<MemoryChange>),
    /// The run reached its terminal state. It is written once: a second one for the same run changes nothing and is counted
    /// in [`Stats::out_of_place`](crate::Stats::out_of_place).
    Ended(Box<Ended>),
    /// A run whose [`Entry::Began`] was never written, in one piece: what that and [`Entry::Ended`] would have said.
    Whole(Box<Began>, Box<Ended>),
}

impl Entry {
    /// The run it is about, if it is about one.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Deployed { .. } | Self::Removed { .. } | Self::Memory(_) => None,
            Self::Began(began) | Self::Whole(began, _) => Some(began.run),
            Self::Ended(ended) => Some(ended.run),
            Self::Intent { run, .. }
            | Self::BlockEnded { run, .. }
            | Self::Backoff { run, .. }
            | Self::Held { run, .. }
            | Self::Died { run, .. }
            | Self::ChildBegan { run, .. }
            | Self::Log { run, .. } => Some(*run),
        }
    }
}

/// A payload, as the supervisor has it. One over [`OUTPUT_INLINE_BYTES_MAX`](crate::limits::OUTPUT_INLINE_BYTES_MAX) lies in
/// a file named by its SHA-256; equal ones share a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stored {
    /// JSON text.
    Json(Bytes),
    /// A hook's request: the codec's bytes of a [`HookRequest`](runlet_proto::hook::HookRequest).
    Hook(Bytes),
    /// A reply to a hook: the codec's bytes of an [`HttpReply`](runlet_proto::hook::HttpReply).
    Reply(Bytes),
    /// There is none.
    #[default]
    Nothing,
    /// One that is still to be put into words, which the writer has done: appending takes no time for it.
    Later(Later),
}

/// A payload to be.
#[derive(Clone)]
pub struct Later {
    bytes: usize,
    make: Arc<dyn Fn() -> Stored + Send + Sync>,
}

impl Later {
    /// What `make` will make, of about so many bytes.
    pub fn new(bytes: usize, make: impl Fn() -> Stored + Send + Sync + 'static) -> Self {
        Self { bytes, make: Arc::new(make) }
    }

    pub(crate) fn make(&self) -> Stored {
        (self.make)()
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Later(about {} bytes)", self.bytes)
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.make, &other.make)
    }
}

impl Eq for Later {}

impl Stored {
    /// Its bytes; none for [`Stored::Nothing`], and for what is still to be made.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(bytes) | Self::Hook(bytes) | Self::Reply(bytes) => bytes,
            Self::Nothing | Self::Later(_) => &[],
        }
    }

    /// How many bytes it is, or will be about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Later(later) => later.bytes,
            Self::Json(_) | Self::Hook(_) | Self::Reply(_) | Self::Nothing => self.bytes().len(),
        }
    }
}

/// The text of one version of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// Name of the workflow.
    pub workflow: String,
    /// Content hash (SHA-256, hexadecimal).
    pub version: String,
    /// File name for diagnostics.
    pub file: String,
    /// The JSON or JSONC text.
    pub text: String,
}

/// A run as it begins. What came to it with a later schema lies in columns of their own, beside its blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began<P = Stored> {
    /// Id.
    pub run: RunId,
    /// Name of its workflow.
    pub workflow: String,
    /// Version of the workflow (SHA-256, hexadecimal).
    pub version: String,
    /// The source it executes, if it may not be stored yet. Stored once for all runs of the version; absent when read.
    #[serde(skip)]
    pub source: Option<StoredSource>,
    /// Priority, 0 to 9.
    pub priority: u8,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Its input.
    pub input: P,
    /// A client waits for its reply: after a crash it is not resumed but stopped.
    pub waited_for: bool,
    /// Idempotency key.
    pub key: Option<[u8; 32]>,
    /// The run it repeats.
    pub retry_of: Option<RunId>,
    /// The trace it belongs to (W3C Trace Context).
    pub traceparent: Option<String>,
    /// The run whose failure it was begun for.
    #[serde(skip)]
    pub handles: Option<RunId>,
    /// The run whose block began it.
    #[serde(skip)]
    pub parent: Option<RunId>,
}

/// A run that a block of another began, and the call that did: it is made again with the same numbers after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Position of the block in its definition.
    pub block: u16,
    /// How often the block had been tried again.
    pub retries: u32,
    /// Number of the call within the attempt.
    pub call: u32,
    /// The run that was begun.
    pub run: RunId,
}

/// How a block ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDone<P = Stored> {
    /// Its last attempt, from 1.
    pub attempt: u32,
    /// Its retries.
    pub retries: u32,
    /// COMPLETED, SKIPPED or FAILED.
    pub status: BlockStatus,
    /// Its output.
    pub output: Option<P>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When its last attempt began, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_at_ms: u64,
}

/// A run as it ends. What came to it with a later schema lies in columns of their own, beside its blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended<P = Stored> {
    /// Id.
    pub run: RunId,
    /// COMPLETED, FAILED or STOPPED.
    pub state: RunState,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_at_ms: u64,
    /// Why it did not complete.
    pub error: Option<StoredError>,
    /// Its output.
    pub output: Option<P>,
    /// Its blocks that ended, by their position in the definition.
    pub blocks: Vec<(u16, BlockDone<P>)>,
    /// What it wrote.
    pub log: Vec<LogLine>,
    /// What it did.
    pub trace: Vec<TraceSpan>,
    /// JSON text of its worker's account.
    pub worker: Option<String>,
    /// Where its blocks executed, if that is known.
    #[serde(skip)]
    pub lane: Option<Lane>,
    /// Process id of its last worker.
    #[serde(skip)]
    pub pid: Option<u32>,
}

/// Why a run did not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredError {
    /// Id of the block that failed, if one did.
    pub block: Option<String>,
    /// Its attempt, from 1; 0 when no block failed.
    pub attempt: u32,
    /// The cause.
    pub failure: Failure,
}

impl<P> BlockDone<P> {
    /// The same with another sort of payload.
    pub(crate) fn map<Q, E>(self, change: &mut impl FnMut(P) -> Result<Q, E>) -> Result<BlockDone<Q>, E> {
        Ok(BlockDone {
            attempt: self.attempt,
            retries: self.retries,
            status: self.status,
            output: self.output.map(change).transpose()?,
            failure: self.failure,
            started_at_ms: self.started_at_ms,
            ended_at_ms: self.ended_at_ms,
        })
    }
}

impl<P> Began<P> {
    /// The same with another sort of payload.
    pub(crate) fn map<Q, E>(self, change: &mut impl FnMut(P) -> Result<Q, E>) -> Result<Began<Q>, E> {
        Ok(Began {
            run: self.run,
            workflow: self.workflow,
            version: self.version,
            source: self.source,
            priority: self.priority,
            created_at_ms: self.created_at_ms,
            input: change(self.input)?,
            waited_for: self.waited_for,
            key: self.key,
            retry_of: self.retry_of,
            traceparent: self.traceparent,
            handles: self.handles,
            parent: self.parent,
        })
    }
}

impl<P> Ended<P> {
    /// The same with another sort of payload.
    pub(crate) fn map<Q, E>(self, change: &mut impl FnMut(P) -> Result<Q, E>) -> Result<Ended<Q>, E> {
        let blocks = self.blocks.into_iter();
        Ok(Ended {
            run: self.run,
            state: self.state,
            ended_at_ms: self.ended_at_ms,
            error: self.error,
            output: self.output.map(&mut *change).transpose()?,
            blocks: blocks.map(|(block, done)| Ok((block, done.map(change)?))).collect::<Result<_, E>>()?,
            log: self.log,
            trace: self.trace,
            worker: self.worker,
            lane: self.lane,
            pid: self.pid,
        })
    }
}
