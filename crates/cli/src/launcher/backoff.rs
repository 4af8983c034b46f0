//! How long to wait before a child that died is started again.

use std::time::Duration;

use crate::limits::{RESTART_DELAY_MAX, RESTART_DELAY_MIN, STEADY_AFTER};

/// Delays that double from death to death, and start over once a child stayed up.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The shortest delay comes first.
    pub(super) const fn new() -> Self {
        Self { next: RESTART_DELAY_MIN }
    }

    /// The delay after a child died that had been up for `lived`.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        let delay = if lived >= STEADY_AFTER { RESTART_DELAY_MIN } else { self.next };
        self.next = RESTART_DELAY_MAX.min(delay * 2);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.after(Duration::ZERO), RESTART_DELAY_MIN);
        assert_eq!(backoff.after(Duration::ZERO), RESTART_DELAY_MIN * 2);
        for _ in 0..20 {
            backoff.after(Duration::ZERO);
        }
        assert_eq!(backoff.after(Duration::ZERO), RESTART_DELAY_MAX);
        assert_eq!(backoff.after(STEADY_AFTER), RESTART_DELAY_MIN);
    }
}
