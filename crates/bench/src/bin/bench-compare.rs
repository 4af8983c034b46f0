//! The driver: starts the page server and the systems, measures them in turns, prints tables and ratios, writes JSON.
//!
//! `scripts/bench` builds everything and calls it. Exit code 0 if the floor and Runlet answered rightly all the
//! time, 1 otherwise; a missed target is a finding, not a failure, unless `--strict`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{error, thread};

use clap::Parser;
use runlet_bench::driver::{Common, drive, programs};
use runlet_bench::group::Group;
use runlet_bench::measure::{self, Schedule};
use runlet_bench::render;
use runlet_bench::summary::Summary;
use runlet_bench::system::{Ground, SystemKind, default_peers, printed_address};
use runlet_bench::workload::Workload;
use tokio::sync::OnceCell;

/// Compares Runlet with a bare HTTP server, Node-RED and n8n, in one run on this machine.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Only these workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Workload::Hello, Workload::Scrape,
        Workload::ScrapeAll, Workload::Scrape1m, Workload::ScrapeAll1m])]
    only: Vec<Workload>,
    /// Only these systems [default: all that are there].
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<SystemKind>,
    /// Connections of each point.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 256])]
    concurrency: Vec<usize>,
    /// Turns each system has at each point.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Seconds that are counted in each turn [default: 5, quick: 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// End a turn after so many requests.
    #[arg(long)]
    requests: Option<u64>,
    /// Folder with the peers that scripts/bench-peers installs.
    #[arg(long, value_name = "DIR", env = "RUNLET_BENCH_PEERS")]
    peers: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    drive(compare(&options)).await
}

/// `Ok` is whether everything went well.
async fn compare(options: &Options) -> Result<bool, Box<dyn error::Error>> {
    let (programs, dir) = (programs()?, tempfile::tempdir()?);
    let mut pages = Group::start(Command::new(programs.join("bench-pages")), &dir.path().join("pages.log"))?;
    let ground = Ground {
        pages: pages.await_log(printed_address).await?,
        programs,
        flows: options.common.flows.clone(),
        peers: options.peers.clone().unwrap_or_else(default_peers),
        n8n: OnceCell::new(),
    };
    let (systems, absent) = present(options, &ground)?;
    let schedule = schedule(options, systems.keys().copied().collect());
    let measured = measure::run(&schedule, &ground, &pages).await?;
    let mut summary = Summary {
        cores: thread::available_parallelism()?.get(),
        quick: options.common.quick,
        rounds: schedule.rounds,
        window_seconds: schedule.window.as_secs_f64(),
        systems: systems.into_iter().map(|(system, version)| (system.name(), version)).collect(),
        absent,
        pages: Vec::new(),
        points: Vec::new(),
        idle: Vec::new(),
        targets: Vec::new(),
    };
    summary.fill(&measured);
    let well = options.common.tell(&summary, &render::summary(&summary), &summary.targets)?;
    Ok(summary.is_clean() && well)
}

/// The systems that take part with their versions, and why others do not. One that was asked for by name must be there.
fn present(options: &Options, ground: &Ground) -> Result<Present, String> {
    let mut systems = BTreeMap::new();
    let mut absent = BTreeMap::new();
    for system in SystemKind::ALL {
        let asked = options.systems.contains(&system);
        if !options.systems.is_empty() && !asked {
            continue;
        }
        match system.version(ground) {
            Ok(version) => drop(systems.insert(system, version)),
            Err(why) if asked => return Err(format!("{}: {why}", system.name())),
            Err(why) => drop(absent.insert(system.name(), why)),
        }
    }
    Ok((systems, absent))
}

type Present = (BTreeMap<SystemKind, String>, BTreeMap<&'static str, String>);

fn schedule(options: &Options, systems: Vec<SystemKind>) -> Schedule {
    let (warmup, window, idle) = if options.common.quick { (0.3, 1.0, 2.0) } else { (1.0, 5.0, 5.0) };
    Schedule {
        workloads: options.only.clone(),
        systems,
        concurrency: options.concurrency.clone(),
        rounds: usize::from(options.rounds),
        warmup: Duration::from_secs_f64(warmup),
        window: Duration::from_secs_f64(options.seconds.unwrap_or(window).clamp(0.05, 3600.0)),
        requests_max: options.requests,
        idle_window: Duration::from_secs_f64(idle),
    }
}
