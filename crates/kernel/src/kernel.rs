//! The kernel itself: what it is made of, and the verbs its caller drives it with.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::RunState;

use crate::action::{Action, Observation};
use crate::control::WorkflowControlBlock;
use crate::coverage::Coverage;
use crate::event::{BlockResult, Event};
use crate::limits;
use crate::memory::HeavyMemory;
use crate::parking::Parking;
use crate::ready::ReadyQueue;
use crate::rejected::Rejected;
use crate::slots::Slots;
use crate::table::{Admission, Key, Table};
use crate::time::{Span, Time};
use crate::timers::Timers;
use crate::transition::{BlockEvent, Phase, RunEvent, next_phase, next_state};
use crate::workflows::Workflows;

/// What a kernel may hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// CPU slots: how many attempts that are not brief may be executed at once.
    pub slots: NonZeroUsize,
    /// Memory that all heavy runs under way may hold together, in bytes.
    pub heavy_memory_bytes: u64,
    /// Light attempts that may be held half-done without a slot.
    pub parked_attempts_max: NonZeroUsize,
    /// Most live runs.
    pub live_runs_max: usize,
    /// How long an attempt may hold its slot while an equal priority waits.
    pub quantum: Span,
    /// How long something ready waits before its priority does not count any longer.
    pub ageing: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: limits::SLOTS,
            heavy_memory_bytes: limits::HEAVY_MEMORY_BYTES,
            parked_attempts_max: limits::PARKED_ATTEMPTS_MAX,
            live_runs_max: limits::LIVE_RUNS_MAX,
            quantum: limits::QUANTUM,
            ageing: limits::AGEING,
        }
    }
}

/// The scheduler. `P` is the payload that flows between blocks; it is cloned when a block's output is a run's output.
#[derive(Debug)]
pub struct Kernel<P> {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) table: Table<P>,
    pub(crate) workflows: Workflows,
    pub(crate) ready: ReadyQueue<(Key, BlockIndex)>,
    pub(crate) slots: Slots,
    pub(crate) parking: Parking,
    pub(crate) memory: HeavyMemory,
    pub(crate) timers: Timers<Timer>,
    /// When a holder's quantum is to be looked at again; only while somebody waits for a slot.
    pub(crate) quantum_due: Option<Time>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) stale: u64,
    pub(crate) coverage: Coverage,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The deadline of a run.
    Run(Key),
    /// The limit of an attempt, or the time of the one after it.
    Block(Key, BlockIndex, Attempt),
}

impl<P: Clone> Kernel<P> {
    /// A kernel without runs.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            now: Time::default(),
            table: Table::new(),
            workflows: Workflows::new(config.ageing),
            ready: ReadyQueue::new(config.ageing),
            slots: Slots::new(config.slots.get()),
            parking: Parking::new(config.parked_attempts_max.get(), config.ageing),
            memory: HeavyMemory::new(config.heavy_memory_bytes, config.ageing),
            timers: Timers::default(),
            quantum_due: None,
            actions: VecDeque::new(),
            stale: 0,
            coverage: Coverage::default(),
        }
    }

    /// Takes an event. Answers of older attempts, of ended and of forgotten runs are dropped and counted.
    ///
    /// # Errors
    /// [`Rejected`] when the event is not possible; then nothing changed.
    pub fn handle(&mut self, now: Time, event: Event<P>) -> Result<(), Rejected> {
        let before = self.now;
        // The caller's clock is monotonic; if it were not, time would stand still here.
        self.now = before.max(now);
        let taken = match event {
            Event::Submit(submit) => self.submit(submit),
            Event::Waiting { run, block, attempt, on } => self.waiting(run, block, attempt, on),
            Event::Woken { run, block, attempt } => self.woken(run, block, attempt),
            Event::Yielded { run, block, attempt } => self.yielded(run, block, attempt),
            Event::Moved { run, block, attempt } => self.moved(run, block, attempt),
            Event::Finished { run, block, attempt, result, random } => {
                self.finished(run, block, attempt, result, random);
                Ok(())
            }
            Event::WorkerLost { run, failure, random, last } => {
                self.worker_lost(run, &failure, random, last);
                Ok(())
            }
            Event::Promote { run } => self.promote(run),
            Event::Stop { run, reason } => self.stop(run, &reason),
            Event::Pause { run } => self.pause(run),
            Event::Resume { run } => self.resume(run),
            Event::Renice { run, priority } => self.renice(run, priority),
        };
        if taken.is_ok() {
            self.schedule();
        } else {
            self.now = before;
        }
        taken
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.fire_timers();
        self.schedule();
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called; `None` if nothing will be due unless an event comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        match (self.timers.next(), self.quantum_due) {
            (Some(timer), Some(quantum)) => Some(timer.min(quantum)),
            (timer, quantum) => timer.or(quantum),
        }
    }

    /// A run that is live, or ended and not yet forgotten.
    #[must_use]
    pub fn run(&self, run: RunId) -> Option<&WorkflowControlBlock<P>> {
        Some(&self.table.get(self.table.find(run)?).control)
    }

    /// All runs that are live, or ended and not yet forgotten, in no particular order.
    pub fn runs(&self) -> impl Iterator<Item = &WorkflowControlBlock<P>> {
        self.table.iter().map(|(_, run)| &run.control)
    }

    /// Whether a run is live and counts for its workflow's `concurrency`; one that does not waits for others of it to end.
    #[must_use]
    pub fn is_admitted(&self, run: RunId) -> bool {
        let run = self.table.find(run).map(|key| self.table.get(key));
        run.is_some_and(|run| run.admission == Admission::Admitted && !run.control.state.is_terminal())
    }

    /// Who holds heavy memory, and how many bytes.
    pub fn heavy_holds(&self) -> impl Iterator<Item = (RunId, u64)> {
        let holds = self.memory.holds().filter(|(_, hold)| hold.reserved > 0);
        holds.map(|(run, hold)| (RunId::from_u128(*run), hold.reserved))
    }

    /// The heavy memory there is, in bytes.
    #[must_use]
    pub const fn heavy_memory_budget(&self) -> u64 {
        self.memory.budget()
    }

    /// Hands over the control block of an ended run, which then is unknown. `None` if it is unknown or live.
    pub fn forget(&mut self, run: RunId) -> Option<WorkflowControlBlock<P>> {
        let key = self.table.find(run)?;
        let ended = self.table.get(key).control.state.is_terminal();
        ended.then(|| self.table.remove(key).control)
    }

    /// Which edges of the transition tables this kernel took.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// A live run.
    pub(crate) fn live(&self, run: RunId) -> Result<Key, Rejected> {
        let key = self.table.find(run).ok_or(Rejected::UnknownRun { run })?;
        let state = self.table.get(key).control.state;
        if state.is_terminal() { Err(Rejected::AlreadyEnded { run, state }) } else { Ok(key) }
    }

    /// Moves a block along the table.
    pub(crate) fn step(&mut self, key: Key, block: BlockIndex, event: BlockEvent) -> Result<(), Rejected> {
        let now = self.now;
        let run = self.table.get_mut(key);
        let control = &mut run.control.blocks[block.as_usize()];
        let from = control.phase;
        let Ok(to) = next_phase(from, event) else {
            let (phase, event) = (from.as_str(), event.as_str());
            return Err(Rejected::Illegal { run: run.control.id, block, phase, event });
        };
        self.coverage.block(from, event);
        (control.phase, control.status) = (to, to.status());
        let count = |phase| (u16::from(is_ready(phase)), u16::from(is_running(phase)));
        let ((ready_before, running_before), (ready, running)) = (count(from), count(to));
        run.ready = run.ready + ready - ready_before;
        run.running = run.running + running - running_before;
        run.control.updated_at = now;
        Ok(())
    }

    /// [`Self::step`] where the pair is legal by construction.
    pub(crate) fn advance(&mut self, key: Key, block: BlockIndex, event: BlockEvent) {
        let taken = self.step(key, block, event);
        debug_assert_eq!(taken, Ok(()), "the scheduler took a step that the table does not know");
    }

    /// Moves a run along the table; whether that was possible.
    pub(crate) fn step_run(&mut self, key: Key, event: RunEvent) -> bool {
        let now = self.now;
        let control = &mut self.table.get_mut(key).control;
        let Ok(state) = next_state(control.state, event) else { return false };
        self.coverage.run(control.state, event);
        (control.state, control.updated_at) = (state, now);
        self.observe(key, None, || Observation::State(state));
        true
    }

    /// Brings a live run's state in line with what its blocks do. PAUSED stays what it is.
    pub(crate) fn settle(&mut self, key: Key) {
        let run = self.table.get(key);
        let state = run.control.state;
        if state == RunState::Paused || state.is_terminal() {
            return;
        }
        let (event, due) = match (run.running, run.ready) {
            (0, 0) => (RunEvent::Waits, RunState::Blocked),
            (0, _) => (RunEvent::Queues, RunState::Ready),
            (_, _) => (RunEvent::Runs, RunState::Running),
        };
        if state != due {
            let taken = self.step_run(key, event);
            debug_assert!(taken, "no way from {state} to {due}");
        }
    }

    /// Tells of a step, if somebody watches the run.
    pub(crate) fn observe(&mut self, key: Key, block: Option<BlockIndex>, what: impl FnOnce() -> Observation) {
        let run = self.table.get(key);
        if run.observe {
            self.actions.push_back(Action::Observe { run: run.control.id, block, what: what() });
        }
    }

    fn finished(&mut self, run: RunId, block: BlockIndex, attempt: Attempt, result: BlockResult<P>, random: u32) {
        let Some(key) = self.current(run, block, attempt) else { return self.late_end(run, block, attempt) };
        match result {
            BlockResult::Completed(output) => self.complete(key, block, output),
            BlockResult::Skipped => self.skip(key, block),
            BlockResult::Failed(failure) => self.fail(key, block, failure, random),
        }
        self.settle(key);
    }

    /// Id of a block, for a message.
    pub(crate) fn block_id(&self, key: Key, block: BlockIndex) -> Arc<str> {
        Arc::clone(&self.table.block(key, block).id)
    }
}

const fn is_ready(phase: Phase) -> bool {
    matches!(phase, Phase::Ready | Phase::Woken)
}

const fn is_running(phase: Phase) -> bool {
    matches!(phase, Phase::Running | Phase::Yielding)
}
