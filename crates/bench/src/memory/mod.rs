//! Shared memory: operations a second from a light block and from a worker, on the embedded store and on Redis beside
//! `redis-benchmark` at the same pipelining, and how soon a message is received.
//!
//! Operations are those of one block over ten thousand elements, as many at once as is said: what is counted is the block's own
//! time, from its dispatch to its end, with everything a run does for a call (judging, tracing, the journal's entry) in it.
//!
//! Beside a block with N operations under way stand two figures of `redis-benchmark`: N clients that each wait for their answer
//! (`-c N -P 1`), as the elements of the block do, and one client that sends N commands and then reads N answers (`-c 1 -P N`),
//! which is the most the server can do.

mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::time;

use self::server::{Client, Server};
use crate::group::GroupError;
use crate::limits::START_TIMEOUT;
use crate::system::{Engine, SystemError, temp_dir};
use crate::target::{Verdict, verdict};

/// Elements of the block, as the flows have it.
const OPERATIONS: f64 = 10_000.0;

/// Operations under way at once, as the flows have it.
const PIPELINE: usize = 256;

/// The same for what is set beside `redis-benchmark`.
const DEPTHS: [usize; 4] = [1, 16, 64, PIPELINE];

/// Operations a second of a light block on the embedded store.
const LIGHT_MIN: f64 = 100_000.0;

/// Of a worker, which is one core.
const WORKER_MIN: f64 = 20_000.0;

/// `redis-benchmark` ÷ Runlet on Redis.
const REDIS_MAX: f64 = 1.3;

/// From `send` to `receive` across workflows, embedded, p50.
const HANDOVER_MS_MAX: f64 = 1.0;

/// The script that a `set` is, carried out by `redis-benchmark`.
const SCRIPT: &str = "set-script";

/// How long until a run is looked at, and then again: who looks takes the CPU from what is measured, so most runs have ended by
/// then.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// What is stored.
const VALUE: &str = "{\"cents\":499,\"name\":\"a product of the bench\"}";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Runs of each figure; the median counts.
    pub rounds: usize,
}

impl Schedule {
    /// The usual one, or one for a look within a minute.
    #[must_use]
    pub const fn new(quick: bool) -> Self {
        Self { rounds: if quick { 3 } else { 11 } }
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Operations a second by store and flow.
    pub rates: Vec<Rate>,
    /// Half of the round trip of a message between two runs, in milliseconds.
    pub handovers: Vec<Handover>,
    /// Why Redis was not measured, if it was not.
    pub without_redis: Option<String>,
    /// The targets and whether they are met.
    pub targets: Vec<Verdict>,
}

/// Operations a second.
#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    /// `embedded`, `redis`, or `redis-benchmark` with its options.
    pub store: String,
    /// `get`, `set`, `worker-get`, `worker-set`; `set-script` is what `redis-benchmark` makes of the script that a `set` is.
    pub flow: String,
    /// Operations under way at once.
    pub depth: usize,
    /// Median of the rounds.
    pub per_second: f64,
}

/// How soon a message is received.
#[derive(Debug, Clone, Serialize)]
pub struct Handover {
    /// `embedded` or `redis`.
    pub store: String,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
}

/// Why measuring ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Runlet.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The Redis server.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A file of the bench's own.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// Something that is always so was not.
    #[error("{0}")]
    Unexpected(String),
}

/// Measures everything with the `runlet` in `programs` and the definitions in `flows`.
///
/// # Errors
/// Any [`MemoryError`].
pub async fn run(schedule: &Schedule, programs: &Path, flows: &Path) -> Result<Figures, MemoryError> {
    let mut figures = Figures::default();
    let bench = Bench { schedule, programs, flows: flows.join("memory") };
    bench.store("embedded", "embedded:", &mut figures).await?;
    match Server::start().await {
        Ok(server) => {
            bench.store("redis", &server.url(), &mut figures).await?;
            for depth in DEPTHS {
                server.benchmark(Client::Many(depth), schedule.rounds, &mut figures)?;
                if depth > 1 {
                    server.benchmark(Client::One(depth), schedule.rounds, &mut figures)?;
                }
            }
        }
        Err(why) => figures.without_redis = Some(why),
    }
    figures.judge();
    Ok(figures)
}

struct Bench<'a> {
    schedule: &'a Schedule,
    programs: &'a Path,
    flows: PathBuf,
}

impl Bench<'_> {
    /// Every figure of one store.
    async fn store(&self, name: &str, url: &str, figures: &mut Figures) -> Result<(), MemoryError> {
        let engine = Engine::start_with(self.programs, &["--memory-url", url]).await?;
        for flow in ["ping", "pong"] {
            engine.deploy(&self.flows.join(format!("{flow}.json"))).await?;
        }
        engine.tell(&["memory", "set", "bench", "k", VALUE]).await?;
        for flow in ["get", "set"] {
            for depth in DEPTHS {
                self.rate(&engine, name, flow, depth, figures).await?;
            }
        }
        for flow in ["worker-get", "worker-set"] {
            self.rate(&engine, name, flow, PIPELINE, figures).await?;
        }
        let mut handovers = Vec::new();
        for _ in 0..self.schedule.rounds {
            let pong = engine.tell(&["run", "--detach", "pong"]).await?;
            let told = self.complete(&engine, "ping").await?;
            ended(&engine, pong.trim()).await?;
            let blocks = told["blocks"].as_array().ok_or_else(|| strange(&told))?;
            for pair in blocks.chunks(2) {
                handovers.push((elapsed_ms(&pair[0])? + elapsed_ms(&pair[1])?) / 2.0);
            }
        }
        handovers.sort_by(f64::total_cmp);
        let at = |share: usize| handovers[(handovers.len() - 1) * share / 100];
        figures.handovers.push(Handover { store: name.to_owned(), p50_ms: at(50), p99_ms: at(99) });
        Ok(())
    }

    /// Operations a second of a flow with so many under way.
    async fn rate(
        &self,
        engine: &Engine,
        store: &str,
        flow: &str,
        depth: usize,
        figures: &mut Figures,
    ) -> Result<(), MemoryError> {
        let text = std::fs::read_to_string(self.flows.join(format!("{flow}.json")))?;
        let mut definition: Value = serde_json::from_str(&text).unwrap_or_default();
        definition["blocks"][0]["parallel"] = depth.into();
        let dir = temp_dir()?;
        let file = dir.path().join(format!("{flow}.json"));
        std::fs::write(&file, definition.to_string())?;
        engine.deploy(&file).await?;
        let mut rates = Vec::new();
        for _ in 0..self.schedule.rounds {
            let told = self.complete(engine, flow).await?;
            rates.push(OPERATIONS / (elapsed_ms(&told["blocks"][0])? / 1_000.0));
        }
        let (store, flow) = (store.to_owned(), flow.to_owned());
        figures.rates.push(Rate { store, flow, depth, per_second: median(&mut rates) });
        Ok(())
    }

    async fn complete(&self, engine: &Engine, flow: &str) -> Result<Value, MemoryError> {
        let run = engine.tell(&["run", "--detach", flow]).await?;
        ended(engine, run.trim()).await
    }
}

/// The control block of a run that COMPLETED.
async fn ended(engine: &Engine, run: &str) -> Result<Value, MemoryError> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        time::sleep(LOOK_INTERVAL).await;
        let text = engine.tell(&["inspect", run]).await?;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        match told["state"].as_str() {
            Some("COMPLETED") => return Ok(told),
            Some("FAILED" | "STOPPED") | None => return Err(strange(&told)),
            Some(_) if Instant::now() > deadline => return Err(strange(&told)),
            Some(_) => {}
        }
    }
}

fn elapsed_ms(block: &Value) -> Result<f64, MemoryError> {
    block["elapsedMs"].as_f64().ok_or_else(|| strange(block))
}

fn strange(told: &Value) -> MemoryError {
    let mut text = told.to_string();
    text.truncate(text.floor_char_boundary(400));
    MemoryError::Unexpected(format!("a run did not end as it should: {text}"))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Figures {
    fn rate(&self, store: &str, flow: &str, depth: usize) -> Option<f64> {
        let found = self.rates.iter().find(|rate| rate.store == store && rate.flow == flow && rate.depth == depth);
        found.map(|rate| rate.per_second)
    }

    fn judge(&mut self) {
        let mut targets = Vec::new();
        for (flow, least) in
            [("get", LIGHT_MIN), ("set", LIGHT_MIN), ("worker-get", WORKER_MIN), ("worker-set", WORKER_MIN)]
        {
            let found = self.rate("embedded", flow, PIPELINE).unwrap_or_default();
            targets.push(verdict(
                format!("embedded {flow} ≥ {least:.0}/s"),
                &[format!("{found:.0}/s")],
                Some(found >= least),
            ));
        }
        for depth in DEPTHS {
            let clients = [Client::Many(depth), Client::One(depth)];
            for client in clients.into_iter().filter(|client| depth > 1 || *client == Client::Many(depth)) {
                for (flow, beside) in [("get", "get"), ("set", "set"), ("set", SCRIPT)] {
                    let theirs = self.rate(&client.name(), beside, depth);
                    if let Some((theirs, ours)) = theirs.zip(self.rate("redis", flow, depth)) {
                        let found = format!("{:.2} × ({theirs:.0}/s, {ours:.0}/s)", theirs / ours);
                        let target = format!(
                            "redis {flow}, {depth} at once, within {REDIS_MAX} × of {} {beside}",
                            client.name()
                        );
                        targets.push(verdict(target, &[found], Some(theirs / ours <= REDIS_MAX)));
                    }
                }
            }
        }
        let embedded = self.handovers.iter().find(|handover| handover.store == "embedded");
        let p50 = embedded.map_or(f64::INFINITY, |handover| handover.p50_ms);
        targets.push(verdict(
            format!("embedded send → receive p50 ≤ {HANDOVER_MS_MAX} ms"),
            &[format!("{p50:.3} ms")],
            Some(p50 <= HANDOVER_MS_MAX),
        ));
        self.targets = targets;
    }

    /// As it is printed.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text =
            String::from("Operations a second, one block over 10,000 elements, and as many of them at once\n");
        for Rate { store, flow, depth, per_second } in &self.rates {
            let _ = writeln!(text, "  {store:<28} {flow:<12} {depth:>4} {per_second:>10.0}");
        }
        text += "From send to receive across workflows, half of a round trip\n";
        for Handover { store, p50_ms, p99_ms } in &self.handovers {
            let _ = writeln!(text, "  {store:<16} p50 {p50_ms:.3} ms, p99 {p99_ms:.3} ms");
        }
        if let Some(why) = &self.without_redis {
            let _ = writeln!(text, "Redis was not measured: {why}");
        }
        text += "Targets\n";
        for target in &self.targets {
            let _ = writeln!(text, "  {target}");
        }
        text
    }
}
