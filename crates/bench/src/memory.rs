//! Shared memory: operations a second from a light block and from a worker, on the embedded store and on Redis beside
//! `redis-benchmark` at the same pipelining, and how soon a message is received.
//!
//! Operations are those of one block over ten thousand elements, 256 at once: what is counted is the block's own time, from its
//! dispatch to its end, with everything a run does for a call (judging, tracing, the journal's entry) in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time;

use crate::group::{Group, GroupError};
use crate::limits::{POLL_INTERVAL, START_TIMEOUT};
use crate::system::{Engine, SystemError, temp_dir};
use crate::target::{Verdict, verdict};

/// Elements of the block, as the flows have it.
const OPERATIONS: f64 = 10_000.0;

/// Operations under way at once, as the flows have it.
const PIPELINE: usize = 256;

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

/// That script.
const SET_SCRIPT: &str = include_str!("../../memory/src/redis/write.lua");

/// Numbers in a line of the benchmark's CSV after the rate: latencies.
const CSV_AFTER_RATE: usize = 6;

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
    /// `embedded`, `redis`, or `redis-benchmark`.
    pub store: String,
    /// `get`, `set`, `worker-get`, `worker-set`; `set-script` is what `redis-benchmark` makes of the script that a `set` is.
    pub flow: String,
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
            for (flow, per_second) in server.benchmark(schedule.rounds)? {
                figures.rates.push(Rate { store: "redis-benchmark".to_owned(), flow, per_second });
            }
            bench.store("redis", &server.url(), &mut figures).await?;
            let per_second = server.benchmark_script(schedule.rounds)?;
            figures.rates.push(Rate { store: "redis-benchmark".to_owned(), flow: SCRIPT.to_owned(), per_second });
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
        let flows = ["get", "set", "worker-get", "worker-set"];
        for flow in flows.iter().chain(&["ping", "pong"]) {
            engine.deploy(&self.flows.join(format!("{flow}.json"))).await?;
        }
        engine.tell(&["memory", "set", "bench", "k", "{\"cents\":499,\"name\":\"a product of the bench\"}"]).await?;
        for flow in flows {
            let mut rates = Vec::new();
            for _ in 0..self.schedule.rounds {
                let told = self.complete(&engine, flow).await?;
                rates.push(OPERATIONS / (elapsed_ms(&told["blocks"][0])? / 1_000.0));
            }
            figures.rates.push(Rate { store: name.to_owned(), flow: flow.to_owned(), per_second: median(&mut rates) });
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

    async fn complete(&self, engine: &Engine, flow: &str) -> Result<Value, MemoryError> {
        let run = engine.tell(&["run", "--detach", flow]).await?;
        ended(engine, run.trim()).await
    }
}

/// The control block of a run that COMPLETED.
async fn ended(engine: &Engine, run: &str) -> Result<Value, MemoryError> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let text = engine.tell(&["inspect", run]).await?;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        match told["state"].as_str() {
            Some("COMPLETED") => return Ok(told),
            Some("FAILED" | "STOPPED") | None => return Err(strange(&told)),
            Some(_) if Instant::now() > deadline => return Err(strange(&told)),
            Some(_) => time::sleep(POLL_INTERVAL).await,
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

/// The rate in the line of a benchmark's CSV that begins so, counted from the end: the name may have anything in it.
fn per_second(csv: &str, name: &str) -> Result<f64, MemoryError> {
    let line = csv.lines().find(|line| line.starts_with(name));
    let numbers = line.and_then(|line| line.rsplit('"').filter(|part| part.parse::<f64>().is_ok()).nth(CSV_AFTER_RATE));
    let rate = numbers.and_then(|number| number.parse().ok());
    rate.ok_or_else(|| MemoryError::Unexpected(format!("redis-benchmark printed {csv}")))
}

/// A Redis server of the bench's own.
struct Server {
    benchmark: PathBuf,
    _group: Group,
    dir: TempDir,
}

impl Server {
    async fn start() -> Result<Self, String> {
        let found = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
        };
        let program = found("redis-server").ok_or("there is no redis-server on the PATH")?;
        let benchmark = found("redis-benchmark").ok_or("there is no redis-benchmark on the PATH")?;
        let dir = temp_dir().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(dir.path().join("redis.sock"));
        let mut group = Group::start(command, &dir.path().join("redis.log")).map_err(|error| error.to_string())?;
        let ready = |log: &str| log.contains("now ready to accept connections").then_some(());
        group.await_log(ready).await.map_err(|error| error.to_string())?;
        Ok(Self { benchmark, _group: group, dir })
    }

    fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("redis.sock").display())
    }

    /// What `redis-benchmark` reaches on one connection with as many commands under way as the flows have.
    fn benchmark(&self, rounds: usize) -> Result<Vec<(String, f64)>, MemoryError> {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let text = self.benchmark_of(&["-t", "set,get", "-d", "48"])?;
            for (rates, name) in rates.iter_mut().zip(["\"GET\",", "\"SET\","]) {
                rates.push(per_second(&text, name)?);
            }
        }
        let [mut gets, mut sets] = rates;
        Ok(vec![("get".to_owned(), median(&mut gets)), ("set".to_owned(), median(&mut sets))])
    }

    /// The same for what a `set` is here: a script, which judges the quota and numbers the version.
    fn benchmark_script(&self, rounds: usize) -> Result<f64, MemoryError> {
        let loaded = self.output(&self.benchmark.with_file_name("redis-cli"), &["SCRIPT", "LOAD", SET_SCRIPT])?;
        let part = |what: &str| format!("runlet:{{m:bench}}:{what}");
        let [value, keys, sizes, expiries, totals, answer, changes] =
            ["v:k", "keys", "sizes", "expiries", "totals", "answer", "changes@0"].map(part);
        let body = "{\"cents\":499,\"name\":\"a product of the bench\"}";
        let mut set = vec!["EVALSHA", loaded.trim(), "6", &value, &keys, &sizes, &expiries, &totals, &answer];
        set.extend(["set", "k", body, "0", "", "100000", "67108864", "1048576", &changes, "0"]);
        let mut rates = Vec::new();
        for _ in 0..rounds {
            rates.push(per_second(&self.benchmark_of(&set)?, "\"EVALSHA ")?);
        }
        Ok(median(&mut rates))
    }

    fn benchmark_of(&self, what: &[&str]) -> Result<String, MemoryError> {
        let pipeline = PIPELINE.to_string();
        let mut arguments = vec!["-c", "1", "-n", "200000", "--csv", "-P", &pipeline];
        arguments.extend(what);
        self.output(&self.benchmark, &arguments)
    }

    /// What a program of Redis's prints that is connected to the server.
    fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, MemoryError> {
        let mut command = Command::new(program);
        command.arg("-s").arg(self.dir.path().join("redis.sock")).args(arguments).stderr(Stdio::null());
        let output =
            command.output().map_err(|error| MemoryError::Unexpected(format!("{}: {error}", program.display())))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Figures {
    fn rate(&self, store: &str, flow: &str) -> Option<f64> {
        self.rates.iter().find(|rate| rate.store == store && rate.flow == flow).map(|rate| rate.per_second)
    }

    fn judge(&mut self) {
        let mut targets = Vec::new();
        for (flow, least) in
            [("get", LIGHT_MIN), ("set", LIGHT_MIN), ("worker-get", WORKER_MIN), ("worker-set", WORKER_MIN)]
        {
            let found = self.rate("embedded", flow).unwrap_or_default();
            targets.push(verdict(
                format!("embedded {flow} ≥ {least:.0}/s"),
                &[format!("{found:.0}/s")],
                Some(found >= least),
            ));
        }
        for (flow, beside) in [("get", "get"), ("set", "set"), ("set", SCRIPT)] {
            if let Some((theirs, ours)) = self.rate("redis-benchmark", beside).zip(self.rate("redis", flow)) {
                let found = format!("{:.2} × ({theirs:.0}/s, {ours:.0}/s)", theirs / ours);
                let target = format!("redis {flow} within {REDIS_MAX} × of redis-benchmark -P {PIPELINE} {beside}");
                targets.push(verdict(target, &[found], Some(theirs / ours <= REDIS_MAX)));
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
        let mut text = String::from("Operations a second, one block over 10,000 elements, 256 at once\n");
        for Rate { store, flow, per_second } in &self.rates {
            let _ = writeln!(text, "  {store:<16} {flow:<12} {per_second:>10.0}");
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
