//! Connections over real sockets: handshake, bursts, half frames, floods, and futures that are dropped halfway.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::future::Future;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use runlet_ipc::{
    ConnectError, HandshakeError, Listener, ReadError, Reader, WRITE_BUFFERED_BYTES_MAX, WriteError, Writer, blocking,
    connect, over,
};
use runlet_proto::codec::encode_frame;
use runlet_proto::frame::FRAME_BYTES_MAX;
use runlet_proto::hello::{Hello, HelloError, Role, WIRE_VERSION};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

const PATIENCE: Duration = Duration::from_secs(20);

fn listener() -> (TempDir, PathBuf, Listener) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state/control.sock");
    let listener = Listener::bind(&path).unwrap();
    (directory, path, listener)
}

fn pair() -> ((Reader, Writer), (Reader, Writer)) {
    let (a, b) = UnixStream::pair().unwrap();
    (halves(a), halves(b))
}

fn halves(stream: UnixStream) -> (Reader, Writer) {
    over(stream.into_std().unwrap()).unwrap()
}

fn frame<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(message, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let (_directory, path, listener) = listener();
    let server = async {
        let incoming = listener.accept().await.unwrap();
        assert!(incoming.peer().check().is_ok());
        assert_eq!(incoming.peer().pid, Some(i32::try_from(std::process::id()).unwrap()));
        incoming.handshake(Role::Supervisor, PATIENCE).await.unwrap()
    };
    let (server, client) = tokio::join!(server, connect(&path, Role::Gateway));
    let ((role, mut server_reader, mut server_writer), (mut reader, mut writer)) = (server, client.unwrap());
    assert_eq!(role, Role::Gateway);
    writer.send(&"ping").await.unwrap();
    assert_eq!(server_reader.next::<String>().await.unwrap().as_deref(), Some("ping"));
    server_writer.send(&"pong").await.unwrap();
    assert_eq!(reader.next::<String>().await.unwrap().as_deref(), Some("pong"));
    drop(writer);
    assert_eq!(server_reader.next::<String>().await.unwrap(), None);
}

#[tokio::test]
async fn messages_behind_the_hello_are_kept() {
    let (_directory, path, listener) = listener();
    let mut client = UnixStream::connect(&path).await.unwrap();
    let bytes = [frame(&Hello::new(Role::Cli)), frame(&1u64), frame(&2u64)].concat();
    client.write_all(&bytes).await.unwrap();
    let (_, mut reader, _writer) =
        listener.accept().await.unwrap().handshake(Role::Supervisor, PATIENCE).await.unwrap();
    assert_eq!(reader.next::<u64>().await.unwrap(), Some(1));
    assert_eq!(reader.next_buffered::<u64>().unwrap().unwrap(), 2);
    assert!(reader.next_buffered::<u64>().is_none());
}

#[tokio::test]
async fn strangers_and_other_releases_are_named() {
    let (_directory, path, listener) = listener();
    let other = Hello { version: WIRE_VERSION + 1, ..Hello::new(Role::Cli) };
    let stranger = Hello { magic: *b"HTTP", ..Hello::new(Role::Cli) };
    for (bytes, expected) in [
        (frame(&other), HelloError::Version { role: Role::Cli, theirs: WIRE_VERSION + 1 }),
        (frame(&stranger), HelloError::NotRunlet),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), HelloError::NotRunlet),
        (u32::MAX.to_le_bytes().to_vec(), HelloError::NotRunlet),
        (65u32.to_le_bytes().to_vec(), HelloError::NotRunlet),
    ] {
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(&bytes).await.unwrap();
        let error = listener.accept().await.unwrap().handshake(Role::Supervisor, PATIENCE).await.unwrap_err();
        assert!(matches!(&error, HandshakeError::Hello(hello) if *hello == expected), "{error}");
    }
}

#[tokio::test]
async fn a_client_of_another_release_hears_our_version() {
    let (_directory, path, listener) = listener();
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(&frame(&Hello { version: 999, ..Hello::new(Role::Cli) })).await.unwrap();
    let _ = listener.accept().await.unwrap().handshake(Role::Supervisor, PATIENCE).await;
    let (mut reader, _writer) = halves(client);
    assert_eq!(reader.next::<Hello>().await.unwrap().unwrap().version, WIRE_VERSION);
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_hangs_up_is_named() {
    let (_directory, path, listener) = listener();
    let _silent = UnixStream::connect(&path).await.unwrap();
    let error = listener.accept().await.unwrap().handshake(Role::Supervisor, Duration::from_millis(1)).await;
    assert!(matches!(error, Err(HandshakeError::Deadline(_))));
    drop(UnixStream::connect(&path).await.unwrap());
    let error = listener.accept().await.unwrap().handshake(Role::Supervisor, PATIENCE).await;
    assert!(matches!(error, Err(HandshakeError::Closed | HandshakeError::Io(_))), "{error:?}");
}

#[tokio::test]
async fn a_client_whose_server_hangs_up_is_told_where() {
    let (_directory, path, listener) = listener();
    let server = async { drop(listener.accept().await.unwrap()) };
    let ((), result) = tokio::join!(server, connect(&path, Role::Cli));
    let error = result.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { .. }) && error.is_absent(), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn many_frames_go_out_in_one_write_and_come_in_with_one_read() {
    let ((_, mut writer), (mut reader, _keep)) = pair();
    for number in 0..1_000u64 {
        writer.push(&number).unwrap();
    }
    assert_eq!(writer.buffered_bytes(), 12_000);
    writer.flush().await.unwrap();
    assert_eq!(writer.buffered_bytes(), 0);
    assert_eq!(reader.next::<u64>().await.unwrap(), Some(0));
    let rest: Vec<u64> = std::iter::from_fn(|| reader.next_buffered()).map(Result::unwrap).collect();
    assert_eq!(rest, (1..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn encoded_frames_keep_their_place() {
    let ((_, mut writer), (mut reader, _keep)) = pair();
    let mut batch = [frame(&1u64), frame(&2u64)].concat();
    writer.append(&mut batch).unwrap();
    writer.push(&3u64).unwrap();
    batch.extend(frame(&4u64));
    writer.append(&mut batch).unwrap();
    assert!(batch.is_empty());
    writer.flush().await.unwrap();
    for expected in 1..=4u64 {
        assert_eq!(reader.next::<u64>().await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn the_longest_frame_passes_and_a_longer_one_is_refused_whole() {
    let ((_, mut writer), (mut reader, _keep)) = pair();
    let longest = "x".repeat(FRAME_BYTES_MAX - 8); // the codec puts a length of eight bytes in front of a string
    let (sent, received) = tokio::join!(writer.send(&longest), reader.next::<String>());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap().len(), longest.len());
    assert!(matches!(writer.push(&format!("{longest}y")), Err(WriteError::Encode(_))));
    assert_eq!(writer.buffered_bytes(), 0);
    writer.send(&"still of use").await.unwrap();
    assert_eq!(reader.next::<String>().await.unwrap().as_deref(), Some("still of use"));
}

#[tokio::test]
async fn half_frames_are_told_from_a_clean_end() {
    for cut in [1, 3, 4, 5, 11] {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (mut reader, _writer) = halves(server);
        client.write_all(&frame(&7u64)).await.unwrap();
        client.write_all(&frame(&8u64)[..cut]).await.unwrap();
        drop(client);
        assert_eq!(reader.next::<u64>().await.unwrap(), Some(7));
        let error = reader.next::<u64>().await.unwrap_err();
        assert!(matches!(error, ReadError::HalfFrame { arrived_bytes, .. } if arrived_bytes == cut), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_fills_a_bound_and_no_more() {
    let ((_, mut writer), _peer) = pair();
    let message = "x".repeat(4_000_000);
    let error = loop {
        match writer.push(&message) {
            Ok(()) => assert!(!writer.try_flush().unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WriteError::Full { .. }), "{error}");
    assert!(writer.buffered_bytes() <= WRITE_BUFFERED_BYTES_MAX + FRAME_BYTES_MAX);
}

#[tokio::test]
async fn a_flood_both_ways_keeps_its_order() {
    let ((mut left_reader, mut left_writer), (mut right_reader, mut right_writer)) = pair();
    let echo = async {
        while let Some(number) = right_reader.next::<u64>().await.unwrap() {
            right_writer.push(&number).unwrap();
            while let Some(number) = right_reader.next_buffered::<u64>() {
                right_writer.push(&number.unwrap()).unwrap();
            }
            right_writer.flush().await.unwrap();
        }
        drop(right_writer);
    };
    let send = async {
        for number in 0..100_000u64 {
            left_writer.push(&number).unwrap();
            if number % 64 == 0 {
                left_writer.flush().await.unwrap();
            }
        }
        left_writer.flush().await.unwrap();
        drop(left_writer);
    };
    let receive = async {
        let mut expected = 0u64;
        while let Some(number) = left_reader.next::<u64>().await.unwrap() {
            assert_eq!(number, expected);
            expected += 1;
        }
        expected
    };
    assert_eq!(tokio::join!(echo, send, receive).2, 100_000);
}

/// Polls a future once and drops it, as a `select!` whose other arm won does.
fn poll_and_drop<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn dropped_reads_lose_nothing() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let (mut reader, _writer) = halves(server);
    let messages: Vec<String> = (0..20).map(|n| "m".repeat(n * 7)).collect();
    let stream: Vec<u8> = messages.iter().flat_map(frame).collect();
    let mut seen = Vec::new();
    for byte in stream {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
        if let Some(message) = poll_and_drop(reader.next::<String>()) {
            seen.push(message.unwrap().unwrap());
        }
    }
    while seen.len() < messages.len() {
        seen.push(reader.next::<String>().await.unwrap().unwrap());
    }
    assert_eq!(seen, messages);
}

#[tokio::test]
async fn dropped_flushes_neither_lose_nor_repeat() {
    let ((_, mut writer), (mut reader, _keep)) = pair();
    let message = "x".repeat(3_000_000);
    writer.push(&message).unwrap();
    writer.push(&"end").unwrap();
    assert!(poll_and_drop(writer.flush()).is_none());
    let left = writer.buffered_bytes();
    assert!(left > 0 && left < 3_000_000);
    let (flushed, received) = tokio::join!(writer.flush(), reader.next::<String>());
    flushed.unwrap();
    assert_eq!(received.unwrap().unwrap(), message);
    assert_eq!(reader.next::<String>().await.unwrap().as_deref(), Some("end"));
}

#[tokio::test]
async fn the_blocking_side_speaks_the_same() {
    let (_directory, path, listener) = listener();
    let client = tokio::task::spawn_blocking(move || {
        let mut connection = blocking::connect(&path, Role::Cli).unwrap();
        connection.send(&"x".repeat(200_000)).unwrap();
        let echoed = connection.receive::<String>().unwrap().unwrap();
        connection.set_deadline(Some(Instant::now() + Duration::from_millis(5)));
        assert!(matches!(connection.receive::<String>(), Err(ReadError::Deadline)));
        connection.set_deadline(None);
        connection.send(&"done").unwrap();
        assert!(connection.receive::<String>().unwrap().is_none());
        echoed.len()
    });
    let (role, mut reader, mut writer) =
        listener.accept().await.unwrap().handshake(Role::Supervisor, PATIENCE).await.unwrap();
    assert_eq!(role, Role::Cli);
    let message = reader.next::<String>().await.unwrap().unwrap();
    writer.send(&message).await.unwrap();
    assert_eq!(reader.next::<String>().await.unwrap().as_deref(), Some("done"));
    drop((reader, writer));
    assert_eq!(client.await.unwrap(), 200_000);
}

#[test]
fn a_blocking_half_frame_is_named() {
    let (mut client, server) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut connection = blocking::Connection::over(server);
    client.write_all(&frame(&7u64)[..9]).unwrap();
    drop(client);
    let error = connection.receive::<u64>().unwrap_err();
    assert!(matches!(error, ReadError::HalfFrame { arrived_bytes: 9, frame_bytes: 12 }), "{error}");
}

#[test]
fn a_blocking_client_is_told_when_the_server_is_a_stranger() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("other.sock");
    let server = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.read_exact(&mut [0; 14]).unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    });
    let error = blocking::connect(&path, Role::Cli).unwrap_err();
    assert!(matches!(error, ConnectError::Handshake { source: HandshakeError::Hello(HelloError::NotRunlet), .. }));
    stranger.join().unwrap();
}
