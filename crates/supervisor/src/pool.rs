//! The light pool: threads that compute, fed in the kernel's order.
//!
//! The kernel hands out at most as many slots as it was configured with, so the queue in front of the threads is as good
//! as empty; it never reorders. A preempted attempt keeps its thread, parked inside [`Calls::tick`] (a half-parsed page
//! cannot change threads), and gives only its slot back; another thread takes its place. The kernel bounds how many are parked
//! (`runlet_kernel::limits::PARKED_ATTEMPTS_MAX`): an attempt beyond that drops what it has done and begins again later.
//! Threads are started when first needed. A thread that has had nothing to do for a while ends, and its memory goes with it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use runlet_blocks::{Calls, Execution, Interrupted, Resume, Step, caught};
use runlet_proto::control::LogLevel;
use tokio::sync::mpsc;

use crate::attempt::Control;
use crate::inbound::{AttemptId, Inbound};
use crate::limits::{IDLE_THREAD_ENDS_AFTER, POOL_STACK_BYTES};
use crate::meter::Meter;

/// A piece of compute for the pool: one resumption of one attempt.
pub(crate) struct Assigned {
    pub(crate) attempt: AttemptId,
    pub(crate) execution: Box<Execution>,
    pub(crate) resume: Resume,
    /// Whether the attempt can begin again in the heavy lane.
    pub(crate) moves: bool,
    pub(crate) control: Arc<Control>,
}

/// The threads.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    slots: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    parked: AtomicUsize,
    loop_queue: mpsc::Sender<Inbound>,
}

#[derive(Default)]
struct Queue {
    assigned: VecDeque<Assigned>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    /// A pool for `slots` attempts at once; no thread is started yet.
    pub(crate) fn new(slots: usize, loop_queue: mpsc::Sender<Inbound>) -> Self {
        let shared = Shared { queue: Mutex::default(), work: Condvar::new(), parked: AtomicUsize::new(0), loop_queue };
        Self { shared: Arc::new(shared), slots }
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.shared.lock().threads
    }

    /// Queues a resumption, and starts a thread when all are busy.
    ///
    /// # Errors
    /// When not a single thread could be started.
    pub(crate) fn assign(&mut self, assigned: Assigned) -> io::Result<()> {
        let mut queue = self.shared.lock();
        let short = queue.idle <= queue.assigned.len();
        // A parked thread serves nobody else. Of the others there are as many as slots, not more: one that is just about to
        // look for further work counts, even if it does not wait yet.
        if short && queue.threads < self.slots + self.shared.parked.load(Ordering::Relaxed) {
            match self.start_thread(queue.threads + 1) {
                Ok(()) => queue.threads += 1,
                Err(error) if queue.threads == 0 => return Err(error),
                Err(error) => tracing::warn!(%error, threads = queue.threads, "a pool thread could not be started"),
            }
        }
        queue.assigned.push_back(assigned);
        // A thread that is not idle looks into the queue before it sleeps; notifying it would be a system call for nothing.
        let somebody_sleeps = queue.idle > 0;
        drop(queue);
        if somebody_sleeps {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    fn start_thread(&self, number: usize) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name(format!("light-{number}"))
            .stack_size(POOL_STACK_BYTES)
            .spawn(move || shared.work())
            .map(drop)
    }
}

impl Drop for Pool {
    /// Idle threads end; a computing one ends with its resumption. They are not waited for: the process is ending.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(assigned) = self.next() {
            let computed = compute(assigned, self);
            if self.loop_queue.blocking_send(computed).is_err() {
                return;
            }
        }
    }

    /// The next resumption; `None` when there was none for [`IDLE_THREAD_ENDS_AFTER`], and the thread is to end.
    fn next(&self) -> Option<Assigned> {
        let mut queue = self.lock();
        loop {
            if let Some(assigned) = queue.assigned.pop_front() {
                return Some(assigned);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            let (woken, waited) =
                self.work.wait_timeout(queue, IDLE_THREAD_ENDS_AFTER).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if waited.timed_out() && queue.assigned.is_empty() {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

fn compute(assigned: Assigned, shared: &Shared) -> Inbound {
    let Assigned { attempt, mut execution, resume, moves, control } = assigned;
    let meter = Meter::start(&control);
    let mut calls =
        PoolCalls { attempt, control: &control, shared, meter, moves, ends: Ends::ByItself, overran: false };
    let result = caught(|| execution.resume(resume, &mut calls));
    let PoolCalls { meter, ends, .. } = calls;
    meter.stop(&control);
    match ends {
        Ends::ByItself => {}
        Ends::Dropped => return Inbound::Dropped { attempt },
        Ends::Moved => return Inbound::Overran { attempt, dropped: true },
    }
    let execution = matches!(result, Ok(Step::Wait(_))).then_some(execution);
    Inbound::Computed { attempt, execution, result }
}

/// [`Calls`] of a block on a pool thread.
struct PoolCalls<'a> {
    attempt: AttemptId,
    control: &'a Control,
    shared: &'a Shared,
    meter: Meter,
    moves: bool,
    ends: Ends,
    /// Its overrun has been told.
    overran: bool,
}

/// What is to become of an attempt whose resumption has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// What it says.
    ByItself,
    /// It was told to end, to begin again.
    Dropped,
    /// It was told to end, to begin again in the heavy lane.
    Moved,
}

impl PoolCalls<'_> {
    /// Ends an attempt that has used up its budget if it can begin again; of any other it is only told.
    fn check_budget(&mut self) -> Result<(), Interrupted> {
        if self.overran || !self.meter.is_over() {
            return Ok(());
        }
        self.overran = true;
        if self.moves {
            self.ends = Ends::Moved;
            return Err(Interrupted);
        }
        let _ = self.shared.loop_queue.blocking_send(Inbound::Overran { attempt: self.attempt, dropped: false });
        Ok(())
    }
}

impl Calls for PoolCalls<'_> {
    fn tick(&mut self) -> Result<(), Interrupted> {
        if self.control.is_undisturbed() {
            return self.check_budget();
        }
        self.control.check()?;
        if self.control.is_dropped() {
            self.ends = Ends::Dropped;
            return Err(Interrupted);
        }
        self.shared.parked.fetch_add(1, Ordering::Relaxed);
        let parked = Inbound::Parked { attempt: self.attempt };
        let resumed = match self.control.park(|| self.shared.loop_queue.blocking_send(parked).is_ok()) {
            true => self.control.wait(),
            false => self.control.check(),
        };
        self.shared.parked.fetch_sub(1, Ordering::Relaxed);
        resumed
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        let log = Inbound::Log { attempt: self.attempt, level, text: text.to_owned() };
        // A failed send means that the supervisor is ending.
        let _ = self.shared.loop_queue.blocking_send(log);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is to panic")]

    use runlet_blocks::{Assignment, Output};
    use runlet_proto::ids::{Attempt, BlockIndex, RunId};
    use serde_json::json;

    use super::*;

    /// An execution that writes to its log, since its selector matches nothing.
    fn scraping() -> Box<Execution> {
        let text = r#"[{"type": "html-scraper", "parameter": [{"tags": "h1"}]}]"#;
        let definition = Arc::new(runlet_workflow::parse("scrape.json", text).unwrap());
        let input = Output::json(json!("<p>no heading</p>"));
        Box::new(Execution::new(Assignment { definition, block: BlockIndex(0), input, scope: None }))
    }

    fn assigned(block: u16) -> Assigned {
        let attempt = AttemptId { run: RunId::from_u128(1), block: BlockIndex(block), attempt: Attempt(1) };
        Assigned { attempt, execution: scraping(), resume: Resume::Start, moves: true, control: Arc::default() }
    }

    #[test]
    fn idle_threads_end_and_new_work_starts_new_ones() {
        let (loop_queue, mut inbound) = mpsc::channel(16);
        let mut pool = Pool::new(2, loop_queue);
        for round in 0..2 {
            pool.assign(assigned(round)).unwrap();
            assert!(matches!(inbound.blocking_recv(), Some(Inbound::Log { .. })));
            assert!(matches!(inbound.blocking_recv(), Some(Inbound::Computed { result: Ok(Step::Done(_)), .. })));
            // The thread signals nothing when it ends; that it did shows in the count it leaves behind.
            while pool.shared.lock().threads > 0 {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn an_attempt_that_is_to_drop_its_work_says_so_at_its_next_tick_and_can_begin_again() {
        let (loop_queue, mut inbound) = mpsc::channel(16);
        let mut pool = Pool::new(1, loop_queue);
        let asked = assigned(0);
        asked.control.preempt(false);
        pool.assign(asked).unwrap();
        assert!(matches!(inbound.blocking_recv(), Some(Inbound::Dropped { .. })));
        pool.assign(assigned(0)).unwrap();
        assert!(matches!(inbound.blocking_recv(), Some(Inbound::Log { .. })));
        assert!(matches!(inbound.blocking_recv(), Some(Inbound::Computed { result: Ok(Step::Done(_)), .. })));
    }

    #[test]
    fn a_dropped_pool_ends_its_threads() {
        let (loop_queue, mut inbound) = mpsc::channel(16);
        let mut pool = Pool::new(1, loop_queue);
        pool.assign(assigned(0)).unwrap();
        drop(pool);
        while inbound.blocking_recv().is_some() {}
    }
}
