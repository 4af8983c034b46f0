//! How attempts and runs end: completed, skipped, failed, tried again, given up.

use std::sync::Arc;

use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::BlockIndex;
use runlet_proto::state::{BlockStatus, Lane, RunState};

use crate::action::{Action, Observation};
use crate::control::RunError;
use crate::kernel::{Kernel, Timer};
use crate::limits::ATTEMPTS_MAX;
use crate::plan::{OnError, Retry};
use crate::table::{Admission, Key};
use crate::time::Span;
use crate::transition::{BlockEvent, Phase, RunEvent};

impl<P: Clone> Kernel<P> {
    pub(crate) fn complete(&mut self, key: Key, block: BlockIndex, output: P) {
        self.end_attempt(key, block, BlockEvent::Complete, None);
        self.table.block_mut(key, block).output = Some(output);
        self.release_dependents(key, block);
    }

    pub(crate) fn skip(&mut self, key: Key, block: BlockIndex) {
        self.end_attempt(key, block, BlockEvent::Skip, None);
        self.release_dependents(key, block);
    }

    /// A failed attempt: another one if the policy has one left, else what `on_error` says.
    pub(crate) fn fail(&mut self, key: Key, block: BlockIndex, failure: Failure, random: u32) {
        if let Some(error) = self.fail_attempt(key, block, failure, random) {
            self.end_run(key, RunEvent::Fail, Some(error));
        }
    }

    /// The same, but for the end of the run: its cause is returned, if this failure is one.
    pub(crate) fn fail_attempt(
        &mut self,
        key: Key,
        block: BlockIndex,
        failure: Failure,
        random: u32,
    ) -> Option<RunError> {
        let run = self.table.get(key);
        let plan = &run.control.plan.blocks[block.as_usize()];
        let (policy, on_error) = (plan.retry, plan.on_error);
        let control = &run.control.blocks[block.as_usize()];
        let tried = control.retries + 1;
        if failure.retryable && tried < policy.attempts.min(ATTEMPTS_MAX) {
            let wished = failure.retry_after_ms.map_or(Span(0), Span::from_ms);
            self.end_attempt(key, block, BlockEvent::Retry, Some(failure));
            self.retry_after(key, block, policy.delay_after(tried, random).max(wished.min(policy.delay_max)));
        } else if on_error == OnError::Skip {
            self.end_attempt(key, block, BlockEvent::Skip, Some(failure));
            self.release_dependents(key, block);
        } else {
            return Some(self.fail_for_good(key, block, failure));
        }
        None
    }

    /// The last failed attempt of a block; the cause is the run's.
    pub(crate) fn fail_for_good(&mut self, key: Key, block: BlockIndex, failure: Failure) -> RunError {
        let attempt = self.table.block(key, block).attempt;
        let error = RunError { block: Some(self.block_id(key, block)), attempt, failure: failure.clone() };
        self.end_attempt(key, block, BlockEvent::Fail, Some(failure));
        error
    }

    /// A block is done: releases those that waited for it alone; after the last one the run is COMPLETED.
    pub(crate) fn release_dependents(&mut self, key: Key, block: BlockIndex) {
        let run = self.table.get_mut(key);
        run.left -= 1;
        if run.left == 0 {
            self.end_run(key, RunEvent::Complete, None);
            return;
        }
        for at in 0..self.table.get(key).shape.dependents(block).len() {
            let dependent = self.table.get(key).shape.dependents(block)[at];
            let control = self.table.block_mut(key, dependent);
            control.open -= 1;
            if control.open == 0 {
                self.advance(key, dependent, BlockEvent::Release);
                self.enqueue(key, dependent);
            }
        }
    }

    /// Ends a live run: gives up what is under way, returns what it held, and says so once.
    pub(crate) fn end_run(&mut self, key: Key, event: RunEvent, error: Option<RunError>) {
        if event != RunEvent::Complete {
            self.abandon_blocks(key);
        }
        let run = self.table.get_mut(key);
        run.control.error = error.map(Box::new);
        if event == RunEvent::Complete {
            let last = run.control.blocks.iter().rev().find_map(|block| block.output.as_ref());
            run.control.output = Some(last.unwrap_or(&run.control.input).clone());
        }
        let (id, workflow, admission, timer) = (run.control.id, run.workflow, run.admission, run.timer.take());
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        let taken = self.step_run(key, event);
        debug_assert!(taken, "a live run can always end");
        let state = self.table.get(key).control.state;
        self.actions.push_back(Action::Ended { run: id, state });
        self.table.live -= 1;
        self.memory.end(id);
        match admission {
            Admission::Admitted => self.workflows.get_mut(workflow).admitted -= 1,
            Admission::InLine(place) => {
                self.workflows.get_mut(workflow).line.remove(place);
            }
            Admission::Held => {}
        }
        // The line first: a workflow without live runs may be dropped.
        self.admit_next(workflow);
        self.workflows.left(workflow);
    }

    /// Gives up an attempt under way. Whoever executes it reports its end; until then its slot and its worker are occupied.
    pub(crate) fn give_up(&mut self, key: Key, block: BlockIndex) {
        let run = self.table.get(key).control.id;
        let control = self.table.block_mut(key, block);
        let (attempt, lane, holder) = (control.attempt, control.lane, control.holder.take());
        let heavy = lane == Lane::Heavy;
        if let Some(holder) = holder {
            self.slots.give_up(holder);
        }
        if heavy {
            self.memory.give_up(run, block, attempt, holder.is_some());
            let hold = self.memory.hold(run);
            hold.running = hold.running.filter(|running| *running != block);
            self.withdraw_offer(key);
        } else if holder.is_some() {
            self.slots.remember_light(run, block, attempt);
        }
        let running = heavy || holder.is_some();
        self.actions.push_back(Action::Cancel { run, block, attempt, lane, running });
    }

    /// Takes an attempt off everything it stands in or holds, and moves its block along.
    fn end_attempt(&mut self, key: Key, block: BlockIndex, event: BlockEvent, failure: Option<Failure>) {
        self.dequeue(key, block);
        self.release_slot(key, block);
        self.give_place_back(key, block);
        self.advance(key, block, event);
        let now = self.now;
        let control = self.table.block_mut(key, block);
        if let Some(timer) = control.timer.take() {
            self.timers.cancel(timer);
        }
        control.ended_at = Some(now);
        (control.waits_on, control.called, control.again, control.used) = (None, false, false, Span(0));
        let elapsed = control.started_at.map_or(Span(0), |started| now - started);
        // After a failure that is followed by another attempt the block is PENDING, but this attempt FAILED.
        let status = if event == BlockEvent::Retry { BlockStatus::Failed } else { control.status };
        control.failure = failure.map(Box::new);
        let run = self.table.get(key);
        if run.record && matches!(event, BlockEvent::Complete | BlockEvent::Skip | BlockEvent::Retry) {
            self.actions.push_back(Action::Progressed { run: run.control.id, block });
        }
        let run = self.table.get(key);
        if run.observe {
            let failure = run.control.blocks[block.as_usize()].failure.as_deref().cloned();
            self.observe(key, Some(block), || Observation::Ended { status, failure, elapsed });
        }
    }

    fn retry_after(&mut self, key: Key, block: BlockIndex, delay: Span) {
        let at = self.now + delay;
        let control = self.table.block_mut(key, block);
        control.retries += 1;
        control.retry_at = at;
        let attempt = control.attempt;
        control.timer = Some(self.timers.set(at, Timer::Block(key, block, attempt)));
        self.observe(key, Some(block), || Observation::Retry { delay });
    }

    /// The run ends without these blocks.
    fn abandon_blocks(&mut self, key: Key) {
        for block in self.table.get(key).indices() {
            match self.table.block(key, block).phase {
                Phase::Running | Phase::Yielding | Phase::Waiting | Phase::Woken => {
                    self.dequeue(key, block);
                    self.give_up(key, block);
                    self.end_attempt(key, block, BlockEvent::Cancel, Some(given_up()));
                }
                Phase::Ready => {
                    self.dequeue(key, block);
                    self.advance(key, block, BlockEvent::Cancel);
                }
                Phase::Backoff => {
                    self.advance(key, block, BlockEvent::Cancel);
                    if let Some(timer) = self.table.block_mut(key, block).timer.take() {
                        self.timers.cancel(timer);
                    }
                }
                Phase::Pending | Phase::Completed | Phase::Failed | Phase::Skipped => {}
            }
        }
    }
}

impl Retry {
    /// How long to wait after the `tried`th attempt failed.
    #[must_use]
    pub fn delay_after(&self, tried: u32, random: u32) -> Span {
        // A factor below 1, or none at all, would make a retry storm of a slip of the pen.
        let backoff = if self.backoff >= 1.0 { self.backoff } else { 1.0 };
        let exponent = i32::try_from(tried.saturating_sub(1)).unwrap_or(i32::MAX);
        // Conversion saturates: a delay beyond u64 becomes the longest one.
        let longest = self.delay_max.0 as f64;
        let delay = if self.delay.0 == 0 { 0.0 } else { (self.delay.0 as f64 * backoff.powi(exponent)).min(longest) };
        let delay = delay as u64;
        if !self.jitter {
            return Span(delay);
        }
        let half = delay / 2;
        let share = (u128::from(delay - half) * u128::from(random)) >> 32;
        Span(half + u64::try_from(share).unwrap_or(half))
    }
}

/// Why the attempts of a run that ended ended.
fn given_up() -> Failure {
    let failure = Failure::workflow("cancelled", "given up, since the run ended");
    Failure { class: FailureClass::Stopped, ..failure }
}

impl<P: Clone> Kernel<P> {
    /// Ends a run by its own deadline.
    pub(crate) fn run_timed_out(&mut self, key: Key) {
        let run = self.table.get(key);
        let control = &run.control;
        let limit = control.plan.timeout.unwrap_or_default();
        let under_way = control.blocks.iter().find(|block| block.phase.is_under_way());
        let at = match (under_way, control.state) {
            (_, RunState::Paused) => "; it was PAUSED".to_owned(),
            (Some(block), _) => block.waits_on.as_ref().map_or_else(
                || format!("; block `{}` was under way", block.id),
                |on| format!("; block `{}` was BLOCKED on {on}", block.id),
            ),
            (None, state) => format!("; it was {state}"),
        };
        let failure = Failure::timeout(format!("the run did not end within {limit}{at}"))
            .with_help("raise `timeout` of the workflow, or find out what took so long");
        let block = under_way.map(|block| Arc::clone(&block.id));
        let attempt = under_way.map(|block| block.attempt).unwrap_or_default();
        self.table.get_mut(key).control.timed_out = true;
        self.end_run(key, RunEvent::Fail, Some(RunError { block, attempt, failure }));
    }
}
