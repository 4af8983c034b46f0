//! Keeps one thread's control connection: connects, follows the routes, sends and receives, and begins anew when it ends.

use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use runlet_ipc::{Reader, Writer, connect};
use runlet_proto::control::{ClientMessage, Request, ServerMessage};
use runlet_proto::hello::Role;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::limits::{FAREWELL_TIMEOUT, RECONNECT_FIRST, RECONNECT_MAX};
use crate::link::{Link, WATCH_ID};
use crate::timer::Timer;

/// Runs until the link is closed. While the supervisor is away it tries again after ever longer pauses, up to
/// [`RECONNECT_MAX`]; the pauses are short again once the supervisor has told its routes.
pub(crate) async fn keep(link: Rc<Link>, socket: &Path) {
    let mut pause = RECONNECT_FIRST;
    let mut complained = false;
    while !link.is_closing() {
        match connect(socket, Role::Gateway).await {
            Ok((reader, writer)) => {
                let end = converse(&link, reader, writer).await;
                if link.table().is_some() {
                    pause = RECONNECT_FIRST;
                    complained = false;
                }
                link.lost();
                match end {
                    End::Closed => break,
                    End::Failed(cause) => warn!(socket = %socket.display(), cause, "the supervisor went away"),
                }
            }
            // Once at a level that is seen, then quietly: a gateway may wait for its supervisor for days.
            Err(error) if complained => debug!(%error, "the supervisor is still away"),
            Err(error) => {
                complained = true;
                link.lost();
                warn!(%error, "the supervisor is away; hooks are answered 503 until it is back");
            }
        }
        wait(&link, pause).await;
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

enum End {
    Closed,
    Failed(String),
}

async fn wait(link: &Link, pause: Duration) {
    tokio::select! {
        () = sleep(pause) => {}
        () = link.closed() => {}
    }
}

async fn converse(link: &Link, mut reader: Reader, mut writer: Writer) -> End {
    let watch = ClientMessage { id: WATCH_ID, request: Request::WatchRoutes };
    if let Err(error) = writer.send(&watch).await {
        return End::Failed(error.to_string());
    }
    info!("connected to the supervisor");
    let mut spare = Vec::new();
    let mut timer = Timer::new();
    loop {
        // Whoever sends a request wakes this task, which then looks at the request's deadline too.
        let overdue = poll_fn(|cx| timer.poll_deadline(cx, link.soonest()));
        tokio::select! {
            biased;
            () = overdue => link.end_overdue(Instant::now()),
            received = receive(link, &mut reader) => {
                if let Err(cause) = received {
                    return End::Failed(cause);
                }
            }
            sent = send(link, &mut writer, &mut spare) => match sent {
                Ok(true) => {}
                Ok(false) => return End::Closed,
                Err(cause) => return End::Failed(cause),
            }
        }
    }
}

/// Takes in everything that has arrived. Cancel-safe: only the first message is awaited.
async fn receive(link: &Link, reader: &mut Reader) -> Result<(), String> {
    let first = reader.next::<ServerMessage>().await.map_err(|error| error.to_string())?;
    link.receive(first.ok_or("it closed the connection")?)?;
    while let Some(message) = reader.next_buffered::<ServerMessage>() {
        link.receive(message.map_err(|error| error.to_string())?)?;
    }
    Ok(())
}

/// Sends everything that has gathered; `false` when there will be no more. Cancel-safe: what was taken from the link is
/// in the writer's buffer.
async fn send(link: &Link, writer: &mut Writer, spare: &mut Vec<u8>) -> Result<bool, String> {
    if writer.buffered_bytes() == 0 {
        if !link.gathered(spare).await {
            return Ok(false);
        }
        writer.append(spare).map_err(|error| error.to_string())?;
    }
    let flushed = if link.is_closing() {
        timeout(FAREWELL_TIMEOUT, writer.flush()).await.unwrap_or(Ok(()))
    } else {
        writer.flush().await
    };
    flushed.map(|()| true).map_err(|error| error.to_string())
}
