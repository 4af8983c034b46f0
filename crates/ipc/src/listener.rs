//! The accepting side: one socket file, in a directory nobody else can enter, served by one process at a time.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::ConnectWaitMode;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{ConnectOptions, ListenerOptions};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::Stream as SocketStream;
use interprocess::os::unix::uds_local_socket::tokio::Listener as SocketListener;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use runlet_proto::hello::Role;
use tokio::net::UnixStream;

use crate::connect::name_of;
use crate::connection::{Reader, Writer, over};
use crate::handshake::{HandshakeError, accept};
use crate::inherited::{self, NotServable, Place};
use crate::limits::SOCKET_PATH_BYTES_MAX;
use crate::peer::Peer;

/// Why no socket could be opened. Every message names the path at fault.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody serves the socket already.
    #[error("another supervisor is running: it listens at {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// Somebody is opening a socket in the same directory at this very moment.
    #[error("another supervisor holds the lock of {}: it is starting, or serves a socket that was passed to it", .0.display())]
    Starting(PathBuf),
    /// The path names something that is not a socket; it is left alone.
    #[error("{} exists and is not a socket: choose another path or remove it", .0.display())]
    NotASocket(PathBuf),
    /// The path is longer than a socket's address can be.
    #[error("the socket's path is too long ({} bytes, at most {SOCKET_PATH_BYTES_MAX}): {}", .0.as_os_str().len(), .0.display())]
    PathTooLong(PathBuf),
    /// The directory is not ours.
    #[error("{} belongs to user {owner}: a control socket needs a directory of its own user", .directory.display())]
    NotOurs {
        /// The directory.
        directory: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// Others can enter the directory.
    #[error("others can enter {0} (mode {mode:04o}); make it private: chmod 700 {0}", .directory.display())]
    NotPrivate {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What the service manager passed is no socket of ours.
    #[error("the socket that the service manager passed cannot be served: {0}")]
    Passed(#[from] NotServable),
    /// It is a socket of another kind.
    #[error(
        "the socket that the service manager passed is one of TCP; the control socket is a Unix socket (ListenStream=/its/path)"
    )]
    NotUnix,
    /// Anything else.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory it is about.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// An open socket. Dropping it removes the socket's file, unless somebody else's has taken its place.
#[derive(Debug)]
pub struct Listener {
    socket: SocketListener,
    path: PathBuf,
    /// Device and inode of the socket's file, if it is ours to remove.
    identity: Option<(u64, u64)>,
    /// Held as long as a socket outside of the directory is served: the socket's file shows nobody there that we do.
    _lock: Option<Flock<File>>,
}

impl Listener {
    /// Opens the socket `path`, mode 0600, inside a directory of mode 0700, which is made if it is missing. A socket that
    /// a dead process left behind is replaced. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            return Err(BindError::PathTooLong(path.to_owned()));
        }
        let directory = private_directory(path)?;
        // Held until the socket listens: of two processes that find the same dead socket, only one replaces it.
        let _lock = lock(&directory)?;
        remove_stale(path)?;
        let socket = open(path).map_err(|source| io_error(path, source))?;
        let identity = identity(path).map_err(|source| io_error(path, source))?;
        Ok(Self { socket, path: path.to_owned(), identity: Some(identity), _lock: None })
    }

    /// Serves a socket that a service manager passed, in place of `path`, whose directory is ours as with [`Listener::bind`]: it
    /// is private, and only one process serves it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn passed(descriptor: OwnedFd, path: &Path) -> Result<Self, BindError> {
        let Place::Unix(at) = inherited::look(&descriptor)? else { return Err(BindError::NotUnix) };
        let directory = private_directory(path)?;
        let lock = lock(&directory)?;
        // Unless what listens in the directory is the very socket that was passed.
        if at.as_deref() != Some(path) {
            remove_stale(path)?;
        }
        let at = at.unwrap_or_else(|| path.to_owned());
        let socket = SocketListener::try_from(descriptor).map_err(|source| io_error(&at, source))?;
        Ok(Self { socket, path: at, identity: None, _lock: Some(lock) })
    }

    /// Waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// Those of accept(2). Out of descriptors (`EMFILE`) is one of them: wait a little before the next call.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let stream = UnixStream::from(self.socket.accept().await?);
        let peer = Peer::try_from(&stream)?;
        Ok(Incoming { stream, peer })
    }

    /// Path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path).ok() == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A connection that has not said hello.
#[derive(Debug)]
pub struct Incoming {
    stream: UnixStream,
    peer: Peer,
}

impl Incoming {
    /// Who connected.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Hears who the peer is and says that we are `me`, within `deadline`. Messages the peer sent behind its hello are
    /// kept for the reader.
    ///
    /// # Errors
    /// [`HandshakeError`]; a peer of another release is told our version first.
    pub async fn handshake(self, me: Role, deadline: Duration) -> Result<(Role, Reader, Writer), HandshakeError> {
        let (mut reader, mut writer) = over(self.stream.into_std()?)?;
        let role = accept(&mut reader, &mut writer, me, deadline).await?;
        Ok((role, reader, writer))
    }
}

fn open(path: &Path) -> io::Result<SocketListener> {
    // The name is taken back by our own `Drop`, which makes sure that it is still ours.
    ListenerOptions::new().name(name_of(path)?).reclaim_name(false).mode(0o600).create_tokio_as::<SocketListener>()
}

/// The socket's directory, made if it is missing; an error unless it is ours alone.
fn private_directory(path: &Path) -> Result<PathBuf, BindError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|source| io_error(&directory, source))?;
    let metadata = fs::metadata(&directory).map_err(|source| io_error(&directory, source))?;
    if metadata.uid() != geteuid().as_raw() {
        return Err(BindError::NotOurs { directory, owner: metadata.uid() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(BindError::NotPrivate { directory, mode });
    }
    Ok(directory)
}

fn lock(directory: &Path) -> Result<Flock<File>, BindError> {
    let file = File::open(directory).map_err(|source| io_error(directory, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            BindError::Starting(directory.to_owned())
        } else {
            io_error(directory, errno.into())
        }
    })
}

/// Removes the socket of a process that is gone.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error(path, source)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match probe(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| io_error(path, source))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) => Err(BindError::AlreadyRunning(path.to_owned())),
        Err(source) => Err(io_error(path, source)),
    }
}

/// Connects and hangs up; never waits, as a live listener's backlog may be full (which counts as connected).
fn probe(path: &Path) -> io::Result<()> {
    let options = ConnectOptions::new().name(name_of(path)?).wait_mode(ConnectWaitMode::Deferred);
    options.connect_sync_as::<SocketStream>().map(drop)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn io_error(path: &Path, source: io::Error) -> BindError {
    BindError::Io { path: path.to_owned(), source }
}
