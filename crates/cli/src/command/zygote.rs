//! `runlet zygote`: the process that forks workers. Started by the supervisor, never by hand.

use super::CommandError;
use crate::exit_code::ExitCode;

/// Forks workers until stdin, a socket of the supervisor, ends.
///
/// # Errors
/// [`CommandError::Failed`] when it is not what the supervisor started.
pub(crate) fn perform() -> Result<ExitCode, CommandError> {
    runlet_worker::zygote::run().map_err(|error| CommandError::Failed {
        message: format!("the zygote ended: {error}"),
        help: Some("it is started by `runlet supervisor`, not by hand".to_owned()),
    })?;
    Ok(ExitCode::Ok)
}
