//! Everything the loop is told by others: the whole conversation inside the supervisor, in one place.

use std::os::fd::OwnedFd;

use runlet_blocks::{CallId, Execution, Step};
use runlet_fetch::Held;
use runlet_journal::StoredRun;
use runlet_memory::Prompted;
use runlet_proto::call::Answer;
use runlet_proto::control::{ClientMessage, LogLevel, Refusal, Reply, Retry};
use runlet_proto::failure::Failure;
use runlet_proto::hello::Role;
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::memory::{MemoryChange, MemoryFound};
use runlet_proto::worker::Forked;

use crate::heavy::link::Heard;
use crate::heavy::process::Exit;
use crate::heavy::workers::WorkerId;
use crate::heavy::zygote::ZygoteName;
use crate::outbox::Outbox;
use crate::reload::Fresh;
use crate::run_record::RequestId;
use crate::shared::Asked;

/// Numbers the control connections of one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// One attempt of one block of one run: what every answer is fenced with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttemptId {
    pub(crate) run: RunId,
    pub(crate) block: BlockIndex,
    pub(crate) attempt: Attempt,
}

/// A message to the loop.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A client completed its handshake.
    Connected { connection: ConnectionId, role: Role, outbox: Outbox },
    /// A client asks for something.
    Request { connection: ConnectionId, message: ClientMessage },
    /// A client is gone.
    Disconnected { connection: ConnectionId },
    /// A call was answered; what was fetched comes with its part of the budget for bodies.
    Answered { attempt: AttemptId, call: CallId, answer: Answer, held: Held },
    /// Calls to shared memory that went together were answered.
    AnsweredTogether(Vec<Asked<Prompted>>),
    /// A pool thread stopped executing an attempt: it waits or it ended, or the block panicked.
    Computed { attempt: AttemptId, execution: Option<Box<Execution>>, result: Result<Step, Failure> },
    /// A pool thread gave its slot back and is parked.
    Parked { attempt: AttemptId },
    /// A pool thread gave its slot back with nothing kept: the attempt is to begin again.
    Dropped { attempt: AttemptId },
    /// An attempt used up the light lane's budget of CPU time; if it can begin again, with nothing kept.
    Overran { attempt: AttemptId, dropped: bool },
    /// A block wrote to its run's log.
    Log { attempt: AttemptId, level: LogLevel, text: String },
    /// The zygote forked a worker, or could not.
    Forked { forked: Forked, process: Option<OwnedFd> },
    /// An idle worker was given work: another is to wait in its place.
    Refill,
    /// The zygote is gone.
    ZygoteLost { zygote: ZygoteName, error: Option<std::io::Error> },
    /// A worker said something.
    FromWorker { worker: WorkerId, heard: Heard },
    /// A worker's connection ended; by what it sent, if there is an error.
    WorkerClosed { worker: WorkerId, error: Option<String> },
    /// A worker's connection ended a while ago, and its process has not.
    WorkerOverdue { worker: WorkerId },
    /// A worker was asked to end a while ago.
    GraceOver { worker: WorkerId },
    /// A worker's process ended.
    WorkerExited { worker: WorkerId, exit: Exit },
    /// The writer of the journal said something.
    Journal(runlet_journal::Heard),
    /// Something was read in the journal.
    Past { to: RequestId, replies: Vec<Reply> },
    /// A run was read that is to be made again.
    Retry { to: RequestId, retry: Retry, stored: Result<Box<StoredRun>, Refusal> },
    /// A store that was asked by a future has answered.
    Found { to: RequestId, found: Result<MemoryFound, Failure> },
    /// Something changed in shared memory that a client watches.
    MemoryChanged { to: RequestId, change: MemoryChange },
    /// The configuration was read again.
    Reloaded(Box<Fresh>),
    /// The process was asked to stop.
    Shutdown,
}
