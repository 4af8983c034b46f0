//! Datagrams that may carry a file descriptor: how the supervisor and its zygote hand sockets and processes to each other.
//!
//! The socket is SOCK_SEQPACKET: messages keep their boundaries, and the end of the peer is seen (unix(7)). A descriptor
//! that arrives is owned by whoever receives it and closed on exec (recvmsg(2), MSG_CMSG_CLOEXEC).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use runlet_proto::codec::{decode, encode_frame};
use runlet_proto::frame::HEADER_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::limits::HANDOFF_BYTES_MAX;
use crate::socket::{own_received, watch_readable};

/// One end, for code without a runtime.
#[derive(Debug)]
pub struct Handoff(OwnedFd);

impl Handoff {
    /// Two connected ends, both closed on exec.
    ///
    /// # Errors
    /// Whatever socketpair(2) says.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a message and, with it, a copy of a descriptor. Does not raise SIGPIPE.
    ///
    /// # Errors
    /// Whatever sendmsg(2) says; `InvalidInput` for a message that is too long.
    pub fn send<T: Serialize>(&self, message: &T, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        send_to(&self.0, message, descriptor)
    }

    /// The next message, and the descriptor that came with it; `None` at the end.
    ///
    /// # Errors
    /// Whatever recvmsg(2) says; `InvalidData` for what is no message.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        receive_from(&self.0)
    }
}

/// As [`Handoff::send`], on any end.
fn send_to<T: Serialize>(socket: &OwnedFd, message: &T, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).map_err(io::Error::other)?;
    if frame.len() > HANDOFF_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let raw: Vec<RawFd> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// As [`Handoff::receive`], on any end.
fn receive_from<T: DeserializeOwned>(socket: &OwnedFd) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut bytes = [0; HANDOFF_BYTES_MAX];
    let mut control = nix::cmsg_space!(RawFd);
    let (count, descriptor) = {
        let mut into = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let mut descriptor = None;
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = message {
                descriptor = own_received(raw).or(descriptor);
            }
        }
        (received.bytes, descriptor)
    };
    if count == 0 {
        return Ok(None);
    }
    let payload = bytes.get(HEADER_BYTES..count).ok_or(io::ErrorKind::InvalidData)?;
    let message = decode(payload).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Some((message, descriptor)))
}

impl AsFd for Handoff {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Handoff> for OwnedFd {
    fn from(handoff: Handoff) -> Self {
        handoff.0
    }
}

impl From<OwnedFd> for Handoff {
    /// Takes over a descriptor that another process made with [`Handoff::pair`].
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

/// One end on a tokio runtime.
#[derive(Debug)]
pub struct AsyncHandoff(AsyncFd<OwnedFd>);

impl AsyncHandoff {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Whatever fcntl(2) or epoll_ctl(2) say.
    pub fn new(handoff: Handoff) -> io::Result<Self> {
        nix::fcntl::fcntl(&handoff, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
        watch_readable(handoff.0).map(Self)
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// As [`Handoff::send`]; `WouldBlock` when the peer has not read what was sent before.
    pub fn try_send<T: Serialize>(&self, message: &T, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        send_to(self.0.get_ref(), message, descriptor)
    }

    /// As [`Handoff::receive`].
    ///
    /// # Errors
    /// As [`Handoff::receive`].
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        self.0.async_io(Interest::READABLE, receive_from).await
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_with_its_message_and_works() {
        let (here, there) = Handoff::pair().unwrap();
        let (mut mine, theirs) = UnixStream::pair().unwrap();
        here.send(&7_u64, Some(theirs.as_fd())).unwrap();
        drop(theirs);
        let (number, descriptor) = there.receive::<u64>().unwrap().unwrap();
        assert_eq!(number, 7);
        let mut theirs = UnixStream::from(descriptor.unwrap());
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        let mut text = String::new();
        mine.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn the_end_of_the_peer_and_what_is_no_message_are_told_apart() {
        let (here, there) = Handoff::pair().unwrap();
        here.send(&"not a number", None).unwrap();
        assert_eq!(there.receive::<u64>().unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(here);
        assert!(there.receive::<u64>().unwrap().is_none());
    }
}
