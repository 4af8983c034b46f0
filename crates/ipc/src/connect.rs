//! The connecting side: from a socket path to a connection that has said hello.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::{ConnectOptions, GenericFilePath, Name, ToFsName};
use interprocess::os::unix::uds_local_socket::tokio::Stream;
use runlet_proto::hello::Role;
use tokio::net::UnixStream;

use crate::connection::{Reader, Writer, over};
use crate::handshake::{HandshakeError, offer};
use crate::limits::CONNECT_HANDSHAKE_MS_MAX;

/// Why there is no connection. Every message names the socket's path.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such socket.
    #[error("no socket at {}: nothing has been started there", .path.display())]
    NotFound {
        /// Path of the socket.
        path: PathBuf,
    },
    /// The socket is there, but nobody listens.
    #[error("nobody listens at {}: the supervisor that made this socket is gone", .path.display())]
    Refused {
        /// Path of the socket.
        path: PathBuf,
    },
    /// The socket belongs to somebody else.
    #[error("no permission to use the socket at {}: it belongs to another user", .path.display())]
    Permission {
        /// Path of the socket.
        path: PathBuf,
    },
    /// Somebody listens, but we cannot talk to them.
    #[error("{}: {source}", .path.display())]
    Handshake {
        /// Path of the socket.
        path: PathBuf,
        /// What went wrong.
        source: HandshakeError,
    },
    /// Anything else.
    #[error("connecting to {} failed: {source}", .path.display())]
    Io {
        /// Path of the socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ConnectError {
    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::NotFound { path }
            | Self::Refused { path }
            | Self::Permission { path }
            | Self::Handshake { path, .. }
            | Self::Io { path, .. } => path,
        }
    }

    /// Whether it is likely that nobody serves the socket now, and somebody may later.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Refused { .. } => true,
            Self::Handshake { source, .. } => matches!(source, HandshakeError::Closed | HandshakeError::Io(_)),
            Self::Permission { .. } | Self::Io { .. } => false,
        }
    }

    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let kind = source.kind();
        if kind == io::ErrorKind::NotFound {
            Self::NotFound { path }
        } else if kind == io::ErrorKind::ConnectionRefused {
            Self::Refused { path }
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Permission { path }
        } else {
            Self::Io { path, source }
        }
    }
}

/// Connects to the socket at `path` as `me` and exchanges hellos, within [`CONNECT_HANDSHAKE_MS_MAX`].
///
/// # Errors
/// [`ConnectError`], which names the path.
pub async fn connect(path: &Path, me: Role) -> Result<(Reader, Writer), ConnectError> {
    let stream = dial(path).await.map_err(|error| ConnectError::from_io(path, error))?;
    let (mut reader, mut writer) =
        stream.into_std().and_then(over).map_err(|error| ConnectError::from_io(path, error))?;
    match offer(&mut reader, &mut writer, me, Duration::from_millis(CONNECT_HANDSHAKE_MS_MAX)).await {
        Ok(_) => Ok((reader, writer)),
        Err(source) => Err(ConnectError::Handshake { path: path.to_owned(), source }),
    }
}

/// The name under which `interprocess` knows a socket in the file system.
pub(crate) fn name_of(path: &Path) -> io::Result<Name<'_>> {
    path.to_fs_name::<GenericFilePath>()
}

async fn dial(path: &Path) -> io::Result<UnixStream> {
    ConnectOptions::new().name(name_of(path)?).connect_tokio_as::<Stream>().await.map(UnixStream::from)
}
