//! One serving thread: its share of the connections, and a control connection of its own. Threads share nothing but the
//! listening socket and the word that one has enough to do, upon which the next one takes connections, too.

use std::cell::Cell;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, error, warn};

use crate::body::Held;
use crate::config::Config;
use crate::connection;
use crate::counters::Counters;
use crate::limits::{
    ACCEPT_PAUSE, CONNECTIONS_BEFORE_NEXT_THREAD, FAREWELL_TIMEOUT, FIRST_ROUTES_TIMEOUT, REFUSALS_MAX,
    RELEASE_MEMORY_AFTER,
};
use crate::link::Link;
use crate::link_task;
use crate::pulse::Beat;
use crate::untaken::Untaken;

/// What a thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Serve.
    Serving,
    /// Accept nothing more, and end when the requests in flight have, or at the drain timeout.
    Draining,
    /// End now.
    Ending,
}

/// How connections spread over the threads: each takes some when the one before it has enough.
#[derive(Debug)]
pub(crate) struct Spread {
    /// Whether the thread before this one has enough.
    pub(crate) turn: watch::Receiver<bool>,
    /// Whether this one has.
    pub(crate) busy: watch::Sender<bool>,
}

/// What the connections of one thread share.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) config: Arc<Config>,
    pub(crate) link: Rc<Link>,
    pub(crate) bodies: Held,
    pub(crate) untaken: Untaken,
    pub(crate) counters: Arc<Counters>,
    /// Whether connections are to end after the requests in flight; `drain` wakes them when it changes.
    pub(crate) draining: Cell<bool>,
    pub(crate) drain: Notify,
}

/// Serves until `stage` says otherwise. Blocks the calling thread.
pub(crate) fn run(
    listener: StdTcpListener,
    config: Arc<Config>,
    stage: watch::Receiver<Stage>,
    (spread, beat): (Spread, Beat),
    counters: Arc<Counters>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(Box::pin(async move {
        spawn_local(beat.keep());
        serve(listener, config, stage, spread, counters).await
    }))
}

async fn serve(
    listener: StdTcpListener,
    config: Arc<Config>,
    mut stage: watch::Receiver<Stage>,
    spread: Spread,
    counters: Arc<Counters>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let link = Rc::new(Link::new(config.share(config.in_flight_max)));
    let thread = Rc::new(Thread {
        config: Arc::clone(&config),
        link: Rc::clone(&link),
        bodies: Held::default(),
        untaken: Untaken::default(),
        counters,
        draining: Cell::new(false),
        drain: Notify::new(),
    });
    let keeper = {
        let (link, config) = (Rc::clone(&link), Arc::clone(&config));
        spawn_local(async move { link_task::keep(link, &config.socket).await })
    };
    // The address is known already. Who connects in the first moment finds the hooks, not a supervisor that is "away".
    if timeout(FIRST_ROUTES_TIMEOUT, link.settled()).await.is_err() {
        warn!("the supervisor has not told its hooks yet");
    }
    let mut connections = JoinSet::new();
    accept(&listener, &thread, &mut connections, &mut stage, spread).await;
    drop(listener);
    drain(&thread, &mut connections, &mut stage).await;
    // Dropping what is left tells the supervisor about the runs nobody waits for any more.
    connections.shutdown().await;
    link.close();
    if timeout(FAREWELL_TIMEOUT, keeper).await.is_err() {
        debug!("the supervisor did not take the last messages");
    }
    Ok(())
}

/// Accepts connections until the stage changes.
async fn accept(
    listener: &TcpListener,
    thread: &Rc<Thread>,
    connections: &mut JoinSet<()>,
    stage: &mut watch::Receiver<Stage>,
    mut spread: Spread,
) {
    let connections_max = thread.config.share(thread.config.connections_max);
    let enough = CONNECTIONS_BEFORE_NEXT_THREAD.min(connections_max.div_ceil(2));
    let mut refusals = JoinSet::new();
    // When memory is to be given back: a while after the last connection has ended, unless another comes first.
    let mut release_at = None;
    loop {
        thread.counters.open(connections.len());
        let busy = connections.len() >= enough;
        spread.busy.send_if_modified(|before| std::mem::replace(before, busy) != busy);
        let my_turn = *spread.turn.borrow_and_update();
        tokio::select! {
            biased;
            // A sender that is gone means that the process ends.
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => return,
            Some(ended) = connections.join_next() => {
                log_panic(ended);
                release_at = connections.is_empty().then(|| Instant::now() + RELEASE_MEMORY_AFTER);
            }
            Some(_) = refusals.join_next() => {}
            () = sleep_until(release_at.unwrap_or_else(Instant::now)), if release_at.is_some() => {
                release_at = None;
                if let Some(release) = thread.config.release_memory {
                    release();
                }
            }
            // The thread before this one ends only when all do.
            Ok(()) = spread.turn.changed() => {}
            accepted = listener.accept(), if my_turn => match accepted {
                Ok((stream, _)) if connections.len() < connections_max => {
                    release_at = None;
                    connections.spawn_local(connection::run(stream, Rc::clone(thread)));
                }
                Ok((stream, _)) => {
                    thread.counters.refused();
                    refuse(stream, &mut refusals);
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn refuse(stream: TcpStream, refusals: &mut JoinSet<()>) {
    if refusals.len() < REFUSALS_MAX {
        refusals.spawn_local(connection::refuse(stream));
    }
}

/// Lets the requests in flight end.
async fn drain(thread: &Thread, connections: &mut JoinSet<()>, stage: &mut watch::Receiver<Stage>) {
    thread.draining.set(true);
    thread.drain.notify_waiters();
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        result = timeout(thread.config.drain_timeout, all_ended) => {
            if result.is_err() {
                warn!("requests were still in flight at the drain timeout; their connections are closed");
            }
        }
        _ = stage.wait_for(|stage| *stage == Stage::Ending) => {}
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(cause) = ended
        && cause.is_panic()
    {
        error!(%cause, "a connection's task panicked");
    }
}
