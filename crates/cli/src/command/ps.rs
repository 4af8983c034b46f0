//! `runlet ps`: live runs, and with `-a` those that are still remembered.

use runlet_proto::control::{Reply, Request};

use super::{CommandError, Setting};
use crate::args::Ps;
use crate::exit_code::ExitCode;
use crate::output::view::RunView;
use crate::output::{list, table, text};

/// Prints the runs.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting, args: &Ps) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Runs { all: args.all })?;
    let Reply::Runs(runs) = reply else { return Err(CommandError::unexpected(&reply)) };
    if args.quiet {
        text(&runs.iter().map(|run| format!("{}\n", run.id)).collect::<String>())?;
    } else {
        let views: Vec<_> = runs.iter().map(RunView::from).collect();
        list(here.format, &views, || table::runs(&runs, !args.table.no_headers))?;
    }
    Ok(ExitCode::Ok)
}
