//! A line of runs that wait for something scarce: by priority, then first-in first-out, and the aged before all.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use runlet_proto::ids::Priority;
use slab::Slab;

use crate::time::{Span, Time};

/// Names a value in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaceId(u32);

/// Values in the order they are to be served. Nobody overtakes the first: who needs much is not passed by those who need
/// little for ever.
#[derive(Debug)]
pub(crate) struct AgedLine<T> {
    places: Slab<Place<T>>,
    by_priority: BTreeSet<(Reverse<Priority>, u64, u32)>,
    by_age: BTreeSet<(Time, u64, u32)>,
    came: u64,
    ageing: Span,
}

#[derive(Debug, Clone, Copy)]
struct Place<T> {
    value: T,
    priority: Priority,
    since: Time,
    order: u64,
}

/// Who is first in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First<T> {
    pub(crate) place: PlaceId,
    pub(crate) value: T,
    pub(crate) priority: Priority,
    pub(crate) since: Time,
    pub(crate) aged: bool,
}

impl<T: Copy> AgedLine<T> {
    pub(crate) const fn new(ageing: Span) -> Self {
        Self { places: Slab::new(), by_priority: BTreeSet::new(), by_age: BTreeSet::new(), came: 0, ageing }
    }

    pub(crate) fn push(&mut self, since: Time, priority: Priority, value: T) -> PlaceId {
        self.came += 1;
        let order = self.came;
        let id = u32::try_from(self.places.insert(Place { value, priority, since, order }))
            .expect("an entry a live run at most, of which there are < 2^32");
        self.by_priority.insert((Reverse(priority), order, id));
        self.by_age.insert((since, order, id));
        PlaceId(id)
    }

    pub(crate) fn remove(&mut self, place: PlaceId) -> T {
        let Place { value, priority, since, order } = self.places.remove(place.0 as usize);
        self.by_priority.remove(&(Reverse(priority), order, place.0));
        self.by_age.remove(&(since, order, place.0));
        value
    }

    pub(crate) fn reprioritise(&mut self, place: PlaceId, priority: Priority) {
        let entry = &mut self.places[place.0 as usize];
        self.by_priority.remove(&(Reverse(entry.priority), entry.order, place.0));
        entry.priority = priority;
        self.by_priority.insert((Reverse(priority), entry.order, place.0));
    }

    pub(crate) fn first(&self, now: Time) -> Option<First<T>> {
        let &(longest, _, oldest) = self.by_age.first()?;
        let aged = longest + self.ageing <= now;
        let id = if aged { oldest } else { self.by_priority.first()?.2 };
        let Place { value, priority, since, .. } = self.places[id as usize];
        Some(First { place: PlaceId(id), value, priority, since, aged })
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn served(line: &mut AgedLine<u32>, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| line.first(Time(now)).map(|first| line.remove(first.place))).collect()
    }

    #[test]
    fn by_priority_then_in_the_order_of_coming() {
        let mut line = AgedLine::new(Span(100));
        for (value, level) in [(1, 5), (2, 7), (3, 5), (4, 7)] {
            line.push(Time(0), Priority::new(level).unwrap(), value);
        }
        assert_eq!(served(&mut line, 99), [2, 4, 1, 3]);
        assert!(line.is_empty());
    }

    #[test]
    fn the_aged_before_all_in_the_order_of_their_age() {
        let mut line = AgedLine::new(Span(100));
        // Came later, but waits for longer: it stood in the ready queue before.
        line.push(Time(5), Priority::MIN, 1);
        line.push(Time(2), Priority::MIN, 2);
        line.push(Time(50), Priority::MAX, 3);
        assert_eq!(line.first(Time(101)).map(|first| (first.value, first.aged)), Some((3, false)));
        assert_eq!(served(&mut line, 105), [2, 1, 3]);
    }

    #[test]
    fn a_new_priority_keeps_the_place_among_equals() {
        let mut line = AgedLine::new(Span(100));
        let [first, second] = [1, 2].map(|value| line.push(Time(0), Priority::MIN, value));
        line.push(Time(0), Priority::MAX, 3);
        line.reprioritise(second, Priority::MAX);
        line.reprioritise(first, Priority::MAX);
        assert_eq!(served(&mut line, 1), [1, 2, 3]);
    }
}
