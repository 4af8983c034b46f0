//! Timers in an indexed heap: set and cancel in O(log n), and a cancelled timer leaves nothing behind.

use slab::Slab;

use crate::time::Time;

/// Children of one place in the heap. Four of them fit a cache line, and deadlines mostly come in rising order.
const ARITY: usize = 4;

/// Names a timer that was set and has neither fired nor been cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerId(u32);

/// A set of timers, each with a value.
#[derive(Debug)]
pub struct Timers<T> {
    heap: Vec<Due>,
    timers: Slab<Timer<T>>,
    set: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Time,
    // Of two timers for the same time the one that was set first fires first.
    order: u64,
    id: u32,
}

#[derive(Debug)]
struct Timer<T> {
    place: usize,
    value: T,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: Vec::new(), timers: Slab::new(), set: 0 }
    }
}

impl<T> Timers<T> {
    /// Sets a timer.
    pub fn set(&mut self, at: Time, value: T) -> TimerId {
        let place = self.heap.len();
        let id = u32::try_from(self.timers.insert(Timer { place, value }))
            .expect("two timers a live run's block at most, which is far below 2^32");
        self.set += 1;
        self.heap.push(Due { at, order: self.set, id });
        self.sift_up(place);
        TimerId(id)
    }

    /// Takes a timer away before it fires.
    pub fn cancel(&mut self, timer: TimerId) -> Option<T> {
        let timer = self.timers.try_remove(timer.0 as usize)?;
        self.unlink(timer.place);
        Some(timer.value)
    }

    /// When the next timer fires.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.heap.first().map(|due| due.at)
    }

    /// Takes the next timer that is due.
    pub fn pop(&mut self, now: Time) -> Option<(Time, T)> {
        let due = *self.heap.first().filter(|due| due.at <= now)?;
        let timer = self.timers.remove(due.id as usize);
        self.unlink(0);
        Some((due.at, timer.value))
    }

    /// How many are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Panics unless the heap is a heap and every timer knows its place in it.
    pub fn check_invariants(&self) {
        assert_eq!(
            self.heap.len(),
            self.timers.len(),
            "a timer without a place in the heap, or a place without a timer"
        );
        for (place, due) in self.heap.iter().enumerate() {
            assert_eq!(self.timers[due.id as usize].place, place, "timer {} does not know its place", due.id);
            assert!(place == 0 || self.heap[(place - 1) / ARITY] <= *due, "place {place} fires before its parent");
        }
    }

    fn unlink(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.settle(place);
            self.sift_down(place);
            self.sift_up(place);
        }
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / ARITY] {
            self.swap(place, (place - 1) / ARITY);
            place = (place - 1) / ARITY;
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let first = place * ARITY + 1;
            let children = first.min(self.heap.len())..(first + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child]) else { return };
            if self.heap[place] <= self.heap[least] {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.settle(one);
        self.settle(other);
    }

    fn settle(&mut self, place: usize) {
        self.timers[self.heap[place].id as usize].place = place;
    }
}
