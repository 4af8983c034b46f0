//! A client's connection as hyper sees it, and what the gateway must know of it: what it is doing, how long it may take,
//! and hyper's own error responses, which get a body in passing.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Config;
use crate::problem::{Kind, Problem};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing of the first request has arrived.
    New,
    /// Nothing of the next request has arrived.
    Idle,
    /// Part of a request's head has arrived.
    Head,
    /// A request is being served; its own limits apply.
    Busy,
    /// A response is on its way.
    Writing,
}

/// What is known of one connection, shared by its transport, its service and its task.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: Cell<Phase>,
    /// Whether the phase began, or made progress, since the last [`Wire::deadline`].
    moved: Cell<bool>,
    /// Requests being served; more than one with HTTP/2 only.
    busy: Cell<u32>,
    deadline: Cell<Option<Instant>>,
    /// Whether the client may still be sending what nobody will read.
    lingers: Cell<bool>,
    multiplexed: Cell<bool>,
    head_bytes_max: usize,
    head_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
}

impl Wire {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            phase: Cell::new(Phase::New),
            moved: Cell::new(true),
            busy: Cell::new(0),
            deadline: Cell::new(None),
            lingers: Cell::new(false),
            multiplexed: Cell::new(false),
            head_bytes_max: config.head_bytes_max,
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            write_timeout: config.write_timeout,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// A request is being served from now on.
    pub(crate) fn begin(&self) {
        self.busy.set(self.busy.get() + 1);
        self.enter(Phase::Busy);
    }

    /// A request has its response, or will have none.
    pub(crate) fn end(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if self.busy.get() == 0 {
            self.enter(Phase::Writing);
        }
    }

    /// Whether the client may still be sending something that is not going to be read.
    pub(crate) fn set_lingers(&self, lingers: bool) {
        self.lingers.set(lingers);
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers.get()
    }

    /// From now on many requests share the connection, and hyper answers errors in its own frames.
    pub(crate) fn multiplex(&self) {
        self.multiplexed.set(true);
        self.enter(Phase::Idle);
    }

    /// When the current phase has taken too long. The clock is read only when something has changed since the last call.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.moved.replace(false) {
            let limit = match self.phase.get() {
                Phase::New | Phase::Head => Some(self.head_timeout),
                Phase::Idle => Some(self.idle_timeout),
                Phase::Busy => None,
                Phase::Writing => Some(self.write_timeout),
            };
            self.deadline.set(limit.map(|limit| Instant::now() + limit));
        }
        self.deadline.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.moved.set(true);
    }

    fn has_read(&self) {
        match self.phase.get() {
            Phase::New | Phase::Idle if self.multiplexed.get() => self.moved.set(true),
            Phase::New | Phase::Idle => self.enter(Phase::Head),
            Phase::Head | Phase::Busy | Phase::Writing => {}
        }
    }

    fn has_written(&self) {
        if self.phase.get() == Phase::Writing {
            self.moved.set(true);
        }
    }

    fn has_flushed(&self) {
        if self.phase.get() == Phase::Writing {
            self.enter(Phase::Idle);
        }
    }

    /// The problem to send instead of bytes that hyper writes of its own accord, while no request is being served: the
    /// bare response to a head it could not parse.
    fn substitute(&self, head: &[u8]) -> Option<Vec<u8>> {
        if self.multiplexed.get() || !matches!(self.phase.get(), Phase::New | Phase::Idle | Phase::Head) {
            return None;
        }
        let status = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
        let problem = match status {
            b"400" => Problem::new(Kind::BadHead, "the request's head is not HTTP"),
            b"414" => Problem::new(Kind::UriTooLong, "the request's URI is too long"),
            b"431" => Problem::new(
                Kind::HeadTooLarge,
                format!("the request's head has too many fields, or more than {} bytes", self.head_bytes_max),
            ),
            _ => return None,
        };
        self.set_lingers(true);
        Some(problem.into_bytes())
    }
}

/// The transport hyper reads and writes.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: TokioIo<TcpStream>,
    wire: Rc<Wire>,
    /// Bytes that were read before this transport's protocol was known.
    prefix: Bytes,
    /// What is sent instead of something hyper wrote.
    substitute: Bytes,
}

impl Transport {
    pub(crate) fn new(stream: TcpStream, wire: Rc<Wire>) -> Self {
        Self { stream: TokioIo::new(stream), wire, prefix: Bytes::new(), substitute: Bytes::new() }
    }

    /// The same transport with bytes to be read again.
    pub(crate) fn rewound(self, prefix: Bytes) -> Self {
        Self { prefix, ..self }
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}

impl Read for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let count = self.prefix.len().min(into.remaining());
            into.put_slice(&self.prefix[..count]);
            self.prefix.advance(count);
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_read(cx, into);
        if result.is_ready() {
            self.wire.has_read();
        }
        result
    }
}

impl Write for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(problem) = self.wire.substitute(bytes) {
            self.substitute = problem.into();
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.wire.has_written();
        Poll::Ready(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(problem) = slices.first().and_then(|first| self.wire.substitute(first)) {
            self.substitute = problem.into();
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        self.wire.has_written();
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.substitute.is_empty() {
            let count = ready!(Pin::new(&mut this.stream).poll_write(cx, &this.substitute))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.substitute.advance(count);
        }
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.wire.has_flushed();
        Poll::Ready(Ok(()))
    }

    /// Does nothing: the connection's task closes it, after what is left of the request has been read.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
