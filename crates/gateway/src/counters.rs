//! What one thread counts for whoever measures the gateway. The thread alone writes, so that counting is a load and a store.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// The numbers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Responses by the first digit of their status, from 1 to 5.
    responses: [AtomicU64; 5],
    connections: AtomicU64,
    refused: AtomicU64,
}

/// The numbers of several threads together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) responses: [u64; 5],
    pub(crate) connections: u64,
    pub(crate) refused: u64,
}

impl Counters {
    /// A request was answered.
    pub(crate) fn responded(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.responses.get(class) {
            increase(counter);
        }
    }

    /// So many connections are open.
    pub(crate) fn open(&self, connections: usize) {
        self.connections.store(connections as u64, Ordering::Relaxed);
    }

    /// A connection was refused.
    pub(crate) fn refused(&self) {
        increase(&self.refused);
    }

    /// Adds what was counted so far.
    pub(crate) fn add_to(&self, totals: &mut Totals) {
        for (total, counter) in totals.responses.iter_mut().zip(&self.responses) {
            *total += counter.load(Ordering::Relaxed);
        }
        totals.connections += self.connections.load(Ordering::Relaxed);
        totals.refused += self.refused.load(Ordering::Relaxed);
    }
}

fn increase(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up_and_an_odd_status_counts_nowhere() {
        let (one, other) = (Counters::default(), Counters::default());
        one.responded(StatusCode::OK);
        other.responded(StatusCode::NO_CONTENT);
        other.responded(StatusCode::GATEWAY_TIMEOUT);
        other.responded(StatusCode::from_u16(999).expect("http takes it"));
        one.open(3);
        one.open(2);
        other.open(1);
        other.refused();
        let mut totals = Totals::default();
        one.add_to(&mut totals);
        other.add_to(&mut totals);
        assert_eq!(totals, Totals { responses: [0, 2, 0, 0, 1], connections: 3, refused: 1 });
    }
}
