//! Bytes that are to be sent: the writing half of a connection without the socket.

use runlet_proto::codec::{EncodeError, encode_frame};
use serde::Serialize;

use crate::limits::{BUFFER_KEPT_BYTES_MAX, READ_BYTES, WRITE_BUFFERED_BYTES_MAX};

/// Why a message was not taken for sending. The connection is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The message cannot be put into a frame.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The peer does not read: too much waits already.
    #[error("{buffered_bytes} bytes wait for a peer that does not read; the limit is {WRITE_BUFFERED_BYTES_MAX}")]
    Full {
        /// What waits, in bytes.
        buffered_bytes: usize,
    },
    /// The socket failed (only where a call sends at once).
    #[error("writing to the socket failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Encoded frames; `bytes[written..]` are not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    /// Encodes a message behind those that wait.
    pub(crate) fn push<T: Serialize>(&mut self, message: &T) -> Result<(), WriteError> {
        self.check()?;
        Ok(encode_frame(message, &mut self.bytes)?)
    }

    /// Moves frames that are already encoded behind those that wait; `frames` is empty afterwards. Without anything
    /// waiting the two vectors change places, and nothing is copied.
    pub(crate) fn append(&mut self, frames: &mut Vec<u8>) -> Result<(), WriteError> {
        self.check()?;
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, frames);
        } else {
            self.bytes.append(frames);
        }
        Ok(())
    }

    /// What is to be sent next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Notes that the first `count` unsent bytes are gone.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
            if self.bytes.capacity() > BUFFER_KEPT_BYTES_MAX {
                self.bytes.shrink_to(READ_BYTES);
            }
        }
    }

    fn check(&mut self) -> Result<(), WriteError> {
        let buffered_bytes = self.bytes.len() - self.written;
        if buffered_bytes >= WRITE_BUFFERED_BYTES_MAX {
            return Err(WriteError::Full { buffered_bytes });
        }
        // What was sent of a long queue is dropped before the queue grows further, so that it cannot creep.
        if self.written > BUFFER_KEPT_BYTES_MAX && self.written > buffered_bytes {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_named_before_memory_runs_out() {
        let mut outgoing = Outgoing::default();
        let message = "x".repeat(1_000_000);
        let full = loop {
            if let Err(error) = outgoing.push(&message) {
                break error;
            }
        };
        assert!(matches!(full, WriteError::Full { buffered_bytes } if buffered_bytes >= WRITE_BUFFERED_BYTES_MAX));
        outgoing.advance(2_000_000);
        outgoing.push(&message).unwrap();
    }

    #[test]
    fn the_buffer_shrinks_after_a_big_frame() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&"x".repeat(1_000_000)).unwrap();
        outgoing.advance(outgoing.unsent().len());
        assert!(outgoing.unsent().is_empty());
        assert!(outgoing.bytes.capacity() <= READ_BYTES);
    }

    #[test]
    fn sent_bytes_do_not_creep_while_a_queue_never_empties() {
        let mut outgoing = Outgoing::default();
        let message = "x".repeat(100_000);
        outgoing.push(&message).unwrap();
        for _ in 0..200 {
            outgoing.push(&message).unwrap();
            outgoing.advance(100_000);
        }
        assert!(outgoing.bytes.len() < 1_000_000, "{}", outgoing.bytes.len());
    }
}
