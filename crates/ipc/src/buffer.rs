//! Bytes that have arrived, cut into frames: the reading half of a connection without the socket.

use std::io;

use runlet_proto::codec::{DecodeError, decode};
use runlet_proto::frame::{FrameTooLong, HEADER_BYTES, payload_bytes};
use serde::de::DeserializeOwned;

use crate::limits::{BUFFER_KEPT_BYTES_MAX, READ_BYTES};

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The socket failed.
    #[error("reading from the socket failed: {0}")]
    Io(#[from] io::Error),
    /// The peer announced a frame over the limit. Nothing after it can be read: the connection is of no more use.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    /// The peer closed the connection inside a frame.
    #[error("the connection ended inside a frame: {arrived_bytes} of {frame_bytes} bytes had arrived")]
    HalfFrame {
        /// What had arrived of the frame, its header included.
        arrived_bytes: usize,
        /// What the frame has in all, its header included; the header alone when not even that was whole.
        frame_bytes: usize,
    },
    /// The frame holds no message of the expected type. The frames after it can still be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The read deadline passed (blocking connections only).
    #[error("nothing arrived before the deadline")]
    Deadline,
}

/// Received bytes: `bytes[start..end]` are not yet consumed, what follows is room for the next read.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameBuffer {
    /// Takes the next whole frame out and decodes it; `None` when more bytes are needed first.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, ReadError>> {
        let waiting = &self.bytes[self.start..self.end];
        let (header, rest) = waiting.split_first_chunk::<HEADER_BYTES>()?;
        let length = match payload_bytes(*header) {
            Ok(length) => length,
            // The header stays where it is: every later call gets the same error.
            Err(error) => return Some(Err(error.into())),
        };
        let payload = rest.get(..length)?;
        let message = decode(payload).map_err(ReadError::from);
        self.start += HEADER_BYTES + length;
        Some(message)
    }

    /// The payload length the next frame announces, in bytes, if its header is here.
    pub(crate) fn announced_bytes(&self) -> Option<u32> {
        self.bytes[self.start..self.end].first_chunk::<HEADER_BYTES>().map(|header| u32::from_le_bytes(*header))
    }

    /// Where the next read may put its bytes; never empty. Room for a big frame doubles as its bytes arrive, so an
    /// announced length alone costs nothing.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let waiting = self.end - self.start;
        if waiting == 0 {
            (self.start, self.end) = (0, 0);
        }
        let wanted = self.wanted_bytes(waiting);
        if self.bytes.len() > BUFFER_KEPT_BYTES_MAX && wanted <= READ_BYTES {
            self.replace(READ_BYTES);
        } else if self.bytes.len() < wanted {
            self.replace(wanted);
        } else if self.bytes.len() - self.start < wanted || self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, waiting);
        }
        &mut self.bytes[self.end..]
    }

    /// Notes that a read put `count` bytes into the room.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// How much of a frame is left over at the end of the stream.
    pub(crate) fn end(&self) -> Result<(), ReadError> {
        let arrived_bytes = self.end - self.start;
        if arrived_bytes == 0 {
            return Ok(());
        }
        let frame_bytes = HEADER_BYTES + self.announced_bytes().map_or(0, |length| length as usize);
        Err(ReadError::HalfFrame { arrived_bytes, frame_bytes })
    }

    /// How much the buffer should hold for the next read, counted from `start`: the whole frame, but at most twice what
    /// is here, at least one read's worth, and always more than what is here.
    fn wanted_bytes(&self, waiting: usize) -> usize {
        let frame = HEADER_BYTES + self.announced_bytes().map_or(0, |length| length as usize);
        frame.min(waiting.saturating_mul(2)).max(READ_BYTES).max(waiting + 1)
    }

    /// Moves what waits into a new buffer. The allocator hands out zeroed memory at less than the price of zeroing it.
    fn replace(&mut self, bytes: usize) {
        let mut buffer = vec![0; bytes];
        let waiting = self.end - self.start;
        buffer[..waiting].copy_from_slice(&self.bytes[self.start..self.end]);
        self.bytes = buffer;
        (self.start, self.end) = (0, waiting);
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Lets bytes arrive as far as there is room; how many did.
    #[cfg(test)]
    fn arrive(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.filled(count);
        count
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use runlet_proto::codec::encode_frame;
    use runlet_proto::frame::FRAME_BYTES_MAX;

    use super::*;

    fn drain<T: DeserializeOwned>(buffer: &mut FrameBuffer) -> Vec<Result<T, ReadError>> {
        std::iter::from_fn(|| buffer.next::<T>()).collect()
    }

    #[test]
    fn an_announced_length_costs_nothing_until_its_bytes_arrive() {
        let mut buffer = FrameBuffer::default();
        buffer.arrive(&u32::try_from(FRAME_BYTES_MAX).unwrap().to_le_bytes());
        assert!(buffer.next::<String>().is_none());
        buffer.room();
        assert!(buffer.capacity() <= READ_BYTES, "{}", buffer.capacity());
    }

    #[test]
    fn room_never_exceeds_twice_what_has_arrived_and_shrinks_after_a_big_frame() {
        let mut frame = Vec::new();
        encode_frame(&"x".repeat(3_000_000), &mut frame).unwrap();
        let mut buffer = FrameBuffer::default();
        let mut sent = 0;
        while sent < frame.len() {
            sent += buffer.arrive(&frame[sent..]);
            assert!(buffer.capacity() <= (2 * sent).max(READ_BYTES));
        }
        assert_eq!(buffer.next::<String>().unwrap().unwrap().len(), 3_000_000);
        buffer.room();
        assert_eq!(buffer.capacity(), READ_BYTES);
    }

    #[test]
    fn a_length_over_the_limit_stays_an_error() {
        let mut buffer = FrameBuffer::default();
        buffer.arrive(&u32::MAX.to_le_bytes());
        for _ in 0..2 {
            assert!(matches!(buffer.next::<String>(), Some(Err(ReadError::TooLong(_)))));
        }
    }

    #[test]
    fn a_malformed_frame_does_not_spoil_the_next() {
        let mut bytes = vec![1, 0, 0, 0, 0xff];
        encode_frame(&7u64, &mut bytes).unwrap();
        let mut buffer = FrameBuffer::default();
        assert_eq!(buffer.arrive(&bytes), bytes.len());
        assert!(matches!(buffer.next::<u64>(), Some(Err(ReadError::Malformed(_)))));
        assert_eq!(buffer.next::<u64>().unwrap().unwrap(), 7);
        assert!(buffer.end().is_ok());
    }

    proptest! {
        #[test]
        fn any_cutting_of_the_stream_gives_the_same_messages(
            messages in proptest::collection::vec(".{0,300}", 0..20),
            cuts in proptest::collection::vec(1usize..400, 1..50),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                encode_frame(message, &mut stream).unwrap();
            }
            let (mut buffer, mut seen, mut rest) = (FrameBuffer::default(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                assert_eq!(buffer.arrive(now), now.len());
                rest = later;
                seen.extend(drain::<String>(&mut buffer).into_iter().map(Result::unwrap));
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(buffer.end().is_ok());
        }

        #[test]
        fn hostile_bytes_never_panic_nor_allocate_by_their_own_word(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let mut buffer = FrameBuffer::default();
            assert_eq!(buffer.arrive(&bytes), bytes.len());
            while let Some(result) = buffer.next::<Vec<(String, Option<u64>)>>() {
                if matches!(result, Err(ReadError::TooLong(_))) {
                    break;
                }
            }
            buffer.room();
            prop_assert!(buffer.capacity() <= READ_BYTES);
            let _ = buffer.end();
        }
    }
}
