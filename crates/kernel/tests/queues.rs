//! The ready queue and the timers against models that are too simple to be wrong.

#![expect(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use runlet_kernel::limits::AGED_TURN;
use runlet_kernel::ready::{EntryId, ReadyQueue};
use runlet_kernel::timers::{TimerId, Timers};
use runlet_kernel::{Span, Time};
use runlet_proto::ids::Priority;

#[derive(Debug, Clone)]
enum QueueStep {
    Push { level: u8, workflow: u32 },
    Pop,
    Remove(usize),
    Reprioritise(usize, u8),
    Pass(u64),
}

/// A list of entries in the order they came, and per level the workflows in the order of their turns.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Waiting>,
    turns: [Vec<u32>; Priority::LEVELS],
    since_aged: u32,
    moved: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    value: u64,
    level: usize,
    workflow: u32,
    since: Time,
    // Orders the line of a workflow: when it joined it.
    joined: u64,
    id: EntryId,
}

impl Model {
    fn join(&mut self, level: usize, workflow: u32) -> u64 {
        if !self.turns[level].contains(&workflow) {
            self.turns[level].push(workflow);
        }
        self.moved += 1;
        self.moved
    }

    fn leave(&mut self, level: usize, workflow: u32) {
        if !self.entries.iter().any(|entry| (entry.level, entry.workflow) == (level, workflow)) {
            self.turns[level].retain(|turn| *turn != workflow);
        }
    }

    fn pop(&mut self, now: Time, ageing: Span) -> Option<(u64, bool)> {
        let aged = self.since_aged + 1 >= AGED_TURN && self.entries.first().is_some_and(|e| e.since + ageing <= now);
        let at = if aged { 0 } else { self.by_priority()? };
        self.since_aged = if aged { 0 } else { self.since_aged + 1 };
        let taken = self.entries.remove(at);
        if !aged {
            // Its turn is over: the workflow goes to the end of the ring.
            self.turns[taken.level].rotate_left(1);
        }
        self.leave(taken.level, taken.workflow);
        Some((taken.value, aged))
    }

    fn by_priority(&self) -> Option<usize> {
        let level = self.entries.iter().map(|entry| entry.level).max()?;
        let workflow = self.turns[level][0];
        let line = self.entries.iter().enumerate().filter(|(_, e)| (e.level, e.workflow) == (level, workflow));
        line.min_by_key(|(_, entry)| entry.joined).map(|(at, _)| at)
    }
}

fn queue_step() -> impl Strategy<Value = QueueStep> {
    prop_oneof![
        5 => (0..10u8, 0..4u32).prop_map(|(level, workflow)| QueueStep::Push { level: level / 4, workflow }),
        4 => Just(QueueStep::Pop),
        1 => any::<usize>().prop_map(QueueStep::Remove),
        1 => (any::<usize>(), 0..10u8).prop_map(|(at, level)| QueueStep::Reprioritise(at, level)),
        2 => (0..40u64).prop_map(QueueStep::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ready_queue_is_its_model(steps in prop::collection::vec(queue_step(), 1..120), ageing in 20..200u64) {
        let ageing = Span(ageing);
        let mut queue = ReadyQueue::new(ageing);
        let mut model = Model { since_aged: AGED_TURN, ..Model::default() };
        let mut now = Time(0);
        for (value, step) in (0u64..).zip(steps) {
            match step {
                QueueStep::Push { level, workflow } => {
                    let id = queue.push(now, Priority::new(level).unwrap(), workflow, value);
                    let level = usize::from(level);
                    let joined = model.join(level, workflow);
                    model.entries.push(Waiting { value, level, workflow, since: now, joined, id });
                }
                QueueStep::Pop => {
                    let popped = queue.pop(now).map(|turn| (turn.value, turn.aged));
                    prop_assert_eq!(popped, model.pop(now, ageing));
                }
                QueueStep::Remove(at) if !model.entries.is_empty() => {
                    let gone = model.entries.remove(at % model.entries.len());
                    prop_assert_eq!(queue.remove(gone.id), gone.value);
                    model.leave(gone.level, gone.workflow);
                }
                QueueStep::Reprioritise(at, level) if !model.entries.is_empty() => {
                    let at = at % model.entries.len();
                    let Waiting { level: before, workflow, id, .. } = model.entries[at];
                    queue.reprioritise(id, Priority::new(level).unwrap());
                    model.entries[at].level = usize::MAX;
                    model.leave(before, workflow);
                    model.entries[at].joined = model.join(usize::from(level), workflow);
                    model.entries[at].level = usize::from(level);
                }
                QueueStep::Remove(_) | QueueStep::Reprioritise(_, _) => {}
                QueueStep::Pass(time) => now = now + Span(time),
            }
            queue.check_invariants();
            prop_assert_eq!(queue.len(), model.entries.len());
            prop_assert_eq!(queue.oldest(), model.entries.first().map(|entry| entry.since));
        }
    }

    /// Steps: (time from now, None = set; Some = cancel one of those that are set).
    #[test]
    fn timers_fire_in_order_and_leave_nothing(steps in prop::collection::vec((0..500u64, any::<Option<usize>>()), 1..300)) {
        let mut timers = Timers::default();
        let mut set: Vec<(Time, u64, TimerId)> = Vec::new();
        let mut now = Time(0);
        for (order, (span, cancel)) in (0u64..).zip(steps) {
            if let Some(at) = cancel.filter(|_| !set.is_empty()) {
                let (_, order, id) = set.remove(at % set.len());
                prop_assert_eq!(timers.cancel(id), Some(order));
            } else {
                let at = now + Span(span);
                set.push((at, order, timers.set(at, order)));
            }
            now = now + Span(span / 20);
            set.sort_by_key(|(at, order, _)| (*at, *order));
            prop_assert_eq!(timers.next(), set.first().map(|(at, _, _)| *at));
            while let Some((at, order)) = timers.pop(now) {
                let (due, expected, _) = set.remove(0);
                prop_assert_eq!((at, order), (due, expected));
            }
            timers.check_invariants();
            prop_assert_eq!(timers.len(), set.len());
        }
    }
}
