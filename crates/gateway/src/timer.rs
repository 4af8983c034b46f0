//! A timer for a deadline that moves often and is met seldom.
//!
//! A timer of tokio's that is set to an earlier time than any other wakes the thread it is set on, at the price of two
//! system calls. This one is set when it fires or when something is due earlier than it would fire, and otherwise left
//! alone: with limits of seconds, once in seconds instead of once a request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer. The deadline is given anew at each poll.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When the timer fires; never later than the deadline, often earlier. `None`: it is not set.
    armed: Option<Instant>,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now() + Duration::from_secs(3_600))), armed: None }
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        loop {
            match (self.armed, deadline) {
                // Nothing is due. A timer that is still set fires once, and is not set again.
                (None, None) => return Poll::Pending,
                (None, Some(deadline)) => self.arm(deadline),
                (Some(armed), Some(deadline)) if deadline < armed => self.arm(deadline),
                (Some(_), _) => {}
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let fired = self.armed.take();
            if deadline.is_some() && deadline <= fired {
                return Poll::Ready(());
            }
        }
    }

    fn arm(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.armed = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_deadline_that_moves_is_met_where_it_ends() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut timer = Timer::new();
        // Set late, moved earlier, then later again: the timer fires early, and goes on to the last deadline.
        for deadline in [Some(ms(60_000)), Some(ms(5)), None] {
            let pending = poll_fn(|cx| Poll::Ready(timer.poll_deadline(cx, deadline).is_pending())).await;
            assert!(pending);
        }
        poll_fn(|cx| timer.poll_deadline(cx, Some(ms(30)))).await;
        assert!(Instant::now() >= ms(30));
        // A deadline in the past is met at once.
        poll_fn(|cx| timer.poll_deadline(cx, Some(start))).await;
    }
}
