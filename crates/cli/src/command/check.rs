//! `runlet check`: definitions checked here, without a supervisor.

use runlet_proto::control::{Diagnostic, SourceText};

use super::{CommandError, Setting};
use crate::args::Files;
use crate::exit_code::ExitCode;
use crate::output::{Format, diagnostics, list, note};
use crate::sources;

/// Checks every file and shows all mistakes of all of them.
///
/// # Errors
/// [`CommandError::Source`] when a file cannot be read.
pub(crate) fn perform(here: &Setting, args: &Files) -> Result<ExitCode, CommandError> {
    let sources = sources::read_all(&args.paths)?;
    let found = check(&sources);
    if !found.is_empty() {
        diagnostics::show(here.format, &sources, &found)?;
        return Ok(ExitCode::Invalid);
    }
    match here.format {
        Format::Table => {
            let count = sources.len();
            note(&format!("{count} definition{}: no mistakes", if count == 1 { "" } else { "s" }));
        }
        Format::Json | Format::Jsonl => list(here.format, &found, String::new)?,
    }
    Ok(ExitCode::Ok)
}

/// Everything that is wrong with any of the definitions.
pub(crate) fn check(sources: &[SourceText]) -> Vec<Diagnostic> {
    sources
        .iter()
        .filter_map(|source| runlet_workflow::parse(&source.file, &source.text).err())
        .flatten()
        .map(diagnostics::portable)
        .collect()
}
