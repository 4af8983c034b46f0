//! `runlet retry`: an ended run is made again.

use runlet_proto::control::{Reply, Request};

use super::{CommandError, Setting};
use crate::args::Retry;
use crate::exit_code::ExitCode;
use crate::output::text;

/// Prints the id of the new run.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such run or it cannot be made again.
pub(crate) fn perform(here: &Setting, args: Retry) -> Result<ExitCode, CommandError> {
    let Retry { run, from, deployed } = args;
    let retry = runlet_proto::control::Retry { run: run.run, from, deployed };
    let reply = here.connect()?.call(Request::Retry(retry))?;
    let Reply::Accepted(run) = reply else { return Err(CommandError::unexpected(&reply)) };
    text(&format!("{run}\n"))?;
    Ok(ExitCode::Ok)
}
