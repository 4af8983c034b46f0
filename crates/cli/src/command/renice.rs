//! `runlet renice`: the priority of live runs changed.

use runlet_proto::control::RunSignal;

use super::{CommandError, Setting, signal};
use crate::args::Renice;
use crate::exit_code::ExitCode;

/// Does so to every run named.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting, args: Renice) -> Result<ExitCode, CommandError> {
    signal::send(here, args.runs, RunSignal::Renice(args.priority))
}
