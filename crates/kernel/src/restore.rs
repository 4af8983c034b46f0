//! Runs that an earlier kernel began: what was done of them stays done, the rest goes on.

use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex};

use crate::control::RunError;
use crate::kernel::{Kernel, Timer};
use crate::shape::open_dependencies;
use crate::table::Key;
use crate::time::Time;
use crate::transition::{BlockEvent, Phase, RunEvent};

/// What is known of a run that began before this kernel did.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored<P> {
    /// When it was submitted first; its deadline counts from then.
    pub created_at: Time,
    /// Whether a user holds it.
    pub paused: bool,
    /// What is known of its blocks, each at most once; triggers are complete in any case.
    pub blocks: Vec<(BlockIndex, RestoredBlock<P>)>,
}

/// What is known of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredBlock<P> {
    /// Its last attempt.
    pub attempt: Attempt,
    /// How many attempts failed and were followed by another.
    pub retries: u32,
    /// When its last attempt began and ended, if that is known.
    pub times: Option<(Time, Time)>,
    /// Where it stands.
    pub progress: Progress<P>,
}

/// Where a restored block stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<P> {
    /// It is COMPLETED and is not executed again.
    Completed(P),
    /// It is SKIPPED, after a failure if there is one.
    Skipped(Option<Failure>),
    /// Its last attempt failed; the next one is due then.
    Backoff(Failure, Time),
    /// It failed for good, and the run with it.
    Failed(Failure),
    /// An attempt of it was under way and is made again.
    Again,
}

impl<P: Clone> Kernel<P> {
    /// Brings a run that was just entered to where it stood. Its blocks that are not done are still to be released.
    pub(crate) fn restore(&mut self, key: Key, restored: Restored<P>) {
        let run = self.table.get_mut(key);
        (run.control.created_at, run.control.updated_at) = (restored.created_at, self.now);
        if restored.paused {
            let taken = self.step_run(key, RunEvent::Pause);
            debug_assert!(taken, "a new run is READY");
        }
        for block in self.table.get(key).indices() {
            let run = self.table.get(key);
            if run.control.plan.blocks[block.as_usize()].trigger {
                let input = run.control.input.clone();
                self.advance(key, block, BlockEvent::Complete);
                let control = self.table.block_mut(key, block);
                control.output = Some(input);
                (control.started_at, control.ended_at) = (Some(restored.created_at), Some(restored.created_at));
            }
        }
        let mut failed = None;
        let mut waiting = restored.blocks;
        loop {
            let before = waiting.len();
            for (block, known) in std::mem::take(&mut waiting) {
                if !self.may_have_begun(key, block) {
                    waiting.push((block, known));
                } else if let Some(error) = self.restore_block(key, block, known) {
                    failed.get_or_insert(error);
                }
            }
            // What is left is not of this plan, or there twice, or done before what it depends on: it says nothing about
            // this run, and is executed.
            if waiting.len() == before {
                break;
            }
        }
        self.count_done(key);
        if let Some(error) = failed {
            self.end_run(key, RunEvent::Fail, Some(error));
        } else if self.table.get(key).left == 0 {
            self.end_run(key, RunEvent::Complete, None);
        }
    }

    /// Whether nothing was said of a block so far, and all that it depends on is done.
    fn may_have_begun(&self, key: Key, block: BlockIndex) -> bool {
        let run = &self.table.get(key).control;
        let done = |dependency: &BlockIndex| {
            matches!(run.blocks[dependency.as_usize()].phase, Phase::Completed | Phase::Skipped)
        };
        let known = run.plan.blocks.get(block.as_usize()).zip(run.blocks.get(block.as_usize()));
        known.is_some_and(|(plan, control)| {
            control.phase == Phase::Pending && control.attempt.0 == 0 && open_dependencies(plan).iter().all(done)
        })
    }

    /// The run's error, if the block is one it does not survive.
    fn restore_block(&mut self, key: Key, block: BlockIndex, known: RestoredBlock<P>) -> Option<RunError> {
        let RestoredBlock { attempt, retries, times, progress } = known;
        let id = self.block_id(key, block);
        let control = self.table.block_mut(key, block);
        (control.attempt, control.retries) = (attempt, retries);
        (control.started_at, control.ended_at) = times.unzip();
        match progress {
            Progress::Completed(output) => {
                control.output = Some(output);
                self.advance(key, block, BlockEvent::Complete);
            }
            Progress::Skipped(failure) => {
                control.failure = failure.map(Box::new);
                self.advance(key, block, BlockEvent::Skip);
            }
            Progress::Backoff(failure, at) => {
                control.failure = Some(Box::new(failure));
                control.retry_at = at;
                self.advance(key, block, BlockEvent::Retry);
                let timer = self.timers.set(at, Timer::Block(key, block, attempt));
                self.table.block_mut(key, block).timer = Some(timer);
            }
            Progress::Failed(failure) => {
                control.failure = Some(Box::new(failure.clone()));
                self.advance(key, block, BlockEvent::Fail);
                return Some(RunError { block: Some(id), attempt, failure });
            }
            Progress::Again => {}
        }
        None
    }

    /// Counts what is left to do, and what each block still waits for.
    fn count_done(&mut self, key: Key) {
        for block in self.table.get(key).indices() {
            if !matches!(self.table.block(key, block).phase, Phase::Completed | Phase::Skipped) {
                continue;
            }
            self.table.get_mut(key).left -= 1;
            for at in 0..self.table.get(key).shape.dependents(block).len() {
                let dependent = self.table.get(key).shape.dependents(block)[at];
                self.table.block_mut(key, dependent).open -= 1;
            }
        }
    }
}
