//! The gateway's process: opens the listening socket, starts the serving threads, and ends them in order.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use runlet_ipc::inherited::{self, NotServable, Place};
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{error, info};

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::counters::Counters;
use crate::limits::{BACKLOG, STOP_GRACE};
use crate::pulse::{Beat, Pulse};
use crate::reload;
use crate::thread::{self, Spread, Stage};

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// What the service manager passed is no socket of ours.
    #[error("the socket that the service manager passed cannot be served: {0}")]
    Passed(#[from] NotServable),
    /// It is a socket of another kind.
    #[error(
        "the socket that the service manager passed is a Unix socket; hooks are served over TCP (ListenStream=ADDRESS:PORT)"
    )]
    NotTcp,
    /// A runtime, a thread or a signal handler could not be set up.
    #[error("the gateway could not be set up: {0}")]
    Setup(#[source] io::Error),
    /// A serving thread ended although nobody asked for it.
    #[error("a serving thread ended unexpectedly; see the log")]
    ThreadEnded,
}

/// Runs a gateway until SIGTERM or SIGINT: it then accepts nothing more and ends when the requests in flight have, at
/// `Config::drain_timeout`, or at a second signal. `ready` gets the address once connections are accepted; a supervisor
/// is not needed for that.
///
/// # Errors
/// [`GatewayError`].
pub fn run(config: Config, ready: impl FnOnce(SocketAddr)) -> Result<(), GatewayError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(GatewayError::Setup)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(GatewayError::Setup)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(GatewayError::Setup)?;
        if config.reload.is_some() {
            let hangup = signal(SignalKind::hangup()).map_err(GatewayError::Setup)?;
            tokio::spawn(reload::at_each(hangup, config.clone()));
        }
        supervise(config, ready, async move |_| either(&mut terminate, &mut interrupt).await).await
    })
}

/// Runs a gateway until `stop` ends, then as [`run`] does after its first signal. For embedding and tests; handles no
/// signals.
///
/// # Errors
/// [`GatewayError`].
pub fn run_until(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), GatewayError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(GatewayError::Setup)?;
    runtime.block_on(async {
        let mut stop = pin!(stop);
        let stop = async move |stage| match stage {
            Stage::Serving => stop.as_mut().await,
            Stage::Draining | Stage::Ending => std::future::pending().await,
        };
        supervise(config, ready, stop).await
    })
}

async fn either(first: &mut Signal, second: &mut Signal) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

/// Starts the threads and takes them through the stages; `next` ends when the stage it is given is to end.
async fn supervise(
    config: Config,
    ready: impl FnOnce(SocketAddr),
    mut next: impl AsyncFnMut(Stage),
) -> Result<(), GatewayError> {
    let listener = open(&config)?;
    let address = listener.local_addr().map_err(GatewayError::Setup)?;
    let config = Arc::new(config);
    let (stage, watched) = watch::channel(Stage::Serving);
    let count = config.threads.max(1);
    let (ended_sender, mut ended) = mpsc::channel(count);
    let counters: Vec<Arc<Counters>> = (0..count).map(|_| Arc::default()).collect();
    let admin = admin(&config, &counters, &watched)?;
    // The first thread need not wait for another to have enough to do.
    let mut turn = watch::channel(true).1;
    let (pulse, beats) = Pulse::new(count);
    let threads = (0..count)
        .map(|number| {
            let (busy, next_turn) = watch::channel(false);
            let spread = Spread { turn: std::mem::replace(&mut turn, next_turn), busy };
            start(number, &listener, &config, (&watched, spread, &counters[number], beats.clone()), &ended_sender)
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(GatewayError::Setup)?;
    drop((listener, watched, ended_sender, beats));
    info!(%address, threads = threads.len(), "the gateway listens");
    ready(address);
    config.manager.ready(&format!("serves hooks at {address}"));
    if let Some(every) = config.manager.alive_every() {
        tokio::spawn(pulse.keep(every, config.manager.clone()));
    }

    let unexpected = tokio::select! {
        () = next(Stage::Serving) => false,
        _ = ended.recv() => true,
    };
    config.manager.stopping("answers the requests in flight", config.drain_timeout + STOP_GRACE);
    stage.send_replace(Stage::Draining);
    // The channel closes when the last thread has dropped its end.
    let all_ended = async { while ended.recv().await.is_some() {} };
    tokio::select! {
        () = next(Stage::Draining) => { stage.send_replace(Stage::Ending); }
        () = all_ended => {}
    }
    if let Some(admin) = admin {
        admin.abort();
    }
    let mut outcome = if unexpected { Err(GatewayError::ThreadEnded) } else { Ok(()) };
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => outcome = Err(GatewayError::Setup(error)),
            Err(_) => outcome = Err(GatewayError::ThreadEnded),
        }
    }
    outcome
}

/// Starts the admin listener, if there is to be one.
fn admin(
    config: &Config,
    counters: &[Arc<Counters>],
    stage: &watch::Receiver<Stage>,
) -> Result<Option<AbortHandle>, GatewayError> {
    let Some(address) = config.admin else { return Ok(None) };
    let listener = listen(address).map_err(|source| GatewayError::Listen { address, source })?;
    let address = listener.local_addr().map_err(GatewayError::Setup)?;
    let admin = Admin {
        socket: config.socket.clone(),
        threads: counters.to_vec(),
        stage: stage.clone(),
        asking: Mutex::default(),
    };
    info!(%address, "the admin listener serves /metrics, /healthz and /readyz");
    let serving = tokio::spawn(async move {
        if let Err(error) = admin::serve(listener, admin).await {
            error!(%error, "the admin listener ended");
        }
    });
    Ok(Some(serving.abort_handle()))
}

/// Tells that a thread has ended, even if it panicked.
struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        // There is room for every thread, and who no longer listens does not need to know.
        let _ = self.0.try_send(());
    }
}

fn start(
    number: usize,
    listener: &StdTcpListener,
    config: &Arc<Config>,
    (stage, spread, counters, beat): (&watch::Receiver<Stage>, Spread, &Arc<Counters>, Beat),
    ended: &mpsc::Sender<()>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let (listener, config) = (listener.try_clone()?, Arc::clone(config));
    let (stage, counters, ended) = (stage.clone(), Arc::clone(counters), Ended(ended.clone()));
    std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
        let _ended = ended;
        thread::run(listener, config, stage, (spread, beat), counters)
    })
}

/// The listening socket: the one that was passed, or one of our own.
fn open(config: &Config) -> Result<StdTcpListener, GatewayError> {
    let Some(passed) = &config.passed else {
        return listen(config.listen).map_err(|source| GatewayError::Listen { address: config.listen, source });
    };
    let Place::Tcp(_) = inherited::look(passed)? else { return Err(GatewayError::NotTcp) };
    let own = passed.try_clone().map_err(GatewayError::Setup)?;
    let listener = StdTcpListener::from(own);
    listener.set_nonblocking(true).map_err(GatewayError::Setup)?;
    Ok(listener)
}

/// A listening socket of our own, not blocking.
fn listen(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A gateway that is started again must not wait for the old one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
