//! `runlet gc` and `runlet journal`: upkeep of the record of runs.

use runlet_proto::control::{Collected, Reply, Request};
use serde_json::json;

use super::{CommandError, Setting};
use crate::args::Check;
use crate::exit_code::ExitCode;
use crate::output::{self, Format, text};
use crate::paths;

/// Has the supervisor remove what is not to be kept, and says what went.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn collect(here: &Setting) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Collect)?;
    let Reply::Collected(went) = reply else { return Err(CommandError::unexpected(&reply)) };
    let Collected { runs, outputs, definitions, bytes } = went;
    output::one(here.format, &went, || {
        format!("removed {runs} runs, {outputs} outputs in files, {definitions} definitions: {bytes} bytes\n")
    })?;
    Ok(ExitCode::Ok)
}

/// Looks the journal of a state directory over, without a supervisor or beside one.
///
/// # Errors
/// [`CommandError::Failed`] when there is none, or it is no journal.
pub(crate) fn check(here: &Setting, args: Check) -> Result<ExitCode, CommandError> {
    let state = args.state.unwrap_or_else(paths::default_state);
    let report = runlet_supervisor::check_journal(&state)
        .map_err(|error| CommandError::Failed { message: error.to_string(), help: None })?;
    if here.format == Format::Table {
        let mut told = format!(
            "{} ended runs, {} open ones, {} definitions, {} outputs in files; {} keys and {} messages that are shared\n",
            report.runs_ended, report.runs_open, report.definitions, report.outputs, report.keys, report.messages
        );
        if report.orphans > 0 {
            told += &format!("{} files that nothing names; `runlet gc` removes them\n", report.orphans);
        }
        for fault in &report.faults {
            told += &format!("fault: {fault}\n");
        }
        if report.faults.is_empty() {
            told += "nothing is wrong with it\n";
        }
        text(&told)?;
    } else {
        let view = json!({
            "runsEnded": report.runs_ended,
            "runsOpen": report.runs_open,
            "definitions": report.definitions,
            "outputs": report.outputs,
            "orphans": report.orphans,
            "keys": report.keys,
            "messages": report.messages,
            "faults": report.faults,
        });
        output::one(here.format, &view, String::new)?;
    }
    Ok(if report.faults.is_empty() { ExitCode::Ok } else { ExitCode::Failed })
}
