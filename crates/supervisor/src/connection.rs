//! Control connections: who may connect, what they send, and what waits to be sent to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runlet_ipc::{Reader, Writer};
use runlet_proto::codec::{EncodeError, encode_frame};
use runlet_proto::control::{ClientMessage, ServerMessage};
use tokio::sync::{Notify, mpsc};

use crate::inbound::{ConnectionId, Inbound};
use crate::limits::OUTBOX_BYTES_MAX;

/// Replies on their way to one client: encoded by the loop, written by the connection in as few system calls as the
/// socket allows. Never makes the loop wait.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: Vec<u8>,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::new(State::default()), changed: Notify::new() }))
    }

    /// Queues one message. A client that does not read is disconnected at [`OUTBOX_BYTES_MAX`].
    pub(crate) fn push(&self, message: &ServerMessage) -> Result<(), EncodeError> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        let was_empty = state.frames.is_empty();
        encode_frame(message, &mut state.frames)?;
        if state.frames.len() > OUTBOX_BYTES_MAX {
            state.closed = true;
            state.frames = Vec::new();
        }
        if was_empty || state.closed {
            self.0.changed.notify_one();
        }
        Ok(())
    }

    /// Lets the writer end once everything queued is written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_one();
    }

    /// Everything queued since the last call (swapped with `spare`, so that two buffers serve for ever), or `None` once
    /// the connection is to be closed.
    async fn take(&self, spare: &mut Vec<u8>) -> Option<()> {
        loop {
            {
                let mut state = self.lock();
                if !state.frames.is_empty() {
                    std::mem::swap(&mut state.frames, spare);
                    return Some(());
                }
                if state.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one connection until either side ends it: reads requests into the loop's queue, writes the outbox.
pub(crate) async fn serve(
    connection: ConnectionId,
    mut reader: Reader,
    writer: Writer,
    outbox: Outbox,
    loop_queue: mpsc::Sender<Inbound>,
) {
    let reading = read_requests(connection, &mut reader, &loop_queue);
    let writing = write_replies(writer, outbox.clone());
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    // The loop may be gone at shutdown; then there is nobody to tell.
    let _ = loop_queue.send(Inbound::Disconnected { connection }).await;
}

async fn read_requests(connection: ConnectionId, reader: &mut Reader, loop_queue: &mpsc::Sender<Inbound>) {
    loop {
        match reader.next::<ClientMessage>().await {
            Ok(Some(message)) => {
                if loop_queue.send(Inbound::Request { connection, message }).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(connection = connection.0, %error, "control connection closed: unreadable message");
                return;
            }
        }
    }
}

async fn write_replies(mut writer: Writer, outbox: Outbox) {
    let mut frames = Vec::new();
    while outbox.take(&mut frames).await.is_some() {
        if writer.append(&mut frames).is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}
