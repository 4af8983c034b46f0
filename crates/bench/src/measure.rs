//! The measuring: for each workload all systems are started, then take turns under the same load, never two at once,
//! for several rounds, so that what else the machine does hits all of them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::time;

use crate::exchange;
use crate::group::Group;
use crate::limits::{SETTLE_TICKS_MAX, SETTLE_TIMEOUT, SETTLE_WINDOW};
use crate::load::{OTHERS, Outcome};
use crate::proc::{self, Memory};
use crate::system::{Ground, Running, SystemError, SystemKind};
use crate::workload::Workload;

/// Name of the page server among the watched processes.
pub const PAGES: &str = "pages";

/// Name of the load generator among the watched processes.
pub const LOAD: &str = "load";

/// Whether a watched process is a part of the system itself.
#[must_use]
pub fn is_own_part(name: &str) -> bool {
    ![PAGES, LOAD, OTHERS].contains(&name)
}

/// Connections of the turn that is not counted.
const WARMUP_CONNECTIONS: usize = 16;

/// What is measured, and for how long.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The workloads in order.
    pub workloads: Vec<Workload>,
    /// The systems in the order of their turns.
    pub systems: Vec<SystemKind>,
    /// Connections of each point.
    pub concurrency: Vec<usize>,
    /// Turns each system has at each point.
    pub rounds: usize,
    /// Load before anything is counted, in each turn.
    pub warmup: Duration,
    /// How long is counted, in each turn.
    pub window: Duration,
    /// Ends a turn early after so many requests.
    pub requests_max: Option<u64>,
    /// How long wake-ups of idle systems are counted at the end.
    pub idle_window: Duration,
}

/// All turns of one system at one workload and concurrency.
#[derive(Debug, Clone)]
pub struct Point {
    /// The workload.
    pub workload: Workload,
    /// Connections.
    pub concurrency: usize,
    /// The system.
    pub system: SystemKind,
    /// One for each turn that came to a result.
    pub samples: Vec<Sample>,
    /// What kept a turn from one.
    pub faults: Vec<String>,
}

/// One turn.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What the load generator saw.
    pub outcome: Outcome,
    /// Memory of each of the system's parts once it was quiet again.
    pub memory: BTreeMap<String, Memory>,
}

/// How often a part of a system woke up while nothing was asked of it.
#[derive(Debug, Clone)]
pub struct Idle {
    /// The system.
    pub system: SystemKind,
    /// Its part.
    pub part: String,
    /// Voluntary context switches of all its threads per second.
    pub wakeups_per_second: f64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// The points, by workload, concurrency, system.
    pub points: Vec<Point>,
    /// The idle systems.
    pub idle: Vec<Idle>,
    /// Peers that did not start, and why: whatever is wrong with them, Runlet is measured still.
    pub absent: BTreeMap<SystemKind, String>,
}

/// Why measuring ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A system did not start.
    #[error("{}: {cause}", system.name())]
    System {
        /// Which one.
        system: SystemKind,
        /// Why.
        cause: SystemError,
    },
    /// `/proc` or a file of the bench's own.
    #[error("cannot measure: {0}")]
    Io(#[from] io::Error),
    /// The load generator, which is not what is being tested.
    #[error("bench-load: {0}")]
    Load(String),
    /// The page server.
    #[error("page server: {0}")]
    Pages(String),
}

/// Measures everything in the schedule. `pages` is the page server's process.
///
/// # Errors
/// Any [`MeasureError`]; a system that answers wrongly is none, its points say so.
pub async fn run(schedule: &Schedule, ground: &Ground, pages: &Group) -> Result<Measured, MeasureError> {
    let runner = Runner { schedule, ground, pages_group: pages.id(), dir: tempfile::tempdir()? };
    let mut measured = Measured::default();
    for (position, workload) in schedule.workloads.iter().enumerate() {
        let mut running = Vec::new();
        for kind in &schedule.systems {
            if measured.absent.contains_key(kind) {
                continue;
            }
            eprintln!("starting {} for {}", kind.name(), workload.name());
            match runner.start(*kind).await {
                Ok(system) => running.push(system),
                Err(error) if kind.is_peer() => {
                    eprintln!("{error}");
                    measured.absent.insert(*kind, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        runner.warm_up(*workload, &mut running).await?;
        for concurrency in &schedule.concurrency {
            measured.points.extend(runner.measure_point(*workload, *concurrency, &mut running).await?);
        }
        if position + 1 == schedule.workloads.len() {
            for system in &running {
                measured.idle.extend(runner.measure_idle(system).await?);
            }
        }
    }
    Ok(measured)
}

struct Runner<'a> {
    schedule: &'a Schedule,
    ground: &'a Ground,
    pages_group: i32,
    dir: tempfile::TempDir,
}

impl Runner<'_> {
    /// Starts a system and waits until it has done what it does after a start.
    async fn start(&self, system: SystemKind) -> Result<Running, MeasureError> {
        let running = system.start(self.ground).await.map_err(|cause| MeasureError::System { system, cause })?;
        self.settle(&running).await?;
        Ok(running)
    }

    /// One turn of each system that is not counted: pools fill, and what runs on V8 is compiled as it goes. A fault
    /// comes again when it counts.
    async fn warm_up(&self, workload: Workload, running: &mut [Running]) -> Result<(), MeasureError> {
        for system in running {
            eprintln!("{}: {} warms up", workload.name(), system.kind.name());
            let _: Result<Sample, String> = self.turn(workload, WARMUP_CONNECTIONS, system).await?;
        }
        Ok(())
    }

    /// All rounds of all systems at one workload and concurrency.
    async fn measure_point(
        &self,
        workload: Workload,
        concurrency: usize,
        running: &mut [Running],
    ) -> Result<Vec<Point>, MeasureError> {
        let point = |system: &Running| Point {
            workload,
            concurrency,
            system: system.kind,
            samples: Vec::new(),
            faults: Vec::new(),
        };
        let mut points: Vec<Point> = running.iter().map(point).collect();
        for round in 1..=self.schedule.rounds {
            for (system, point) in running.iter_mut().zip(&mut points) {
                let label = format!(
                    "{} × {concurrency}, round {round} of {}, {}",
                    workload.name(),
                    self.schedule.rounds,
                    system.kind.name()
                );
                match self.turn(workload, concurrency, system).await? {
                    Ok(sample) => {
                        let Outcome { requests, seconds, p50_ms, .. } = &sample.outcome;
                        eprintln!("{label}: {requests} requests in {seconds:.2} s, p50 {p50_ms:.3} ms");
                        point.samples.push(sample);
                    }
                    Err(fault) => {
                        eprintln!("{label}: {fault}\n{}", system.log_tail());
                        point.faults.push(fault);
                    }
                }
            }
        }
        Ok(points)
    }

    /// One system's turn: check its answer, load it, wait until it is quiet, look at its memory. The inner error is
    /// the system's own fault.
    async fn turn(
        &self,
        workload: Workload,
        concurrency: usize,
        system: &mut Running,
    ) -> Result<Result<Sample, String>, MeasureError> {
        let body = match exchange::get(system.address, &system.path(workload)).await {
            Ok((200, body)) => body,
            Ok((status, body)) => return Ok(Err(format!("status {status}: {}", String::from_utf8_lossy(&body)))),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if let Err(wrong) = workload.check(&body) {
            return Ok(Err(wrong));
        }
        let served_before = self.pages_served().await?;
        let outcome = self.load(workload, concurrency, system, &body).await?;
        let served = self.pages_served().await? - served_before;
        let quiet = self.settle(system).await?;
        let mut memory = BTreeMap::new();
        for (name, group) in system.groups() {
            memory.insert(name, proc::memory(group)?);
        }
        if !quiet {
            eprintln!("{} still works on requests nobody waits for: starting it anew", system.kind.name());
            system.end();
            match self.start(system.kind).await {
                Ok(anew) => *system = anew,
                Err(error) if system.kind.is_peer() => return Ok(Err(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        if let Some(failure) = &outcome.first_failure {
            return Ok(Err(format!("{} failures; the first: {failure}", outcome.failures)));
        }
        if outcome.requests == 0 {
            return Ok(Err(format!("not one answer within {:.1} s", outcome.seconds)));
        }
        if workload.page().is_some() && served < outcome.requests {
            return Ok(Err(format!("{} answers, but only {served} pages were fetched for them", outcome.requests)));
        }
        Ok(Ok(Sample { outcome, memory }))
    }

    /// Runs the load generator, a process of its own so that its CPU time is known.
    async fn load(
        &self,
        workload: Workload,
        concurrency: usize,
        system: &Running,
        expected: &[u8],
    ) -> Result<Outcome, MeasureError> {
        let expected_file = self.dir.path().join("expected");
        std::fs::write(&expected_file, expected)?;
        let mut command = Command::new(self.ground.programs.join("bench-load"));
        command
            .args(["--address", &system.address.to_string()])
            .args(["--path", &system.path(workload)])
            .arg("--expect")
            .arg(&expected_file)
            .args(["--connections", &concurrency.to_string()])
            .args(["--warmup-ms", &self.schedule.warmup.as_millis().to_string()])
            .args(["--window-ms", &self.schedule.window.as_millis().to_string()])
            .args(["--watch", &format!("{PAGES}={}", self.pages_group)]);
        for (name, group) in system.groups() {
            command.args(["--watch", &format!("{name}={group}")]);
        }
        if let Some(requests) = self.schedule.requests_max {
            command.args(["--requests", &requests.to_string()]);
        }
        let output = command
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|cause| MeasureError::Load(cause.to_string()))?;
        if !output.status.success() {
            return Err(MeasureError::Load(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|cause| MeasureError::Load(cause.to_string()))
    }

    /// How many pages the page server has sent so far.
    async fn pages_served(&self) -> Result<u64, MeasureError> {
        let (_, body) = exchange::get(self.ground.pages, "/served")
            .await
            .map_err(|error| MeasureError::Pages(error.to_string()))?;
        let text = String::from_utf8_lossy(&body);
        text.parse().map_err(|_| MeasureError::Pages(format!("/served answered {text:?}")))
    }

    /// Waits until the system uses no CPU any more; `false` if it goes on and on.
    async fn settle(&self, system: &Running) -> Result<bool, MeasureError> {
        let ticks = || system.groups().iter().map(|(_, group)| proc::cpu_ticks(*group)).sum::<io::Result<u64>>();
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        let mut before = ticks()?;
        while Instant::now() < deadline {
            time::sleep(SETTLE_WINDOW).await;
            let after = ticks()?;
            if after.saturating_sub(before) <= SETTLE_TICKS_MAX {
                return Ok(true);
            }
            before = after;
        }
        Ok(false)
    }

    /// Counts a system's wake-ups while nothing is asked of it.
    async fn measure_idle(&self, system: &Running) -> Result<Vec<Idle>, MeasureError> {
        eprintln!("{} idle for {:.1} s", system.kind.name(), self.schedule.idle_window.as_secs_f64());
        self.settle(system).await?;
        let mut before = BTreeMap::new();
        for (part, group) in system.groups() {
            before.insert(part, proc::voluntary_switches(group)?);
        }
        time::sleep(self.schedule.idle_window).await;
        let mut idle = Vec::new();
        for (part, group) in system.groups() {
            let after = proc::voluntary_switches(group)?;
            let wakeups = growth(before.get(&part), &after);
            let wakeups_per_second = wakeups / self.schedule.idle_window.as_secs_f64();
            idle.push(Idle { system: system.kind, part, wakeups_per_second });
        }
        Ok(idle)
    }
}

/// Switches of all threads between two looks. A thread that is new counts whole, one that has ended once.
fn growth(before: Option<&BTreeMap<i32, u64>>, after: &BTreeMap<i32, u64>) -> f64 {
    let none = BTreeMap::new();
    let before = before.unwrap_or(&none);
    let threads: BTreeSet<&i32> = before.keys().chain(after.keys()).collect();
    let switches = threads.into_iter().map(|thread| match (before.get(thread), after.get(thread)) {
        (Some(before), Some(after)) => after.saturating_sub(*before),
        (None, Some(after)) => *after,
        (Some(_), None) | (None, None) => 1,
    });
    switches.map(|count| f64::from(u32::try_from(count).unwrap_or(u32::MAX))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_of_new_and_ended_threads_count() {
        let before = BTreeMap::from([(1, 10), (2, 5)]);
        let after = BTreeMap::from([(1, 13), (3, 2)]);
        assert!((growth(Some(&before), &after) - 6.0).abs() < f64::EPSILON);
        assert!(growth(Some(&before), &before).abs() < f64::EPSILON);
    }
}
