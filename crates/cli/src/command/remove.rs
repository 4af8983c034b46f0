//! `runlet remove`: a workflow taken away.

use runlet_proto::control::{Reply, Request};

use super::{CommandError, Setting};
use crate::args::Remove;
use crate::exit_code::ExitCode;
use crate::output::one;
use crate::output::view::WorkflowView;

/// Removes the workflow; its live runs finish.
///
/// # Errors
/// [`CommandError::Refused`] when there is none of that name, with the nearest one that there is.
pub(crate) fn perform(here: &Setting, args: Remove) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Remove { workflow: args.workflow })?;
    let Reply::Removed { workflow } = reply else { return Err(CommandError::unexpected(&reply)) };
    one(here.format, &WorkflowView::from(&workflow), || match workflow.live_runs {
        0 => format!("{} removed", workflow.name),
        live => format!("{} removed; {live} live run(s) of it finish", workflow.name),
    })?;
    Ok(ExitCode::Ok)
}
