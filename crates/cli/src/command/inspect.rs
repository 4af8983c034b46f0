//! `runlet inspect`: the whole Workflow Control Block of a run.

use runlet_proto::control::{Reply, Request};
use serde_json::Value;

use super::{CommandError, Setting};
use crate::args::OneRun;
use crate::exit_code::ExitCode;
use crate::output::{self, Format};

/// Prints the control block as JSON, indented unless lines are asked for.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such run.
pub(crate) fn perform(here: &Setting, args: OneRun) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Inspect { run: args.run })?;
    let Reply::Inspected(text) = reply else { return Err(CommandError::unexpected(&reply)) };
    let control_block: Value = serde_json::from_slice(&text).map_err(|error| CommandError::Failed {
        message: format!("the supervisor sent a control block that is not JSON: {error}"),
        help: None,
    })?;
    match here.format {
        Format::Table | Format::Json => output::json(&control_block)?,
        Format::Jsonl => output::json_line(&control_block)?,
    }
    Ok(ExitCode::Ok)
}
