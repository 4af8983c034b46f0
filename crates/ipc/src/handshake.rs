//! The first frame in each direction.

use std::io;
use std::time::Duration;

use runlet_proto::codec::DecodeError;
use runlet_proto::hello::{Hello, HelloError, Role};
use tokio::time::timeout;

use crate::buffer::ReadError;
use crate::connection::{Reader, Writer};
use crate::limits::HELLO_BYTES_MAX;
use crate::outgoing::WriteError;

/// Why two processes cannot talk to each other.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer is not Runlet, or another release of it.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The peer's first frame is no `Hello` of any release.
    #[error("the peer does not speak Runlet's protocol: {0}")]
    Malformed(DecodeError),
    /// The peer hung up before it said who it is.
    #[error(
        "the peer hung up before it said who it is; a supervisor does so when all its control connections are in use"
    )]
    Closed,
    /// The peer did not say who it is in time.
    #[error("the peer did not say who it is within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The socket failed.
    #[error("the socket failed during the handshake: {0}")]
    Io(#[from] io::Error),
}

impl From<ReadError> for HandshakeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => Self::Io(error),
            ReadError::TooLong(_) => Self::Hello(HelloError::NotRunlet),
            ReadError::HalfFrame { .. } => Self::Closed,
            ReadError::Malformed(error) => Self::Malformed(error),
            ReadError::Deadline => Self::Deadline(Duration::ZERO),
        }
    }
}

impl From<WriteError> for HandshakeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => Self::Io(error),
            WriteError::Encode(_) | WriteError::Full { .. } => Self::Io(io::Error::other(error)),
        }
    }
}

/// What the accepting side does: hear the peer, then answer. The answer is sent to another release too, so that both
/// sides can name the versions.
pub(crate) async fn accept(
    reader: &mut Reader,
    writer: &mut Writer,
    me: Role,
    deadline: Duration,
) -> Result<Role, HandshakeError> {
    let exchange = async {
        let theirs = hear(reader).await;
        if matches!(theirs, Ok(_) | Err(HandshakeError::Hello(HelloError::Version { .. }))) {
            writer.send(&Hello::new(me)).await?;
        }
        theirs
    };
    timeout(deadline, exchange).await.unwrap_or(Err(HandshakeError::Deadline(deadline)))
}

/// What the connecting side does: say who it is, then hear the peer.
pub(crate) async fn offer(
    reader: &mut Reader,
    writer: &mut Writer,
    me: Role,
    deadline: Duration,
) -> Result<Role, HandshakeError> {
    let exchange = async {
        writer.send(&Hello::new(me)).await?;
        hear(reader).await
    };
    timeout(deadline, exchange).await.unwrap_or(Err(HandshakeError::Deadline(deadline)))
}

/// Whether a first frame of this announced length can be a `Hello`.
pub(crate) fn check_announced(announced_bytes: Option<u32>) -> Result<(), HandshakeError> {
    match announced_bytes {
        Some(bytes) if bytes as usize > HELLO_BYTES_MAX => Err(HelloError::NotRunlet.into()),
        Some(_) | None => Ok(()),
    }
}

/// The peer's role, from what its first frame held.
pub(crate) fn judge(hello: Option<Hello>) -> Result<Role, HandshakeError> {
    Ok(hello.ok_or(HandshakeError::Closed)?.check()?)
}

async fn hear(reader: &mut Reader) -> Result<Role, HandshakeError> {
    reader.fill_header().await?;
    check_announced(reader.announced_bytes())?;
    judge(reader.next::<Hello>().await?)
}
