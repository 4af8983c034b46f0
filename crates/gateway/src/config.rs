//! What a gateway is started with.

use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runlet_ipc::Manager;

use crate::limits::{
    BODY_TIMEOUT, CONNECTIONS_MAX, DRAIN_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX, IDLE_TIMEOUT,
    IN_FLIGHT_MAX, THREADS_DEFAULT_MAX, WRITE_TIMEOUT,
};

/// Where a gateway listens, whom it serves, and its bounds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// Where numbers are served to operators, if they are.
    pub admin: Option<SocketAddr>,
    /// The supervisor's control socket. It need not exist yet.
    pub socket: PathBuf,
    /// Serving threads, each with a control connection of its own; at least 1.
    pub threads: usize,
    /// Most open connections of all threads together.
    pub connections_max: usize,
    /// Most hook requests waiting for the supervisor, of all threads together.
    pub in_flight_max: usize,
    /// Longest request head in bytes, at least [`HEAD_BYTES_MIN`](crate::limits::HEAD_BYTES_MIN).
    pub head_bytes_max: usize,
    /// Most header fields of a request.
    pub headers_max: usize,
    /// From the first byte of a request's head to the last.
    pub head_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For a connection without a request.
    pub idle_timeout: Duration,
    /// For a client that takes no byte of its response.
    pub write_timeout: Duration,
    /// For requests in flight once a shutdown began.
    pub drain_timeout: Duration,
    /// The listening socket that a service manager passed, served in place of one at `listen`.
    pub passed: Option<Arc<OwnedFd>>,
    /// Who is told when the gateway is ready, reloads, lives and ends.
    pub manager: Manager,
    /// Reads the configuration again at SIGHUP; without it SIGHUP ends the process.
    pub reload: Option<fn() -> Result<Self, String>>,
    /// Which lines are logged, as `set_log_level` takes it.
    pub log_level: String,
    /// Has other lines logged from now on.
    pub set_log_level: Option<fn(&str)>,
    /// Called on each thread a while after its last connection has ended: gives freed memory back to the system.
    pub release_memory: Option<fn()>,
}

impl Config {
    /// The defaults of `limits.rs`, and a thread per core, at most four.
    #[must_use]
    pub fn new(listen: SocketAddr, socket: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            listen,
            admin: None,
            socket: socket.into(),
            threads: cores.min(THREADS_DEFAULT_MAX),
            connections_max: CONNECTIONS_MAX,
            in_flight_max: IN_FLIGHT_MAX,
            head_bytes_max: HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            passed: None,
            manager: Manager::default(),
            reload: None,
            log_level: String::new(),
            set_log_level: None,
            release_memory: None,
        }
    }

    /// One thread's share of a bound of all threads.
    pub(crate) fn share(&self, bound: usize) -> usize {
        (bound / self.threads.max(1)).max(1)
    }
}
