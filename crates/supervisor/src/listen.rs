//! Accepts control connections from the user the supervisor runs as, and from root.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runlet_ipc::{Incoming, Listener};
use runlet_proto::hello::Role;
use tokio::sync::mpsc;

use crate::connection::serve;
use crate::inbound::{ConnectionId, Inbound};
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, HANDSHAKE_DEADLINE};
use crate::outbox::Outbox;

/// Accepts until it is dropped. An error of one connection, or a passing shortage of file descriptors, ends nothing.
pub(crate) async fn accept_connections(listener: Listener, loop_queue: mpsc::Sender<Inbound>) {
    let open = Arc::new(AtomicUsize::new(0));
    for number in 1.. {
        let incoming = match listener.accept().await {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                // Out of descriptors: the pending connection stays readable, so without a pause this would spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !may_connect(&incoming) {
            continue;
        }
        if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            tracing::warn!(CONNECTIONS_MAX, "a control connection was closed: too many are open");
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (open, loop_queue) = (Arc::clone(&open), loop_queue.clone());
        tokio::spawn(async move {
            greet_and_serve(ConnectionId(number), incoming, loop_queue).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The socket's directory is 0700 already; the peer's credentials are the second lock on the same door.
fn may_connect(incoming: &Incoming) -> bool {
    incoming.peer().check().inspect_err(|error| tracing::warn!(%error, "a control connection was refused")).is_ok()
}

async fn greet_and_serve(connection: ConnectionId, incoming: Incoming, loop_queue: mpsc::Sender<Inbound>) {
    let (role, reader, writer) = match incoming.handshake(Role::Supervisor, HANDSHAKE_DEADLINE).await {
        Ok(greeted) => greeted,
        Err(error) => {
            tracing::warn!(connection = connection.0, %error, "a control connection failed its handshake");
            return;
        }
    };
    let outbox = Outbox::new();
    let connected = Inbound::Connected { connection, role, outbox: outbox.clone() };
    if loop_queue.send(connected).await.is_ok() {
        serve(connection, reader, writer, outbox, loop_queue).await;
    }
}
