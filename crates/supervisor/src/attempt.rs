//! Attempts under way: their executions, the answers that wait for them, and the flags a computing thread looks at.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use runlet_blocks::{CallId, Execution, Interrupted};
use runlet_proto::call::Answer;
use tokio::task::AbortHandle;

use crate::dependencies::Gate;
use crate::inbound::AttemptId;

const UNDISTURBED: u8 = 0;
const PREEMPTED: u8 = 1;
const PARKED: u8 = 2;
const CANCELLED: u8 = 3;
const DROPPED: u8 = 4;

/// How the loop speaks to a computing thread. Written by the loop, read by the thread at its ticks.
#[derive(Debug, Default)]
pub(crate) struct Control {
    wish: AtomicU8,
    /// CPU time used up by the resumptions that are over, in microseconds.
    pub(crate) cpu_us: AtomicU64,
    gate: Mutex<()>,
    changed: Condvar,
}

impl Control {
    /// Whether the loop wants nothing: the whole cost of a tick.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.wish.load(Ordering::Relaxed) == UNDISTURBED
    }

    /// Whether the attempt may go on.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.wish.load(Ordering::Acquire) == CANCELLED { Err(Interrupted) } else { Ok(()) }
    }

    /// Asks the thread to give its slot back at its next tick: to stay there with what it has done, or to drop that.
    pub(crate) fn preempt(&self, keep: bool) {
        let wish = if keep { PREEMPTED } else { DROPPED };
        let _ = self.wish.compare_exchange(UNDISTURBED, wish, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Whether the thread was asked to drop what it has done.
    pub(crate) fn is_dropped(&self) -> bool {
        self.wish.load(Ordering::Acquire) == DROPPED
    }

    /// Lets a parked thread go on, or takes a preemption back that the thread has not followed yet.
    pub(crate) fn go_on(&self) {
        self.change_unless_cancelled(UNDISTURBED);
    }

    /// Gives the attempt up.
    pub(crate) fn cancel(&self) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.wish.store(CANCELLED, Ordering::Release);
        self.changed.notify_all();
    }

    /// Enters the parked state if the preemption still stands, and announces it; false if there is nothing to wait for.
    pub(crate) fn park(&self, announce: impl FnOnce() -> bool) -> bool {
        let entered = self.wish.compare_exchange(PREEMPTED, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        entered && announce()
    }

    /// Waits until the attempt is continued or cancelled.
    pub(crate) fn wait(&self) -> Result<(), Interrupted> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        while self.wish.load(Ordering::Acquire) == PARKED {
            gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        drop(gate);
        self.check()
    }

    fn change_unless_cancelled(&self, wish: u8) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.wish.load(Ordering::Acquire);
        if before != CANCELLED {
            self.wish.store(wish, Ordering::Release);
        }
        // Notifying is a system call even if nobody waits, and this is called for every assignment to a thread.
        if before == PARKED {
            self.changed.notify_all();
        }
    }
}

/// One attempt that is under way.
#[derive(Debug)]
pub(crate) struct Active {
    /// The execution while nobody computes it.
    pub(crate) execution: Option<Box<Execution>>,
    /// Answers it has not been resumed with yet.
    pub(crate) answers: VecDeque<(CallId, Answer)>,
    /// Whether the kernel believes it to wait.
    pub(crate) waiting: bool,
    /// Whether it is the kernel's to be continued after a preemption.
    pub(crate) parked: bool,
    /// The pool thread's flags, once it was on one.
    pub(crate) control: Option<Arc<Control>>,
    /// What it waits for, as `runlet ps` prints it.
    pub(crate) waits_on: Arc<str>,
    /// Whether a worker executes it; then there is no execution here.
    pub(crate) heavy: bool,
    /// Whether its worker computes it now.
    pub(crate) computing: bool,
    /// How many of its calls have not been answered.
    pub(crate) unanswered: usize,
    /// Those of them that can be taken back.
    pub(crate) calls: Vec<AbortHandle>,
    /// What it waits for before it begins, if it has not begun.
    pub(crate) gate: Option<Gate>,
}

impl Active {
    pub(crate) fn new(execution: Box<Execution>) -> Self {
        let mut active = Self::empty();
        active.execution = Some(execution);
        active
    }

    /// Of an attempt that a worker is about to begin.
    pub(crate) fn in_worker() -> Self {
        let mut active = Self::empty();
        (active.heavy, active.computing) = (true, true);
        active
    }

    /// Of an attempt that does not begin yet, and what it waits for.
    pub(crate) fn before(gate: Gate, waits_on: &str) -> Self {
        let mut active = Self::empty();
        (active.gate, active.waiting, active.waits_on) = (Some(gate), true, waits_on.into());
        active
    }

    fn empty() -> Self {
        Self {
            execution: None,
            answers: VecDeque::new(),
            waiting: false,
            parked: false,
            control: None,
            waits_on: Arc::default(),
            heavy: false,
            computing: false,
            unanswered: 0,
            calls: Vec::new(),
            gate: None,
        }
    }
}

impl Drop for Active {
    /// An attempt that is over leaves no call behind it.
    fn drop(&mut self) {
        for call in &self.calls {
            call.abort();
        }
    }
}

/// All attempts under way. A stale answer finds nothing here.
pub(crate) type Attempts = HashMap<AttemptId, Active>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preemption_taken_back_before_it_is_followed_parks_nobody() {
        let control = Control::default();
        control.preempt(true);
        control.go_on();
        assert!(!control.park(|| true));
        assert!(control.is_undisturbed());
    }

    #[test]
    fn a_cancelled_attempt_stays_cancelled() {
        let control = Control::default();
        control.cancel();
        control.preempt(true);
        control.go_on();
        assert_eq!(control.check(), Err(Interrupted));
    }

    #[test]
    fn a_parked_thread_goes_on_when_it_is_told_to_and_ends_when_it_is_cancelled() {
        for cancelled in [false, true] {
            let control = Arc::new(Control::default());
            control.preempt(true);
            let (announce, announced) = std::sync::mpsc::channel();
            let thread = std::thread::spawn({
                let control = Arc::clone(&control);
                move || {
                    assert!(control.park(|| announce.send(()).is_ok()));
                    control.wait()
                }
            });
            announced.recv().expect("the thread announces that it parks");
            if cancelled {
                control.cancel();
            } else {
                control.go_on();
            }
            assert_eq!(thread.join().expect("the thread does not panic").is_err(), cancelled);
        }
    }
}
