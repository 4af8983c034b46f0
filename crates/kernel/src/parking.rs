//! Places for light attempts that gave their slot back half-done: each keeps a thread and what it has computed so far.
//!
//! A place is taken when an attempt is asked for its slot, and kept until the attempt ends or waits. An attempt for which
//! there is none drops what it has done, stands in line for a place, and is dispatched again once it has one: by then it
//! has had its quantum, and whoever needs less was served meanwhile. One that has made calls cannot be started again; it
//! keeps its slot while no place is free.

use runlet_proto::ids::{BlockIndex, Priority};

use crate::aged::{AgedLine, First, PlaceId};
use crate::table::Key;
use crate::time::{Span, Time};

/// The places, and the line for them.
#[derive(Debug)]
pub(crate) struct Parking {
    places: usize,
    taken: usize,
    line: AgedLine<(Key, BlockIndex)>,
}

impl Parking {
    pub(crate) const fn new(places: usize, ageing: Span) -> Self {
        Self { places, taken: 0, line: AgedLine::new(ageing) }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.taken >= self.places
    }

    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Takes a place; false if there is none.
    pub(crate) const fn take(&mut self) -> bool {
        let free = !self.is_full();
        self.taken += free as usize;
        free
    }

    pub(crate) const fn give_back(&mut self) {
        self.taken -= 1;
    }

    pub(crate) fn push(&mut self, since: Time, priority: Priority, key: Key, block: BlockIndex) -> PlaceId {
        self.line.push(since, priority, (key, block))
    }

    pub(crate) fn remove(&mut self, place: PlaceId) {
        self.line.remove(place);
    }

    pub(crate) fn reprioritise(&mut self, place: PlaceId, priority: Priority) {
        self.line.reprioritise(place, priority);
    }

    /// Who gets the next place, if one is free.
    pub(crate) fn next(&self, now: Time) -> Option<First<(Key, BlockIndex)>> {
        if self.is_full() { None } else { self.line.first(now) }
    }
}
