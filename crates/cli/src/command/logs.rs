//! `runlet logs`: what a run logged.

use runlet_proto::control::{LogLine, Reply, Request};

use super::{CommandError, Setting};
use crate::args::Logs;
use crate::exit_code::ExitCode;
use crate::output::view::LogView;
use crate::output::{self, Format, events, note};

/// Prints the lines as they come; with `-f` until the run ends. `-o json` prints one array, so it waits for the end.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such run, [`CommandError::Lost`] when the supervisor went away.
pub(crate) fn perform(here: &Setting, args: Logs) -> Result<ExitCode, CommandError> {
    if args.follow && here.format == Format::Json {
        return Err(CommandError::Usage {
            message: "`-o json` is one array and cannot be followed".to_owned(),
            help: Some("follow with `-o jsonl`, one line at a time".to_owned()),
        });
    }
    let mut client = here.connect()?;
    let id = client.send(Request::Logs { run: args.run.run, follow: args.follow })?;
    let mut kept: Vec<LogLine> = Vec::new();
    let mut said = false;
    loop {
        let reply = client.next(id)?;
        if let Reply::LogEnd = reply {
            break;
        }
        let Reply::Log(lines) = reply else { return Err(CommandError::unexpected(&reply)) };
        if here.format == Format::Json {
            kept.extend(lines);
        } else {
            said |= !lines.is_empty();
            print(here.format, &lines)?;
        }
    }
    match here.format {
        Format::Json => print(here.format, &kept)?,
        Format::Table if !said => note("nothing was logged; `runlet inspect` shows how the run went"),
        Format::Table | Format::Jsonl => {}
    }
    Ok(ExitCode::Ok)
}

fn print(format: Format, lines: &[LogLine]) -> Result<(), CommandError> {
    let views: Vec<_> = lines.iter().map(LogView::from).collect();
    let table = || lines.iter().map(|line| events::log_line(line) + "\n").collect();
    Ok(output::list(format, &views, table)?)
}
