//! What attempts and workers report: waiting, woken, yielded, lost, and the late words of attempts that were given up.

use std::sync::Arc;

use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::Lane;

use crate::action::Observation;
use crate::kernel::Kernel;
use crate::rejected::Rejected;
use crate::table::Key;
use crate::time::Span;
use crate::transition::{BlockEvent, Phase, RunEvent};

impl<P: Clone> Kernel<P> {
    pub(crate) fn waiting(
        &mut self,
        run: RunId,
        block: BlockIndex,
        attempt: Attempt,
        on: Arc<str>,
    ) -> Result<(), Rejected> {
        let Some(key) = self.current(run, block, attempt) else {
            self.late_pause(run, block, attempt);
            return Ok(());
        };
        self.step(key, block, BlockEvent::Wait)?;
        self.release_slot(key, block);
        self.observe(key, Some(block), || Observation::Blocked(Arc::clone(&on)));
        self.give_place_back(key, block);
        let control = self.table.block_mut(key, block);
        (control.waits_on, control.called, control.again) = (Some(on), true, false);
        self.settle(key);
        Ok(())
    }

    pub(crate) fn woken(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) -> Result<(), Rejected> {
        let Some(key) = self.current(run, block, attempt) else {
            self.stale += 1;
            return Ok(());
        };
        self.step(key, block, BlockEvent::Wake)?;
        self.table.block_mut(key, block).waits_on = None;
        self.enqueue(key, block);
        self.settle(key);
        Ok(())
    }

    pub(crate) fn yielded(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) -> Result<(), Rejected> {
        let Some(key) = self.current(run, block, attempt) else {
            self.late_pause(run, block, attempt);
            return Ok(());
        };
        self.step(key, block, BlockEvent::Yield)?;
        if self.table.block(key, block).lane == Lane::Heavy {
            self.memory.hold(run).interrupted = Some(block);
        }
        self.release_slot(key, block);
        self.enqueue(key, block);
        self.settle(key);
        Ok(())
    }

    /// Lets a light attempt begin again in the heavy lane; it stays the same attempt, with the limit it had.
    pub(crate) fn moved(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) -> Result<(), Rejected> {
        let Some(key) = self.current(run, block, attempt) else {
            self.late_pause(run, block, attempt);
            return Ok(());
        };
        self.check_memory(&self.table.get(key).control.plan)?;
        let control = self.table.block(key, block);
        // What is gated has waited for its gate, if for anything.
        let has_called = control.called && !self.table.get(key).control.plan.blocks[block.as_usize()].gated;
        let (phase, stays) = (control.phase, has_called || control.lane == Lane::Heavy || self.is_brief(key, block));
        if stays || !matches!(phase, Phase::Running | Phase::Yielding) {
            return Err(Rejected::Illegal { run, block, phase: phase.as_str(), event: "moved" });
        }
        if phase == Phase::Running {
            // Nobody asked for its slot: that it is given back is as if somebody had.
            self.advance(key, block, BlockEvent::Preempt);
        }
        self.advance(key, block, BlockEvent::Yield);
        self.release_slot(key, block);
        self.give_place_back(key, block);
        let control = self.table.block_mut(key, block);
        (control.lane, control.again, control.called, control.used) = (Lane::Heavy, true, false, Span(0));
        self.table.get_mut(key).control.lane = Lane::Heavy;
        self.enqueue(key, block);
        self.settle(key);
        Ok(())
    }

    /// Fails what was under way in the worker. What had been given up there is gone as well.
    pub(crate) fn worker_lost(&mut self, run: RunId, failure: &Failure, random: u32, last: bool) {
        for _ in 0..self.memory.worker_gone(run) {
            self.slots.take_back();
        }
        let Ok(key) = self.live(run) else {
            self.stale += 1;
            return;
        };
        // All attempts first, then the run: none of them is there any longer to be given up.
        let mut error = None;
        for block in self.table.get(key).indices() {
            let control = self.table.block(key, block);
            // What was moved and has not begun yet is in no worker.
            if control.phase.is_under_way() && control.lane == Lane::Heavy && !control.again {
                let random = random.wrapping_add(u32::from(block.0));
                let failed = match last {
                    true => Some(self.fail_for_good(key, block, failure.clone())),
                    false => self.fail_attempt(key, block, failure.clone(), random),
                };
                error = error.or(failed);
            }
        }
        if error.is_some() {
            self.end_run(key, RunEvent::Fail, error);
        }
        self.offer_worker(key);
        self.settle(key);
    }

    /// The run, if this attempt of it is under way.
    pub(crate) fn current(&self, run: RunId, block: BlockIndex, attempt: Attempt) -> Option<Key> {
        let key = self.table.find(run)?;
        let control = self.table.get(key).control.blocks.get(block.as_usize())?;
        (control.attempt == attempt && control.phase.is_under_way()).then_some(key)
    }

    /// The end of an attempt that is not under way: one that was given up returns what it held, any other is stale.
    pub(crate) fn late_end(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) {
        if self.slots.take_back_light(run, block, attempt) {
            return;
        }
        let Some(slot) = self.memory.take_back(run, block, attempt) else {
            self.stale += 1;
            return;
        };
        if slot {
            self.slots.take_back();
        }
        if let Ok(key) = self.live(run) {
            self.offer_worker(key);
        }
    }

    /// An attempt that was given up stopped at a wait or a yield instead: its slot is free, its worker is not.
    fn late_pause(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) {
        if self.slots.take_back_light(run, block, attempt) {
            return;
        }
        if self.memory.slot_of_given_up(run, block, attempt) {
            self.slots.take_back();
        } else {
            self.stale += 1;
        }
    }
}
