//! The connection to the server: commands that are repeated until they are done or nobody should wait any longer, and what
//! becomes of those of which nobody knows whether they were done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind};
use runlet_proto::failure::{Failure, FailureClass};
use tokio::time::{Instant, sleep};

use crate::limits::{CONNECT_TIMEOUT, REPEAT_FIRST, REPEAT_LAST, RESPONSE_TIMEOUT};

/// Whether doing something twice leaves what doing it once leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    /// It does: it is repeated whatever became of it.
    Repeatable,
    /// It does not: it is repeated if it was certainly not done.
    Once,
}

/// The connection.
pub(super) struct Link {
    pub(super) client: Client,
    manager: ConnectionManager,
    /// Where the server is, without the password.
    pub(super) address: String,
    /// The number of its database.
    pub(super) database: i64,
    patience: Duration,
    /// Since when the server has not answered, and why.
    away: Mutex<Option<(Instant, String)>>,
    /// How often it has come back.
    returns: AtomicU64,
}

impl Link {
    pub(super) fn new(url: &str, patience: Duration) -> Result<Self, String> {
        let info =
            url.into_connection_info().map_err(|error| format!("it is no address of a Redis server: {error}"))?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port}"),
            ConnectionAddr::Unix(path) => path.display().to_string(),
            _ => "an address of a kind that is not known".to_owned(),
        };
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // The client takes the process's own; if there is one already, it is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let database = info.redis_settings().db();
        let client = Client::open(info).map_err(|error| error.to_string())?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            // Waiting is done here, where the deadline of the call is known.
            .set_number_of_retries(0);
        let manager =
            ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|error| error.to_string())?;
        Ok(Self { client, manager, address, database, patience, away: Mutex::new(None), returns: AtomicU64::new(0) })
    }

    /// Has a command carried out. It is tried again while the server is away, until `deadline` or the patience is over.
    pub(super) async fn run<T, F>(
        &self,
        safety: Safety,
        deadline: Option<Instant>,
        command: impl Fn(ConnectionManager) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let patience = Instant::now() + self.patience;
        let deadline = deadline.map_or(patience, |deadline| deadline.min(patience));
        let mut pause = REPEAT_FIRST;
        loop {
            let error = match self.try_once(&command).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.may_repeat(safety, &error)?;
            if Instant::now() + pause >= deadline {
                return Err(self.unavailable(&error));
            }
            sleep(pause).await;
            pause = (pause * 2).min(REPEAT_LAST);
        }
    }

    /// Has a command carried out, or not.
    pub(super) async fn try_once<T, F>(&self, command: impl Fn(ConnectionManager) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let answer = command(self.manager.clone()).await;
        if answer.is_ok() {
            self.answered();
        }
        answer
    }

    /// Whether a command that ended so may be given another time. If not, its failure.
    pub(super) fn may_repeat(&self, safety: Safety, error: &RedisError) -> Result<(), Failure> {
        match (Trouble::of(error), safety) {
            (Trouble::Refused, _) => {
                // It is there, unless it lets nobody in.
                if lets_nobody_in(error) {
                    self.failed(error);
                } else {
                    self.answered();
                }
                Err(self.refused(error))
            }
            (Trouble::Unknown, Safety::Once) => {
                self.failed(error);
                Err(self.unknown(error))
            }
            (Trouble::NotDone, _) | (Trouble::Unknown, Safety::Repeatable) => {
                self.failed(error);
                Ok(())
            }
        }
    }

    /// Whether the server has not answered when it was last asked.
    pub(super) fn is_away(&self) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Since when the server has not answered, and why; `None` if it has.
    pub(super) fn away(&self) -> Option<(Duration, String)> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
    }

    /// How often the server has come back; it may have come back empty.
    pub(super) fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.take().is_some() {
            self.returns.fetch_add(1, Ordering::Relaxed);
            tracing::info!(server = self.address, "shared memory is there again");
        }
    }

    fn failed(&self, error: &RedisError) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_none() {
            tracing::warn!(server = self.address, %error, "shared memory is away; calls wait for it");
            *away = Some((Instant::now(), error.to_string()));
        }
    }

    fn failure(&self, message: String) -> Failure {
        let failure = Failure::workflow("memory-unavailable", message);
        Failure { class: FailureClass::Upstream, retryable: true, ..failure }
    }

    fn unavailable(&self, error: &RedisError) -> Failure {
        self.failure(format!("shared memory at {} does not answer: {error}", self.address))
            .with_help("start the server that `memory.url` names; `runlet status` shows whether it is there")
    }

    fn unknown(&self, error: &RedisError) -> Failure {
        let message = format!(
            "the connection to {} broke, and the operation may or may not have been done: {error}",
            self.address
        );
        Failure { retryable: false, ..self.failure(message) }
    }

    fn refused(&self, error: &RedisError) -> Failure {
        let help = match error.code() {
            Some("OOM") => "it has no memory left: raise `maxmemory`, or store less",
            Some("MISCONF") => "it cannot write its own files: look at its log",
            Some("NOPERM") => "its user lacks a permission: it needs all commands on keys and channels `runlet:*`",
            _ if lets_nobody_in(error) => "user or password in `memory.url` are wrong",
            _ => "Redis from 7.0 on or Valkey is needed; its log may tell more",
        };
        self.failure(format!("shared memory at {} refuses: {error}", self.address)).with_help(help)
    }
}

fn lets_nobody_in(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) || error.kind() == ErrorKind::AuthenticationFailed
}

/// What an error says about a command.
enum Trouble {
    /// It was not done, and may be later.
    NotDone,
    /// Nobody knows.
    Unknown,
    /// It was not done, and would not be.
    Refused,
}

impl Trouble {
    fn of(error: &RedisError) -> Self {
        if error.is_connection_refusal() {
            return Self::NotDone;
        }
        let may_be_done_later = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly,
            )
        );
        let is_lost = error.is_io_error() || error.is_connection_dropped() || error.is_timeout();
        match (may_be_done_later, is_lost) {
            (true, _) => Self::NotDone,
            (false, true) => Self::Unknown,
            (false, false) => Self::Refused,
        }
    }
}
