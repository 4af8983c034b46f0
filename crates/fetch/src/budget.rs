//! How many bytes of bodies are in memory at once, over all calls and, after them, over whoever still has to look at what
//! was fetched.
//!
//! A body takes its share piece by piece as it grows, since its length is rarely known and its limit is far above what it
//! will need. Calls that hold a part and wait for more could wait for each other for ever; so one call at a time, the one
//! that holds the *overdraft*, may go on without a share. Whoever waits, waits for either. If all calls waited, nobody
//! would hold the overdraft, and the first of them would get it: there is always one that can finish and give back what it
//! holds. The price is that the budget is exceeded by the rest of one body, which its own limit bounds.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// Bytes in one permit; a semaphore counts in `u32`.
const UNIT_BYTES: usize = 1024;

impl Held {
    /// Whether there is nothing to give back.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.permits.is_none() && self.overdraft.is_none()
    }
}

/// The bytes that all calls share.
#[derive(Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    overdraft: Arc<Semaphore>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), overdraft: Arc::new(Semaphore::new(1)) }
    }

    /// A share that holds nothing yet; dropping it gives everything back.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { budget: self, units: 0, held: Held::default() }
    }
}

/// What one body holds of the budget.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    /// Units that it has or overdraws.
    units: usize,
    held: Held,
}

/// What a fetched body holds of the budget; dropping it gives that back. Whoever keeps a body waiting keeps this with it, so
/// that further bodies are fetched no faster than they are looked at.
#[derive(Debug, Default)]
pub struct Held {
    permits: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl Share<'_> {
    /// Waits until the body may occupy so many bytes in all. While it waits its connection is not read, so the server
    /// notices, too.
    pub(crate) async fn grow_to(&mut self, bytes: usize) {
        let counted = bytes.saturating_sub(limits::BODY_BYTES_FREE).div_ceil(UNIT_BYTES);
        if counted <= self.units || self.held.overdraft.is_some() {
            return;
        }
        let units = u32::try_from(counted - self.units).unwrap_or(u32::MAX);
        let budget = self.budget;
        if let Ok(permit) = Arc::clone(&budget.units).try_acquire_many_owned(units) {
            self.hold(permit);
        } else {
            // Asked for in this order: the overdraft is for when nothing else is left.
            tokio::select! {
                biased;
                permit = Arc::clone(&budget.units).acquire_many_owned(units) => {
                    self.hold(permit.expect("the semaphore is never closed"));
                }
                permit = Arc::clone(&budget.overdraft).acquire_owned() => {
                    self.held.overdraft = Some(permit.expect("the semaphore is never closed"));
                }
            }
        }
        self.units = counted;
    }

    /// The body is complete.
    pub(crate) fn into_held(self) -> Held {
        self.held
    }

    fn hold(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.held.permits {
            Some(held) => held.merge(permit),
            None => self.held.permits = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Grows to so many bytes beyond those that are free.
    async fn grow(share: &mut Share<'_>, bytes: usize) {
        share.grow_to(limits::BODY_BYTES_FREE + bytes).await;
    }

    #[tokio::test]
    async fn shares_are_given_back() {
        let budget = Budget::new(10 * UNIT_BYTES);
        let mut share = budget.share();
        grow(&mut share, 0).await;
        assert_eq!(budget.units.available_permits(), 10);
        grow(&mut share, 1).await;
        grow(&mut share, UNIT_BYTES).await;
        assert_eq!(budget.units.available_permits(), 9);
        grow(&mut share, 3 * UNIT_BYTES + 1).await;
        assert_eq!(budget.units.available_permits(), 6);
        drop(share);
        assert_eq!(budget.units.available_permits(), 10);
    }

    #[tokio::test]
    async fn one_call_may_overdraw_and_the_others_wait() {
        let budget = Budget::new(4 * UNIT_BYTES);
        let (mut a, mut b, mut c) = (budget.share(), budget.share(), budget.share());
        grow(&mut a, 2 * UNIT_BYTES).await;
        grow(&mut b, 2 * UNIT_BYTES).await;
        grow(&mut a, 8 * UNIT_BYTES).await;
        assert!(a.held.overdraft.is_some());
        grow(&mut a, 800 * UNIT_BYTES).await;
        {
            let mut waiting = pin!(grow(&mut c, UNIT_BYTES));
            assert!(poll(waiting.as_mut()).is_pending());
            drop(b);
            assert!(poll(waiting.as_mut()).is_ready());
        }
        let held = a.into_held();
        drop(c);
        assert_eq!(budget.overdraft.available_permits(), 0, "what was fetched still waits");
        drop(held);
        assert_eq!((budget.units.available_permits(), budget.overdraft.available_permits()), (4, 1));
    }

    #[tokio::test]
    async fn calls_that_all_hold_a_part_finish_all_the_same() {
        let budget = Arc::new(Budget::new(64 * UNIT_BYTES));
        let calls: Vec<_> = (0..64)
            .map(|_| {
                let budget = Arc::clone(&budget);
                tokio::spawn(async move {
                    let mut share = budget.share();
                    for units in [1, 2, 4, 8, 16, 32, 64, 128] {
                        grow(&mut share, units * UNIT_BYTES).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(budget.units.available_permits(), 64);
    }
}
