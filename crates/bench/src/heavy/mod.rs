//! The heavy lane: what a run in a process of its own costs, how such runs take turns, and what their neighbours notice.
//!
//! Nothing here is compared with the floor: there is no engine beside it that does this. The targets are absolute, and each
//! figure says what it counts, since most are upper bounds: a client's own start is in them, or the work itself.

mod figures;
mod handover;
mod neighbours;
mod throughput;
mod turns;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time;

pub use self::figures::Figures;
use crate::exchange::ExchangeError;
use crate::limits::{POLL_INTERVAL, START_TIMEOUT};
use crate::system::{Engine, Ground, SystemError};

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Load before anything is counted.
    pub warmup: Duration,
    /// How long a load is counted.
    pub window: Duration,
    /// How long the hogs are watched.
    pub hogs: Duration,
    /// Supervisors that are started for the first run of each.
    pub cold: u32,
    /// Runs of each figure that is taken run by run.
    pub runs: u32,
}

impl Schedule {
    /// The usual one, or one for a look within a minute.
    #[must_use]
    pub fn new(quick: bool) -> Self {
        let (warmup_ms, window_ms, hogs_ms, cold, runs) =
            if quick { (300, 1_000, 3_000, 5, 50) } else { (1_000, 5_000, 10_000, 20, 300) };
        Self {
            warmup: Duration::from_millis(warmup_ms),
            window: Duration::from_millis(window_ms),
            hogs: Duration::from_millis(hogs_ms),
            cold,
            runs,
        }
    }
}

/// Why measuring ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum HeavyError {
    /// Runlet.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A hook.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The load.
    #[error("cannot measure: {0}")]
    Io(#[from] std::io::Error),
    /// What a command printed.
    #[error("`runlet {command}` printed no JSON: {cause}")]
    Json {
        /// The command.
        command: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// Something that is always so was not.
    #[error("{0}")]
    Unexpected(String),
}

/// Measures everything.
///
/// # Errors
/// Any [`HeavyError`].
pub async fn run(schedule: &Schedule, ground: &Ground) -> Result<Figures, HeavyError> {
    let mut figures = Figures::default();
    let lane = Lane { schedule, ground };
    figures.handover = handover::measure(&lane).await?;
    figures.throughput = throughput::measure(&lane).await?;
    (figures.turns, figures.start) = turns::measure(&lane).await?;
    (figures.neighbours, figures.kill) = neighbours::measure(&lane).await?;
    figures.judge();
    Ok(figures)
}

/// What every part of the measuring needs.
struct Lane<'a> {
    schedule: &'a Schedule,
    ground: &'a Ground,
}

impl Lane<'_> {
    fn definition(&self, name: &str) -> PathBuf {
        self.ground.flows.join("heavy").join(format!("{name}.json"))
    }

    /// A fresh engine with the definitions of this part.
    async fn engine(&self) -> Result<Engine, HeavyError> {
        let mut engine = Engine::start(&self.ground.programs).await?;
        for name in ["hello", "sum", "short", "hog", "leak"] {
            engine.deploy(&self.definition(name)).await?;
        }
        engine.await_hello().await?;
        Ok(engine)
    }
}

/// What a command printed, as JSON.
async fn json(engine: &Engine, arguments: &[&str]) -> Result<Value, HeavyError> {
    let text = engine.tell(&[&["-o", "json"], arguments].concat()).await?;
    serde_json::from_str(&text).map_err(|cause| HeavyError::Json { command: arguments.join(" "), cause })
}

/// Starts a run and returns its id.
async fn start(engine: &Engine, arguments: &[&str]) -> Result<String, HeavyError> {
    Ok(engine.tell(&[&["run", "--detach"], arguments].concat()).await?.trim().to_owned())
}

/// Starts hogs and waits until each has its process; run and process of each.
async fn start_hogs(engine: &Engine, count: usize) -> Result<Vec<(String, i32)>, HeavyError> {
    let mut hogs = Vec::new();
    for _ in 0..count {
        let run = start(engine, &["hog"]).await?;
        let pid = until(|| async {
            let runs = json(engine, &["ps"]).await?;
            let line = runs.as_array().and_then(|runs| runs.iter().find(|line| line["id"] == *run).cloned());
            Ok(line.and_then(|line| i32::try_from(line["pid"].as_i64()?).ok()))
        });
        hogs.push((run.clone(), pid.await?));
    }
    Ok(hogs)
}

/// The control block of a run, once it has ended.
async fn ended(engine: &Engine, run: &str) -> Result<Value, HeavyError> {
    until(|| async {
        let told = json(engine, &["inspect", run]).await?;
        Ok(matches!(told["state"].as_str(), Some("COMPLETED" | "FAILED" | "STOPPED")).then_some(told))
    })
    .await
}

/// Looks until there is something to see.
async fn until<T, F>(look: impl Fn() -> F) -> Result<T, HeavyError>
where
    F: Future<Output = Result<Option<T>, HeavyError>>,
{
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            time::sleep(POLL_INTERVAL).await;
        }
    };
    time::timeout(START_TIMEOUT, looking)
        .await
        .unwrap_or_else(|_| Err(HeavyError::Unexpected("what was waited for did not come".into())))
}

/// A duration in milliseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
