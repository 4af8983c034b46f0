//! The writer's thread: batches of entries into commits, upkeep between them, and what it says about both.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use runlet_proto::ids::RunId;

use crate::fault::Fault;
use crate::journal::Heard;
use crate::limits::{CLOSE_PATIENCE, FULL_RETRY_LAST, RETENTION_RUNS_PER_PIECE};
use crate::maintain::Collected;
use crate::op::Op;
use crate::queue::{Answer, Call, Patience, Shared};
use crate::retention::{Size, Thoroughness};
use crate::store::Store;

/// The writer.
pub(crate) struct Writer {
    store: Store,
    shared: Arc<Shared>,
    hear: Box<dyn Fn(Heard) + Send>,
    /// Entries taken off the queue and not written yet: none between commits, unless the disk is full.
    pending: Vec<Op>,
    /// Number of the last entry taken off the queue.
    last: u64,
    full: Option<Full>,
    full_retry: Duration,
    collecting: Option<Collecting>,
    /// Whether upkeep has more to do.
    upkeep_due: bool,
}

/// Since the disk is full: when it is tried again.
struct Full {
    wait: Duration,
    again_at: Instant,
}

/// A collection somebody asked for.
struct Collecting {
    answers: Vec<Answer>,
    before: Size,
    went: Collected,
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        shared: Arc<Shared>,
        hear: Box<dyn Fn(Heard) + Send>,
        full_retry: Duration,
    ) -> Self {
        Self {
            store,
            shared,
            hear,
            pending: Vec::new(),
            last: 0,
            full: None,
            full_retry,
            collecting: None,
            upkeep_due: true,
        }
    }

    /// Writes until the journal is closed or a write fails for good; why, if it is that.
    pub(crate) fn run(mut self) -> Option<String> {
        // Nothing of the writer is used after a panic; but who waits for it has to hear of it.
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let worked = worked.unwrap_or_else(|_| Err(Fault::Broken("the journal's writer panicked".to_owned())));
        let ended = match worked {
            // What is left in the log may stay there.
            Ok(()) | Err(Fault::Full) => self.store.close(),
            broken @ Err(Fault::Broken(_)) => broken,
        };
        let Err(Fault::Broken(why)) = ended else { return None };
        // Nobody waits for room any more, and nothing is taken.
        self.shared.close();
        (self.hear)(Heard::Failed(why.clone()));
        Some(why)
    }

    fn work(&mut self) -> Result<(), Fault> {
        self.count()?;
        loop {
            let mut taken = self.shared.take(self.patience());
            self.accept(taken.calls);
            self.collect(std::mem::take(&mut taken.answers))?;
            let ended = self.store.tables.ended;
            self.write()?;
            let ended = self.store.tables.ended.saturating_sub(ended);
            if taken.closing {
                return self.write_last();
            }
            if self.full.is_none() {
                self.keep_up(usize::try_from(ended).unwrap_or(usize::MAX))?;
            }
            self.count()?;
        }
    }

    /// What waits for space at the end is tried a little longer.
    fn write_last(&mut self) -> Result<(), Fault> {
        let end = Instant::now() + CLOSE_PATIENCE;
        while !self.pending.is_empty() {
            let again_at = self.full.as_ref().map_or(end, |full| full.again_at).min(end);
            thread::sleep(again_at.saturating_duration_since(Instant::now()));
            self.write()?;
            if !self.pending.is_empty() && Instant::now() >= end {
                let entries = self.pending.len();
                let why = format!("its disk is full, and {entries} entries were not written before the journal closed");
                return Err(Fault::Broken(why));
            }
        }
        Ok(())
    }

    fn patience(&self) -> Patience {
        match &self.full {
            Some(full) => Patience::Until(full.again_at),
            None if self.upkeep_due || self.collecting.is_some() => Patience::None,
            None => Patience::Forever,
        }
    }

    fn accept(&mut self, calls: Vec<Call>) {
        for call in calls {
            self.last = call.last;
            self.pending.extend(Op::prepare_all(call.entries));
        }
    }

    /// Writes what is pending; without space, refuses what may be refused.
    fn write(&mut self) -> Result<(), Fault> {
        if self.pending.is_empty() {
            return match &self.full {
                Some(full) if full.again_at <= Instant::now() => self.probe(),
                Some(_) | None => Ok(()),
            };
        }
        let begun = Instant::now();
        match self.store.commit(&self.pending) {
            Ok(()) => {
                self.committed(begun.elapsed());
                Ok(())
            }
            Err(Fault::Full) => self.refuse(),
            Err(broken) => Err(broken),
        }
    }

    fn committed(&mut self, took: Duration) {
        let counters = &self.shared.counters;
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.entries.fetch_add(self.pending.len() as u64, Ordering::Relaxed);
        counters.commit_last_ns.store(took, Ordering::Relaxed);
        counters.commit_total_ns.fetch_add(took, Ordering::Relaxed);
        self.settle();
        self.upkeep_due = true;
        self.has_room();
        (self.hear)(Heard::Durable { up_to: self.last });
    }

    fn settle(&mut self) {
        self.shared.settle(self.pending.drain(..).map(|op| op.weight).sum());
    }

    fn has_room(&mut self) {
        if self.full.take().is_some() {
            self.shared.set_full(false);
            (self.hear)(Heard::Room);
        }
    }

    /// The disk is full. Runs that would begin are given up with all their entries; everything else waits.
    fn refuse(&mut self) -> Result<(), Fault> {
        // What came meanwhile would fail as well, and whoever appended it waits for an answer.
        loop {
            let taken = self.shared.take(Patience::None);
            self.collect(taken.answers)?;
            if taken.calls.is_empty() {
                break;
            }
            self.accept(taken.calls);
        }
        let refused: Vec<RunId> = self.pending.iter().filter_map(Op::may_give_up).collect();
        let given_up: HashSet<RunId> = refused.iter().copied().collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.pending.drain(..).partition(|op| op.run().is_some_and(|run| given_up.contains(&run)));
        self.pending = kept;
        self.shared.settle(gone.iter().map(|op| op.weight).sum());
        let was_full = self.full.is_some();
        let wait = self.full.as_ref().map_or(self.full_retry, |full| (full.wait * 2).min(FULL_RETRY_LAST));
        self.full = Some(Full { wait, again_at: Instant::now() + wait });
        self.shared.set_full(true);
        if !was_full || !refused.is_empty() {
            (self.hear)(Heard::Full { refused });
        }
        Ok(())
    }

    fn probe(&mut self) -> Result<(), Fault> {
        match self.store.probe() {
            Ok(()) => {
                self.has_room();
                Ok(())
            }
            Err(Fault::Full) => self.refuse(),
            Err(broken) => Err(broken),
        }
    }

    fn collect(&mut self, answers: Vec<Answer>) -> Result<(), Fault> {
        if answers.is_empty() {
            return Ok(());
        }
        match &mut self.collecting {
            Some(collecting) => collecting.answers.extend(answers),
            None => {
                let before = self.store.size()?;
                self.collecting = Some(Collecting { answers, before, went: Collected::default() });
            }
        }
        Ok(())
    }

    /// One piece of upkeep, after `ended` runs have ended since the last one.
    fn keep_up(&mut self, ended: usize) -> Result<(), Fault> {
        let (least, most) = RETENTION_RUNS_PER_PIECE.into_inner();
        let runs_max = ended.saturating_mul(2).clamp(least, most);
        let mut unasked = Collected::default();
        let (how, went) = match &mut self.collecting {
            Some(collecting) => (Thoroughness::Complete, &mut collecting.went),
            None => (Thoroughness::Passing, &mut unasked),
        };
        let more = match self.store.upkeep(how, runs_max, went) {
            Ok(more) => more,
            // There is no hurry: the next commit will tell.
            Err(Fault::Full) => false,
            Err(broken) => return Err(broken),
        };
        self.upkeep_due = more;
        if !more {
            self.collected()?;
        }
        self.store.checkpoint_if_due()
    }

    /// Nothing is left to be removed: who asked is told.
    fn collected(&mut self) -> Result<(), Fault> {
        let Some(Collecting { answers, before, went }) = self.collecting.take() else { return Ok(()) };
        let went = self.store.finish_collection(before, went)?;
        answers.into_iter().for_each(|answer| answer(went));
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        let counters = &self.shared.counters;
        let out_of_place = std::mem::take(&mut self.store.tables.out_of_place);
        counters.out_of_place.fetch_add(out_of_place, Ordering::Relaxed);
        counters.runs_kept.store(self.store.tables.ended, Ordering::Relaxed);
        counters.bytes_kept.store(self.store.size()?.bytes, Ordering::Relaxed);
        Ok(())
    }
}
