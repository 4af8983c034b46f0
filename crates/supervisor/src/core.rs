//! Everything the loop owns. Only the loop's thread touches it; nothing in it waits.

use std::collections::HashMap;
use std::path::PathBuf;

use runlet_fetch::Fetcher;
use runlet_kernel::{Event, Kernel, Rejected, Time};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::attempt::Attempts;
use crate::children::Children;
use crate::clock::Clock;
use crate::config;
use crate::dependencies::{Gates, LastCompleted};
use crate::durable::Durable;
use crate::export::Exporting;
use crate::heavy::workers::Workers;
use crate::history::History;
use crate::inbound::{ConnectionId, Inbound};
use crate::lane::Overran;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::pool::Pool;
use crate::programs::Programs;
use crate::registry::Registry;
use crate::reload::Fresh;
use crate::run_id::RunIds;
use crate::run_record::{RequestId, RunRecord};
use crate::shared::{Store, Together};

/// The payload the kernel moves between blocks.
pub(crate) type Payload = runlet_blocks::Output;

/// The supervisor's state.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) kernel: Kernel<Payload>,
    pub(crate) run_ids: RunIds,
    pub(crate) registry: Registry,
    pub(crate) runs: HashMap<RunId, RunRecord>,
    pub(crate) attempts: Attempts,
    /// Runs that blocks of others wait for.
    pub(crate) children: Children,
    /// Attempts that wait for workflows.
    pub(crate) gates: Gates,
    /// When each workflow had its last COMPLETED run.
    pub(crate) completed: LastCompleted,
    pub(crate) pool: Pool,
    pub(crate) workers: Workers,
    /// The binary that is started as a zygote.
    pub(crate) zygote_program: Option<PathBuf>,
    /// Memory that all heavy runs together may be allowed.
    pub(crate) heavy_memory_bytes: u64,
    /// Workflows that overran the light lane's budget.
    pub(crate) overran: Overran,
    /// Name of the state directory, by which a later supervisor knows what this one left.
    pub(crate) state_id: String,
    /// How far workers stand back for others, as a nice value.
    pub(crate) worker_nice: u8,
    /// Lowest level of isolation at which a heavy run is executed.
    pub(crate) level_required: u8,
    /// The programs that `exec` blocks may run.
    pub(crate) programs: Programs,
    pub(crate) fetcher: Fetcher,
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    pub(crate) route_watchers: Vec<RequestId>,
    pub(crate) history: History,
    /// What workflows share.
    pub(crate) store: Store,
    /// Where calls to the store go that go together.
    pub(crate) together: Option<Together>,
    pub(crate) memory_config: config::Memory,
    /// When the next key expires; nothing, if that is to be looked up.
    pub(crate) sweep_due: Option<Option<Time>>,
    /// Requests that a store is asked for by futures, and those that watch it.
    pub(crate) asked: HashMap<RequestId, AbortHandle>,
    pub(crate) durable: Durable,
    pub(crate) ended: Ended,
    pub(crate) metrics: Metrics,
    pub(crate) export: Exporting,
    /// Where calls under way send their answers.
    pub(crate) loop_queue: mpsc::Sender<Inbound>,
    pub(crate) phase: Phase,
    /// A configuration that was read again, until the loop has taken it.
    pub(crate) fresh: Option<Box<Fresh>>,
    /// Whether a run has ended since the loop last looked.
    pub(crate) worked: bool,
    pub(crate) started_at_ms: u64,
}

/// Where the supervisor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It accepts runs.
    Accepting,
    /// It was asked to stop: live runs may end.
    Draining,
    /// It was asked again, and stops now.
    Ending,
}

/// Runs ended since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) stopped: u64,
}

impl Ended {
    pub(crate) fn count(&mut self, state: RunState) {
        match state {
            RunState::Completed => self.completed += 1,
            RunState::Failed => self.failed += 1,
            RunState::Stopped => self.stopped += 1,
            RunState::Ready | RunState::Running | RunState::Blocked | RunState::Paused => {}
        }
    }
}

/// A client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) outbox: Outbox,
    /// Requests that have not had their last reply, and the run each is about.
    pub(crate) pending: HashMap<u64, Pending>,
}

/// An unanswered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A hook's client waits for this run's reply.
    Hook(RunId),
    /// Somebody follows this run's events.
    Follow(RunId),
    /// Somebody follows this run's log.
    Logs(RunId),
    /// Somebody follows this run's trace.
    Trace(RunId),
    /// The gateway follows the routes.
    Routes,
    /// A store is asked, or somebody watches it.
    Memory,
}

impl Core {
    /// Tells the kernel, now.
    pub(crate) fn tell(&mut self, event: Event<Payload>) -> Result<(), Rejected> {
        self.kernel.handle(self.clock.now(), event)
    }

    /// Tells the kernel something it cannot refuse short of a mistake of ours, which is logged and costs nothing else.
    pub(crate) fn report(&mut self, event: Event<Payload>) {
        if let Err(rejected) = self.tell(event) {
            tracing::error!(%rejected, "the kernel refused an event of the supervisor");
        }
    }

    /// Takes one message and does what follows from it, up to the actions of the kernel.
    pub(crate) fn handle(&mut self, inbound: Inbound) {
        // What a future changed is written before anything that follows from it.
        self.keep_memory();
        match inbound {
            Inbound::Connected { connection, role, outbox } => {
                tracing::debug!(connection = connection.0, %role, "connected");
                self.connections.insert(connection, Connection { outbox, pending: HashMap::new() });
            }
            Inbound::Request { connection, message } => {
                self.request(RequestId { connection, id: message.id }, message.request);
            }
            Inbound::Disconnected { connection } => self.disconnected(connection),
            Inbound::Answered { attempt, call, answer, held } => self.answered(attempt, call, answer, held),
            Inbound::AnsweredTogether(answered) => self.answered_together(answered),
            Inbound::Computed { attempt, execution, result } => self.computed(attempt, execution, result),
            Inbound::Parked { attempt } => self.parked(attempt),
            Inbound::Dropped { attempt } => self.dropped(attempt),
            Inbound::Overran { attempt, dropped } => self.overran(attempt, dropped),
            Inbound::Log { attempt, level, text } => self.log(attempt, level, text),
            Inbound::Forked { forked, process } => self.forked(forked, process),
            Inbound::Refill => self.refill(),
            Inbound::ZygoteLost { zygote, error } => self.zygote_lost(zygote, error),
            Inbound::FromWorker { worker, heard } => self.heard_from_worker(worker, heard),
            Inbound::WorkerClosed { worker, error } => self.worker_closed(worker, error),
            Inbound::WorkerOverdue { worker } => self.worker_overdue(worker),
            Inbound::GraceOver { worker } => self.grace_over(worker),
            Inbound::WorkerExited { worker, exit } => self.worker_exited(worker, exit),
            Inbound::Journal(heard) => self.heard_from_journal(heard),
            Inbound::Past { to, replies } => self.past_read(to, replies),
            Inbound::Retry { to, retry, stored } => self.retry_read(to, &retry, stored),
            Inbound::Found { to, found } => self.found(to, found),
            Inbound::MemoryChanged { to, change } => self.memory_changed(to, change),
            Inbound::Reloaded(fresh) => self.fresh = Some(fresh),
            Inbound::Shutdown => {
                self.phase = match self.phase {
                    Phase::Accepting => Phase::Draining,
                    Phase::Draining | Phase::Ending => Phase::Ending,
                }
            }
        }
    }

    /// Performs everything the kernel asks for, and what comes of that.
    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.kernel.poll_action() {
            self.perform(action);
        }
    }
}
