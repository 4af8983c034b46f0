//! The driver of `scripts/bench --memory`: measures shared memory, prints figures and targets, writes JSON.
//!
//! Exit code 0 when everything could be measured; a missed target is a finding, not a failure, unless `--strict`.

use std::error;
use std::process::ExitCode;

use clap::Parser;
use runlet_bench::driver::{Common, drive, programs};
use runlet_bench::memory::{self, Schedule};

/// Measures what workflows of Runlet share on this machine.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    drive(measure(&options)).await
}

/// `Ok` is whether everything went well.
async fn measure(options: &Options) -> Result<bool, Box<dyn error::Error>> {
    let schedule = Schedule::new(options.common.quick);
    let figures = memory::run(&schedule, &programs()?, &options.common.flows).await?;
    options.common.tell(&figures, &figures.render(), &figures.targets)
}
