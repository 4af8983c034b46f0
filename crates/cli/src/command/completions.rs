//! `runlet completions`: a completion script on stdout.

use clap::CommandFactory;

use super::CommandError;
use crate::args::{Cli, Completions};
use crate::exit_code::ExitCode;
use crate::output;

/// Prints the script.
///
/// # Errors
/// [`CommandError::Output`] when stdout does not take it.
pub(crate) fn perform(args: &Completions) -> Result<ExitCode, CommandError> {
    // Into memory first: the generator panics when its writer fails, and a closed pipe is no reason to.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runlet", &mut script);
    output::bytes_out(&script)?;
    Ok(ExitCode::Ok)
}
