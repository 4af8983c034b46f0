//! Entries made ready to be written: encoded once, so that they can be written again after a rollback.

use bytes::Bytes;
use runlet_proto::codec::EncodeError;
use runlet_proto::ids::RunId;
use runlet_proto::state::{Lane, RunState};

use crate::entry::{Began, Ended, Entry, Stored, StoredError, StoredSource};
use crate::kept::{Change, FileRef, Hash, Keeper, encode};
use crate::limits::ERROR_CHARS_MAX;
use crate::memory::MemoryChange;

/// One entry, ready.
#[derive(Debug)]
pub(crate) struct Op {
    /// What it counts for in the bytes that wait.
    pub(crate) weight: u64,
    /// Whether it comes with the end of an open run. A run that begins with that end is not given up: the end is not, and
    /// there are both or neither.
    pub(crate) with_an_end: bool,
    /// Files that have to be there before it is written.
    pub(crate) files: Vec<(FileRef, Bytes)>,
    /// What is to be done.
    pub(crate) what: What,
}

/// What an entry does to the database.
#[derive(Debug)]
pub(crate) enum What {
    /// Nothing: it says something that cannot be.
    Nothing,
    /// A definition is deployed.
    Deployed { source: StoredSource, at_ms: u64 },
    /// A workflow is removed.
    Removed { workflow: String },
    /// A run begins.
    Began(BeganRow),
    /// Something happened in an open run.
    Change { run: RunId, blob: Vec<u8> },
    /// Shared memory has changed.
    Memory(Vec<MemoryChange>),
    /// A run ends.
    Ended(EndedRow),
    /// A run that began and ended.
    Whole(BeganRow, EndedRow),
}

/// What is stored of a run's beginning.
#[derive(Debug)]
pub(crate) struct BeganRow {
    pub(crate) run: RunId,
    pub(crate) workflow: String,
    pub(crate) version: String,
    pub(crate) source: Option<StoredSource>,
    pub(crate) priority: u8,
    pub(crate) created_at_ms: u64,
    pub(crate) key: Option<Hash>,
    pub(crate) retry_of: Option<RunId>,
    pub(crate) handles: Option<RunId>,
    pub(crate) parent: Option<RunId>,
    pub(crate) head: Vec<u8>,
}

/// What is stored of a run's end.
#[derive(Debug)]
pub(crate) struct EndedRow {
    pub(crate) run: RunId,
    pub(crate) state: i64,
    pub(crate) ended_at_ms: u64,
    pub(crate) error: Option<String>,
    pub(crate) lane: Option<i64>,
    pub(crate) pid: Option<u32>,
    pub(crate) end: Vec<u8>,
}

impl Op {
    /// The entries of one call, made ready.
    pub(crate) fn prepare_all(entries: Vec<(Entry, u64)>) -> impl Iterator<Item = Self> {
        let with_an_end = entries.iter().any(|(entry, _)| matches!(entry, Entry::Ended(_)));
        entries.into_iter().map(move |(entry, weight)| {
            let mut keeper = Keeper::new();
            let what = prepare(entry, &mut keeper).unwrap_or(What::Nothing);
            Self { weight, with_an_end, files: keeper.into_files(), what }
        })
    }

    /// The run that may be given up with it, since nobody has been told of it.
    pub(crate) fn may_give_up(&self) -> Option<RunId> {
        match &self.what {
            What::Began(began) => Some(began.run).filter(|_| !self.with_an_end),
            What::Whole(began, _) => Some(began.run),
            What::Nothing
            | What::Deployed { .. }
            | What::Removed { .. }
            | What::Change { .. }
            | What::Memory(_)
            | What::Ended(_) => None,
        }
    }

    /// The run it is about.
    pub(crate) fn run(&self) -> Option<RunId> {
        match &self.what {
            What::Began(began) | What::Whole(began, _) => Some(began.run),
            What::Change { run, .. } => Some(*run),
            What::Ended(ended) => Some(ended.run),
            What::Nothing | What::Deployed { .. } | What::Removed { .. } | What::Memory(_) => None,
        }
    }
}

fn prepare(entry: Entry, keeper: &mut Keeper) -> Result<What, EncodeError> {
    let change = |run, change: &Change| Ok(What::Change { run, blob: encode(change)? });
    match entry {
        Entry::Deployed { source, at_ms } => Ok(What::Deployed { source, at_ms }),
        Entry::Removed { workflow } => Ok(What::Removed { workflow }),
        Entry::Began(began) => Ok(What::Began(began_row(*began, keeper)?)),
        Entry::Intent { run, block, attempt, at_ms } => change(run, &Change::Intent { block, attempt, at_ms }),
        Entry::BlockEnded { run, block, done } => change(run, &Change::BlockEnded { block, done: keeper.done(done) }),
        Entry::Backoff { run, block, attempt, retries, failure, retry_at_ms } => {
            change(run, &Change::Backoff { block, attempt, retries, failure, retry_at_ms })
        }
        Entry::Held { run, paused, priority } => change(run, &Change::Held { paused, priority }),
        Entry::Died { run, cause } => change(run, &Change::Died(cause)),
        Entry::ChildBegan { run, child } => change(run, &Change::ChildBegan(child)),
        Entry::Log { run, line } => change(run, &Change::Log(line)),
        Entry::Memory(changes) => Ok(What::Memory(changes)),
        Entry::Ended(ended) => Ok(ended_row(*ended, keeper)?.map_or(What::Nothing, What::Ended)),
        Entry::Whole(began, ended) => {
            let began = began_row(*began, keeper)?;
            let ended = ended_row(*ended, keeper)?;
            Ok(ended.map_or(What::Nothing, |ended| What::Whole(began, ended)))
        }
    }
}

fn began_row(began: Began, keeper: &mut Keeper) -> Result<BeganRow, EncodeError> {
    let mut began = keeper.began(began);
    let source = began.source.take();
    let head = encode(&began)?;
    Ok(BeganRow {
        run: began.run,
        workflow: began.workflow,
        version: began.version,
        source,
        priority: began.priority,
        created_at_ms: began.created_at_ms,
        key: began.key,
        retry_of: began.retry_of,
        handles: began.handles,
        parent: began.parent,
        head,
    })
}

/// `None` when the state is not terminal, which no end can have.
fn ended_row(ended: Ended, keeper: &mut Keeper) -> Result<Option<EndedRow>, EncodeError> {
    let Some(state) = state_code(ended.state) else { return Ok(None) };
    let mut ended = keeper.ended(ended);
    let mut end = encode(&ended);
    if end.is_err() {
        // It is longer than the codec reads. That the run ended has to be written; what it did in passing need not be.
        ended.blocks.clear();
        ended.log.clear();
        ended.trace.clear();
        ended.worker = None;
        end = encode(&ended);
    }
    let (run, ended_at_ms, error) = (ended.run, ended.ended_at_ms, ended.error.as_ref().map(sentence));
    let (lane, pid) = (ended.lane.map(lane_code), ended.pid);
    Ok(Some(EndedRow { run, state, ended_at_ms, error, lane, pid, end: end? }))
}

fn sentence(error: &StoredError) -> String {
    let message = error.failure.message.chars().take(ERROR_CHARS_MAX);
    match &error.block {
        Some(block) => format!("block `{block}`, attempt {}: ", error.attempt).chars().chain(message).collect(),
        None => message.collect(),
    }
}

/// What stands for a terminal state in the database.
pub(crate) const fn state_code(state: RunState) -> Option<i64> {
    match state {
        RunState::Completed => Some(1),
        RunState::Failed => Some(2),
        RunState::Stopped => Some(3),
        RunState::Ready | RunState::Running | RunState::Blocked | RunState::Paused => None,
    }
}

/// The terminal state that is stored.
pub(crate) const fn state_of(code: i64) -> Option<RunState> {
    match code {
        1 => Some(RunState::Completed),
        2 => Some(RunState::Failed),
        3 => Some(RunState::Stopped),
        _ => None,
    }
}

/// What stands for a lane in the database.
const fn lane_code(lane: Lane) -> i64 {
    match lane {
        Lane::Light => 1,
        Lane::Heavy => 2,
    }
}

/// The lane that is stored.
pub(crate) const fn lane_of(code: i64) -> Option<Lane> {
    match code {
        1 => Some(Lane::Light),
        2 => Some(Lane::Heavy),
        _ => None,
    }
}

/// About how many bytes an entry holds: what the backlog is measured by.
pub(crate) fn weight(entry: &Entry) -> u64 {
    let payload = match entry {
        Entry::Deployed { source, .. } => source.text.len(),
        Entry::Removed { .. } | Entry::Intent { .. } | Entry::Held { .. } | Entry::ChildBegan { .. } => 0,
        Entry::Began(began) => weight_began(began),
        Entry::BlockEnded { done, .. } => done.output.as_ref().map_or(0, Stored::weight),
        Entry::Backoff { failure, .. } => failure.message.len(),
        Entry::Died { cause, .. } => cause.len(),
        Entry::Log { line, .. } => line.text.len(),
        Entry::Memory(changes) => changes.iter().map(MemoryChange::weight).sum(),
        Entry::Ended(ended) => weight_ended(ended),
        Entry::Whole(began, ended) => weight_began(began) + weight_ended(ended),
    };
    (size_of::<Op>() + payload) as u64
}

fn weight_began(began: &Began) -> usize {
    size_of::<Began>() + began.input.weight() + began.source.as_ref().map_or(0, |source| source.text.len())
}

fn weight_ended(ended: &Ended) -> usize {
    let output = ended.output.as_ref().map_or(0, Stored::weight);
    let blocks =
        ended.blocks.iter().map(|(_, done)| size_of_val(done) + done.output.as_ref().map_or(0, Stored::weight));
    let log = ended.log.iter().map(|line| size_of_val(line) + line.text.len());
    size_of::<Ended>() + output + blocks.sum::<usize>() + log.sum::<usize>() + size_of_val(&*ended.trace)
}
