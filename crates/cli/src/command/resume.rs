//! `runlet resume`: paused runs let go on.

use runlet_proto::control::RunSignal;

use super::{CommandError, Setting, signal};
use crate::args::ManyRuns;
use crate::exit_code::ExitCode;

/// Does so to every run named.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting, args: ManyRuns) -> Result<ExitCode, CommandError> {
    signal::send(here, args, RunSignal::Resume)
}
