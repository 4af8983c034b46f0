//! Waiting for something to become true: by an event where there is one, else by looking again; always to a deadline.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a busy machine: only a scenario that has failed already gets here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between the first two looks at a condition that has no event to wait for. From look to look it is longer: looking takes
/// the CPU from what is looked at.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Longest time between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Looks until `look` finds something.
///
/// # Panics
/// With `what`, when [`PATIENCE`] is over.
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    found_in_time(look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Looks until `look` finds something; `None` when [`PATIENCE`] is over.
pub fn found_in_time<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = PAUSE_MIN;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(pause);
        pause = PAUSE_MAX.min(pause * 5 / 4);
    }
}

/// A value whose changes can be waited for.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Changes the value and wakes who waits for it.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Looks at the value.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `look` finds something in the value; `None` when [`PATIENCE`] is over.
    pub fn wait<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let deadline = Instant::now() + PATIENCE;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&value) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            value =
                self.changed.wait_timeout(value, left).map_or_else(|poison| poison.into_inner().0, |(value, _)| value);
        }
    }

    /// A thread that failed while it held the lock has failed its test already.
    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
