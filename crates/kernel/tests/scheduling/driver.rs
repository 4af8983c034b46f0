//! A kernel with short words for what tests do to it.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use runlet_kernel::{
    Action, BlockResult, Config, Event, Kernel, OnError, Plan, PlanBlock, Rejected, Restored, Retry, Span, Submit, Time,
};
use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::state::{Lane, RunState};

/// A kernel whose payload is text.
pub(crate) struct Driver {
    pub(crate) kernel: Kernel<String>,
    pub(crate) now: Time,
    last: u128,
}

/// What tests care for in an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Did {
    Dispatch(RunId, u16),
    Continue(RunId, u16),
    Preempt(RunId, u16),
    /// A preemption that keeps nothing.
    Drop(RunId, u16),
    Cancel(RunId, u16),
    Ended(RunId, RunState),
    Progressed(RunId, u16),
    Observe(runlet_kernel::Observation),
}

impl Driver {
    pub(crate) fn new(slots: usize) -> Self {
        Self::with_places(slots, 64)
    }

    /// With so many places for attempts that gave their slot back half-done.
    pub(crate) fn with_places(slots: usize, places: usize) -> Self {
        let slots = NonZeroUsize::new(slots).expect("a test has slots");
        let config = Config {
            slots,
            parked_attempts_max: NonZeroUsize::new(places).expect("a test has places"),
            quantum: Span(20),
            ageing: Span(1_000),
            heavy_memory_bytes: 100,
            ..Config::default()
        };
        Self { kernel: Kernel::new(config), now: Time(0), last: 0 }
    }

    pub(crate) fn submit(&mut self, plan: &Arc<Plan>) -> RunId {
        self.try_submit(plan, None, false).expect("the run is accepted")
    }

    pub(crate) fn submit_at(&mut self, plan: &Arc<Plan>, level: u8) -> RunId {
        self.try_submit(plan, Priority::new(level), false).expect("the run is accepted")
    }

    pub(crate) fn try_submit(
        &mut self,
        plan: &Arc<Plan>,
        priority: Option<Priority>,
        observe: bool,
    ) -> Result<RunId, Rejected> {
        self.last += 1;
        let run = RunId::from_u128(self.last);
        let submit = Submit {
            run,
            plan: Arc::clone(plan),
            input: "in".to_owned(),
            priority,
            observe,
            record: false,
            restored: None,
        };
        self.event(Event::Submit(submit)).map(|()| run)
    }

    pub(crate) fn restore(&mut self, plan: &Arc<Plan>, restored: Restored<String>) -> RunId {
        self.last += 1;
        let run = RunId::from_u128(self.last);
        let restored = Some(Box::new(restored));
        let plan = Arc::clone(plan);
        let submit =
            Submit { run, plan, input: "in".to_owned(), priority: None, observe: false, record: false, restored };
        self.event(Event::Submit(submit)).expect("what was accepted once is taken");
        run
    }

    pub(crate) fn event(&mut self, event: Event<String>) -> Result<(), Rejected> {
        let taken = self.kernel.handle(self.now, event);
        self.kernel.check_invariants();
        taken
    }

    /// Everything the kernel asked for since the last time.
    pub(crate) fn did(&mut self) -> Vec<Did> {
        std::iter::from_fn(|| self.kernel.poll_action())
            .map(|action| match action {
                Action::Dispatch { run, block, .. } => Did::Dispatch(run, block.0),
                Action::Continue { run, block, .. } => Did::Continue(run, block.0),
                Action::Preempt { run, block, keep: true, .. } => Did::Preempt(run, block.0),
                Action::Preempt { run, block, keep: false, .. } => Did::Drop(run, block.0),
                Action::Cancel { run, block, .. } => Did::Cancel(run, block.0),
                Action::Ended { run, state } => Did::Ended(run, state),
                Action::Progressed { run, block } => Did::Progressed(run, block.0),
                Action::Observe { what, .. } => Did::Observe(what),
            })
            .collect()
    }

    pub(crate) fn complete(&mut self, run: RunId, block: u16) {
        let output = format!("out {block}");
        self.finish(run, block, BlockResult::Completed(output));
    }

    pub(crate) fn fail(&mut self, run: RunId, block: u16, failure: Failure) {
        self.finish(run, block, BlockResult::Failed(failure));
    }

    pub(crate) fn finish(&mut self, run: RunId, block: u16, result: BlockResult<String>) {
        let attempt = self.attempt(run, block);
        let event = Event::Finished { run, block: BlockIndex(block), attempt, result, random: 0 };
        self.event(event).expect("an end is always taken");
    }

    pub(crate) fn wait(&mut self, run: RunId, block: u16) {
        let attempt = self.attempt(run, block);
        let on = "fetch example.org".into();
        self.event(Event::Waiting { run, block: BlockIndex(block), attempt, on }).expect("it runs");
    }

    pub(crate) fn wake(&mut self, run: RunId, block: u16) {
        let attempt = self.attempt(run, block);
        self.event(Event::Woken { run, block: BlockIndex(block), attempt }).expect("it waits");
    }

    pub(crate) fn give_back(&mut self, run: RunId, block: u16) {
        let attempt = self.attempt(run, block);
        self.event(Event::Yielded { run, block: BlockIndex(block), attempt }).expect("it runs");
    }

    /// Lets time pass up to the next deadline, and past it; how long that was.
    pub(crate) fn pass(&mut self) -> Span {
        let due = self.kernel.poll_timeout().expect("something is due");
        let span = due - self.now;
        self.now = due;
        self.kernel.handle_timeout(due);
        self.kernel.check_invariants();
        span
    }

    pub(crate) fn state(&self, run: RunId) -> RunState {
        self.kernel.run(run).expect("the run is known").state
    }

    fn attempt(&self, run: RunId, block: u16) -> Attempt {
        self.kernel.run(run).expect("the run is known").blocks[usize::from(block)].attempt
    }
}

pub(crate) fn block(id: &str, dependencies: &[u16]) -> PlanBlock {
    PlanBlock {
        id: id.into(),
        trigger: false,
        brief: false,
        lane: Lane::Light,
        gated: false,
        dependencies: dependencies.iter().copied().map(BlockIndex).collect(),
        timeout: None,
        retry: Retry::NEVER,
        on_error: OnError::Fail,
    }
}

pub(crate) fn heavy(id: &str, dependencies: &[u16]) -> PlanBlock {
    PlanBlock { lane: Lane::Heavy, ..block(id, dependencies) }
}

pub(crate) fn brief(id: &str, dependencies: &[u16]) -> PlanBlock {
    PlanBlock { brief: true, ..block(id, dependencies) }
}

pub(crate) fn plan(workflow: &str, blocks: Vec<PlanBlock>) -> Plan {
    Plan {
        workflow: workflow.into(),
        version: "1".into(),
        priority: Priority::DEFAULT,
        concurrency: None,
        timeout: None,
        heavy_memory_bytes: 60,
        blocks,
    }
}

/// A workflow of one light block.
pub(crate) fn one(workflow: &str) -> Arc<Plan> {
    Arc::new(plan(workflow, vec![block("only", &[])]))
}

pub(crate) fn at_most(runs: u32, plan: Plan) -> Arc<Plan> {
    Arc::new(Plan { concurrency: NonZeroU32::new(runs), ..plan })
}
