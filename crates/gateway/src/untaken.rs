//! Replies that their clients have not taken yet: how many bytes of them one thread holds.
//!
//! A client may take its reply as slowly as a byte every few seconds, and many of them at once would fill the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::limits::{REPLY_BYTES_FREE, UNTAKEN_BYTES_MAX};
use crate::problem::{Kind, Problem};

/// The bytes of one thread's untaken replies. Atomic only because a [`Bytes`] may be dropped anywhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untaken(Arc<AtomicUsize>);

impl Untaken {
    /// Counts a reply's body until the last of its bytes has been sent or given up.
    pub(crate) fn hold(&self, body: Bytes) -> Result<Bytes, Problem> {
        if body.len() <= REPLY_BYTES_FREE {
            return Ok(body);
        }
        let total = self.0.fetch_add(body.len(), Ordering::Relaxed) + body.len();
        let held = Held { body, untaken: self.clone() };
        if total > UNTAKEN_BYTES_MAX {
            return Err(Problem::new(Kind::Overloaded, "too many replies wait for their clients to take them"));
        }
        Ok(Bytes::from_owner(held))
    }
}

/// A body that is counted; given back when it is dropped.
struct Held {
    body: Bytes,
    untaken: Untaken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.untaken.0.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_clients_do_not_take_is_bounded_and_given_back() {
        let (untaken, large) = (Untaken::default(), Bytes::from(vec![7; UNTAKEN_BYTES_MAX / 4]));
        let mut held: Vec<_> = (0..4).map(|_| untaken.hold(large.clone()).unwrap()).collect();
        assert_eq!(held[0], large);
        let problem = untaken.hold(large.clone()).unwrap_err();
        assert_eq!(problem.into_response().status(), 503);
        assert!(untaken.hold(large.slice(..REPLY_BYTES_FREE)).is_ok(), "a small one always fits");
        held.pop();
        assert!(untaken.hold(large).is_ok());
        drop(held);
        assert_eq!(untaken.0.load(Ordering::Relaxed), 0);
    }
}
