//! One worker's connection: a task that reads what it says, one that writes what it is told.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use runlet_blocks::{Assignment, Outcome};
use runlet_ipc::{WriteError, Writer};
use runlet_proto::call::Answer;
use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::worker::{Begin, Ended, FromWorker, Payload, ToWorker};
use tokio::sync::mpsc;

use super::parcel::{self, Parcel};
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
    /// The end of an attempt, understood; when the worker began with it, in nanoseconds of CLOCK_MONOTONIC.
    Finished(BlockIndex, Attempt, Result<Outcome, Failure>, Option<u64>),
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
    let undeliverable = loop_queue.clone();
    tokio::spawn(async move {
        while let Some(next) = told.recv().await {
            let mut message = put_into_words(next).await;
            match deliver(&mut writer, &mut message).await {
                Ok(()) => {}
                // Its end is seen by the other task.
                Err(Undelivered::Gone) => return,
                Err(Undelivered::Unfit(why)) => match instead_of(message, &why) {
                    Instead::Heard(heard) => {
                        let _ = undeliverable.send(Inbound::FromWorker { worker, heard }).await;
                    }
                    Instead::Message(mut message) => {
                        if deliver(&mut writer, &mut message).await.is_err() {
                            return;
                        }
                    }
                },
            }
            // What waits already goes out with it, as long as it is little.
            let more = !told.is_empty() && writer.buffered_bytes() < CONVERTED_IN_PLACE_BYTES_MAX;
            if !more && writer.flush().await.is_err() {
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

/// Why a message did not reach its worker.
enum Undelivered {
    /// The worker is gone, or does not read.
    Gone,
    /// Neither a frame nor a parcel can hold it.
    Unfit(String),
}

impl From<WriteError> for Undelivered {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Encode(error) => Self::Unfit(error.to_string()),
            WriteError::Full { .. } | WriteError::Io(_) => Self::Gone,
        }
    }
}

/// Makes a message go out with the next flush, its large parts in a parcel ahead of it.
async fn deliver(writer: &mut Writer, message: &mut ToWorker) -> Result<(), Undelivered> {
    if let Some(Parcel { parts, file }) =
        parcel::pack(message).await.map_err(|error| Undelivered::Unfit(error.to_string()))?
    {
        writer.send_with(&ToWorker::Parcel(parts), file.as_fd()).await?;
    }
    Ok(writer.push(message)?)
}

/// What becomes of a message that cannot be sent.
enum Instead {
    /// The worker never hears of it.
    Heard(Heard),
    /// It is told this.
    Message(ToWorker),
}

fn instead_of(message: ToWorker, why: &str) -> Instead {
    let too_large = |what| {
        Failure::workflow("too-large", format!("{what} does not fit into what a worker can be sent: {why}"))
            .with_help("fetch less (`max_body_size`), or keep what does not need a process on threads (`isolation`)")
    };
    match message {
        ToWorker::Begin(begin) => {
            Instead::Heard(Heard::Finished(begin.block, begin.attempt, Err(too_large("the block's input")), None))
        }
        ToWorker::Answer { block, attempt, call, .. } => {
            let answer = Answer::Failed(too_large("the answer to its call"));
            Instead::Message(ToWorker::Answer { block, attempt, call, answer })
        }
        // A definition is far smaller than a frame; if it were not, the worker would find out.
        ToWorker::Run(_) | ToWorker::Prepare(_) | ToWorker::Parcel(_) => Instead::Message(message),
    }
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
        FromWorker::Finished { block, attempt, ended, began_ns } => {
            let small = match &ended {
                Ended::Completed(Payload::Json(text)) => text.len() <= CONVERTED_IN_PLACE_BYTES_MAX,
                Ended::Completed(Payload::Hook(_) | Payload::Reply(_)) | Ended::Skipped | Ended::Failed(_) => true,
            };
            let result = in_place_or_aside(small, || Outcome::from_ended(ended)).await;
            Heard::Finished(block, attempt, result, Some(began_ns))
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is to panic")]

    use std::io::{Read as _, Write as _};

    use runlet_proto::codec::encode_frame;
    use runlet_proto::frame::FRAME_BYTES_MAX;
    use runlet_proto::worker::Confinement;

    use super::*;
    use crate::limits::PARCEL_BYTES_MAX;

    const WORKER: WorkerId = WorkerId(1);

    fn linked() -> (UnixStream, mpsc::Sender<Told>, mpsc::Receiver<Inbound>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (loop_queue, inbound) = mpsc::channel(4);
        let told = start(WORKER, ours, loop_queue).unwrap();
        (theirs, told, inbound)
    }

    fn frame(message: &FromWorker) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(message, &mut bytes).unwrap();
        bytes
    }

    /// What the connection ended with, after `bytes` and the end.
    async fn ended_with(bytes: &[u8]) -> Option<String> {
        let (mut worker, _told, mut inbound) = linked();
        worker.write_all(bytes).unwrap();
        drop(worker);
        loop {
            let told = inbound.recv().await.unwrap();
            if let Inbound::WorkerClosed { error, .. } = told {
                return error;
            }
            assert!(matches!(told, Inbound::FromWorker { .. }), "{told:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_connection_and_is_told() {
        let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_le_bytes();
        for hostile in
            [&u32::MAX.to_le_bytes()[..], &too_long, &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], b"GET / HTTP/1.1\r\n"]
        {
            assert!(ended_with(hostile).await.is_some(), "{hostile:?}");
        }
        // A worker that is killed in the middle of a message has done nothing wrong.
        let ready = frame(&FromWorker::Ready(Confinement::default()));
        assert_eq!(ended_with(&ready[..ready.len() - 1]).await, None);
        assert_eq!(ended_with(&ready).await, None);
        assert_eq!(ended_with(b"").await, None);
    }

    #[tokio::test]
    async fn an_output_that_is_no_json_fails_its_block() {
        for bytes in [1, CONVERTED_IN_PLACE_BYTES_MAX + 1] {
            let (mut worker, _told, mut inbound) = linked();
            let ended = Ended::Completed(Payload::Json(vec![b'['; bytes].into()));
            worker
                .write_all(&frame(&FromWorker::Finished {
                    block: BlockIndex(0),
                    attempt: Attempt(1),
                    ended,
                    began_ns: 0,
                }))
                .unwrap();
            let Some(Inbound::FromWorker { heard: Heard::Finished(_, _, Err(failure), _), .. }) = inbound.recv().await
            else {
                panic!("not a failure")
            };
            assert_eq!(failure.code, "worker-protocol");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_fails_its_block_or_its_call_and_nothing_else() {
        let (worker, told, mut inbound) = linked();
        let huge = bytes::Bytes::from(vec![0; usize::try_from(PARCEL_BYTES_MAX).unwrap() + 1]);
        let begin = Begin { block: BlockIndex(1), attempt: Attempt(2), input: Payload::Json(huge), scope: None };
        told.send(Told::Message(ToWorker::Begin(Box::new(begin)))).await.unwrap();
        let Some(Inbound::FromWorker { heard: Heard::Finished(BlockIndex(1), Attempt(2), Err(failure), None), .. }) =
            inbound.recv().await
        else {
            panic!("not a failure")
        };
        assert_eq!(failure.code, "too-large");
        let answer = Answer::Failed(Failure::workflow("x", "y".repeat(FRAME_BYTES_MAX)));
        let answer = ToWorker::Answer { block: BlockIndex(1), attempt: Attempt(3), call: 7, answer };
        told.send(Told::Message(answer)).await.unwrap();
        let read = tokio::task::spawn_blocking(move || {
            runlet_ipc::blocking::Connection::over(worker).receive::<ToWorker>().unwrap().unwrap()
        });
        let ToWorker::Answer { call: 7, answer: Answer::Failed(failure), .. } = read.await.unwrap() else {
            panic!("not an answer")
        };
        assert_eq!(failure.code, "too-large");
    }

    #[tokio::test]
    async fn a_flood_waits_in_the_socket_and_a_worker_that_does_not_read_is_found_out() {
        let (worker, told, mut inbound) = linked();
        worker.set_nonblocking(true).unwrap();
        let log = frame(&FromWorker::Log {
            block: BlockIndex(0),
            attempt: Attempt(1),
            level: runlet_proto::control::LogLevel::Info,
            text: "x".repeat(60_000),
        });
        // Nobody takes what it says: it can write what the queue and the socket hold, and then no more.
        let mut written = 0;
        while let Ok(count) = (&worker).write(&log) {
            written += count;
            assert!(written < 64 << 20, "a flood is not held back");
            tokio::task::yield_now().await;
        }
        assert!(inbound.recv().await.is_some());
        let answer = || {
            let answer = Answer::Failed(Failure::workflow("x", "y".repeat(10_000)));
            Told::Message(ToWorker::Answer { block: BlockIndex(0), attempt: Attempt(1), call: 0, answer })
        };
        let mut sent = 0;
        while told.try_send(answer()).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "what a worker does not read is not bounded");
            tokio::task::yield_now().await;
        }
        let mut first = [0; 4];
        (&worker).read_exact(&mut first).unwrap();
    }
}
