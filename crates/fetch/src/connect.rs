//! The time a connection may take, per call, although connections are pooled over all calls.
//!
//! reqwest takes one connect timeout per client, and a client is a pool. So the timeout travels beside the request: the
//! exchange runs within a task-local value, and the connector, which is called from within it, picks it up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    static CURRENT: Arc<Progress>;
}

/// How far the connection for one request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// None was opened: a pooled one serves.
    Pooled = 0,
    /// A new one was asked for, and its name is being resolved.
    Resolving = 1,
    /// TCP, and TLS for `https`.
    Connecting = 2,
    /// It is open.
    Connected = 3,
}

/// What the connector must know about the request it connects for, and what the request learns from it.
#[derive(Debug)]
pub(crate) struct Progress {
    connect_timeout: Duration,
    phase: AtomicU8,
}

impl Progress {
    pub(crate) fn new(connect_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { connect_timeout, phase: AtomicU8::new(Phase::Pooled as u8) })
    }

    /// Moves forward; a connection that was overtaken by a pooled one and opens later changes nothing.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Pooled,
            1 => Phase::Resolving,
            2 => Phase::Connecting,
            3.. => Phase::Connected,
        }
    }
}

/// Runs an exchange so that the connector finds its progress.
pub(crate) async fn within<F: Future>(progress: Arc<Progress>, exchange: F) -> F::Output {
    CURRENT.scope(progress, exchange).await
}

/// The progress of the exchange that is being polled, if one is.
pub(crate) fn current() -> Option<Arc<Progress>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// DNS, TCP and TLS took longer than the call allows.
#[derive(Debug, thiserror::Error)]
#[error("no connection within the time allowed")]
pub(crate) struct ConnectTimedOut {
    /// What was going on.
    pub(crate) during: Phase,
    /// How long it was waited for.
    pub(crate) after: Duration,
}

/// Wraps reqwest's connector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectLayer;

/// reqwest's connector under the call's timeout.
#[derive(Debug, Clone)]
pub(crate) struct Connect<S>(S);

impl<S> Layer<S> for ConnectLayer {
    type Service = Connect<S>;

    fn layer(&self, connector: S) -> Connect<S> {
        Connect(connector)
    }
}

impl<S, R> Service<R> for Connect<S>
where
    S: Service<R, Error = Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.0.call(target);
        let Some(progress) = current() else { return Box::pin(connecting) };
        // A URL with an address in it never asks the resolver.
        progress.enter(Phase::Resolving);
        Box::pin(async move {
            match tokio::time::timeout(progress.connect_timeout, connecting).await {
                Ok(connected) => {
                    let connected = connected?;
                    progress.enter(Phase::Connected);
                    Ok(connected)
                }
                Err(_) => Err(ConnectTimedOut { during: progress.phase(), after: progress.connect_timeout }.into()),
            }
        })
    }
}
