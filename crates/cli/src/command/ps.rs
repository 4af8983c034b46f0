//! `runlet ps`: live runs, and with `-a` those that are still remembered.

use runlet_proto::control::{Reply, Request, RunFilter};

use super::{CommandError, Setting};
use crate::args::Ps;
use crate::exit_code::ExitCode;
use crate::output::view::RunView;
use crate::output::{list, note, table, text};

/// Prints the runs.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting, args: &Ps) -> Result<ExitCode, CommandError> {
    // Somebody who asks for an ended state wants the ended runs.
    let all = args.all || args.states.iter().any(|state| state.is_terminal());
    let filter = RunFilter { all, workflows: args.workflows.clone(), states: args.states.clone() };
    let reply = here.connect()?.call(Request::Runs(filter))?;
    let Reply::Runs { runs, total } = reply else { return Err(CommandError::unexpected(&reply)) };
    let listed = runs.len() as u64;
    if listed < total {
        note(&format!("the newest {listed} of {total} runs; --workflow and --state choose others"));
    }
    if args.quiet {
        text(&runs.iter().map(|run| format!("{}\n", run.id)).collect::<String>())?;
    } else {
        let views: Vec<_> = runs.iter().map(RunView::from).collect();
        list(here.format, &views, || table::runs(&runs, !args.table.no_headers))?;
    }
    Ok(ExitCode::Ok)
}
