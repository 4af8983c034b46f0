//! The two halves of an async connection.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::buffer::{FrameBuffer, ReadError};
use crate::outgoing::{Outgoing, WriteError};
use crate::socket::Socket;

/// A connection over a stream that needs no handshake, such as one end of a socket pair. Must be called within a tokio
/// runtime.
///
/// # Errors
/// When the stream cannot be watched by the runtime.
pub fn over(stream: UnixStream) -> io::Result<(Reader, Writer)> {
    let socket = Arc::new(Socket::new(stream)?);
    let reader = Reader { socket: Arc::clone(&socket), buffer: FrameBuffer::default() };
    Ok((reader, Writer { socket, outgoing: Outgoing::default() }))
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    socket: Arc<Socket>,
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

    /// One read; `false` at the end of the stream. Nothing is awaited between the read and the note of it, so this and
    /// everything built on it is cancel-safe.
    async fn fill(&mut self) -> io::Result<bool> {
        let count = self.socket.read(self.buffer.room()).await?;
        self.buffer.filled(count);
        Ok(count > 0)
    }
}

/// The sending half. Dropping it tells the peer that nothing more comes; the reading half goes on.
#[derive(Debug)]
pub struct Writer {
    socket: Arc<Socket>,
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

    /// Sends a message and, with it, a copy of a descriptor, which the peer takes with
    /// [`crate::blocking::Connection::take_descriptor`]. Not cancel-safe.
    ///
    /// # Errors
    /// Those of [`Writer::send`].
    pub async fn send_with<T: Serialize>(&mut self, message: &T, descriptor: BorrowedFd<'_>) -> Result<(), WriteError> {
        // What goes out with the descriptor must be of this message.
        self.flush().await?;
        self.push(message)?;
        let written = self.socket.write_with(self.outgoing.unsent(), descriptor).await?;
        self.sent(written)?;
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

impl Drop for Writer {
    fn drop(&mut self) {
        self.socket.shutdown_write();
    }
}
