//! Heavy runs: the memory they are admitted with, and the one worker each of them has.
//!
//! All heavy blocks of a run share its worker, which executes one attempt at a time: at most one of them is *running*, while
//! others may be waiting. Memory is held from the first heavy dispatch of a run until the run has ended and every attempt
//! that was given up has been reported finished.

use std::collections::{HashMap, VecDeque};

use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};

use crate::aged::{AgedLine, First, PlaceId};
use crate::table::{IdHash, Key};
use crate::time::{Span, Time};

/// The budget, and who holds a part of it.
#[derive(Debug)]
pub(crate) struct HeavyMemory {
    budget: u64,
    used: u64,
    holds: HashMap<u128, Hold, IdHash>,
    line: AgedLine<Need>,
}

/// A block that waits for memory only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) key: Key,
    pub(crate) block: BlockIndex,
    bytes: u64,
}

/// The heavy side of one run.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// 0 until it is admitted.
    pub(crate) reserved: u64,
    pub(crate) admitted: bool,
    /// The block that stands in the ready queue or in the line for memory: one at a time.
    pub(crate) offered: Option<BlockIndex>,
    /// The block the worker executes.
    pub(crate) running: Option<BlockIndex>,
    /// The block that the worker was stopped in: it can do nothing else before it has gone on with that.
    pub(crate) interrupted: Option<BlockIndex>,
    /// Blocks that could run but for the worker.
    pub(crate) queue: VecDeque<BlockIndex>,
    given_up: Vec<GivenUp>,
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
struct GivenUp {
    block: BlockIndex,
    attempt: Attempt,
    slot: bool,
}

impl HeavyMemory {
    pub(crate) fn new(budget: u64, ageing: Span) -> Self {
        Self { budget, used: 0, holds: HashMap::default(), line: AgedLine::new(ageing) }
    }

    pub(crate) const fn budget(&self) -> u64 {
        self.budget
    }

    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn holds(&self) -> impl Iterator<Item = (&u128, &Hold)> {
        self.holds.iter()
    }

    pub(crate) fn hold(&mut self, run: RunId) -> &mut Hold {
        self.holds.entry(run.as_u128()).or_default()
    }

    /// The next block for the worker of a run, if the worker is free and none is on its way.
    pub(crate) fn offer(&mut self, run: RunId) -> Option<BlockIndex> {
        let hold = self.holds.get_mut(&run.as_u128())?;
        if hold.running.is_some() || hold.offered.is_some() || !hold.given_up.is_empty() {
            return None;
        }
        hold.offered = match hold.interrupted {
            Some(block) => hold.queue.iter().position(|queued| *queued == block).and_then(|at| hold.queue.remove(at)),
            None => hold.queue.pop_front(),
        };
        hold.offered
    }

    /// Admits a run whose turn it is, if its memory is there and nobody with an equal or higher priority waits for it.
    pub(crate) fn admit(&mut self, run: RunId, bytes: u64, priority: Priority, now: Time) -> bool {
        let outranked = self.line.first(now).is_some_and(|first| first.aged || first.priority >= priority);
        let admitted = self.hold(run).admitted || (!outranked && self.fits(bytes));
        if admitted {
            self.reserve(run, bytes);
        }
        admitted
    }

    /// Whether a run that is not admitted could be if it were its turn.
    pub(crate) fn would_fit(&self, run: RunId, bytes: u64) -> bool {
        let admitted = self.holds.get(&run.as_u128()).is_some_and(|hold| hold.admitted);
        admitted || (self.line.is_empty() && self.fits(bytes))
    }

    pub(crate) fn park(&mut self, key: Key, block: BlockIndex, bytes: u64, priority: Priority, since: Time) -> PlaceId {
        self.line.push(since, priority, Need { key, block, bytes })
    }

    pub(crate) fn unpark(&mut self, place: PlaceId) {
        self.line.remove(place);
    }

    pub(crate) fn reprioritise(&mut self, place: PlaceId, priority: Priority) {
        self.line.reprioritise(place, priority);
    }

    /// The first in the line, if its memory is there. Who needs much is not passed by those behind it.
    pub(crate) fn first_that_fits(&self, now: Time) -> Option<First<Need>> {
        self.line.first(now).filter(|first| self.fits(first.value.bytes))
    }

    /// Takes the first out of the line and admits it.
    pub(crate) fn admit_first(&mut self, first: &First<Need>, run: RunId) {
        self.line.remove(first.place);
        self.reserve(run, first.value.bytes);
    }

    /// The attempt was given up; its worker is to die, and to be reported.
    pub(crate) fn give_up(&mut self, run: RunId, block: BlockIndex, attempt: Attempt, slot: bool) {
        let hold = self.hold(run);
        hold.interrupted = None;
        hold.given_up.push(GivenUp { block, attempt, slot });
    }

    /// An attempt that was given up gave its slot back, but did not end. Whether it had one.
    pub(crate) fn slot_of_given_up(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) -> bool {
        let Some(hold) = self.holds.get_mut(&run.as_u128()) else { return false };
        let found = hold.given_up.iter_mut().find(|gone| gone.block == block && gone.attempt == attempt);
        found.is_some_and(|gone| std::mem::take(&mut gone.slot))
    }

    /// An attempt that was given up ended. `None` if there is no such attempt, else whether it had a slot.
    pub(crate) fn take_back(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) -> Option<bool> {
        let hold = self.holds.get_mut(&run.as_u128())?;
        let at = hold.given_up.iter().position(|gone| gone.block == block && gone.attempt == attempt)?;
        let slot = hold.given_up.swap_remove(at).slot;
        self.settle(run);
        Some(slot)
    }

    /// The worker is gone, and with it everything that was given up in it. How many slots that frees.
    pub(crate) fn worker_gone(&mut self, run: RunId) -> usize {
        let Some(hold) = self.holds.get_mut(&run.as_u128()) else { return 0 };
        hold.interrupted = None;
        let slots = hold.given_up.drain(..).filter(|gone| gone.slot).count();
        self.settle(run);
        slots
    }

    /// The run ended.
    pub(crate) fn end(&mut self, run: RunId) {
        if let Some(hold) = self.holds.get_mut(&run.as_u128()) {
            hold.ended = true;
            self.settle(run);
        }
    }

    fn fits(&self, bytes: u64) -> bool {
        bytes <= self.budget - self.used
    }

    fn reserve(&mut self, run: RunId, bytes: u64) {
        let hold = self.hold(run);
        if !hold.admitted {
            (hold.admitted, hold.reserved) = (true, bytes);
            self.used += bytes;
        }
    }

    /// Returns the memory of a run that has ended and has nothing left in a worker.
    fn settle(&mut self, run: RunId) {
        if self.holds.get(&run.as_u128()).is_some_and(|hold| hold.ended && hold.given_up.is_empty())
            && let Some(hold) = self.holds.remove(&run.as_u128())
        {
            self.used -= hold.reserved;
        }
    }
}

impl Hold {
    /// Slots of attempts that were given up here.
    pub(crate) fn slots_given_up(&self) -> usize {
        self.given_up.iter().filter(|gone| gone.slot).count()
    }
}
