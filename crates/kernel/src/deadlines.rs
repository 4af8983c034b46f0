//! Timers that are due: limits of runs and attempts, and the next attempt of what failed.

use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex};

use crate::kernel::{Kernel, Timer};
use crate::table::Key;
use crate::transition::{BlockEvent, Phase};

impl<P: Clone> Kernel<P> {
    pub(crate) fn fire_timers(&mut self) {
        while let Some((_, timer)) = self.timers.pop(self.now) {
            match timer {
                Timer::Run(key) => {
                    self.table.get_mut(key).timer = None;
                    self.run_timed_out(key);
                }
                Timer::Block(key, block, attempt) => self.block_timer(key, block, attempt),
            }
        }
    }

    /// A timer is cancelled with what it is for, so this one is never late; the attempt is checked all the same.
    fn block_timer(&mut self, key: Key, block: BlockIndex, attempt: Attempt) {
        let control = self.table.block_mut(key, block);
        if control.attempt != attempt {
            debug_assert!(false, "a timer of an older attempt was not cancelled");
            return;
        }
        control.timer = None;
        match control.phase {
            Phase::Backoff => {
                self.advance(key, block, BlockEvent::Due);
                self.enqueue(key, block);
            }
            Phase::Running | Phase::Yielding | Phase::Waiting | Phase::Woken => self.attempt_timed_out(key, block),
            Phase::Pending | Phase::Ready | Phase::Completed | Phase::Failed | Phase::Skipped => {
                debug_assert!(false, "a timer outlived what it was for");
            }
        }
        self.settle(key);
    }

    /// The attempt is given up and counts as failed.
    fn attempt_timed_out(&mut self, key: Key, block: BlockIndex) {
        let run = self.table.get(key);
        let control = &run.control.blocks[block.as_usize()];
        let limit = run.control.plan.blocks[block.as_usize()].timeout.unwrap_or_default();
        let waited = control.waits_on.as_ref().map(|on| format!("; it was BLOCKED on {on}")).unwrap_or_default();
        let failure = Failure::timeout(format!("block `{}` did not end within {limit}{waited}", control.id))
            .with_help("raise `timeout` of the block, or find out what took so long");
        let random = spread(run.control.id.as_u128(), control.attempt);
        self.dequeue(key, block);
        self.give_up(key, block);
        self.fail(key, block, failure, random);
    }
}

/// Time brings no random number with it; the id of the run and the attempt spread retries as well.
const fn spread(run: u128, attempt: Attempt) -> u32 {
    let mixed = ((run as u64) ^ ((run >> 64) as u64) ^ attempt.0 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as u32
}
