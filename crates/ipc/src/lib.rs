//! One framed, versioned, size-bounded connection over a Unix socket, async and [`blocking`].
//!
//! A connection opens with one `Hello` in each direction; from then on both sides send frames whenever they like. What is
//! inside a frame is the callers' business: this crate moves messages, bounds them, and says exactly what was wrong with
//! bytes that are none. It also speaks with a service manager: sockets that it passes ([`inherited`]), and what it is told
//! ([`Manager`]). One read brings as many frames as have arrived, one write sends as many as were pushed.

pub mod blocking;
mod buffer;
mod connect;
mod connection;
pub mod handoff;
mod handshake;
pub mod inherited;
mod limits;
mod listener;
mod manager;
mod outgoing;
mod peer;
mod socket;

pub use buffer::ReadError;
pub use connect::{ConnectError, connect};
pub use connection::{Reader, Writer, over};
pub use handshake::HandshakeError;
pub use limits::{
    BUFFER_KEPT_BYTES_MAX, CONNECT_HANDSHAKE_MS_MAX, HELLO_BYTES_MAX, READ_BYTES, WRITE_BUFFERED_BYTES_MAX,
};
pub use listener::{BindError, Incoming, Listener};
pub use manager::Manager;
pub use outgoing::WriteError;
pub use peer::{Peer, PeerRefused};
