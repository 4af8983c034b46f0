//! The queue between who appends and the writer, and the counters that both sides see.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::entry::Entry;
use crate::error::Backlog;
use crate::journal::Stats;
use crate::limits::{BACKLOG_BYTES_MAX, BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, RELAXED_BYTES_MAX, RELAXED_DELAY};
use crate::maintain::Collected;
use crate::op::weight;

/// Who waits for what was collected.
pub(crate) type Answer = Box<dyn FnOnce(Collected) + Send>;

/// Whether somebody waits for entries to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Now,
    Relaxed,
}

/// How long the writer waits for something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Until(Instant),
    Forever,
}

/// What the writer is given to do.
#[derive(Default)]
pub(crate) struct Taken {
    /// Whole calls.
    pub(crate) calls: Vec<Call>,
    /// Who wants the retention applied.
    pub(crate) answers: Vec<Answer>,
    /// Whether nothing more will come.
    pub(crate) closing: bool,
}

/// The entries of one call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Number of the last entry.
    pub(crate) last: u64,
    /// The entries, each with what it counts for.
    pub(crate) entries: Vec<(Entry, u64)>,
}

/// Both sides' view.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    waiting: AtomicU64,
    full: AtomicBool,
    pub(crate) counters: Counters,
}

/// What the writer counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) out_of_place: AtomicU64,
    pub(crate) commit_last_ns: AtomicU64,
    pub(crate) commit_total_ns: AtomicU64,
    pub(crate) runs_kept: AtomicU64,
    pub(crate) bytes_kept: AtomicU64,
}

#[derive(Default)]
struct Queue {
    calls: std::collections::VecDeque<Call>,
    /// Bytes in `calls`.
    bytes: u64,
    /// Number of the last entry.
    sequence: u64,
    answers: Vec<Answer>,
    /// Since when relaxed entries lie.
    relaxed_since: Option<Instant>,
    urgent: bool,
    closing: bool,
    /// Whether the writer waits to be told.
    idle: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("sequence", &self.sequence)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while the queue is half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn append(&self, entries: Vec<Entry>, urgency: Urgency) -> Result<u64, Backlog> {
        let weighed = entries.into_iter().map(|entry| {
            let weight = weight(&entry);
            (entry, weight)
        });
        let entries: Vec<_> = weighed.collect();
        let bytes = entries.iter().map(|(_, weight)| weight).sum::<u64>();
        let mut queue = self.lock();
        let waiting = self.waiting.load(Ordering::Relaxed);
        // What is larger than the bound by itself is taken when nothing else waits: it would be refused forever.
        if queue.closing || (waiting > 0 && waiting + bytes > BACKLOG_BYTES_MAX) {
            return Err(Backlog { bytes_waiting: waiting });
        }
        if entries.is_empty() {
            return Ok(queue.sequence);
        }
        self.waiting.store(waiting + bytes, Ordering::Relaxed);
        queue.sequence += entries.len() as u64;
        queue.bytes += bytes;
        let last = queue.sequence;
        queue.calls.push_back(Call { last, entries });
        let known = queue.urgent || queue.relaxed_since.is_some();
        match urgency {
            Urgency::Now => queue.urgent = true,
            Urgency::Relaxed if queue.relaxed_since.is_none() => queue.relaxed_since = Some(Instant::now()),
            Urgency::Relaxed => {}
        }
        let due = queue.urgent || queue.bytes > RELAXED_BYTES_MAX || !known;
        if due && queue.idle {
            self.arrived.notify_one();
        }
        Ok(queue.sequence)
    }

    pub(crate) fn flush(&self) -> u64 {
        let mut queue = self.lock();
        if !queue.calls.is_empty() {
            queue.urgent = true;
            if queue.idle {
                self.arrived.notify_one();
            }
        }
        queue.sequence
    }

    pub(crate) fn collect(&self, answer: Answer) {
        let mut queue = self.lock();
        if !queue.closing {
            queue.answers.push(answer);
            self.arrived.notify_one();
        }
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_one();
    }

    /// Takes what is to be done, as soon as there is something or patience ends.
    pub(crate) fn take(&self, patience: Patience) -> Taken {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let relaxed_due = queue.relaxed_since.map(|since| since + RELAXED_DELAY);
            let due = queue.urgent || queue.bytes > RELAXED_BYTES_MAX || relaxed_due.is_some_and(|due| due <= now);
            let over = match patience {
                Patience::None => true,
                Patience::Until(end) => end <= now,
                Patience::Forever => false,
            };
            if due || over || queue.closing || !queue.answers.is_empty() {
                let entries_too = due || queue.closing;
                return queue.take(entries_too);
            }
            let end = match patience {
                Patience::Until(end) => Some(relaxed_due.map_or(end, |due| due.min(end))),
                Patience::None | Patience::Forever => relaxed_due,
            };
            queue.idle = true;
            queue = match end {
                Some(end) => self.wait_until(queue, end.saturating_duration_since(now)),
                None => self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            queue.idle = false;
        }
    }

    fn wait_until<'a>(&self, queue: MutexGuard<'a, Queue>, time: Duration) -> MutexGuard<'a, Queue> {
        self.arrived.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Entries of this weight wait no longer: they are written, or refused.
    pub(crate) fn settle(&self, weight: u64) {
        // Under the lock, so that an append does not put back what it read before.
        let _queue = self.lock();
        self.waiting.fetch_sub(weight, Ordering::Relaxed);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Stats {
            commits: read(&counters.commits),
            entries: read(&counters.entries),
            out_of_place: read(&counters.out_of_place),
            bytes_waiting: read(&self.waiting),
            commit_last: Duration::from_nanos(read(&counters.commit_last_ns)),
            commit_total: Duration::from_nanos(read(&counters.commit_total_ns)),
            runs_kept: read(&counters.runs_kept),
            bytes_kept: read(&counters.bytes_kept),
        }
    }
}

impl Queue {
    /// Whole calls up to the bounds of a batch, if entries are due.
    fn take(&mut self, entries_too: bool) -> Taken {
        let mut taken = Taken { answers: std::mem::take(&mut self.answers), ..Taken::default() };
        let (mut bytes, mut count) = (0, 0);
        while entries_too && bytes < BATCH_BYTES_MAX && count < BATCH_ENTRIES_MAX {
            let Some(call) = self.calls.pop_front() else { break };
            bytes += call.entries.iter().map(|(_, weight)| weight).sum::<u64>();
            count += call.entries.len();
            taken.calls.push(call);
        }
        self.bytes -= bytes;
        if self.calls.is_empty() {
            self.urgent = false;
            self.relaxed_since = None;
        }
        taken.closing = self.closing && self.calls.is_empty();
        taken
    }
}
