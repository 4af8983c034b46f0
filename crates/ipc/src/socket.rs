//! A connected Unix socket on a tokio runtime, without the wake-ups tokio's own stream has.
//!
//! `tokio::net::UnixStream` always waits for "writable" too, and the kernel reports a Unix socket writable anew whenever
//! the peer has read something: each message that is sent would wake its sender once for nothing. This socket waits for
//! "readable" only; it waits for "writable" while a write is blocked, and not a moment longer.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(crate) struct Socket(AsyncFd<UnixStream>);

impl Socket {
    /// Takes over a connected stream. Must be called within a tokio runtime.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        watch(stream, Interest::READABLE).map(Self)
    }

    /// One read(2) once there is something; 0 at the end of the stream. One task at a time may wait.
    pub(crate) async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, into)).await
    }

    /// One write(2) that does not wait.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// One write(2), as soon as the socket takes something.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.write_later(bytes).await,
            result => result,
        }
    }

    /// One sendmsg(2) of something, with a copy of a descriptor, as soon as the socket takes it.
    pub(crate) async fn write_with(&self, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
        match self.try_write_with(bytes, descriptor) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        let writable = self.watch_writable()?;
        loop {
            let mut guard = writable.writable().await?;
            match self.try_write_with(bytes, descriptor) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                result => return result,
            }
        }
    }

    fn try_write_with(&self, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
        let numbers = [descriptor.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&numbers)];
        loop {
            let socket = self.0.get_ref().as_raw_fd();
            match sendmsg::<()>(socket, &[IoSlice::new(bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn shutdown_write(&self) {
        // It fails when the connection is gone already, which says the same.
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }

    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            match self.0.get_ref().read(into) {
                Ok(count) => {
                    // A read that did not fill its buffer has emptied the socket (epoll(7), "How do I know that I have
                    // read everything"): the next one would only hear so.
                    if count > 0 && count < into.len() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    async fn write_later(&self, bytes: &[u8]) -> io::Result<usize> {
        let writable = self.watch_writable()?;
        loop {
            let mut guard = writable.writable().await?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                result => return result,
            }
        }
    }

    /// A second descriptor of the same socket: epoll knows each by itself.
    fn watch_writable(&self) -> io::Result<AsyncFd<UnixStream>> {
        watch(self.0.get_ref().try_clone()?, Interest::WRITABLE)
    }
}

/// Registers a stream with the runtime.
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: the stream owns its descriptor, always names the same one, and moves into the `AsyncFd`, out of which
    // nothing here takes it: the descriptor stays open as long as it is registered.
    unsafe { AsyncFd::register_with_interest(stream, interest) }.map_err(io::Error::from)
}

/// Registers a descriptor of any other kind, for reading.
pub(crate) fn watch_readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as above; the `AsyncFd` gives out references only.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(io::Error::from)
}

/// Takes possession of descriptors that arrived with a message (unix(7), SCM_RIGHTS). Only the last is kept: nobody sends
/// more than one.
pub(crate) fn own_received(numbers: Vec<RawFd>) -> Option<OwnedFd> {
    let mut kept = None;
    for number in numbers {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        kept = Some(unsafe { OwnedFd::from_raw_fd(number) });
    }
    kept
}

/// Takes possession of a descriptor that this process was executed with. What it opened itself is closed in programs that are
/// executed (O_CLOEXEC), as everything is that the standard library opens; so what is not was there before, and is nobody's.
///
/// # Errors
/// When there is no such descriptor, or this process opened it.
pub(crate) fn own_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer, changes nothing, and is refused where there is no descriptor.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::other(format!(
            "descriptor {number} was not passed to this process: it opened it itself"
        )));
    }
    // SAFETY: as above; what it changes is the flag alone.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and nothing in this process has it: see above. The flag now keeps it from being taken twice.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
