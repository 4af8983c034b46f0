//! The loop: one thread that owns the kernel, sleeps until something happens, and does what follows from it.

use std::collections::HashMap;
use std::time::Instant;

use runlet_fetch::Fetcher;
use runlet_ipc::Listener;
use runlet_journal::Heard;
use runlet_kernel::{Event, Kernel};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until};

use crate::children::Children;
use crate::clock::Clock;
use crate::config::Config;
use crate::core::{Core, Ended, Phase};
use crate::dependencies::{Gates, LastCompleted};
use crate::durable::{self, Durable};
use crate::export::{ExportError, Exporting};
use crate::heavy::workers::Workers;
use crate::heavy::{cgroup, leftovers};
use crate::history::History;
use crate::inbound::Inbound;
use crate::lane::Overran;
use crate::limits::{FLUSH_DEADLINE, INBOUND_BATCH, INBOUND_MAX, RELEASE_MEMORY_AFTER, STOP_GRACE};
use crate::listen::accept_connections;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::programs::{ProgramError, Programs};
use crate::registry::Registry;
use crate::reload;
use crate::run_id::RunIds;
use crate::shared::{Store, StoreError};

/// A supervisor that could not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The asynchronous runtime could not be made.
    #[error("the I/O runtime could not be started: {0}")]
    Runtime(#[source] std::io::Error),
    /// The control socket could not be bound.
    #[error(transparent)]
    Bind(#[from] runlet_ipc::BindError),
    /// The HTTP client could not be made.
    #[error(transparent)]
    Fetch(#[from] runlet_fetch::ConfigError),
    /// The control group that was named cannot be used.
    #[error("the control group of `--cgroup` cannot be used: {0}")]
    Groups(#[from] cgroup::NoGroups),
    /// The journal cannot be opened.
    #[error(transparent)]
    OpenJournal(#[from] runlet_journal::OpenError),
    /// The journal could not be written any more.
    #[error("the journal could not be written: {0}")]
    Journal(String),
    /// A program that is allowed cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Shared memory cannot be had where the configuration says.
    #[error(transparent)]
    Memory(#[from] StoreError),
    /// Traces cannot be exported as the environment asks for.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// Runs a supervisor until SIGTERM or SIGINT, and then until its live runs have ended or `config.drain` is over; a second
/// signal ends the wait. While it drains it still answers its clients, and refuses new runs. `ready` is called with the control socket's path once that accepts connections. Must not be called on a thread of
/// another tokio runtime.
///
/// # Errors
/// [`Error`] when it cannot start.
pub fn run(config: Config, ready: impl FnOnce(&str)) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let outcome = runtime.block_on(serve(config, ready));
    // Connection tasks have been given their chance to write; nothing else is to be waited for.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: Config, ready: impl FnOnce(&str)) -> Result<(), Error> {
    let listener = listen(&config)?;
    let socket = listener.path().display().to_string();
    let (loop_queue, inbound) = mpsc::channel(INBOUND_MAX);
    let (recorder, on_disk) = watch::channel(0);
    let hear = tell_loop(loop_queue.clone(), recorder);
    let directory = durable::directory_in(&config.state);
    let journal = runlet_journal::Config { directory: directory.clone(), retention: config.retention };
    let (journal, recovered) = runlet_journal::open(journal, hear)?;
    let mut core =
        new_core(&config, &loop_queue, Durable::new(journal, directory, on_disk), durable::oldest_ms(&recovered))?;
    leftovers::end(&core.state_id).await;
    core.workers.groups = cgroup::begin(&config.cgroup, &core.state_id)?;
    if core.zygote_program.is_some() {
        core.refill();
    }
    let recovery = core.recover(recovered);
    let signals = tokio::spawn(forward_signals(loop_queue.clone(), config.clone()));
    let accepting = tokio::spawn(accept_connections(listener, loop_queue));
    tracing::info!(?recovery, "what an earlier supervisor left is taken up");
    tracing::info!(socket, slots = config.slots, "the supervisor is ready");
    ready(&socket);
    config.manager.ready(&format!("serves {socket}"));
    let failure = EventLoop {
        core,
        inbound,
        accepting,
        alive_due: config.manager.alive_every().map(|every| Instant::now() + every),
        config,
        drain_deadline: None,
        idle_since: None,
        releases: 0,
    }
    .run()
    .await;
    signals.abort();
    failure.map_or(Ok(()), |why| Err(Error::Journal(why)))
}

/// The control socket: the one that was passed, or one of our own.
fn listen(config: &Config) -> Result<Listener, runlet_ipc::BindError> {
    let path = config.socket();
    match &config.passed {
        Some(descriptor) => {
            let own =
                descriptor.try_clone().map_err(|source| runlet_ipc::BindError::Io { path: path.clone(), source })?;
            Listener::passed(own, &path)
        }
        None => Listener::bind(&path),
    }
}

/// What the writer of the journal says goes to the loop, and to the calls that wait for it.
fn tell_loop(loop_queue: mpsc::Sender<Inbound>, recorder: watch::Sender<u64>) -> impl Fn(Heard) + Send + 'static {
    move |heard| {
        if let Heard::Durable { up_to } = heard {
            recorder.send_replace(up_to);
        }
        // The loop is gone only when the process ends.
        let _ = loop_queue.blocking_send(Inbound::Journal(heard));
    }
}

fn new_core(
    config: &Config,
    loop_queue: &mpsc::Sender<Inbound>,
    durable: Durable,
    oldest_ms: Option<u64>,
) -> Result<Core, Error> {
    let clock = Clock::start(oldest_ms);
    let fetcher = Fetcher::new(runlet_fetch::Config { ca_file: config.ca_file.clone(), ..Default::default() })?;
    let store = Store::open(&config.memory, clock)?;
    let kernel = Kernel::new(runlet_kernel::Config {
        slots: config.slots,
        live_runs_max: config.live_runs_max,
        heavy_memory_bytes: config.heavy_memory_bytes,
        ..Default::default()
    });
    Ok(Core {
        clock,
        kernel,
        run_ids: RunIds::new(),
        registry: Registry::default(),
        runs: HashMap::default(),
        children: Children::default(),
        gates: Gates::default(),
        completed: LastCompleted::default(),
        attempts: HashMap::default(),
        pool: Pool::new(config.slots.get(), loop_queue.clone()),
        workers: Workers::default(),
        zygote_program: config.zygote.clone(),
        heavy_memory_bytes: config.heavy_memory_bytes,
        overran: Overran::default(),
        state_id: leftovers::id_of(&config.state),
        worker_nice: config.worker_nice,
        level_required: config.level_required,
        programs: Programs::load(&config.allowed)?,
        fetcher,
        connections: HashMap::new(),
        route_watchers: Vec::new(),
        history: History::default(),
        together: store.together(loop_queue),
        store,
        memory_config: config.memory.clone(),
        sweep_due: None,
        asked: HashMap::new(),
        durable,
        ended: Ended::default(),
        metrics: Metrics::default(),
        export: Exporting::start(&config.export)?,
        loop_queue: loop_queue.clone(),
        phase: Phase::Accepting,
        fresh: None,
        worked: false,
        started_at_ms: clock.unix_ms(clock.now()),
    })
}

/// SIGTERM and SIGINT become messages, so that the loop has one source of truth; SIGHUP becomes the configuration, read again.
async fn forward_signals(loop_queue: mpsc::Sender<Inbound>, Config { reload, manager, .. }: Config) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return tracing::error!("signal handlers could not be installed; only SIGKILL ends this supervisor");
    };
    let mut hangup = reload.and_then(|reload| Some((signal(SignalKind::hangup()).ok()?, reload)));
    let mut hung_up = async || match &mut hangup {
        Some((hangup, reload)) => {
            hangup.recv().await;
            *reload
        }
        None => std::future::pending().await,
    };
    loop {
        let inbound = tokio::select! {
            _ = terminate.recv() => Inbound::Shutdown,
            _ = interrupt.recv() => Inbound::Shutdown,
            reload = hung_up() => {
                manager.reloading();
                Inbound::Reloaded(Box::new(reload::read(reload).await))
            }
        };
        if loop_queue.send(inbound).await.is_err() {
            return;
        }
    }
}

struct EventLoop {
    core: Core,
    inbound: mpsc::Receiver<Inbound>,
    accepting: JoinHandle<()>,
    config: Config,
    /// When the service manager is to be told that this loop turns, if it waits for that.
    alive_due: Option<Instant>,
    /// When the drain is over, once it has begun.
    drain_deadline: Option<Instant>,
    /// Since when no run lives, once one did.
    idle_since: Option<Instant>,
    /// How often memory was given back since then.
    releases: usize,
}

impl EventLoop {
    /// Why it could not go on, if that is why it ended.
    async fn run(mut self) -> Option<String> {
        let mut batch = Vec::with_capacity(INBOUND_BATCH);
        let timer = sleep_until(Instant::now().into());
        tokio::pin!(timer);
        let mut armed: Option<Instant> = None;
        while self.goes_on() {
            self.arm(timer.as_mut(), &mut armed);
            tokio::select! {
                biased;
                _ = self.inbound.recv_many(&mut batch, INBOUND_BATCH) => {
                    for message in batch.drain(..) {
                        self.core.handle(message);
                    }
                }
                () = timer.as_mut(), if armed.is_some() => armed = None,
            }
            self.advance();
        }
        self.stop_the_rest();
        self.core.end_workers();
        self.flush().await;
        self.core.export.close().await;
        let failure = self.core.durable.failure().map(str::to_owned);
        if failure.is_some() {
            return failure;
        }
        // The writer may be about to tell the loop something.
        self.inbound.close();
        let durable = self.core.durable;
        tokio::task::spawn_blocking(move || durable.close()).await.unwrap_or_else(|error| Some(error.to_string()))
    }

    /// Whether there is anything left to do. Begins the drain when the process was asked to stop.
    fn goes_on(&mut self) -> bool {
        match self.core.phase {
            Phase::Accepting => return true,
            Phase::Ending => return false,
            Phase::Draining => {}
        }
        let live_runs = self.core.runs.len();
        let deadline = *self.drain_deadline.get_or_insert_with(|| {
            tracing::info!(live_runs, deadline = ?self.config.drain, "shutting down: no further run is accepted");
            let status = format!("drains: {live_runs} live runs, for at most {:?}", self.config.drain);
            self.config.manager.stopping(&status, self.config.drain + STOP_GRACE);
            Instant::now() + self.config.drain
        });
        Instant::now() < deadline && self.core.has_something_to_wait_for()
    }

    /// Lets due timers fire, and performs all that follows.
    fn advance(&mut self) {
        let now = self.core.clock.now();
        if self.core.kernel.poll_timeout().is_some_and(|due| due <= now) {
            self.core.kernel.handle_timeout(now);
        }
        self.core.sweep_memory();
        self.core.settle();
        if let Some(fresh) = self.core.fresh.take() {
            let said = reload::take(&mut self.core, &mut self.config, *fresh);
            self.config.manager.ready(&said);
        }
        self.release_memory_when_idle();
        self.say_alive();
    }

    /// Only the loop itself says so: one that hangs is ended by its manager, which is what the manager waits for.
    fn say_alive(&mut self) {
        let now = Instant::now();
        if self.alive_due.is_some_and(|due| due <= now) {
            self.config.manager.alive();
            self.alive_due = self.config.manager.alive_every().map(|every| now + every);
        }
    }

    /// Gives freed memory back to the system when the last run has ended a while ago: at the times that
    /// [`RELEASE_MEMORY_AFTER`] names and never again until further runs have come and gone.
    fn release_memory_when_idle(&mut self) {
        let Some(release) = self.config.release_memory else { return };
        if !self.core.runs.is_empty() {
            self.idle_since = None;
            return;
        }
        if std::mem::take(&mut self.core.worked) {
            (self.idle_since, self.releases) = (Some(Instant::now()), 0);
        }
        if self.release_due().is_some_and(|due| due <= Instant::now()) {
            self.releases += 1;
            self.core.fetcher.close_swollen_connections();
            release();
        }
    }

    fn release_due(&self) -> Option<Instant> {
        Some(self.idle_since? + *RELEASE_MEMORY_AFTER.get(self.releases)?)
    }

    /// Sets the timer to what is due next; without anything due there is no timer and no wake-up.
    fn arm(&mut self, timer: std::pin::Pin<&mut Sleep>, armed: &mut Option<Instant>) {
        let sweep_due = self.core.next_sweep();
        let core_due = [self.core.kernel.poll_timeout(), sweep_due].into_iter().flatten().min();
        let core_due = core_due.map(|time| self.core.clock.instant(time));
        let due = [core_due, self.drain_deadline, self.release_due(), self.alive_due].into_iter().flatten().min();
        if due != *armed {
            *armed = due;
            if let Some(due) = due {
                timer.reset(due.into());
            }
        }
    }

    /// Stops the runs that did not end in time, and says which.
    fn stop_the_rest(&mut self) {
        let live = self.core.kernel.runs().filter(|run| !run.state.is_terminal());
        let left: Vec<_> = live.map(|run| (run.id, run.plan.workflow.clone(), run.state)).collect();
        for (run, workflow, state) in left {
            if self.core.is_written(run) {
                tracing::info!(%run, %workflow, %state, "left for the next supervisor: it did not end in time");
                continue;
            }
            tracing::warn!(%run, %workflow, %state, "stopped by the shutdown: it did not end in time");
            self.core.report(Event::Stop { run, reason: "the supervisor was shut down".into() });
        }
        self.core.settle();
    }

    /// Lets the connections write what is queued for them; each says when it is done.
    async fn flush(&mut self) {
        self.accepting.abort();
        for connection in self.core.connections.values() {
            connection.outbox.close();
        }
        let deadline = tokio::time::Instant::now() + FLUSH_DEADLINE;
        while !self.core.connections.is_empty() {
            match tokio::time::timeout_at(deadline, self.inbound.recv()).await {
                Ok(Some(Inbound::Disconnected { connection })) => drop(self.core.connections.remove(&connection)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
}
