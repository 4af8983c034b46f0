//! What durability costs, and what it gives: acknowledgements that are on disk, hooks with and without a journal, recovery,
//! and whether anything grows under a load that goes on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time;

use crate::limits::{POLL_INTERVAL, RECOVERED_RUNS};
use crate::load::{self, Expected, Outcome, Plan};
use crate::system::{Engine, SystemError};
use crate::target::{Verdict, verdict};

/// Durable acknowledgements per second at [`ACK_CONNECTIONS`].
const ACKS_PER_SECOND_MIN: f64 = 5_000.0;

/// Their p99.
const ACK_MS_MAX: f64 = 15.0;

const ACK_CONNECTIONS: usize = 64;

/// `hello` with `durability: "relaxed"` ÷ `hello` with `"none"`, requests per second.
const RELAXED_MIN: f64 = 0.85;

/// From the start of a supervisor until it is ready with [`RECOVERED_RUNS`] open runs.
const RECOVERY_S_MAX: f64 = 2.0;

/// Growth from the first third of the soak to the last that counts as flat.
const GROWTH_MAX: f64 = 1.1;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Load before anything is counted.
    pub warmup: Duration,
    /// How long a load is counted.
    pub window: Duration,
    /// Turns of each durability.
    pub rounds: u32,
    /// How long the load goes on that shows whether anything grows.
    pub soak: Duration,
}

impl Schedule {
    /// The usual one, or one for a look within a minute or two; with another soak if one is given.
    #[must_use]
    pub fn new(quick: bool, soak: Option<Duration>) -> Self {
        let (warmup_ms, window_ms, rounds, soak_s) = if quick { (300, 1_500, 3, 20) } else { (1_000, 5_000, 5, 300) };
        Self {
            warmup: Duration::from_millis(warmup_ms),
            window: Duration::from_millis(window_ms),
            rounds,
            soak: soak.unwrap_or_else(|| Duration::from_secs(soak_s)),
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Durable `202`s.
    pub acks: Point,
    /// `hello` by durability, median of the turns.
    pub hello: Vec<(String, Point)>,
    /// `hello` with `relaxed` ÷ with `none`, median of the ratios of turns side by side.
    pub relaxed_to_none: f64,
    /// Seconds until a supervisor with [`RECOVERED_RUNS`] open runs was ready.
    pub recovery_s: f64,
    /// What the processes and the journal had under a load that went on.
    pub soak: Vec<Sample>,
    /// The targets and whether they are met.
    pub targets: Vec<Verdict>,
}

/// A load.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Point {
    /// Right answers per second.
    pub requests_per_second: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
}

/// What there was at one moment of the soak.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sample {
    /// Seconds since its beginning.
    pub at_s: f64,
    /// Resident memory of supervisor and gateway, in bytes.
    pub rss_bytes: u64,
    /// Their open file descriptors.
    pub descriptors: u64,
    /// Bytes of the journal's files.
    pub journal_bytes: u64,
}

/// Why measuring ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// Runlet.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The load.
    #[error("cannot measure: {0}")]
    Io(#[from] std::io::Error),
    /// Something that is always so was not.
    #[error("{0}")]
    Unexpected(String),
}

/// Measures everything with the `runlet` in `programs` and the definitions in `flows`.
///
/// # Errors
/// Any [`DurableError`].
pub async fn run(schedule: &Schedule, programs: &Path, flows: &Path) -> Result<Figures, DurableError> {
    let bench = Bench { schedule, programs, flows: flows.join("durable") };
    let mut figures = Figures::default();
    let engine = bench.engine(&[]).await?;
    eprintln!("durable acknowledgements");
    figures.acks = point(&bench.load(&engine, "/hook/ack", Expected::Status(202), ACK_CONNECTIONS).await?)?;
    bench.hello(&engine, &mut figures).await?;
    drop(engine);
    figures.recovery_s = bench.recovery().await?;
    figures.soak = bench.soak().await?;
    figures.judge();
    Ok(figures)
}

struct Bench<'a> {
    schedule: &'a Schedule,
    programs: &'a Path,
    flows: PathBuf,
}

impl Bench<'_> {
    async fn engine(&self, options: &[&str]) -> Result<Engine, DurableError> {
        let mut engine = Engine::start_with(self.programs, options).await?;
        for name in ["ack", "none", "relaxed", "strict", "waits"] {
            engine.deploy(&self.flows.join(format!("{name}.json"))).await?;
        }
        engine.await_route("/hook/waits").await?;
        Ok(engine)
    }

    async fn load(
        &self,
        engine: &Engine,
        path: &str,
        expected: Expected,
        connections: usize,
    ) -> Result<Outcome, DurableError> {
        let plan = Plan {
            address: engine.address,
            path: path.to_owned(),
            expected,
            connections,
            warmup: self.schedule.warmup,
            window: self.schedule.window,
            requests_max: None,
            watched: Vec::new(),
        };
        Ok(load::run(plan).await?)
    }

    /// Each durability in turns, so that what disturbs one disturbs all.
    async fn hello(&self, engine: &Engine, figures: &mut Figures) -> Result<(), DurableError> {
        let names = ["none", "relaxed", "strict"];
        let mut points = names.map(|_| Vec::new());
        for round in 1..=self.schedule.rounds {
            eprintln!("hello by durability, round {round} of {}", self.schedule.rounds);
            for (name, points) in names.iter().zip(&mut points) {
                let expected = Expected::Body(b"Hello".to_vec());
                let outcome = self.load(engine, &format!("/hook/{name}"), expected, 16).await?;
                points.push(point(&outcome)?);
            }
        }
        let [none, relaxed, _] = &points;
        let ratios =
            relaxed.iter().zip(none).map(|(relaxed, none)| relaxed.requests_per_second / none.requests_per_second);
        figures.relaxed_to_none = median(ratios.collect());
        let by = |points: &[Point], of: fn(&Point) -> f64| median(points.iter().map(of).collect());
        figures.hello = names
            .iter()
            .zip(&points)
            .map(|(name, points)| {
                let point = Point {
                    requests_per_second: by(points, |point| point.requests_per_second),
                    p50_ms: by(points, |point| point.p50_ms),
                    p99_ms: by(points, |point| point.p99_ms),
                };
                ((*name).to_owned(), point)
            })
            .collect();
        Ok(())
    }

    /// Open runs that wait for a retry, a kill, and the next supervisor.
    async fn recovery(&self) -> Result<f64, DurableError> {
        eprintln!("recovery of {RECOVERED_RUNS} runs");
        let mut engine = self.engine(&[]).await?;
        let plan = Plan {
            address: engine.address,
            path: "/hook/waits".to_owned(),
            expected: Expected::Status(202),
            connections: ACK_CONNECTIONS,
            warmup: Duration::ZERO,
            window: Duration::from_secs(120),
            requests_max: Some(RECOVERED_RUNS),
            watched: Vec::new(),
        };
        let outcome = load::run(plan).await?;
        point(&outcome)?;
        engine.kill_supervisor();
        let started = Instant::now();
        engine.start_supervisor_again().await?;
        let seconds = started.elapsed().as_secs_f64();
        let live = engine.live_runs().await?;
        if live < RECOVERED_RUNS {
            return Err(DurableError::Unexpected(format!("{live} of {RECOVERED_RUNS} runs were recovered")));
        }
        Ok(seconds)
    }

    /// A load that goes on, with a journal that keeps little.
    async fn soak(&self) -> Result<Vec<Sample>, DurableError> {
        eprintln!("a load of {} s", self.schedule.soak.as_secs());
        let engine = self.engine(&["--keep-runs", "5000"]).await?;
        let plan = |path: &str, expected: Expected| Plan {
            address: engine.address,
            path: path.to_owned(),
            expected,
            connections: 8,
            warmup: Duration::ZERO,
            window: self.schedule.soak,
            requests_max: None,
            watched: Vec::new(),
        };
        let acks = load::run(plan("/hook/ack", Expected::Status(202)));
        let hello = load::run(plan("/hook/relaxed", Expected::Body(b"Hello".to_vec())));
        let started = Instant::now();
        let watching = async {
            let mut samples = Vec::new();
            loop {
                time::sleep((self.schedule.soak / 60).max(POLL_INTERVAL)).await;
                samples.push(engine.sample(started.elapsed().as_secs_f64())?);
                if started.elapsed() >= self.schedule.soak {
                    return Ok::<_, DurableError>(samples);
                }
            }
        };
        let (acks, hello, samples) = tokio::join!(acks, hello, watching);
        point(&acks?)?;
        point(&hello?)?;
        samples
    }
}

fn point(outcome: &Outcome) -> Result<Point, DurableError> {
    if let Some(failure) = &outcome.first_failure {
        return Err(DurableError::Unexpected(format!("{} failures; the first: {failure}", outcome.failures)));
    }
    Ok(Point {
        requests_per_second: f64::from(u32::try_from(outcome.requests).unwrap_or(u32::MAX)) / outcome.seconds,
        p50_ms: outcome.p50_ms,
        p99_ms: outcome.p99_ms,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Figures {
    fn judge(&mut self) {
        let at_least = |target: String, found: f64, least: f64, unit: &str| {
            verdict(target, &[format!("{found:.2}{unit}")], Some(found >= least))
        };
        let at_most = |target: String, found: f64, most: f64, unit: &str| {
            verdict(target, &[format!("{found:.2}{unit}")], Some(found <= most))
        };
        let grown = |of: fn(&Sample) -> u64| growth(&self.soak, of);
        self.targets = vec![
            at_least(
                format!("durable 202 × {ACK_CONNECTIONS} connections ≥ {ACKS_PER_SECOND_MIN}/s"),
                self.acks.requests_per_second,
                ACKS_PER_SECOND_MIN,
                "/s",
            ),
            at_most(format!("their p99 ≤ {ACK_MS_MAX} ms"), self.acks.p99_ms, ACK_MS_MAX, " ms"),
            at_least(format!("hello: relaxed ÷ none ≥ {RELAXED_MIN}"), self.relaxed_to_none, RELAXED_MIN, ""),
            at_most(
                format!("{RECOVERED_RUNS} runs recovered within {RECOVERY_S_MAX} s"),
                self.recovery_s,
                RECOVERY_S_MAX,
                " s",
            ),
            at_most(
                format!("soak: memory, last third ÷ middle third ≤ {GROWTH_MAX}"),
                grown(|it| it.rss_bytes),
                GROWTH_MAX,
                "",
            ),
            at_most(format!("soak: descriptors ≤ {GROWTH_MAX}"), grown(|it| it.descriptors), GROWTH_MAX, ""),
            at_most(format!("soak: journal ≤ {GROWTH_MAX}"), grown(|it| it.journal_bytes), GROWTH_MAX, ""),
        ];
    }

    /// All of it for a person.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let load =
            |it: &Point| format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", it.requests_per_second, it.p50_ms, it.p99_ms);
        let mut lines = vec![format!("durable 202 × {ACK_CONNECTIONS}:   {}", load(&self.acks))];
        lines.extend(self.hello.iter().map(|(name, point)| format!("hello, {name:<8} × 16: {}", load(point))));
        lines.push(format!("hello: relaxed ÷ none {:.3}", self.relaxed_to_none));
        lines.push(format!("recovery of {RECOVERED_RUNS} open runs: {:.3} s from start to ready", self.recovery_s));
        for at in [self.soak.len() / 3, self.soak.len().saturating_sub(1)] {
            if let Some(it) = self.soak.get(at) {
                lines.push(format!(
                    "soak after {:.0} s: {:.1} MB resident, {} descriptors, journal {:.1} MB",
                    it.at_s,
                    it.rss_bytes as f64 / 1e6,
                    it.descriptors,
                    it.journal_bytes as f64 / 1e6
                ));
            }
        }
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "\ntargets");
        for target in &self.targets {
            let _ = writeln!(text, "{target}");
        }
        text
    }
}

/// Greatest in the last third ÷ greatest in the middle one: at first everything grows.
fn growth(samples: &[Sample], of: fn(&Sample) -> u64) -> f64 {
    let third = samples.len() / 3;
    let most = |samples: &[Sample]| samples.iter().map(of).max().unwrap_or_default() as f64;
    most(&samples[2 * third..]) / most(&samples[third..2 * third]).max(1.0)
}
