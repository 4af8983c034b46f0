//! A gateway under test, a supervisor that does what the test says, and clients down to single bytes.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use runlet_gateway::{Config, GatewayError, run_until};
use runlet_ipc::{Listener, Reader, Writer};
use runlet_proto::control::{ClientMessage, Refusal, RefusalKind, Reply, Request, ServerMessage};
use runlet_proto::hello::Role;
use runlet_proto::hook::{HookAnswer, HookRequest, HttpReply, OnDisconnect, Respond, Route, RouteTable};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long anything may take before a test gives up on it. Not measured, only waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits what must happen.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it did not happen in time")
}

/// A gateway in a thread of its own.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), GatewayError>>>,
    _directory: TempDir,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a gateway of one thread whose configuration the caller may change.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("state/control.sock");
        let mut config = Config::new("127.0.0.1:0".parse().unwrap(), &socket);
        config.threads = 1;
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            run_until(config, |address| ready.send(address).unwrap(), async {
                let _ = stopped.await;
            })
        });
        let address = within(address).await.unwrap();
        Self { address, socket, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    /// Begins a shutdown.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the gateway has ended.
    pub(crate) async fn ended(&mut self) -> Result<(), GatewayError> {
        let thread = self.thread.take().unwrap();
        within(tokio::task::spawn_blocking(move || thread.join().unwrap())).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: within(TcpStream::connect(self.address)).await.unwrap(), buffer: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.connect().await.request(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    }

    /// Asks until `/readyz` says yes.
    pub(crate) async fn ready(&self) {
        self.until("/readyz", 200).await;
    }

    /// Asks until a path is answered with a status: for changes that reach the gateway by another way than the answer.
    pub(crate) async fn until(&self, path: &str, status: u16) {
        let mut client = self.connect().await;
        let ask = async {
            while client.request(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await.status != status {}
        };
        within(ask).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A supervisor with one gateway.
pub(crate) struct Supervisor {
    listener: Listener,
    reader: Reader,
    writer: Writer,
    watch: u64,
}

impl Supervisor {
    /// Listens where the gateway looks, takes its connection, and tells it the routes.
    pub(crate) async fn start(socket: &Path, routes: Vec<Route>) -> Self {
        let listener = Listener::bind(socket).unwrap();
        let mut supervisor = Self::accept(listener).await;
        supervisor.routes(1, routes).await;
        supervisor
    }

    /// The same for a gateway of two threads, as which it is two.
    pub(crate) async fn start_two(socket: &Path, routes: Vec<Route>) -> (Self, Self) {
        let mut one = Self::accept(Listener::bind(socket).unwrap()).await;
        let (reader, writer, watch) = Self::welcome(&one.listener).await;
        // Nobody connects to it any more, so that this one needs no listener of its own.
        let elsewhere = Listener::bind(&socket.with_file_name("unused.sock")).unwrap();
        let mut other = Self { listener: elsewhere, reader, writer, watch };
        one.routes(1, routes.clone()).await;
        other.routes(1, routes).await;
        (one, other)
    }

    async fn accept(listener: Listener) -> Self {
        let (reader, writer, watch) = Self::welcome(&listener).await;
        Self { listener, reader, writer, watch }
    }

    async fn welcome(listener: &Listener) -> (Reader, Writer, u64) {
        let incoming = within(listener.accept()).await.unwrap();
        let (role, mut reader, writer) = incoming.handshake(Role::Supervisor, PATIENCE).await.unwrap();
        assert_eq!(role, Role::Gateway);
        let first = within(reader.next::<ClientMessage>()).await.unwrap().unwrap();
        assert_eq!(first.request, Request::WatchRoutes);
        (reader, writer, first.id)
    }

    /// Closes the gateway's connection and takes the next one.
    pub(crate) async fn reconnected(self) -> Self {
        let Self { listener, reader, writer, .. } = self;
        drop((reader, writer));
        Self::accept(listener).await
    }

    /// Tells the routes anew.
    pub(crate) async fn routes(&mut self, generation: u64, routes: Vec<Route>) {
        self.reply(self.watch, Reply::Routes(RouteTable { generation, routes })).await;
    }

    pub(crate) async fn next(&mut self) -> ClientMessage {
        within(self.reader.next()).await.unwrap().expect("the gateway hung up")
    }

    /// Whether the gateway hangs up without another word.
    pub(crate) async fn hung_up(&mut self) -> bool {
        within(self.reader.next::<ClientMessage>()).await.unwrap().is_none()
    }

    /// The next message, which must be a hook's request.
    pub(crate) async fn hook(&mut self) -> (u64, HookRequest) {
        let message = self.next().await;
        let Request::Hook(request) = message.request else { panic!("not a hook: {message:?}") };
        (message.id, request)
    }

    /// The next message, which must say that a request is abandoned.
    pub(crate) async fn abandoned(&mut self) -> u64 {
        let message = self.next().await;
        let Request::Abandon { id } = message.request else { panic!("not abandoned: {message:?}") };
        id
    }

    /// The next message, which must say that a request has waited long enough.
    pub(crate) async fn overdue(&mut self) -> (u64, u64) {
        let message = self.next().await;
        let Request::Overdue { id, after_ms } = message.request else { panic!("not overdue: {message:?}") };
        (id, after_ms)
    }

    pub(crate) async fn reply(&mut self, id: u64, reply: Reply) {
        within(self.writer.send(&ServerMessage { id, reply })).await.unwrap();
    }

    pub(crate) async fn answer(&mut self, id: u64, answer: HookAnswer) {
        self.reply(id, Reply::Hook(answer)).await;
    }

    pub(crate) async fn ok(&mut self, id: u64, body: &str) {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let reply = HttpReply { status: 200, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        self.answer(id, HookAnswer::Reply(Arc::new(reply))).await;
    }

    pub(crate) async fn refuse(&mut self, id: u64, kind: RefusalKind) {
        let refusal = Refusal { kind, message: "because".into(), help: Some("do that".into()), diagnostics: vec![] };
        self.reply(id, Reply::Refused(refusal)).await;
    }
}

/// A gateway with a supervisor that serves these routes.
pub(crate) async fn both(routes: Vec<Route>) -> (Gateway, Supervisor) {
    both_with(routes, |_| {}).await
}

pub(crate) async fn both_with(routes: Vec<Route>, change: impl FnOnce(&mut Config)) -> (Gateway, Supervisor) {
    let gateway = Gateway::start_with(change).await;
    let supervisor = Supervisor::start(&gateway.socket, routes).await;
    gateway.ready().await;
    (gateway, supervisor)
}

pub(crate) fn route(path: &str, methods: &[&str]) -> Route {
    Route {
        path: path.into(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        workflow: "shop".into(),
        respond: Respond::WhenDone,
        body_bytes_max: 1_000_000,
        timeout_ms: 60_000,
        on_disconnect: OnDisconnect::Stop,
    }
}

/// A client that sends exactly what it is told.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The problem's JSON; the response must be one.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{problem}");
        }
        problem
    }
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        within(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    pub(crate) async fn request(&mut self, text: &str) -> Answer {
        self.send(text).await;
        self.receive(text.starts_with("HEAD")).await
    }

    /// Reads one response.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.receive(false).await
    }

    async fn receive(&mut self, head_only: bool) -> Answer {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await;
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = match (head_only, answer.header("content-length")) {
            (false, Some(length)) => length.parse().unwrap(),
            _ => 0,
        };
        while self.buffer.len() < length {
            self.fill().await;
        }
        answer.body = self.buffer.drain(..length).collect();
        answer
    }

    async fn fill(&mut self) {
        let count = within(self.stream.read_buf(&mut self.buffer)).await.unwrap();
        assert!(count > 0, "the gateway hung up after {:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// Whether the gateway closes the connection without another word.
    pub(crate) async fn hung_up(&mut self) -> bool {
        let mut byte = [0; 1];
        matches!(within(self.stream.read(&mut byte)).await, Ok(0) | Err(_)) && self.buffer.is_empty()
    }
}
