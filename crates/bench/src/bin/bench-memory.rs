//! The driver of `scripts/bench --memory`: measures shared memory, prints figures and targets, writes JSON.
//!
//! Exit code 0 when everything could be measured; a missed target is a finding, not a failure, unless `--strict`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, error, fs};

use clap::Parser;
use runlet_bench::driver::drive;
use runlet_bench::memory::{self, Schedule};

/// Measures what workflows of Runlet share on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// Short turns: a look within a minute or two, whose figures are rough.
    #[arg(long)]
    quick: bool,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 also if a target was missed.
    #[arg(long)]
    strict: bool,
    /// Folder with the definitions and flows.
    #[arg(long, value_name = "DIR", default_value = "scripts/bench.d")]
    flows: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    drive(measure(&options)).await
}

/// `Ok` is whether everything went well.
async fn measure(options: &Options) -> Result<bool, Box<dyn error::Error>> {
    let programs = env::current_exe()?.parent().map(Path::to_owned).ok_or("the bench has no folder")?;
    let schedule = Schedule::new(options.quick);
    let figures = memory::run(&schedule, &programs, &options.flows).await?;
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .map_err(|cause| format!("{}: {cause}", path.display()))?;
    }
    print!("{}", figures.render());
    let missed = figures.targets.iter().any(|verdict| verdict.met == Some(false));
    Ok(!(options.strict && missed))
}
