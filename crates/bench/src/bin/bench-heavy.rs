//! The driver of `scripts/bench --heavy`: measures runs in processes of their own, prints figures and targets, writes JSON.
//!
//! Exit code 0 when everything could be measured; a missed target is a finding, not a failure, unless `--strict`.

use std::error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use runlet_bench::driver::{Common, drive, programs};
use runlet_bench::heavy::{self, Schedule};
use runlet_bench::system::Ground;
use tokio::sync::OnceCell;

/// Measures Runlet's heavy lane on this machine.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Folder with the peers that scripts/bench-peers installs.
    #[arg(long, value_name = "DIR", env = "RUNLET_BENCH_PEERS")]
    peers: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    drive(measure(&options)).await
}

/// `Ok` is whether everything went well.
async fn measure(options: &Options) -> Result<bool, Box<dyn error::Error>> {
    let ground = Ground {
        programs: programs()?,
        flows: options.common.flows.clone(),
        peers: options.peers.clone().unwrap_or_else(runlet_bench::system::default_peers),
        // No flow here reads a page.
        pages: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        n8n: OnceCell::new(),
    };
    let figures = heavy::run(&Schedule::new(options.common.quick), &ground).await?;
    options.common.tell(&figures, &figures.render(), &figures.targets)
}
