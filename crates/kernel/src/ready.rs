//! The ready queue: ranks, a ring of workflows in each, first-in first-out inside a workflow, and ageing.
//!
//! A workflow has one line at each priority, and the line stands in the ring of its first entry's rank: a workflow that is
//! about to go on with a long attempt goes, as a whole, behind those that are not.
//!
//! Linked lists through one slab, so that every operation is O(1) and an entry that is taken out leaves nothing behind.

use runlet_proto::ids::Priority;
use slab::Slab;

use crate::limits::AGED_TURN;
use crate::rank::Rank;
use crate::time::{Span, Time};

const NONE: u32 = u32::MAX;

/// Names an entry of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryId(u32);

/// Entries that wait for their turn.
#[derive(Debug)]
pub struct ReadyQueue<T> {
    entries: Slab<Entry<T>>,
    // Per workflow: its line at each priority.
    lines: Vec<[Line; Priority::LEVELS]>,
    // Per rank: the line whose turn is next, or `NONE`.
    turns: [u32; Rank::COUNT],
    counts: [usize; Rank::COUNT],
    // The ranks with entries, a bit each.
    occupied: u32,
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
    priority: Priority,
    long: bool,
    since: Time,
    // Neighbours in the line of its workflow.
    before: u32,
    behind: u32,
    // Neighbours in time.
    older: u32,
    younger: u32,
}

/// One workflow at one priority; in a ring while it has entries.
#[derive(Debug, Clone, Copy)]
struct Line {
    first: u32,
    last: u32,
    len: u32,
    long: bool,
    previous: u32,
    next: u32,
}

const EMPTY: Line = Line { first: NONE, last: NONE, len: 0, long: false, previous: NONE, next: NONE };

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
            turns: [NONE; Rank::COUNT],
            counts: [0; Rank::COUNT],
            occupied: 0,
            oldest: NONE,
            youngest: NONE,
            ageing,
            since_aged: AGED_TURN,
        }
    }

    /// Puts a value at the end of its workflow's line. Workflows are numbered densely by the caller; `now` never goes back.
    pub fn push(&mut self, now: Time, rank: Rank, workflow: u32, value: T) -> EntryId {
        self.insert(now, rank, workflow, value, false)
    }

    /// Puts a value at the front of its workflow's line: it was there before all who wait.
    pub fn push_front(&mut self, now: Time, rank: Rank, workflow: u32, value: T) -> EntryId {
        self.insert(now, rank, workflow, value, true)
    }

    fn insert(&mut self, now: Time, rank: Rank, workflow: u32, value: T, front: bool) -> EntryId {
        if self.lines.len() <= workflow as usize {
            self.lines.resize(workflow as usize + 1, [EMPTY; Priority::LEVELS]);
        }
        let older = self.youngest;
        let (priority, long) = (rank.priority(), rank.is_long());
        let (before, behind, younger) = (NONE, NONE, NONE);
        let entry = Entry { value, workflow, priority, long, since: now, before, behind, older, younger };
        let id = u32::try_from(self.entries.insert(entry)).expect("a ready block at most, of which there are < 2^32");
        match older {
            NONE => self.oldest = id,
            older => self.entries[older as usize].younger = id,
        }
        self.youngest = id;
        self.join_line(id, priority, front);
        EntryId(id)
    }

    /// Takes the entry whose turn it is: the oldest aged one in every [`AGED_TURN`]th dispatch; else, at the highest rank,
    /// the first entry of the workflow whose turn it is, which then goes to the end of the ring.
    pub fn pop(&mut self, now: Time) -> Option<Turn<T>> {
        let aged = self.is_turn_of_aged(now);
        let id = if aged { self.oldest } else { self.first_by_priority()? };
        if aged {
            self.since_aged = 0;
        } else {
            self.passed_over();
        }
        let &Entry { priority, workflow, since, .. } = &self.entries[id as usize];
        if !aged {
            let line = self.line(workflow, priority);
            self.turns[Rank::new(priority, line.long).as_usize()] = line.next;
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
        self.join_line(entry.0, priority, false);
    }

    /// The highest rank that waits, if anything does.
    #[must_use]
    pub fn top(&self) -> Option<Rank> {
        Rank::highest(self.occupied)
    }

    /// The workflow that waits at a rank, if it is only one.
    #[must_use]
    pub fn only_workflow(&self, rank: Rank) -> Option<u32> {
        let turn = self.turns[rank.as_usize()];
        (turn != NONE && self.line(turn, rank.priority()).next == turn).then_some(turn)
    }

    /// How many entries wait at a rank.
    #[must_use]
    pub const fn count(&self, rank: Rank) -> usize {
        self.counts[rank.as_usize()]
    }

    /// How many entries wait at each priority, from 0 to 9.
    #[must_use]
    pub fn counts(&self) -> [usize; Priority::LEVELS] {
        std::array::from_fn(|level| self.counts[2 * level] + self.counts[2 * level + 1])
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

    const fn count_up(&mut self, rank: Rank, entries: usize) {
        self.counts[rank.as_usize()] += entries;
        self.occupied |= rank.bit();
    }

    const fn count_down(&mut self, rank: Rank, entries: usize) {
        self.counts[rank.as_usize()] -= entries;
        if self.counts[rank.as_usize()] == 0 {
            self.occupied &= !rank.bit();
        }
    }

    fn first_by_priority(&self) -> Option<u32> {
        let rank = self.top()?;
        Some(self.line(self.turns[rank.as_usize()], rank.priority()).first)
    }

    fn line_mut(&mut self, workflow: u32, priority: Priority) -> &mut Line {
        &mut self.lines[workflow as usize][usize::from(priority.level())]
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

    fn join_line(&mut self, id: u32, priority: Priority, front: bool) {
        let &Entry { workflow, long, .. } = &self.entries[id as usize];
        let line = self.line_mut(workflow, priority);
        let is_first = line.first == NONE;
        let (before, behind) = if front { (NONE, line.first) } else { (line.last, NONE) };
        if front || is_first {
            line.first = id;
        }
        if !front || is_first {
            line.last = id;
        }
        line.len += 1;
        if is_first {
            line.long = long;
        }
        let rank = Rank::new(priority, line.long);
        self.count_up(rank, 1);
        if before != NONE {
            self.entries[before as usize].behind = id;
        }
        if behind != NONE {
            self.entries[behind as usize].before = id;
        }
        let entry = &mut self.entries[id as usize];
        (entry.priority, entry.before, entry.behind) = (priority, before, behind);
        if is_first {
            self.join_ring(workflow, rank);
        } else {
            self.follow_first(workflow, priority);
        }
    }

    fn leave_line(&mut self, id: u32) {
        let &Entry { workflow, priority, before, behind, .. } = &self.entries[id as usize];
        let line = self.line_mut(workflow, priority);
        match before {
            NONE => line.first = behind,
            before => self.entries[before as usize].behind = behind,
        }
        match behind {
            NONE => self.line_mut(workflow, priority).last = before,
            behind => self.entries[behind as usize].before = before,
        }
        let line = self.line_mut(workflow, priority);
        line.len -= 1;
        let (rank, is_empty) = (Rank::new(priority, line.long), line.first == NONE);
        self.count_down(rank, 1);
        if is_empty {
            self.leave_ring(workflow, rank);
            *self.line_mut(workflow, priority) = EMPTY;
        } else {
            self.follow_first(workflow, priority);
        }
    }

    /// Moves a line to the ring of its first entry's rank, if it stands in another.
    fn follow_first(&mut self, workflow: u32, priority: Priority) {
        let &Line { first, len, long: stands, .. } = self.line(workflow, priority);
        let long = self.entries[first as usize].long;
        if long == stands {
            return;
        }
        let (from, to) = (Rank::new(priority, stands), Rank::new(priority, long));
        self.count_down(from, len as usize);
        self.count_up(to, len as usize);
        self.leave_ring(workflow, from);
        self.line_mut(workflow, priority).long = long;
        self.join_ring(workflow, to);
    }

    /// A workflow that comes to a ring has its turn after everybody who is there.
    fn join_ring(&mut self, workflow: u32, rank: Rank) {
        let (turn, priority) = (self.turns[rank.as_usize()], rank.priority());
        if turn == NONE {
            self.turns[rank.as_usize()] = workflow;
            self.link(workflow, workflow, priority);
        } else {
            let previous = self.line(turn, priority).previous;
            self.link(previous, workflow, priority);
            self.link(workflow, turn, priority);
        }
    }

    fn leave_ring(&mut self, workflow: u32, rank: Rank) {
        let &Line { previous, next, .. } = self.line(workflow, rank.priority());
        let turn = &mut self.turns[rank.as_usize()];
        if next == workflow {
            *turn = NONE;
            return;
        }
        if *turn == workflow {
            *turn = next;
        }
        self.link(previous, next, rank.priority());
    }

    fn link(&mut self, workflow: u32, next: u32, priority: Priority) {
        self.line_mut(workflow, priority).next = next;
        self.line_mut(next, priority).previous = workflow;
    }
}

impl<T> ReadyQueue<T> {
    fn line(&self, workflow: u32, priority: Priority) -> &Line {
        &self.lines[workflow as usize][usize::from(priority.level())]
    }

    /// Panics unless lists, rings and counts agree.
    pub fn check_invariants(&self) {
        let mut seen = 0;
        for rank in Rank::descending() {
            let priority = rank.priority();
            let mut at_rank = 0;
            let mut workflow = self.turns[rank.as_usize()];
            while workflow != NONE {
                let line = self.line(workflow, priority);
                assert_ne!(line.first, NONE, "workflow {workflow} is in the ring of {rank:?} with nothing to do");
                assert_eq!(self.entries[line.first as usize].long, rank.is_long(), "{workflow} is in the wrong ring");
                let (mut id, mut before, mut len) = (line.first, NONE, 0);
                while id != NONE {
                    let entry = &self.entries[id as usize];
                    let stands = (entry.priority, entry.workflow, entry.before);
                    assert_eq!(stands, (priority, workflow, before), "entry {id}");
                    (before, id, len) = (id, entry.behind, len + 1);
                }
                assert_eq!((line.last, line.len), (before, len), "the line of workflow {workflow} ends elsewhere");
                at_rank += len as usize;
                workflow = if line.next == self.turns[rank.as_usize()] { NONE } else { line.next };
            }
            assert_eq!(self.counts[rank.as_usize()], at_rank, "count of {rank:?}");
            assert_eq!(self.occupied & rank.bit() != 0, at_rank > 0, "bit of {rank:?}");
            seen += at_rank;
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
