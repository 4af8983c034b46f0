//! The ready queue: priority levels, a ring of workflows in each, first-in first-out inside a workflow, and ageing.
//!
//! Linked lists through one slab, so that every operation is O(1) and an entry that is taken out leaves nothing behind.

use runlet_proto::ids::Priority;
use slab::Slab;

use crate::limits::AGED_TURN;
use crate::time::{Span, Time};

const NONE: u32 = u32::MAX;

/// Names an entry of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryId(u32);

/// Entries that wait for their turn.
#[derive(Debug)]
pub struct ReadyQueue<T> {
    entries: Slab<Entry<T>>,
    // Per workflow: its line at each level.
    lines: Vec<[Line; Priority::LEVELS]>,
    // Per level: the line whose turn is next, or `NONE`.
    turns: [u32; Priority::LEVELS],
    counts: [usize; Priority::LEVELS],
    // All entries by the time they came, the oldest first.
    oldest: u32,
    youngest: u32,
    ageing: Span,
    // Dispatches by priority since the last one by age.
    since_aged: u32,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    workflow: u32,
    level: usize,
    since: Time,
    // Neighbours in the line of its workflow.
    before: u32,
    behind: u32,
    // Neighbours in time.
    older: u32,
    younger: u32,
}

/// One workflow at one level; in the level's ring while it has entries.
#[derive(Debug, Clone, Copy)]
struct Line {
    first: u32,
    last: u32,
    previous: u32,
    next: u32,
}

const EMPTY: Line = Line { first: NONE, last: NONE, previous: NONE, next: NONE };

/// An entry whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<T> {
    /// What waited.
    pub value: T,
    /// Since when.
    pub since: Time,
    /// Whether its age brought it the turn, not its priority.
    pub aged: bool,
}

impl<T: Copy> ReadyQueue<T> {
    /// An empty queue whose entries are aged after `ageing`.
    #[must_use]
    pub fn new(ageing: Span) -> Self {
        Self {
            entries: Slab::new(),
            lines: Vec::new(),
            turns: [NONE; Priority::LEVELS],
            counts: [0; Priority::LEVELS],
            oldest: NONE,
            youngest: NONE,
            ageing,
            since_aged: AGED_TURN,
        }
    }

    /// Puts a value at the end of its workflow's line. Workflows are numbered densely by the caller; `now` never goes back.
    pub fn push(&mut self, now: Time, priority: Priority, workflow: u32, value: T) -> EntryId {
        self.insert(now, priority, workflow, value, false)
    }

    /// Puts a value at the front of its workflow's line: it was there before all who wait.
    pub fn push_front(&mut self, now: Time, priority: Priority, workflow: u32, value: T) -> EntryId {
        self.insert(now, priority, workflow, value, true)
    }

    fn insert(&mut self, now: Time, priority: Priority, workflow: u32, value: T, front: bool) -> EntryId {
        if self.lines.len() <= workflow as usize {
            self.lines.resize(workflow as usize + 1, [EMPTY; Priority::LEVELS]);
        }
        let older = self.youngest;
        let entry = Entry { value, workflow, level: 0, since: now, before: NONE, behind: NONE, older, younger: NONE };
        let id = u32::try_from(self.entries.insert(entry)).expect("a ready block at most, of which there are < 2^32");
        match older {
            NONE => self.oldest = id,
            older => self.entries[older as usize].younger = id,
        }
        self.youngest = id;
        self.join_line(id, usize::from(priority.level()), front);
        EntryId(id)
    }

    /// Takes the entry whose turn it is: the oldest aged one in every [`AGED_TURN`]th dispatch; else, at the highest level,
    /// the first entry of the workflow whose turn it is, which then goes to the end of the ring.
    pub fn pop(&mut self, now: Time) -> Option<Turn<T>> {
        let aged = self.is_turn_of_aged(now);
        let id = if aged { self.oldest } else { self.first_by_priority()? };
        if aged {
            self.since_aged = 0;
        } else {
            self.passed_over();
        }
        let entry = &self.entries[id as usize];
        let (level, workflow, since) = (entry.level, entry.workflow, entry.since);
        if !aged {
            self.turns[level] = self.lines[workflow as usize][level].next;
        }
        Some(Turn { value: self.take(id), since, aged })
    }

    /// Takes an entry out of the queue before its turn.
    pub fn remove(&mut self, entry: EntryId) -> T {
        self.take(entry.0)
    }

    /// Moves an entry to the end of its workflow's line at another priority; it keeps its age.
    pub fn reprioritise(&mut self, entry: EntryId, priority: Priority) {
        self.leave_line(entry.0);
        self.join_line(entry.0, usize::from(priority.level()), false);
    }

    /// The highest priority that waits, if anything does.
    #[must_use]
    pub fn top(&self) -> Option<Priority> {
        (0..=Priority::MAX.level())
            .rev()
            .filter_map(Priority::new)
            .find(|top| self.counts[usize::from(top.level())] > 0)
    }

    /// The workflow that waits at a priority, if it is only one.
    #[must_use]
    pub fn only_workflow(&self, priority: Priority) -> Option<u32> {
        let level = usize::from(priority.level());
        let turn = self.turns[level];
        (turn != NONE && self.lines[turn as usize][level].next == turn).then_some(turn)
    }

    /// How many entries wait at each level, from 0 to 9.
    #[must_use]
    pub const fn counts(&self) -> &[usize; Priority::LEVELS] {
        &self.counts
    }

    /// Since when the oldest entry waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Time> {
        self.entries.get(self.oldest as usize).map(|entry| entry.since)
    }

    /// Whether an entry has waited so long that its priority does not count.
    #[must_use]
    pub fn is_aged(&self, now: Time) -> bool {
        self.oldest().is_some_and(|since| since + self.ageing <= now)
    }

    /// Whether the next entry is taken for its age.
    #[must_use]
    pub fn is_turn_of_aged(&self, now: Time) -> bool {
        self.since_aged + 1 >= AGED_TURN && self.is_aged(now)
    }

    /// A dispatch went to somebody else: by priority, or to an entry outside this queue.
    pub const fn passed_over(&mut self) {
        self.since_aged = self.since_aged.saturating_add(1);
        if self.since_aged > AGED_TURN {
            self.since_aged = AGED_TURN;
        }
    }

    /// How many entries wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn first_by_priority(&self) -> Option<u32> {
        let level = usize::from(self.top()?.level());
        Some(self.lines[self.turns[level] as usize][level].first)
    }

    fn take(&mut self, id: u32) -> T {
        self.leave_line(id);
        let entry = self.entries.remove(id as usize);
        match entry.older {
            NONE => self.oldest = entry.younger,
            older => self.entries[older as usize].younger = entry.younger,
        }
        match entry.younger {
            NONE => self.youngest = entry.older,
            younger => self.entries[younger as usize].older = entry.older,
        }
        entry.value
    }

    fn join_line(&mut self, id: u32, level: usize, front: bool) {
        let workflow = self.entries[id as usize].workflow;
        let line = &mut self.lines[workflow as usize][level];
        let is_first = line.first == NONE;
        let (before, behind) = if front { (NONE, line.first) } else { (line.last, NONE) };
        if front || is_first {
            line.first = id;
        }
        if !front || is_first {
            line.last = id;
        }
        if before != NONE {
            self.entries[before as usize].behind = id;
        }
        if behind != NONE {
            self.entries[behind as usize].before = id;
        }
        if is_first {
            self.join_ring(workflow, level);
        }
        let entry = &mut self.entries[id as usize];
        (entry.level, entry.before, entry.behind) = (level, before, behind);
        self.counts[level] += 1;
    }

    fn leave_line(&mut self, id: u32) {
        let &Entry { workflow, level, before, behind, .. } = &self.entries[id as usize];
        let line = &mut self.lines[workflow as usize][level];
        match before {
            NONE => line.first = behind,
            before => self.entries[before as usize].behind = behind,
        }
        match behind {
            NONE => line.last = before,
            behind => self.entries[behind as usize].before = before,
        }
        if line.first == NONE {
            self.leave_ring(workflow, level);
        }
        self.counts[level] -= 1;
    }

    /// A workflow that comes to a level has its turn after everybody who is there.
    fn join_ring(&mut self, workflow: u32, level: usize) {
        let turn = self.turns[level];
        if turn == NONE {
            self.turns[level] = workflow;
            self.link(workflow, workflow, level);
        } else {
            let previous = self.lines[turn as usize][level].previous;
            self.link(previous, workflow, level);
            self.link(workflow, turn, level);
        }
    }

    fn leave_ring(&mut self, workflow: u32, level: usize) {
        let Line { previous, next, .. } = self.lines[workflow as usize][level];
        if next == workflow {
            self.turns[level] = NONE;
        } else {
            self.link(previous, next, level);
            if self.turns[level] == workflow {
                self.turns[level] = next;
            }
        }
        self.lines[workflow as usize][level] = EMPTY;
    }

    fn link(&mut self, workflow: u32, next: u32, level: usize) {
        self.lines[workflow as usize][level].next = next;
        self.lines[next as usize][level].previous = workflow;
    }
}

impl<T> ReadyQueue<T> {
    /// Panics unless lists, rings and counts agree.
    pub fn check_invariants(&self) {
        let mut seen = 0;
        for level in 0..Priority::LEVELS {
            let mut at_level = 0;
            let mut workflow = self.turns[level];
            while workflow != NONE {
                let line = self.lines[workflow as usize][level];
                assert_ne!(line.first, NONE, "workflow {workflow} is in the ring of level {level} with nothing to do");
                let (mut id, mut before) = (line.first, NONE);
                while id != NONE {
                    let entry = &self.entries[id as usize];
                    assert_eq!((entry.level, entry.workflow, entry.before), (level, workflow, before), "entry {id}");
                    (before, id, at_level) = (id, entry.behind, at_level + 1);
                }
                assert_eq!(line.last, before, "the line of workflow {workflow} ends elsewhere");
                workflow = if line.next == self.turns[level] { NONE } else { line.next };
            }
            assert_eq!(self.counts[level], at_level, "count of level {level}");
            seen += at_level;
        }
        assert_eq!(seen, self.entries.len(), "an entry is in no line");
        let (mut id, mut older) = (self.oldest, NONE);
        while id != NONE {
            let entry = &self.entries[id as usize];
            assert_eq!(entry.older, older, "entry {id} does not know who is older");
            assert!(older == NONE || self.entries[older as usize].since <= entry.since, "entry {id} is out of order");
            (older, id, seen) = (id, entry.younger, seen - 1);
        }
        assert_eq!((self.youngest, seen), (older, 0), "an entry is missing in the list by age");
    }
}
