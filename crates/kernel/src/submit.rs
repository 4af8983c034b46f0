//! Submission: from a plan to a run that may begin.

use std::sync::Arc;

use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::state::{BlockStatus, Lane, RunState};

use crate::action::Observation;
use crate::control::{BlockControlObject, Place, WorkflowControlBlock};
use crate::event::Submit;
use crate::kernel::{Kernel, Timer};
use crate::plan::{Plan, PlanBlock};
use crate::rejected::Rejected;
use crate::shape::{Shape, open_dependencies};
use crate::table::{Admission, Key, Run};
use crate::time::{Span, Time};
use crate::transition::{BlockEvent, Phase};

impl<P: Clone> Kernel<P> {
    pub(crate) fn submit(&mut self, mut submit: Submit<P>) -> Result<(), Rejected> {
        let run = submit.run;
        if self.table.find(run).is_some() {
            return Err(Rejected::DuplicateRun { run });
        }
        if submit.restored.is_none() && self.table.live >= self.config.live_runs_max {
            return Err(Rejected::Full { limit: self.config.live_runs_max });
        }
        let (workflow, shape) = self
            .workflows
            .enter(&submit.plan)
            .map_err(|cause| Rejected::BadPlan { workflow: Arc::clone(&submit.plan.workflow), cause })?;
        if shape.heavy {
            self.check_memory(&submit.plan)?;
        }
        self.workflows.get_mut(workflow).live += 1;
        let (timeout, restored) = (submit.plan.timeout, submit.restored.take());
        let since = restored.as_ref().map_or(self.now, |restored| restored.created_at);
        let key = self.table.insert(new_run(submit, shape, workflow, self.now));
        if let Some(timeout) = timeout {
            self.table.get_mut(key).timer = Some(self.timers.set(since + timeout, Timer::Run(key)));
        }
        self.observe(key, None, || Observation::State(RunState::Ready));
        if let Some(restored) = restored {
            self.restore(key, *restored);
        }
        if self.table.get(key).control.state == RunState::Ready {
            self.ask_admission(key);
        }
        if !self.table.get(key).control.state.is_terminal() {
            self.release_first(key);
            self.settle(key);
        }
        Ok(())
    }

    /// Refuses a plan whose heavy blocks need more than there is.
    pub(crate) fn check_memory(&self, plan: &Plan) -> Result<(), Rejected> {
        let (need_bytes, budget_bytes) = (plan.heavy_memory_bytes, self.memory.budget());
        if need_bytes > budget_bytes {
            return Err(Rejected::OverMemoryBudget { workflow: Arc::clone(&plan.workflow), need_bytes, budget_bytes });
        }
        Ok(())
    }

    /// Admits a run if its workflow's `concurrency` allows it, else puts it in line.
    pub(crate) fn ask_admission(&mut self, key: Key) {
        let run = self.table.get(key);
        let (priority, workflow) = (run.control.priority, run.workflow);
        let limit = run.control.plan.concurrency;
        let state = self.workflows.get_mut(workflow);
        if limit.is_none_or(|limit| state.line.is_empty() && state.admitted < limit.get() as usize) {
            state.admitted += 1;
            self.table.get_mut(key).admission = Admission::Admitted;
        } else {
            let place = state.line.push(self.now, priority, key);
            self.table.get_mut(key).admission = Admission::InLine(place);
        }
    }

    /// Admits runs of a workflow as long as there is room for the first in line.
    pub(crate) fn admit_next(&mut self, workflow: u32) {
        loop {
            let state = self.workflows.get_mut(workflow);
            let Some(first) = state.line.first(self.now) else { return };
            let limit = self.table.get(first.value).control.plan.concurrency;
            if limit.is_some_and(|limit| state.admitted >= limit.get() as usize) {
                return;
            }
            state.line.remove(first.place);
            state.admitted += 1;
            self.table.get_mut(first.value).admission = Admission::Admitted;
            self.enqueue_all(first.value);
            self.settle(first.value);
        }
    }

    /// Completes the triggers and releases what depends on nothing.
    fn release_first(&mut self, key: Key) {
        for block in self.table.get(key).indices() {
            let run = self.table.get(key);
            let (trigger, control) =
                (run.control.plan.blocks[block.as_usize()].trigger, &run.control.blocks[block.as_usize()]);
            if trigger && control.phase == Phase::Pending {
                let output = run.control.input.clone();
                self.complete_trigger(key, block, output);
            } else if control.open == 0 && control.phase == Phase::Pending {
                self.advance(key, block, BlockEvent::Release);
                self.enqueue(key, block);
            }
        }
    }

    fn complete_trigger(&mut self, key: Key, block: BlockIndex, output: P) {
        let now = self.now;
        self.advance(key, block, BlockEvent::Complete);
        let control = self.table.block_mut(key, block);
        control.output = Some(output);
        (control.started_at, control.ended_at) = (Some(now), Some(now));
        self.release_dependents(key, block);
    }
}

fn new_run<P>(submit: Submit<P>, shape: Arc<Shape>, workflow: u32, now: Time) -> Run<P> {
    let Submit { run, plan, input, priority, observe, record, restored: _ } = submit;
    let first = plan.blocks.iter().position(|block| !block.trigger).unwrap_or(0);
    let control = WorkflowControlBlock {
        id: run,
        state: RunState::Ready,
        blocks: plan.blocks.iter().map(new_block).collect(),
        input,
        output: None,
        current_block_index: BlockIndex(u16::try_from(first).expect("a plan has at most 1,000 blocks")),
        priority: priority.unwrap_or(plan.priority),
        lane: if shape.heavy { Lane::Heavy } else { Lane::Light },
        created_at: now,
        updated_at: now,
        error: None,
        timed_out: false,
        plan,
    };
    let left = u16::try_from(control.blocks.len()).expect("a plan has at most 1,000 blocks");
    let admission = Admission::Held;
    Run {
        control,
        shape,
        workflow,
        admission,
        left,
        ready: 0,
        running: 0,
        timer: None,
        observe,
        record,
        promoted: false,
    }
}

fn new_block<P>(plan: &PlanBlock) -> BlockControlObject<P> {
    BlockControlObject {
        id: Arc::clone(&plan.id),
        status: BlockStatus::Pending,
        output: None,
        retries: 0,
        attempt: Attempt::default(),
        started_at: None,
        ended_at: None,
        failure: None,
        phase: Phase::Pending,
        open: u32::try_from(open_dependencies(plan).len()).expect("a plan's edges are counted in 32 bits"),
        lane: plan.lane,
        place: Place::Nowhere,
        holder: None,
        parking: false,
        again: false,
        called: false,
        used: Span(0),
        timer: None,
        retry_at: Time::default(),
        waits_on: None,
    }
}
