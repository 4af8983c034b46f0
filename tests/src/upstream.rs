//! A server for workflows to call: answers as the test says, when the test says, and tells what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::certificate::Authority;
use crate::wait::Watched;

/// A running server on a port of loopback; ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    scheme: &'static str,
    log: Arc<Watched<Log>>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// What a server saw.
#[derive(Debug, Default)]
struct Log {
    asked: Vec<Asked>,
    given_up: usize,
}

/// A request as the server read it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Upper-case method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers at once.
    Page(Page),
    /// Answers once the gate is open.
    Held(Gate, Page),
    /// Closes the connection without an answer.
    Hangup,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Page {
    /// Status.
    pub status: u16,
    /// `content-type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
    /// Further header fields.
    pub headers: Vec<(&'static str, String)>,
}

impl Page {
    /// 200 with this type and body.
    #[must_use]
    pub fn of(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type, body: body.into(), headers: Vec::new() }
    }

    /// 200 with HTML.
    #[must_use]
    pub fn html(text: impl Into<Bytes>) -> Self {
        Self::of("text/html; charset=utf-8", text)
    }

    /// 200 with JSON.
    #[must_use]
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self::of("application/json", text)
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Page> for Reply {
    fn from(page: Page) -> Self {
        Self::Page(page)
    }
}

/// Holds answers back until it is opened; a clone is the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through, now and from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        let mut state = self.0.subscribe();
        let open = state.wait_for(|open| *open).await;
        open.expect("the sender lives in `self`, so the channel does not close");
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

impl Upstream {
    /// An HTTP server on a free port.
    #[must_use]
    pub fn http(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(0, None, Arc::new(handler))
    }

    /// An HTTPS server; port 0 takes a free one.
    #[must_use]
    pub fn https(authority: &Authority, port: u16, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(port, Some(authority.acceptor()), Arc::new(handler))
    }

    /// `http://localhost:PORT` or `https://…`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.log.look(|log| log.asked.clone())
    }

    /// Waits until it was asked `count` times in all.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_asked(&self, count: usize) {
        let asked = self.log.wait(|log| (log.asked.len() >= count).then_some(()));
        asked.unwrap_or_else(|| panic!("the server was not asked {count} times: {:?}", self.asked()));
    }

    /// Waits until `count` callers in all hung up before they had their answer.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_given_up(&self, count: usize) {
        let given_up = self.log.wait(|log| (log.given_up >= count).then_some(()));
        given_up.unwrap_or_else(|| panic!("no caller hung up; asked: {:?}", self.asked()));
    }

    fn start(port: u16, tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))
            .unwrap_or_else(|error| panic!("cannot listen on port {port} of loopback: {error}"));
        listener.set_nonblocking(true).expect("a new socket can be made non-blocking");
        let address = listener.local_addr().expect("a listening socket has an address");
        let log = Arc::new(Watched::default());
        let (stop, stopped) = oneshot::channel();
        let seen = Arc::clone(&log);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a non-blocking socket");
                tokio::select! {
                    () = accept(listener, tls, handler, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, scheme, log, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _its_panic_was_printed = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Arc<Handler>, log: Arc<Watched<Log>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, handler, log) = (tls.clone(), Arc::clone(&handler), Arc::clone(&log));
        tokio::spawn(async move {
            match tls {
                None => serve(stream, handler, log).await,
                // A caller that does not trust the certificate hangs up: that is a scenario, not a failure.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, handler, log).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, handler: Arc<Handler>, log: Arc<Watched<Log>>) {
    let service = service_fn(|request| answer(request, &handler, &log));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Ends with an error when a scenario hangs up on purpose.
    let _hangup = connection.await;
}

async fn answer(
    request: Request<Incoming>,
    handler: &Arc<Handler>,
    log: &Arc<Watched<Log>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let field = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let asked = Asked {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers.iter().map(field).collect(),
        body,
    };
    let reply = handler(&asked);
    log.change(|log| log.asked.push(asked));
    let page = match reply {
        Reply::Page(page) => page,
        Reply::Hangup => return Err(std::io::Error::other("hung up on purpose")),
        Reply::Held(gate, page) => {
            let waiting = Waiting { log: Arc::clone(log), answered: false };
            gate.pass().await;
            waiting.answered();
            page
        }
    };
    let mut response = Response::builder().status(page.status).header("content-type", page.content_type);
    for (name, value) in page.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(page.body)).expect("a status and a header that a test wrote"))
}

/// Notes when hyper drops an answer that is still held back: the caller hung up.
struct Waiting {
    log: Arc<Watched<Log>>,
    answered: bool,
}

impl Waiting {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.answered {
            self.log.change(|log| log.given_up += 1);
        }
    }
}
