//! The driver of `scripts/bench --durable`: measures what the journal costs and gives, prints figures and targets, writes JSON.
//!
//! Exit code 0 when everything could be measured; a missed target is a finding, not a failure, unless `--strict`.

use std::error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use runlet_bench::driver::{Common, drive, programs};
use runlet_bench::durable::{self, Schedule};

/// Measures Runlet's journal on this machine.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Seconds of the load that goes on [default: 300, quick: 20].
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    drive(measure(&options)).await
}

/// `Ok` is whether everything went well.
async fn measure(options: &Options) -> Result<bool, Box<dyn error::Error>> {
    let schedule = Schedule::new(options.common.quick, options.soak.map(Duration::from_secs));
    let figures = durable::run(&schedule, &programs()?, &options.common.flows).await?;
    options.common.tell(&figures, &figures.render(), &figures.targets)
}
