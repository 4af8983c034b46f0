//! One worker's connection: a task that reads what it says, one that writes what it is told.

use std::os::unix::net::UnixStream;

use runlet_blocks::{Assignment, Outcome};
use runlet_proto::ids::Attempt;
use runlet_proto::worker::{Begin, Ended, FromWorker, Payload, ToWorker};
use tokio::sync::mpsc;

use super::workers::WorkerId;
use crate::inbound::Inbound;
use crate::limits::{CONVERTED_IN_PLACE_BYTES_MAX, TO_WORKER_MAX};

/// What is written to a worker.
#[derive(Debug)]
pub(crate) enum Told {
    /// As it is.
    Message(ToWorker),
    /// An attempt, still to be put into words.
    Begin(Attempt, Box<Assignment>),
}

/// What was read from a worker.
#[derive(Debug)]
pub(crate) enum Heard {
    /// As it was said.
    Message(FromWorker),
    /// The end of an attempt, understood.
    Finished(runlet_proto::ids::BlockIndex, Attempt, Result<Outcome, runlet_proto::failure::Failure>),
}

/// Starts both tasks. Writing ends when the sender is dropped; the worker sees that as the end of its work.
///
/// # Errors
/// When the socket cannot be watched.
pub(crate) fn start(
    worker: WorkerId,
    socket: UnixStream,
    loop_queue: mpsc::Sender<Inbound>,
) -> std::io::Result<mpsc::Sender<Told>> {
    let (mut reader, mut writer) = runlet_ipc::over(socket)?;
    let (sender, mut told) = mpsc::channel(TO_WORKER_MAX);
    tokio::spawn(async move {
        while let Some(told) = told.recv().await {
            let message = put_into_words(told).await;
            if writer.send(&message).await.is_err() {
                // Its end is seen by the other task.
                return;
            }
        }
    });
    tokio::spawn(async move {
        let error = loop {
            match reader.next::<FromWorker>().await {
                Ok(Some(message)) => {
                    let heard = understand(message).await;
                    if loop_queue.send(Inbound::FromWorker { worker, heard }).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break None,
                // A worker that is killed in the middle of a message has done nothing wrong.
                Err(runlet_ipc::ReadError::HalfFrame { .. } | runlet_ipc::ReadError::Io(_)) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        let _ = loop_queue.send(Inbound::WorkerClosed { worker, error }).await;
    });
    Ok(sender)
}

/// JSON is written here, and where it is much on a thread that may take its time.
async fn put_into_words(told: Told) -> ToWorker {
    match told {
        Told::Message(message) => message,
        Told::Begin(attempt, assignment) => {
            let small = assignment.input.heap_bytes() <= CONVERTED_IN_PLACE_BYTES_MAX;
            let begin = move || Begin {
                block: assignment.block,
                attempt,
                input: assignment.input.to_payload(),
                scope: assignment.values(),
            };
            ToWorker::Begin(Box::new(in_place_or_aside(small, begin).await))
        }
    }
}

/// JSON is read here, and where it is much on a thread that may take its time.
async fn understand(message: FromWorker) -> Heard {
    match message {
        FromWorker::Finished { block, attempt, ended } => {
            let small = match &ended {
                Ended::Completed(Payload::Json(text)) => text.len() <= CONVERTED_IN_PLACE_BYTES_MAX,
                Ended::Completed(Payload::Hook(_) | Payload::Reply(_)) | Ended::Skipped | Ended::Failed(_) => true,
            };
            Heard::Finished(block, attempt, in_place_or_aside(small, || Outcome::from_ended(ended)).await)
        }
        FromWorker::Ready(_) | FromWorker::Waiting { .. } | FromWorker::Log { .. } => Heard::Message(message),
    }
}

async fn in_place_or_aside<T: Send + 'static>(small: bool, convert: impl FnOnce() -> T + Send + 'static) -> T {
    if small {
        return convert();
    }
    // Each worker has at most one of these in each direction, and the memory budget bounds the workers.
    tokio::task::spawn_blocking(convert).await.expect("conversions do not panic, and the runtime lives")
}
