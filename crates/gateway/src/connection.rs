//! One client's connection from its first byte to its end.
//!
//! It is taken for HTTP/1.1; a client that opens with the HTTP/2 preface ("prior knowledge", RFC 9113, section 3.3) gets
//! HTTP/2. One timer watches the connection, whatever it is doing: it is set anew only when it fires or when something
//! is due earlier, so a busy connection does not touch it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tokio::time::timeout;
use tracing::debug;

use crate::limits::{HEAD_BYTES_MIN, LINGER_BYTES_MAX, LINGER_TIMEOUT, STREAMS_MAX};
use crate::problem::{Kind, Problem};
use crate::service::serve;
use crate::thread::Thread;
use crate::timer::Timer;
use crate::wire::{Phase, Transport, Wire};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How attending to a connection ended.
enum End {
    /// It is closed, in order or not.
    Closed,
    /// It took too long with what it was doing.
    Overdue(Phase),
}

/// Serves a connection until it is closed, too slow, or drained by a shutdown.
pub(crate) async fn run(stream: TcpStream, thread: Rc<Thread>) {
    // Small responses must not wait for the acknowledgement of earlier ones; without the option it is merely slower.
    let _ = stream.set_nodelay(true);
    let wire = Rc::new(Wire::new(&thread.config));
    let transport = Transport::new(stream, Rc::clone(&wire));
    let service = {
        let (thread, wire) = (Rc::clone(&thread), Rc::clone(&wire));
        service_fn(move |request| serve(Rc::clone(&thread), Rc::clone(&wire), request))
    };
    let mut connection = http1(&thread).serve_connection(transport, service);
    let end = attend(&mut connection, &thread, &wire).await;
    let parts = connection.into_parts();
    if parts.read_buf.starts_with(HTTP2_PREFACE) && matches!(end, End::Closed) {
        wire.multiplex();
        let transport = parts.io.rewound(parts.read_buf);
        let mut connection = http2(&thread).serve_connection(transport, parts.service);
        attend(&mut connection, &thread, &wire).await;
        return;
    }
    let stream = parts.io.into_stream();
    match end {
        End::Overdue(Phase::Head) => {
            let limit = thread.config.head_timeout.as_millis();
            let detail = format!("the request's head did not arrive within {limit} ms");
            say_and_close(stream, Problem::new(Kind::RequestTimeout, detail)).await;
        }
        End::Closed if wire.lingers() => linger(stream).await,
        End::Closed | End::Overdue(Phase::New | Phase::Idle | Phase::Busy | Phase::Writing) => {}
    }
}

/// Tells a client that there are too many connections already, whatever it asks for.
pub(crate) async fn refuse(mut stream: TcpStream) {
    // Wait for the request: a response to a connection that has asked nothing is easily mistaken for noise.
    let mut head = [0; 1];
    if timeout(LINGER_TIMEOUT, stream.read(&mut head)).await.is_ok_and(|read| read.is_ok_and(|count| count > 0)) {
        say_and_close(stream, Problem::new(Kind::Overloaded, "too many connections are open")).await;
    }
}

/// A server side of a connection that can be asked to end after the requests in flight.
trait Drain: Future {
    fn drain(self: Pin<&mut Self>);
}

impl<S> Drain for http1::Connection<Transport, S>
where
    S: HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Drain for http2::Connection<Transport, S, LocalExecutor>
where
    S: HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Drives a connection, its timer, and its drain.
async fn attend<C>(connection: &mut C, thread: &Thread, wire: &Wire) -> End
where
    C: Drain<Output = hyper::Result<()>> + Unpin,
{
    let mut timer = Timer::new();
    let mut drain = pin!(thread.drain.notified());
    let mut draining = false;
    let mut registered = false;
    poll_fn(|cx| {
        if !draining && (thread.draining.get() || !std::mem::replace(&mut registered, true)) {
            draining = thread.draining.get() || is_notified(drain.as_mut(), cx);
            if draining {
                Pin::new(&mut *connection).drain();
            }
        }
        if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
            if let Err(error) = result {
                debug!(%error, "a connection ended in disorder");
            }
            return Poll::Ready(End::Closed);
        }
        timer.poll_deadline(cx, wire.deadline()).map(|()| End::Overdue(wire.phase()))
    })
    .await
}

fn is_notified(drain: Pin<&mut Notified<'_>>, cx: &mut Context<'_>) -> bool {
    drain.poll(cx).is_ready()
}

fn http1(thread: &Thread) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The gateway's own timer tells an idle connection from a slow head, and costs a busy one nothing.
        .header_read_timeout(None)
        .max_buf_size(thread.config.head_bytes_max.max(HEAD_BYTES_MIN))
        .max_headers(thread.config.headers_max);
    builder
}

fn http2(thread: &Thread) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(thread.config.head_bytes_max).unwrap_or(u32::MAX));
    builder
}

/// Runs a request of an HTTP/2 connection on this thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn say_and_close(mut stream: TcpStream, problem: Problem) {
    let bytes = problem.into_bytes();
    // A client that does not take these few bytes at once is beyond help.
    if timeout(LINGER_TIMEOUT, stream.write_all(&bytes)).await.is_ok_and(|written| written.is_ok()) {
        linger(stream).await;
    }
}

/// Closes our side and reads what the client still sends, within bounds: were the connection closed with something unread,
/// the client's system would throw away the response (RFC 9112, section 9.6).
async fn linger(mut stream: TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut buffer = [0; 8 * 1024];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let _ = timeout(LINGER_TIMEOUT, Box::pin(drain)).await;
}
