//! The load: a number of connections, each sending its next request when the answer to the last one is there.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time;

use crate::exchange::{self, Connection, ExchangeError};
use crate::histogram::Histogram;
use crate::limits::{FAILURES_MAX, POLL_INTERVAL, WINDOW_REQUESTS_MIN, WINDOW_STRETCH_MAX};
use crate::proc;

/// Stands among the watched process groups for everything else on the machine: what disturbed the measuring.
pub const OTHERS: &str = "others";

/// What is to be sent, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Path of every request.
    pub path: String,
    /// Body that every response must have, byte for byte.
    pub expected: Expected,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// Load before anything is counted.
    pub warmup: Duration,
    /// How long is counted; longer if too few requests ended in it.
    pub window: Duration,
    /// Ends the window early after so many requests.
    pub requests_max: Option<u64>,
    /// Process groups whose CPU time over the window is wanted, by name.
    pub watched: Vec<(String, i32)>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Right answers within the window.
    pub requests: u64,
    /// Length of the window.
    pub seconds: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Longest in milliseconds.
    pub max_ms: f64,
    /// Wrong answers and broken connections, warm-up included.
    pub failures: u64,
    /// The first of them.
    pub first_failure: Option<String>,
    /// CPU seconds of each watched process group over the window, and of [`OTHERS`].
    pub cpu_seconds: BTreeMap<String, f64>,
}

/// Loads the server as planned.
///
/// # Errors
/// If `/proc` cannot be read. What goes wrong with the server is counted instead.
pub async fn run(plan: Plan) -> io::Result<Outcome> {
    let tally = Arc::new(Tally { counts: Mutex::default(), ended: Notify::new(), requests_max: plan.requests_max });
    let request: Arc<[u8]> = exchange::get_request(plan.address, &plan.path).into();
    let expected = Arc::new(plan.expected);
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(drive(plan.address, Arc::clone(&request), Arc::clone(&expected), Arc::clone(&tally)));
    }

    tally.sleep(plan.warmup).await;
    let ticks_before = ticks(&plan.watched)?;
    let started = Instant::now();
    tally.counts().counting = true;
    tally.sleep(plan.window).await;
    while tally.wants_more() && started.elapsed() < plan.window * WINDOW_STRETCH_MAX {
        tally.sleep(POLL_INTERVAL).await;
    }
    tally.counts().counting = false;
    let seconds = started.elapsed().as_secs_f64();
    let ticks_after = ticks(&plan.watched)?;
    connections.abort_all();

    let counts = tally.counts();
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    Ok(Outcome {
        requests: counts.latencies.count(),
        seconds,
        p50_ms: milliseconds(counts.latencies.quantile(0.5)),
        p99_ms: milliseconds(counts.latencies.quantile(0.99)),
        max_ms: milliseconds(counts.latencies.max()),
        failures: counts.failures,
        first_failure: counts.first_failure.clone(),
        cpu_seconds: ticks_after
            .into_iter()
            .map(|(name, after)| {
                let before = ticks_before.get(&name).copied().unwrap_or(0);
                (name, proc::seconds(after.saturating_sub(before)))
            })
            .collect(),
    })
}

/// CPU time so far of each watched process group, and of everything else.
fn ticks(watched: &[(String, i32)]) -> io::Result<BTreeMap<String, u64>> {
    let mut ticks = proc::cpu_ticks_of(watched)?;
    let others = proc::cpu_ticks_of_machine()?.saturating_sub(ticks.values().sum());
    ticks.insert(OTHERS.to_owned(), others);
    Ok(ticks)
}

/// One connection, until it is aborted. A broken one is opened again.
async fn drive(address: SocketAddr, request: Arc<[u8]>, expected: Arc<Expected>, tally: Arc<Tally>) {
    loop {
        if let Err(failure) = drive_once(address, &request, &expected, &tally).await {
            tally.fail(&failure.to_string());
            // So that a server that refuses connections is not asked as fast as this loop turns.
            time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// One connection, until the server ends it.
async fn drive_once(
    address: SocketAddr,
    request: &[u8],
    expected: &Expected,
    tally: &Tally,
) -> Result<(), ExchangeError> {
    let mut connection = Connection::open(address).await?;
    loop {
        let started = Instant::now();
        let response = connection.exchange(request).await?;
        if expected.is(response.status, response.body) {
            tally.succeed(started.elapsed());
        } else {
            let body = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]);
            tally.fail(&format!("status {} with the wrong body, or not what was expected: {body}", response.status));
        }
        if !response.keep_alive {
            return Ok(());
        }
    }
}

/// What a right answer is.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Status 200 and this body.
    Body(Vec<u8>),
    /// This status, whatever the body.
    Status(u16),
}

impl Expected {
    fn is(&self, status: u16, body: &[u8]) -> bool {
        match self {
            Self::Body(expected) => status == 200 && body == expected,
            Self::Status(expected) => status == *expected,
        }
    }
}

/// What all connections count into. The load has one thread, so the lock is never waited for.
struct Tally {
    counts: Mutex<Counts>,
    ended: Notify,
    requests_max: Option<u64>,
}

#[derive(Default)]
struct Counts {
    counting: bool,
    latencies: Histogram,
    failures: u64,
    first_failure: Option<String>,
}

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting does not panic half-way; should it ever, the counts are still the best there is.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeed(&self, latency: Duration) {
        let mut counts = self.counts();
        if counts.counting {
            counts.latencies.record(latency);
            if self.requests_max.is_some_and(|max| counts.latencies.count() >= max) {
                counts.counting = false;
                self.ended.notify_one();
            }
        }
    }

    fn fail(&self, failure: &str) {
        let mut counts = self.counts();
        counts.failures += 1;
        counts.first_failure.get_or_insert_with(|| failure.to_owned());
        if counts.failures >= FAILURES_MAX {
            self.ended.notify_one();
        }
    }

    /// Whether the window saw too little to end now.
    fn wants_more(&self) -> bool {
        let counts = self.counts();
        counts.counting && counts.failures < FAILURES_MAX && counts.latencies.count() < WINDOW_REQUESTS_MIN
    }

    /// Sleeps, less long when the load has ended by its own bounds.
    async fn sleep(&self, duration: Duration) {
        let _: Result<(), time::error::Elapsed> = time::timeout(duration, self.ended.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request on every connection with `response`.
    async fn server(response: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        if stream.write_all(response).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn plan(address: SocketAddr) -> Plan {
        Plan {
            address,
            path: "/".to_owned(),
            expected: Expected::Body(b"right".to_vec()),
            connections: 4,
            warmup: Duration::ZERO,
            window: Duration::from_secs(60),
            requests_max: Some(500),
            watched: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_count_ends_the_window() {
        let address = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright").await;
        let outcome = run(plan(address)).await.unwrap();
        assert_eq!((outcome.requests, outcome.failures), (500, 0));
        assert!(outcome.p50_ms <= outcome.p99_ms && outcome.p99_ms <= outcome.max_ms);
    }

    #[tokio::test]
    async fn wrong_answers_are_counted_and_end_the_load() {
        for (response, expected) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"[..], "status 200 with the wrong body"),
            (b"HTTP/1.1 503 No\r\ncontent-length: 5\r\n\r\nright", "status 503"),
        ] {
            let outcome = run(plan(server(response).await)).await.unwrap();
            assert!(outcome.failures >= FAILURES_MAX);
            assert_eq!(outcome.requests, 0);
            assert!(outcome.first_failure.unwrap().contains(expected));
        }
    }
}
