//! The two halves of an async connection.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::buffer::{FrameBuffer, ReadError};
use crate::outgoing::{Outgoing, WriteError};

/// A connection over a stream that needs no handshake, such as one end of a socket pair.
#[must_use]
pub fn over(stream: UnixStream) -> (Reader, Writer) {
    let (read, write) = stream.into_split();
    (Reader { socket: read, buffer: FrameBuffer::default() }, Writer { socket: write, outgoing: Outgoing::default() })
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    socket: OwnedReadHalf,
    buffer: FrameBuffer,
}

impl Reader {
    /// The next message; `None` when the peer closed the connection between two frames. Cancel-safe: a future that is
    /// dropped loses nothing. It returns without awaiting while whole frames are buffered, so a caller that loops should
    /// let others run now and then.
    ///
    /// # Errors
    /// [`ReadError`]; after [`ReadError::Malformed`] reading can go on, after the others it cannot.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReadError> {
        loop {
            if let Some(result) = self.buffer.next() {
                return result.map(Some);
            }
            if !self.fill().await? {
                return self.buffer.end().map(|()| None);
            }
        }
    }

    /// A message that has already arrived whole: lets a caller empty a burst with one wake-up. `None` means that more
    /// bytes are needed, which only [`Reader::next`] fetches.
    pub fn next_buffered<T: DeserializeOwned>(&mut self) -> Option<Result<T, ReadError>> {
        self.buffer.next()
    }

    /// Waits until a frame's header is here, or the end of the stream.
    pub(crate) async fn fill_header(&mut self) -> Result<(), ReadError> {
        while self.buffer.announced_bytes().is_none() {
            if !self.fill().await? {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn announced_bytes(&self) -> Option<u32> {
        self.buffer.announced_bytes()
    }

    /// One read; `false` at the end of the stream. `read_buf` is cancel-safe, and so is everything built on this.
    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.socket.read_buf(self.buffer.room()).await? > 0)
    }
}

/// The sending half. Dropping it tells the peer that nothing more comes; the reading half goes on.
#[derive(Debug)]
pub struct Writer {
    socket: OwnedWriteHalf,
    outgoing: Outgoing,
}

impl Writer {
    /// Encodes a message into the buffer; [`Writer::flush`] sends it.
    ///
    /// # Errors
    /// [`WriteError::Encode`] and [`WriteError::Full`]; what was buffered before is untouched.
    pub fn push<T: Serialize>(&mut self, message: &T) -> Result<(), WriteError> {
        self.outgoing.push(message)
    }

    /// Moves whole frames made by `runlet_proto::codec::encode_frame` into the buffer; `frames` is empty afterwards.
    /// When nothing was buffered the two buffers change places and nothing is copied.
    ///
    /// # Errors
    /// [`WriteError::Full`]; `frames` is untouched then.
    pub fn append(&mut self, frames: &mut Vec<u8>) -> Result<(), WriteError> {
        self.outgoing.append(frames)
    }

    /// Sends everything buffered, with as few writes as the socket allows. Cancel-safe: what was not sent stays buffered.
    ///
    /// # Errors
    /// Those of write(2).
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.unsent().is_empty() {
            let written = self.socket.write(self.outgoing.unsent()).await?;
            self.sent(written)?;
        }
        Ok(())
    }

    /// Sends as much as the socket takes without waiting; whether everything is out now.
    ///
    /// # Errors
    /// Those of write(2), except that a full socket is no error.
    pub fn try_flush(&mut self) -> io::Result<bool> {
        while !self.outgoing.unsent().is_empty() {
            match self.socket.try_write(self.outgoing.unsent()) {
                Ok(written) => self.sent(written)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// [`Writer::push`] and [`Writer::flush`] in one.
    ///
    /// # Errors
    /// Those of both.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), WriteError> {
        self.push(message)?;
        Ok(self.flush().await?)
    }

    /// Bytes that are buffered and not sent.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.outgoing.unsent().len()
    }

    fn sent(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.outgoing.advance(written);
        Ok(())
    }
}
