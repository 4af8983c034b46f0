//! The same connection for code without a runtime: the command line, a worker.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use interprocess::local_socket::ConnectOptions;
use interprocess::os::unix::uds_local_socket::Stream;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use runlet_proto::hello::{Hello, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::buffer::{FrameBuffer, ReadError};
use crate::connect::{ConnectError, name_of};
use crate::handshake::{HandshakeError, check_announced, judge};
use crate::limits::{CONNECT_HANDSHAKE_MS_MAX, DESCRIPTORS_MAX};
use crate::outgoing::{Outgoing, WriteError};
use crate::socket::own_received;

/// A connection whose calls wait.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    incoming: FrameBuffer,
    /// Descriptors that came with messages and were not yet taken.
    descriptors: VecDeque<OwnedFd>,
    outgoing: Outgoing,
    deadline: Option<Instant>,
    /// Whether the socket has a read timeout set, so that without deadlines no call is spent on it.
    timeout_set: bool,
}

/// Connects to the socket at `path` as `me` and exchanges hellos, within [`CONNECT_HANDSHAKE_MS_MAX`].
///
/// # Errors
/// [`ConnectError`], which names the path.
pub fn connect(path: &Path, me: Role) -> Result<Connection, ConnectError> {
    Connection::connect(path, me)
}

impl Connection {
    /// See [`connect`].
    ///
    /// # Errors
    /// [`ConnectError`], which names the path.
    pub fn connect(path: &Path, me: Role) -> Result<Self, ConnectError> {
        let socket = dial(path).map_err(|error| ConnectError::from_io(path, error))?;
        let mut connection = Self::over(socket);
        let limit = Duration::from_millis(CONNECT_HANDSHAKE_MS_MAX);
        connection.set_deadline(Some(Instant::now() + limit));
        match connection.offer(me) {
            Ok(_) => {
                connection.set_deadline(None);
                Ok(connection)
            }
            Err(HandshakeError::Deadline(_)) => {
                Err(ConnectError::Handshake { path: path.to_owned(), source: HandshakeError::Deadline(limit) })
            }
            Err(source) => Err(ConnectError::Handshake { path: path.to_owned(), source }),
        }
    }

    /// A connection over a stream that needs no handshake, such as one end of a socket pair.
    #[must_use]
    pub fn over(socket: UnixStream) -> Self {
        Self {
            socket,
            incoming: FrameBuffer::default(),
            descriptors: VecDeque::new(),
            outgoing: Outgoing::default(),
            deadline: None,
            timeout_set: false,
        }
    }

    /// From now on [`Connection::receive`] gives up at this time; `None`: never.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`WriteError`]; after [`WriteError::Io`] the connection is of no more use.
    pub fn send<T: Serialize>(&mut self, message: &T) -> Result<(), WriteError> {
        self.outgoing.push(message)?;
        while !self.outgoing.unsent().is_empty() {
            match self.socket.write(self.outgoing.unsent()) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => self.outgoing.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for the next message; `None` when the peer closed the connection between two frames.
    ///
    /// # Errors
    /// [`ReadError`]; after [`ReadError::Deadline`] and [`ReadError::Malformed`] reading can go on.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReadError> {
        loop {
            if let Some(result) = self.incoming.next() {
                return result.map(Some);
            }
            if !self.fill()? {
                return self.incoming.end().map(|()| None);
            }
        }
    }

    /// The descriptor that came with the earliest message that came with one, and whose descriptor was not yet taken. A
    /// message that was received has brought its descriptor.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    fn offer(&mut self, me: Role) -> Result<Role, HandshakeError> {
        self.send(&Hello::new(me))?;
        while self.incoming.announced_bytes().is_none() {
            if !self.fill()? {
                return Err(HandshakeError::Closed);
            }
        }
        check_announced(self.incoming.announced_bytes())?;
        judge(self.receive()?)
    }

    /// One read; `false` at the end of the stream.
    fn fill(&mut self) -> Result<bool, ReadError> {
        self.arm_timeout()?;
        loop {
            match read(&self.socket, self.incoming.room()) {
                Ok((count, descriptor)) => {
                    self.incoming.filled(count);
                    // Whoever is sent more than this does not take them: they are closed.
                    self.descriptors.extend(descriptor.filter(|_| self.descriptors.len() < DESCRIPTORS_MAX));
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(ReadError::Deadline);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn arm_timeout(&mut self) -> Result<(), ReadError> {
        let Some(deadline) = self.deadline else {
            if self.timeout_set {
                self.socket.set_read_timeout(None)?;
                self.timeout_set = false;
            }
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ReadError::Deadline);
        }
        // A timeout below a microsecond would be rounded to none at all.
        self.socket.set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
        self.timeout_set = true;
        Ok(())
    }
}

/// One recvmsg(2). It ends behind the bytes that a descriptor came with (unix(7)), so there is at most one.
fn read(socket: &UnixStream, into: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!(RawFd);
    let mut into = [IoSliceMut::new(into)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut descriptor = None;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            descriptor = own_received(numbers);
        }
    }
    Ok((received.bytes, descriptor))
}

fn dial(path: &Path) -> io::Result<UnixStream> {
    ConnectOptions::new().name(name_of(path)?).connect_sync_as::<Stream>().map(|stream| OwnedFd::from(stream).into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[tokio::test]
    async fn descriptors_are_taken_in_the_order_of_their_messages() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_reader, mut writer) = crate::over(ours).unwrap();
        let mut ends = Vec::new();
        writer.push(&0_u64).unwrap();
        for number in 1..=3_u64 {
            let (reading, writing) = io::pipe().unwrap();
            writer.send_with(&number, writing.as_fd()).await.unwrap();
            writer.push(&(number * 10)).unwrap();
            ends.push(reading);
        }
        writer.flush().await.unwrap();
        let mut connection = Connection::over(theirs);
        assert_eq!(connection.receive::<u64>().unwrap(), Some(0));
        for number in 1..=3_u64 {
            assert_eq!(connection.receive::<u64>().unwrap(), Some(number));
            let mut writing = std::fs::File::from(connection.take_descriptor().unwrap());
            write!(writing, "{number}").unwrap();
            assert_eq!(connection.receive::<u64>().unwrap(), Some(number * 10));
        }
        for (mut reading, number) in ends.into_iter().zip(1..) {
            let mut text = String::new();
            reading.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }
}
