//! The control socket: what the CLI and the gateway ask of the supervisor, and what it answers.
//!
//! One connection carries many requests at once. The client numbers them; every [`Reply`] to request *n* travels in a
//! [`ServerMessage`] with id *n*. A request has exactly one reply, except the streaming ones, which say how they end.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hook::{HookAnswer, HookRequest, RouteTable};
use crate::ids::{Priority, RunId};
use crate::memory::{MemoryChange, MemoryFound, MemoryQuestion, MemoryWatch};
pub use crate::metrics::MetricFamily;
pub use crate::past::{Collected, HistoryFilter, Retry};
pub use crate::refusal::{Diagnostic, Refusal, RefusalKind};
use crate::state::{BlockStatus, Lane, RunState};
pub use crate::status::SupervisorStatus;
pub use crate::trace::{TraceOutcome, TracePlace, TraceSpan, TraceWhat};

/// A numbered request. Ids are the client's choice; one in use must not be used again before its last reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMessage {
    /// Number of the request within its connection.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// A reply to the request of the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMessage {
    /// The request's number.
    pub id: u64,
    /// The reply.
    pub reply: Reply,
}

/// What can be asked of the supervisor. Any of them may be answered [`Reply::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Check and deploy a definition; it replaces the workflow of the same name. → [`Reply::Deployed`]
    Deploy(SourceText),
    /// Remove a workflow; live runs finish. → [`Reply::Removed`]
    Remove {
        /// Name of the workflow.
        workflow: String,
    },
    /// List the deployed workflows. → [`Reply::Workflows`]
    Workflows,
    /// Start a run. → [`Reply::Accepted`], and with `follow` any number of [`Reply::Event`], then [`Reply::Ended`].
    Start(Start),
    /// Start a run from a hook. → [`Reply::Hook`]
    Hook(HookRequest),
    /// The client no longer waits for request `id` of this connection: a hook's run is stopped, a stream ends. No reply.
    Abandon {
        /// Number of the abandoned request.
        id: u64,
    },
    /// List runs. → [`Reply::Runs`]
    Runs(RunFilter),
    /// The whole Workflow Control Block of a run. → [`Reply::Inspected`]
    Inspect {
        /// Id of the run, or a prefix that names only one.
        run: String,
    },
    /// Log lines of a run. → any number of [`Reply::Log`], then [`Reply::LogEnd`] (with `follow`: when the run ends).
    Logs {
        /// Id of the run, or a prefix that names only one.
        run: String,
        /// Wait for further lines while the run lives.
        follow: bool,
    },
    /// Change a live run. → [`Reply::Changed`]
    Signal {
        /// Id of the run, or a prefix that names only one.
        run: String,
        /// What is to be done to it.
        signal: RunSignal,
    },
    /// Follow the hook routes. → [`Reply::Routes`] now and after each change, without end.
    WatchRoutes,
    /// How the supervisor is. → [`Reply::Status`]
    Status,
    /// The hook's request `id` of this connection has waited for as long as its route allows: it is answered now, with a
    /// [`HookAnswer::Failed`] that names the run and what it is doing, unless its answer is on the way already; then it is as
    /// abandoned as by [`Self::Abandon`]. → [`Reply::Hook`], under the number of the hook's request
    Overdue {
        /// Number of the overdue request.
        id: u64,
        /// How long it waited, in milliseconds.
        after_ms: u64,
    },
    /// The text of a deployed definition. → [`Reply::Source`]
    Source {
        /// Name of the workflow.
        workflow: String,
    },
    /// What a run did: its blocks and calls with their times. → any number of [`Reply::Trace`], then [`Reply::TraceEnd`] (with
    /// `follow`: when the run ends).
    Trace {
        /// Id of the run, or a beginning or an end that names only one.
        run: String,
        /// Tell of what begins and ends while the run lives.
        follow: bool,
    },
    /// Runs from the journal, whether they are remembered or not. → [`Reply::Runs`]
    History(HistoryFilter),
    /// Remove from the journal at once what is not to be kept. → [`Reply::Collected`]
    Collect,
    /// Make an ended run again. → [`Reply::Accepted`], with the id of the new run
    Retry(Retry),
    /// The supervisor's numbers, for whoever measures. → [`Reply::Metrics`]
    Metrics,
    /// About shared memory and channels; what it changes is on disk before the answer. → [`Reply::Memory`]
    Memory(MemoryQuestion),
    /// Follow the changes of a namespace. → any number of [`Reply::MemoryChange`], without end.
    WatchMemory(MemoryWatch),
}

/// Which runs are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunFilter {
    /// Finished runs too, as far as they are remembered.
    pub all: bool,
    /// Only runs of these workflows; empty for any.
    pub workflows: Vec<String>,
    /// Only runs in these states; empty for any.
    pub states: Vec<RunState>,
}

/// The text of a definition, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceText {
    /// File name for diagnostics; its stem is the workflow's name unless the text says otherwise.
    pub file: String,
    /// The JSON or JSONC text.
    pub text: String,
}

/// A run to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// What to run.
    pub target: Target,
    /// The run's input as JSON text; absent means `null`.
    pub input: Option<Bytes>,
    /// Instead of the workflow's own priority.
    pub priority: Option<Priority>,
    /// Stream events until the run ends; if the connection closes before, the run goes on.
    pub follow: bool,
}

/// What a run executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A deployed workflow, by name.
    Workflow(String),
    /// A definition that is run once and not deployed.
    Inline(SourceText),
}

/// What can be done to a live run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunSignal {
    /// End it; its running blocks are cancelled.
    Stop,
    /// Dispatch nothing more of it until it is resumed.
    Pause,
    /// Undo a pause.
    Resume,
    /// Change its priority.
    Renice(Priority),
    /// Send its worker a signal of the operating system, by its number in signal(7). SIGSTOP and SIGCONT are the same as
    /// [`Self::Pause`] and [`Self::Resume`]: a worker that is stopped behind the scheduler's back would keep its slot.
    Send(i32),
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The request was not carried out.
    Refused(Refusal),
    /// The definition is live.
    Deployed {
        /// What is deployed now.
        workflow: WorkflowSummary,
        /// Version it replaced, if it replaced another.
        replaced: Option<String>,
    },
    /// The workflow is gone.
    Removed {
        /// What was removed.
        workflow: WorkflowSummary,
    },
    /// Deployed workflows by name.
    Workflows(Vec<WorkflowSummary>),
    /// The run exists.
    Accepted(RunId),
    /// Something happened in a followed run.
    Event(RunEvent),
    /// A followed run ended. The last reply to its request.
    Ended(RunEnd),
    /// A hook's answer.
    Hook(HookAnswer),
    /// Runs, newest first.
    Runs {
        /// The runs; the newest if there are too many for one reply.
        runs: Vec<RunSummary>,
        /// How many there are.
        total: u64,
    },
    /// A Workflow Control Block as JSON text.
    Inspected(Bytes),
    /// Log lines.
    Log(Vec<LogLine>),
    /// No further log lines. The last reply to its request.
    LogEnd,
    /// The run's state after a signal.
    Changed(RunSummary),
    /// The hook routes.
    Routes(RouteTable),
    /// How the supervisor is.
    Status(SupervisorStatus),
    /// A deployed definition.
    Source {
        /// What is deployed.
        workflow: WorkflowSummary,
        /// Its text, as it was deployed.
        source: SourceText,
    },
    /// Spans of a run in the order they began. A span that had not ended comes again, with the same number, once it has.
    Trace(Vec<TraceSpan>),
    /// No further spans. The last reply to its request.
    TraceEnd {
        /// How many of the oldest spans are no longer remembered.
        dropped: u64,
    },
    /// What went from the journal.
    Collected(Collected),
    /// The supervisor's numbers.
    Metrics(Vec<MetricFamily>),
    /// What was asked about shared memory.
    Memory(MemoryFound),
    /// Something has changed in a namespace that is followed.
    MemoryChange(MemoryChange),
}

/// A deployed workflow in brief.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowSummary {
    /// Name.
    pub name: String,
    /// Content hash (SHA-256, hexadecimal).
    pub version: String,
    /// Its description, if it has one.
    pub description: Option<String>,
    /// Number of blocks.
    pub blocks: u32,
    /// Priority of its runs.
    pub priority: Priority,
    /// Its hooks: path below `/hook/` and methods (`ANY` when all are allowed), as `GET,POST shop/:id`.
    pub hooks: Vec<String>,
    /// Live runs of any version.
    pub live_runs: u64,
    /// When it was deployed, in milliseconds since the Unix epoch.
    pub deployed_at_ms: u64,
}

/// A run in brief: a line of `runlet ps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Id.
    pub id: RunId,
    /// Workflow.
    pub workflow: String,
    /// Version of the workflow (SHA-256, hexadecimal).
    pub version: String,
    /// State.
    pub state: RunState,
    /// What it waits for while BLOCKED.
    pub blocked_on: Option<String>,
    /// Where its blocks execute.
    pub lane: Lane,
    /// Priority.
    pub priority: Priority,
    /// Id of the current block.
    pub block: Option<String>,
    /// Attempt of the current block.
    pub attempt: u32,
    /// Creation time in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Time of the last transition in milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
    /// Why it FAILED or was STOPPED, in one sentence.
    pub error: Option<String>,
    /// Process id of its worker, while it has one; of a run that has ended, of its last.
    pub pid: Option<u32>,
    /// CPU time its workers have used, in microseconds. Looked up for a listing only, and for runs that have had a worker.
    pub cpu_us: Option<u64>,
    /// Memory of its worker that is resident, in bytes; once that has ended, the most there was at once. As `cpu_us`.
    pub resident_bytes: Option<u64>,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// The run.
    pub run: RunId,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Id of the block it is about, if it is about one.
    pub block: Option<String>,
    /// What happened.
    pub what: RunEventKind,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunEventKind {
    /// An attempt of a block began.
    BlockStarted {
        /// The attempt, from 1.
        attempt: u32,
    },
    /// A block waits for something outside.
    Blocked {
        /// What it waits for.
        on: String,
    },
    /// An attempt ended.
    BlockEnded {
        /// How.
        status: BlockStatus,
        /// The cause, when it failed.
        error: Option<String>,
        /// How long the attempt took, in microseconds.
        elapsed_us: u64,
    },
    /// The block will be tried again.
    RetryScheduled {
        /// In how many milliseconds.
        delay_ms: u64,
    },
    /// The run changed state.
    State(RunState),
    /// A log line.
    Log(LogLine),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// The run.
    pub run: RunId,
    /// COMPLETED, FAILED or STOPPED.
    pub state: RunState,
    /// Its output as JSON text; absent when there is none.
    pub output: Option<Bytes>,
    /// Block, attempt and cause, in one sentence, when it did not complete.
    pub error: Option<String>,
    /// The way out, if there is one to name.
    pub help: Option<String>,
    /// Whether a timeout ended it.
    pub timed_out: bool,
}

/// One line a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Number within the run, from 1, without gaps unless lines were dropped at the bound.
    pub sequence: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Id of the block that wrote it, if a block did.
    pub block: Option<String>,
    /// How grave it is.
    pub level: LogLevel,
    /// The line, without a line end.
    pub text: String,
}

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something to know.
    Info,
    /// Something that may be wrong, such as a selector that matched nothing.
    Warn,
    /// Something that failed.
    Error,
}
