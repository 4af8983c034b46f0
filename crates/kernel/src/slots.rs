//! CPU slots: who holds one, since when, and who is to give it back.

use std::collections::HashSet;

use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::state::Lane;
use slab::Slab;

use crate::rank::Rank;
use crate::table::{IdHash, Key};
use crate::time::{Span, Time};

/// Names a held slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HolderId(u32);

/// The slots. There are as many as cores, so looking through all holders is a matter of nanoseconds.
#[derive(Debug)]
pub(crate) struct Slots {
    total: usize,
    holders: Slab<Holder>,
    // Slots of attempts that were given up and are not back yet, light and heavy.
    given_up: usize,
    light_given_up: HashSet<(u128, BlockIndex, Attempt), IdHash>,
}

/// Who holds a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) key: Key,
    pub(crate) block: BlockIndex,
    pub(crate) workflow: u32,
    pub(crate) lane: Lane,
    pub(crate) priority: Priority,
    /// It had used up a quantum before it took this slot.
    pub(crate) long: bool,
    /// It could neither be continued later nor begun again while no place to be parked at is free.
    pub(crate) pinned: bool,
    pub(crate) since: Time,
    /// Its age brought it here: nobody outranks it before its quantum is over.
    pub(crate) aged: bool,
    /// When it was asked for the slot.
    pub(crate) asked: Option<Time>,
}

/// Those who wait for a slot and have no promise of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// The rank that counts.
    pub(crate) rank: Rank,
    /// The workflow of all who wait at that rank, if it is only one.
    pub(crate) workflow: Option<u32>,
    /// Whether one of them has waited so long that its priority does not count.
    pub(crate) aged: bool,
    /// Whether a place is free to park at.
    pub(crate) places: bool,
}

impl Holder {
    fn used_up(&self, now: Time, quantum: Span) -> bool {
        self.since + quantum <= now
    }

    fn rank(&self, now: Time, quantum: Span) -> Rank {
        Rank::new(self.priority, self.long || self.used_up(now, quantum))
    }
}

impl Waiting {
    /// A light attempt is not stopped for the next run of its own workflow: inside a workflow the order is first in, first
    /// out, and a half-done page held for one that has not begun costs memory and gains nobody anything.
    fn is_behind(&self, holder: &Holder) -> bool {
        holder.lane == Lane::Light
            && !self.aged
            && holder.priority == self.rank.priority()
            && self.workflow == Some(holder.workflow)
    }
}

/// What the wait for a slot leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This holder has to give its slot back.
    Preempt(HolderId),
    /// Nobody has to, until then; `None` if time alone changes nothing.
    Wait(Option<Time>),
}

impl Slots {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, holders: Slab::new(), given_up: 0, light_given_up: HashSet::default() }
    }

    pub(crate) fn free(&self) -> usize {
        self.total - self.holders.len() - self.given_up
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    pub(crate) const fn given_up(&self) -> usize {
        self.given_up
    }

    pub(crate) fn light_given_up(&self) -> usize {
        self.light_given_up.len()
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter().map(|(_, holder)| holder)
    }

    pub(crate) fn take(&mut self, holder: Holder) -> HolderId {
        debug_assert!(self.free() > 0, "a slot was taken that is not there");
        HolderId(u32::try_from(self.holders.insert(holder)).expect("fewer slots than 2^32"))
    }

    pub(crate) fn release(&mut self, holder: HolderId) {
        self.holders.remove(holder.0 as usize);
    }

    pub(crate) fn get(&self, holder: HolderId) -> &Holder {
        &self.holders[holder.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, holder: HolderId) -> &mut Holder {
        &mut self.holders[holder.0 as usize]
    }

    /// The attempt was given up; its slot is occupied until [`Self::take_back`].
    pub(crate) fn give_up(&mut self, holder: HolderId) {
        self.release(holder);
        self.given_up += 1;
    }

    /// A slot that was given up is free.
    pub(crate) fn take_back(&mut self) {
        self.given_up -= 1;
    }

    pub(crate) fn remember_light(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) {
        self.light_given_up.insert((run.as_u128(), block, attempt));
    }

    /// Frees the slot of a light attempt that was given up; whether there was one.
    pub(crate) fn take_back_light(&mut self, run: RunId, block: BlockIndex, attempt: Attempt) -> bool {
        let found = self.given_up > 0 && self.light_given_up.remove(&(run.as_u128(), block, attempt));
        self.given_up -= usize::from(found);
        found
    }

    /// Slots that were asked for within the last quantum: they count as free soon. One that was not given back by then is
    /// counted on no longer, and others are asked.
    pub(crate) fn promised(&self, now: Time, quantum: Span) -> usize {
        self.holders().filter(|holder| holder.asked.is_some_and(|asked| asked + quantum > now)).count()
    }

    /// When the next of them is counted on no longer.
    pub(crate) fn promise_due(&self, now: Time, quantum: Span) -> Option<Time> {
        self.holders().filter_map(|holder| holder.asked).map(|asked| asked + quantum).filter(|due| *due > now).min()
    }

    /// Who gives way to those who wait: at once the lowest that they outrank, else the lowest of those whose priority is not
    /// above theirs and who used their quantum up. Of equals, who held the slot longest. An aged entry lets everyone's quantum count.
    pub(crate) fn verdict(&self, waiting: Waiting, now: Time, quantum: Span) -> Verdict {
        let rank = |(_, holder): &(usize, &Holder)| (holder.rank(now, quantum), holder.since);
        let can_stop = |holder: &Holder| holder.asked.is_none() && (waiting.places || !holder.pinned);
        let candidates = || self.holders.iter().filter(|(_, holder)| can_stop(holder) && !waiting.is_behind(holder));
        let used_up = |holder: &Holder| holder.used_up(now, quantum);
        let outranked = |holder: &Holder| holder.rank(now, quantum) < waiting.rank && (!holder.aged || used_up(holder));
        let counts = |holder: &Holder| waiting.aged || holder.priority <= waiting.rank.priority();
        let victim = candidates().filter(|(_, h)| outranked(h)).min_by_key(rank);
        let over = || candidates().filter(|(_, h)| used_up(h) && counts(h)).min_by_key(rank);
        if let Some((id, _)) = victim.or_else(over) {
            return Verdict::Preempt(HolderId(u32::try_from(id).expect("fewer slots than 2^32")));
        }
        let quanta = candidates().filter(|(_, h)| counts(h)).map(|(_, h)| h.since + quantum);
        Verdict::Wait(quanta.chain(self.promise_due(now, quantum)).min())
    }
}
