//! `runlet run`: one run, followed to its end.

pub(crate) mod input;
mod interrupt;

use std::path::{Path, PathBuf};

use runlet_proto::control::{Refusal, Reply, Request, RunEnd, RunEvent, SourceText, Start, Target};
use runlet_proto::ids::RunId;

use self::interrupt::Interrupt;
use super::{CommandError, Setting, deploy};
use crate::args::Run;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::output::events::Told;
use crate::output::view::{EndView, EventView};
use crate::output::{self, Format, events, note};
use crate::sources;

/// Starts the run; follows it unless `--detach`. Ctrl-C stops it, a second one leaves it.
///
/// # Errors
/// [`CommandError`] of the file, the input, the connection, or the supervisor's refusal.
pub(crate) fn perform(here: &Setting, args: &Run) -> Result<ExitCode, CommandError> {
    let (target, source) = target(&args.target)?;
    let input = args.input.as_deref().map(input::read).transpose()?;
    let interrupt = (!args.detach).then(|| Interrupt::watch(here.socket())).transpose()?;
    let mut client = here.connect()?;
    let start = Start { target, input, priority: args.priority, follow: !args.detach };
    let id = client.send(Request::Start(start))?;
    let reply = match (client.next(id), source) {
        (Err(CommandError::Refused(refusal)), Some(source)) => return refused(here.format, source, refusal),
        (reply, _) => reply?,
    };
    let Reply::Accepted(run) = reply else { return Err(CommandError::unexpected(&reply)) };
    match interrupt {
        None => {
            output::one(here.format, &serde_json::json!({ "id": run }), || run.to_string())?;
            Ok(ExitCode::Ok)
        }
        Some(interrupt) => {
            interrupt.concerns(run);
            follow(&mut client, id, run, here.format, args.quiet)
        }
    }
}

/// A path that exists or looks like a definition's is a file; anything else names a workflow.
fn target(text: &str) -> Result<(Target, Option<SourceText>), CommandError> {
    let path = Path::new(text);
    if !sources::is_definition(path) && !path.is_file() {
        return Ok((Target::Workflow(text.to_owned()), None));
    }
    let source = sources::read(&PathBuf::from(text))?;
    Ok((Target::Inline(source.clone()), Some(source)))
}

/// A definition's mistakes are marked in it; any other refusal is told as everywhere.
fn refused(format: Format, source: SourceText, refusal: Refusal) -> Result<ExitCode, CommandError> {
    if refusal.diagnostics.is_empty() {
        return Err(CommandError::Refused(refusal));
    }
    deploy::refused(format, source, refusal)
}

fn follow(client: &mut Client, id: u64, run: RunId, format: Format, quiet: bool) -> Result<ExitCode, CommandError> {
    if !quiet {
        note(&format!("run {run}"));
    }
    let mut told = Told::default();
    loop {
        let reply = client.next(id).inspect_err(|_| note(&format!("run {run}: its end is not known")))?;
        if let Reply::Event(event) = &reply {
            tell(&mut told, event, format, quiet)?;
            continue;
        }
        let Reply::Ended(end) = reply else { return Err(CommandError::unexpected(&reply)) };
        finish(&end, format)?;
        return Ok(ExitCode::of_end(&end));
    }
}

fn tell(told: &mut Told, event: &RunEvent, format: Format, quiet: bool) -> Result<(), CommandError> {
    match format {
        Format::Jsonl => output::json_line(&EventView::from(event))?,
        Format::Table | Format::Json if quiet => {}
        Format::Table | Format::Json => {
            if let Some(line) = told.line(event) {
                note(&line);
            }
        }
    }
    Ok(())
}

fn finish(end: &RunEnd, format: Format) -> Result<(), CommandError> {
    match format {
        Format::Table => {
            if let Some(output) = &end.output {
                output::text(&input::indented(output))?;
            }
        }
        Format::Json | Format::Jsonl => output::one(format, &EndView::from(end), String::new)?,
    }
    if let Some(words) = events::end(end) {
        note(&words);
    }
    Ok(())
}
