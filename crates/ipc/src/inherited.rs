//! Listening sockets that a service manager opened and passed on (sd_listen_fds(3)). They outlive the processes that serve
//! them: who connects while none does is served by the next.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{AcceptConn, SockType};
use nix::sys::socket::{AddressFamily, SockaddrLike as _, SockaddrStorage, getsockname, getsockopt};

use crate::socket::own_inherited;

/// First descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: i32 = 3;

/// Takes possession of the descriptors that were passed; they are closed in programs that are executed from now on. To be
/// called once, before anything else opens one.
///
/// # Errors
/// When there are fewer than that, or this process has opened one of them itself.
pub fn take(count: usize) -> io::Result<Vec<OwnedFd>> {
    (FIRST..).take(count).map(own_inherited).collect()
}

/// Where a passed socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At the path of a Unix socket; `None` for one without a path.
    Unix(Option<PathBuf>),
    /// At an address of TCP.
    Tcp(SocketAddr),
}

/// Why a passed descriptor cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NotServable {
    /// It is a file, a pipe or the like.
    #[error("it is no socket")]
    NoSocket,
    /// It has no connections.
    #[error("it is a socket without connections: it must be a stream (ListenStream= in its unit)")]
    NoStream,
    /// It is one connection.
    #[error("it does not listen: with Accept=yes each connection is passed; Accept=no passes the socket itself")]
    NotListening,
    /// Of another family.
    #[error("it is neither a Unix nor a TCP socket")]
    Family,
    /// The system does not tell.
    #[error("it cannot be looked at: {0}")]
    Io(#[from] io::Error),
}

/// What a passed descriptor is.
///
/// # Errors
/// [`NotServable`], unless it is a stream socket that listens.
pub fn look(descriptor: &impl AsFd) -> Result<Place, NotServable> {
    let kind = getsockopt(descriptor, SockType).map_err(|errno| {
        if errno == Errno::ENOTSOCK { NotServable::NoSocket } else { NotServable::Io(errno.into()) }
    })?;
    if kind != nix::sys::socket::SockType::Stream {
        return Err(NotServable::NoStream);
    }
    if !getsockopt(descriptor, AcceptConn).map_err(io::Error::from)? {
        return Err(NotServable::NotListening);
    }
    let address: SockaddrStorage = getsockname(descriptor.as_fd().as_raw_fd()).map_err(io::Error::from)?;
    match address.family() {
        Some(AddressFamily::Unix) => {
            let path = address.as_unix_addr().and_then(|address| address.path());
            Ok(Place::Unix(path.map(PathBuf::from)))
        }
        Some(AddressFamily::Inet) => {
            let address = address.as_sockaddr_in().ok_or(NotServable::Family)?;
            Ok(Place::Tcp(SocketAddr::V4((*address).into())))
        }
        Some(AddressFamily::Inet6) => {
            let address = address.as_sockaddr_in6().ok_or(NotServable::Family)?;
            Ok(Place::Tcp(SocketAddr::V6((*address).into())))
        }
        Some(_) | None => Err(NotServable::Family),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::fs::File;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn only_listening_streams_can_be_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(look(&listener).unwrap(), Place::Unix(Some(path.clone())));
        let connection = UnixStream::connect(&path).unwrap();
        assert!(matches!(look(&connection), Err(NotServable::NotListening)));
        let datagrams = UnixDatagram::unbound().unwrap();
        assert!(matches!(look(&datagrams), Err(NotServable::NoStream)));
        let file = File::open(folder.path()).unwrap();
        assert!(matches!(look(&file), Err(NotServable::NoSocket)));
    }

    #[test]
    fn what_this_process_opened_itself_was_not_passed() {
        // Everything the standard library opens is closed in programs that are executed, so it never came from one.
        let own = File::open("/dev/null").unwrap();
        let error = own_inherited(own.as_raw_fd()).unwrap_err();
        assert!(error.to_string().contains("not passed"), "{error}");
        assert_eq!(own_inherited(1_000_000).unwrap_err().raw_os_error(), Some(nix::libc::EBADF));
    }
}
