//! `runlet kill`: a signal of the operating system to the workers of runs.

use runlet_proto::control::RunSignal;

use super::{CommandError, Setting, signal};
use crate::args::Kill;
use crate::exit_code::ExitCode;

/// Sends it to the worker of every run named.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting, args: Kill) -> Result<ExitCode, CommandError> {
    signal::send(here, args.runs, RunSignal::Send(args.signal as i32))
}
