//! Control connections: what comes in from them, and what goes out.

use runlet_ipc::{Reader, Writer};
use runlet_proto::control::ClientMessage;
use tokio::sync::mpsc;

use crate::inbound::{ConnectionId, Inbound};
use crate::outbox::Outbox;

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
