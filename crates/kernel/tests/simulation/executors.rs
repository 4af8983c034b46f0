//! The other side of the kernel: what an ideal supervisor would hold, kept from actions alone and compared with the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runlet_kernel::{Action, Kernel, Plan, PlanBlock, Restored};
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::{BlockStatus, Lane, RunState};

/// Names an attempt for good.
pub(crate) type Who = (RunId, BlockIndex, Attempt);

/// What an attempt does, as its executor knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Running,
    Waiting,
    /// Woken or yielded: waits to be continued.
    Queued,
    /// Given up, and still on its slot.
    GivenUpRunning,
    /// Given up, in a worker but on no slot.
    GivenUp,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Executor {
    pub(crate) doing: Doing,
    pub(crate) lane: Lane,
    pub(crate) brief: bool,
    /// What it waited for kept it from beginning, so that it can begin elsewhere.
    pub(crate) gated: bool,
    /// It was asked for its slot.
    pub(crate) asked: bool,
    /// It is, or will be, held half-done without a slot.
    pub(crate) kept: bool,
    /// It was asked to drop what it has done.
    pub(crate) drops: bool,
    /// It has made calls.
    pub(crate) called: bool,
    /// It never answers, until it is given up or its worker is lost.
    pub(crate) hangs: bool,
    /// It was moved to the heavy lane and has not begun there.
    pub(crate) moves: bool,
    /// Its answer is on the way.
    pub(crate) answered: bool,
}

#[derive(Debug)]
pub(crate) struct KnownRun {
    pub(crate) plan: Arc<Plan>,
    pub(crate) ended: Option<RunState>,
    pub(crate) paused: bool,
    dispatched: bool,
    attempts: BTreeMap<BlockIndex, Attempt>,
}

/// Everything that is executed.
#[derive(Debug, Default)]
pub(crate) struct Executors {
    pub(crate) attempts: BTreeMap<Who, Executor>,
    pub(crate) runs: BTreeMap<RunId, KnownRun>,
    // Runs whose heavy memory is in use: from the first heavy dispatch.
    heavy: BTreeSet<RunId>,
}

impl Executors {
    pub(crate) fn submitted(&mut self, run: RunId, plan: &Arc<Plan>) {
        let known = KnownRun {
            plan: Arc::clone(plan),
            ended: None,
            paused: false,
            dispatched: false,
            attempts: BTreeMap::new(),
        };
        assert!(self.runs.insert(run, known).is_none(), "run {run} was submitted twice");
    }

    /// Whoever executed anything is gone.
    pub(crate) fn crashed(&mut self) {
        self.attempts.clear();
        self.heavy.clear();
        for known in self.runs.values_mut() {
            (known.paused, known.dispatched) = (false, false);
            known.attempts.clear();
        }
    }

    /// A run goes on where it stood.
    pub(crate) fn restored(&mut self, run: RunId, restored: &Restored<u64>) {
        let known = self.runs.get_mut(&run).expect("it was submitted once");
        known.paused = restored.paused;
        known.attempts = restored.blocks.iter().map(|(block, known)| (*block, known.attempt)).collect();
    }

    /// Performs one action, and complains if it makes no sense.
    pub(crate) fn perform(&mut self, kernel: &Kernel<u64>, action: &Action) {
        match *action {
            Action::Dispatch { run, block, attempt, lane } => self.dispatch(kernel, (run, block, attempt), lane),
            Action::Continue { run, block, attempt, lane } => {
                let known = &self.runs[&run];
                assert!(known.ended.is_none() && !known.paused, "{action:?} of a run that is not under way");
                let executor = self.attempts.get_mut(&(run, block, attempt)).expect("only what began goes on");
                assert_eq!((executor.doing, executor.lane), (Doing::Queued, lane), "{action:?}");
                assert!(!executor.drops, "{action:?} of what was dropped");
                (executor.doing, executor.asked, executor.answered) = (Doing::Running, false, false);
            }
            Action::Preempt { run, block, attempt, lane, keep } => {
                let executor = self.attempts.get_mut(&(run, block, attempt)).expect("only what runs is preempted");
                assert_eq!(
                    (executor.doing, executor.lane, executor.asked),
                    (Doing::Running, lane, false),
                    "{action:?}"
                );
                assert!(!executor.brief, "{action:?} of a brief block");
                assert!(keep || (lane == Lane::Light && !executor.called), "{action:?} of what cannot begin again");
                (executor.asked, executor.kept, executor.drops) = (true, keep && lane == Lane::Light, !keep);
            }
            Action::Cancel { run, block, attempt, lane, running } => {
                let who = (run, block, attempt);
                let executor = self.attempts.get_mut(&who).expect("only what began is given up");
                let on_slot = executor.doing == Doing::Running && !executor.brief;
                assert_eq!((executor.lane, running), (lane, on_slot || lane == Lane::Heavy), "{action:?}");
                match (on_slot, running) {
                    (true, _) => executor.doing = Doing::GivenUpRunning,
                    (false, true) => executor.doing = Doing::GivenUp,
                    (false, false) => drop(self.attempts.remove(&who)),
                }
            }
            Action::Ended { run, state } => {
                let known = self.runs.get_mut(&run).expect("only what was submitted ends");
                assert_eq!(known.ended.replace(state), None, "{run} ended twice");
                let alive = |doing| matches!(doing, Doing::Running | Doing::Waiting | Doing::Queued);
                let left = self.of(run).find(|(_, executor)| alive(executor.doing));
                assert!(left.is_none(), "{run} ended and {left:?} was not given up");
            }
            Action::Progressed { run, block } => {
                let control = kernel.run(run).expect("it is not forgotten");
                let waits = control.state.is_terminal() || control.blocks[block.as_usize()].retries > 0;
                let status = control.blocks[block.as_usize()].status;
                assert!(
                    waits || matches!(status, BlockStatus::Completed | BlockStatus::Skipped),
                    "{action:?}: {status}"
                );
            }
            Action::Observe { run, .. } => {
                assert!(self.runs.contains_key(&run), "{action:?} of a run that nobody knows");
            }
        }
    }

    /// Limits that hold whatever happens.
    pub(crate) fn check(&self, slots: usize, memory: u64, parked_max: usize) {
        let on_slot = |executor: &Executor| match executor.doing {
            Doing::Running => !executor.brief,
            Doing::GivenUpRunning => true,
            Doing::Waiting | Doing::Queued | Doing::GivenUp => false,
        };
        let busy = self.attempts.values().filter(|executor| on_slot(executor)).count();
        assert!(busy <= slots, "{busy} attempts on {slots} slots: {:#?}", self.attempts);
        let kept = |executor: &&Executor| executor.kept && executor.doing == Doing::Queued;
        let parked = self.attempts.values().filter(kept).count();
        assert!(parked <= parked_max, "{parked} attempts are parked: {:#?}", self.attempts);
        let used: u64 = self.heavy.iter().map(|run| self.runs[run].plan.heavy_memory_bytes).sum();
        assert!(used <= memory, "heavy runs use {used} of {memory} bytes");
    }

    pub(crate) fn of(&self, run: RunId) -> impl Iterator<Item = (&Who, &Executor)> {
        self.attempts.range((run, BlockIndex(0), Attempt(0))..=(run, BlockIndex(u16::MAX), Attempt(u32::MAX)))
    }

    /// The attempt is over, its thread or worker free.
    pub(crate) fn remove(&mut self, who: Who) {
        self.attempts.remove(&who);
        self.forget_memory(who.0);
    }

    /// Everything in the worker of a run is gone.
    pub(crate) fn lose_worker(&mut self, run: RunId) {
        let elsewhere =
            |executor: &Executor| executor.lane == Lane::Light || (executor.moves && executor.doing == Doing::Queued);
        self.attempts.retain(|who, executor| who.0 != run || elsewhere(executor));
        self.forget_memory(run);
    }

    /// An ended run without anything in a worker uses no memory.
    pub(crate) fn forget_memory(&mut self, run: RunId) {
        let in_worker = self.of(run).any(|(_, executor)| executor.lane == Lane::Heavy);
        if self.runs[&run].ended.is_some() && !in_worker {
            self.heavy.remove(&run);
        }
    }

    fn dispatch(&mut self, kernel: &Kernel<u64>, who: Who, lane: Lane) {
        let (run, block, attempt) = who;
        assert!(kernel.block_input(run, block).is_some(), "{who:?} was dispatched without an input");
        if lane == Lane::Heavy {
            let alone = self
                .of(run)
                .all(|(_, other)| other.lane == Lane::Light || matches!(other.doing, Doing::Waiting | Doing::Queued));
            assert!(alone, "{who:?} was dispatched to a worker that is busy");
            self.heavy.insert(run);
        }
        let known = self.runs.get_mut(&run).expect("only what was submitted is dispatched");
        assert!(known.ended.is_none() && !known.paused, "{who:?} was dispatched, its run is not under way");
        known.dispatched = true;
        let last = known.attempts.insert(block, attempt).unwrap_or_default();
        if let Some(again) = self.attempts.get_mut(&who) {
            assert_eq!((again.doing, again.drops, again.lane), (Doing::Queued, true, lane), "{who:?} begins again");
            again.moves = false;
            (again.doing, again.asked, again.drops, again.answered) = (Doing::Running, false, false, false);
            return;
        }
        assert!(attempt > last, "{who:?} after {last:?}");
        let PlanBlock { brief, gated, .. } = known.plan.blocks[block.as_usize()];
        assert!(!gated || lane == Lane::Light, "{who:?} holds memory before its gate");
        let (limit, workflow) = (known.plan.concurrency, Arc::clone(&known.plan.workflow));
        let doing = Doing::Running;
        let (asked, kept, drops, called, hangs, moves, answered) = (false, false, false, false, false, false, false);
        let executor = Executor { doing, lane, brief, gated, asked, kept, drops, called, hangs, moves, answered };
        assert!(self.attempts.insert(who, executor).is_none(), "{who:?} was dispatched twice");
        let under_way =
            |known: &&KnownRun| known.dispatched && known.ended.is_none() && known.plan.workflow == workflow;
        let under_way = self.runs.values().filter(under_way).count();
        assert!(limit.is_none_or(|limit| under_way <= limit.get() as usize), "{under_way} runs of {workflow} at once");
    }
}
