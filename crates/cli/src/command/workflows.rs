//! `runlet workflows`: what is deployed.

use runlet_proto::control::{Reply, Request};

use super::{CommandError, Setting};
use crate::args::Table;
use crate::exit_code::ExitCode;
use crate::output::view::WorkflowView;
use crate::output::{list, table};

/// Prints the deployed workflows.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting, args: Table) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Workflows)?;
    let Reply::Workflows(workflows) = reply else { return Err(CommandError::unexpected(&reply)) };
    let views: Vec<_> = workflows.iter().map(WorkflowView::from).collect();
    list(here.format, &views, || table::workflows(&workflows, !args.no_headers))?;
    Ok(ExitCode::Ok)
}
