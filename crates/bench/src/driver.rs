//! What the drivers of `scripts/bench` share: they measure until they are done or somebody wants them to end.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

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
