//! `runlet history` and `runlet dead`: runs from the journal, whether the supervisor remembers them or not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runlet_proto::control::{HistoryFilter, Reply, Request};

use super::{CommandError, Setting};
use crate::args::{Dead, History, Listing};
use crate::exit_code::ExitCode;
use crate::output::view::RunView;
use crate::output::{list, table, text};

/// Prints the runs, newest first.
///
/// # Errors
/// [`CommandError`] of the connection, [`CommandError::Refused`] when the journal cannot be read.
pub(crate) fn perform(here: &Setting, args: History) -> Result<ExitCode, CommandError> {
    let since_ms = args.since.map(|since| now_ms().saturating_sub(ms(since)));
    let History { workflows, states, before, since: _, listing } = args;
    let limit = Some(listing.limit);
    print(here, HistoryFilter { workflows, states, since_ms, before, limit, dead: false }, &listing)
}

/// Prints the FAILED runs that no later run repeats, newest first.
///
/// # Errors
/// As [`perform`].
pub(crate) fn dead(here: &Setting, args: &Dead) -> Result<ExitCode, CommandError> {
    let filter = HistoryFilter { dead: true, limit: Some(args.listing.limit), ..HistoryFilter::default() };
    print(here, filter, &args.listing)
}

fn print(here: &Setting, filter: HistoryFilter, listing: &Listing) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::History(filter))?;
    let Reply::Runs { runs, total: _ } = reply else { return Err(CommandError::unexpected(&reply)) };
    if listing.quiet {
        text(&runs.iter().map(|run| format!("{}\n", run.id)).collect::<String>())?;
    } else {
        let views: Vec<_> = runs.iter().map(RunView::from).collect();
        list(here.format, &views, || table::runs(&runs, !listing.table.no_headers))?;
    }
    Ok(ExitCode::Ok)
}

fn now_ms() -> u64 {
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
