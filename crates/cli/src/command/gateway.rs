//! `runlet gateway`: the HTTP front in this process.

use super::{CommandError, Setting};
use crate::args::Gateway;
use crate::exit_code::ExitCode;
use crate::launcher::child;
use crate::{logging, memory};

/// Runs until SIGTERM or SIGINT. Prints `ready ADDRESS` on stdout once it listens.
///
/// # Errors
/// [`CommandError`] when it cannot start.
pub(crate) fn perform(here: &Setting, args: &Gateway) -> Result<ExitCode, CommandError> {
    child::follow_launcher()?;
    logging::start()?;
    runlet_worker::turns::take_short_ones();
    let mut config = runlet_gateway::Config::new(args.listen, here.socket());
    if let Some(threads) = args.threads {
        config.threads = usize::from(threads);
    }
    config.admin = args.admin;
    config.release_memory = Some(memory::release);
    runlet_gateway::run(config, |address| child::say_ready(&address.to_string())).map_err(|error| {
        CommandError::Failed {
            message: format!("the gateway cannot start: {error}"),
            help: Some("--listen 127.0.0.1:0 takes a free port".to_owned()),
        }
    })?;
    Ok(ExitCode::Ok)
}
