//! The ready queue and the timers against models that are too simple to be wrong.

#![expect(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use runlet_kernel::limits::AGED_TURN;
use runlet_kernel::rank::Rank;
use runlet_kernel::ready::{EntryId, ReadyQueue};
use runlet_kernel::timers::{TimerId, Timers};
use runlet_kernel::{Span, Time};
use runlet_proto::ids::Priority;

#[derive(Debug, Clone)]
enum QueueStep {
    Push { level: u8, workflow: u32, long: bool, front: bool },
    Pop,
    Remove(usize),
    Reprioritise(usize, u8),
    Pass(u64),
}

/// A list of entries in the order they came, and per rank the workflows in the order of their turns.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Waiting>,
    // By level, first those whose first entry is long.
    turns: [[Vec<u32>; 2]; Priority::LEVELS],
    since_aged: u32,
    moved: i64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    value: u64,
    level: usize,
    workflow: u32,
    long: bool,
    since: Time,
    // Orders the line of a workflow: when it joined it, or before all of it.
    joined: i64,
    id: EntryId,
}

impl Model {
    /// A number for the order of a line: behind all of it, or before.
    fn joins(&mut self, front: bool) -> i64 {
        self.moved += 1;
        if front { -self.moved } else { self.moved }
    }

    /// Puts a workflow into the ring of its first entry, at the end unless it is there.
    fn follow(&mut self, level: usize, workflow: u32) {
        let first = self.first_of(level, workflow).map(|at| usize::from(!self.entries[at].long));
        for (ring, turns) in self.turns[level].iter_mut().enumerate() {
            match first == Some(ring) {
                true if !turns.contains(&workflow) => turns.push(workflow),
                true => {}
                false => turns.retain(|turn| *turn != workflow),
            }
        }
    }

    fn pop(&mut self, now: Time, ageing: Span) -> Option<(u64, bool)> {
        let aged = self.since_aged + 1 >= AGED_TURN && self.entries.first().is_some_and(|e| e.since + ageing <= now);
        let at = if aged { 0 } else { self.by_rank()? };
        self.since_aged = if aged { 0 } else { self.since_aged + 1 };
        let taken = self.entries.remove(at);
        if !aged {
            // Its turn is over: the workflow goes to the end of the ring.
            let ring = self.turns[taken.level].iter_mut().find(|ring| ring.first() == Some(&taken.workflow));
            ring.expect("it was its turn").rotate_left(1);
        }
        self.follow(taken.level, taken.workflow);
        Some((taken.value, aged))
    }

    fn by_rank(&self) -> Option<usize> {
        let level = self.entries.iter().map(|entry| entry.level).max()?;
        let [long, short] = &self.turns[level];
        let workflow = short.first().or_else(|| long.first())?;
        self.first_of(level, *workflow)
    }

    fn first_of(&self, level: usize, workflow: u32) -> Option<usize> {
        let line = self.entries.iter().enumerate().filter(|(_, e)| (e.level, e.workflow) == (level, workflow));
        line.min_by_key(|(_, entry)| entry.joined).map(|(at, _)| at)
    }
}

fn queue_step() -> impl Strategy<Value = QueueStep> {
    prop_oneof![
        5 => (0..10u8, 0..4u32, any::<bool>(), 0..4u8).prop_map(|(level, workflow, long, front)| {
            QueueStep::Push { level: level / 4, workflow, long, front: front == 0 }
        }),
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
                QueueStep::Push { level, workflow, long, front } => {
                    let rank = Rank::new(Priority::new(level).unwrap(), long);
                    let id = match front {
                        true => queue.push_front(now, rank, workflow, value),
                        false => queue.push(now, rank, workflow, value),
                    };
                    let (level, joined) = (usize::from(level), model.joins(front));
                    model.entries.push(Waiting { value, level, workflow, long, since: now, joined, id });
                    model.follow(level, workflow);
                }
                QueueStep::Pop => {
                    let popped = queue.pop(now).map(|turn| (turn.value, turn.aged));
                    prop_assert_eq!(popped, model.pop(now, ageing));
                }
                QueueStep::Remove(at) if !model.entries.is_empty() => {
                    let gone = model.entries.remove(at % model.entries.len());
                    prop_assert_eq!(queue.remove(gone.id), gone.value);
                    model.follow(gone.level, gone.workflow);
                }
                QueueStep::Reprioritise(at, level) if !model.entries.is_empty() => {
                    let at = at % model.entries.len();
                    let Waiting { level: before, workflow, id, .. } = model.entries[at];
                    queue.reprioritise(id, Priority::new(level).unwrap());
                    model.entries[at].level = usize::MAX;
                    model.follow(before, workflow);
                    model.entries[at].joined = model.joins(false);
                    model.entries[at].level = usize::from(level);
                    model.follow(usize::from(level), workflow);
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
