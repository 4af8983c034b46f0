//! What the drivers of `scripts/bench` share: their options, that they measure until they are done or somebody wants them to
//! end, and how they tell what they found.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::target::Verdict;

/// The options that every driver has.
#[derive(Debug, Args)]
pub struct Common {
    /// Short turns: a look within minutes, whose figures are rough.
    #[arg(long)]
    pub quick: bool,
    /// Also write everything as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Exit with 1 also if a target was measured and missed.
    #[arg(long)]
    pub strict: bool,
    /// Folder with the definitions and flows.
    #[arg(long, value_name = "DIR", default_value = "scripts/bench.d")]
    pub flows: PathBuf,
}

impl Common {
    /// Prints what was measured, and writes it as JSON if that is wanted. `Ok` is whether no target was missed that must not be.
    ///
    /// # Errors
    /// The JSON cannot be written.
    pub fn tell(&self, figures: &impl Serialize, text: &str, targets: &[Verdict]) -> Result<bool, Box<dyn Error>> {
        if let Some(path) = &self.json {
            fs::write(path, serde_json::to_vec_pretty(figures)?)
                .map_err(|cause| format!("{}: {cause}", path.display()))?;
        }
        print!("{text}");
        let missed = targets.iter().any(|verdict| verdict.met == Some(false));
        Ok(!(self.strict && missed))
    }
}

/// The folder of the programs that were built with this one.
///
/// # Errors
/// It is not known.
pub fn programs() -> Result<PathBuf, Box<dyn Error>> {
    Ok(env::current_exe()?.parent().map(Path::to_owned).ok_or("the bench has no folder")?)
}

/// Measures. `Ok` is whether everything went well; what ends it early is told on stderr. Dropping the measuring half-way ends
/// every process it started.
pub async fn drive(measuring: impl Future<Output = Result<bool, Box<dyn Error>>>) -> ExitCode {
    let result = tokio::select! {
        result = measuring => result,
        result = interrupted() => result,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns when somebody wants the bench to end.
async fn interrupted() -> Result<bool, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Err(io::Error::from(io::ErrorKind::Interrupted).into())
}
