//! `runlet check`: definitions checked here, without a supervisor.

use runlet_proto::control::{Diagnostic, SourceText};
use runlet_workflow::Definition;

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

/// Everything that is wrong with any of the definitions, or with deploying them together: what `check` finds is what
/// `deploy` would.
pub(crate) fn check(sources: &[SourceText]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut valid: Vec<(&SourceText, Definition)> = Vec::with_capacity(sources.len());
    for source in sources {
        match runlet_workflow::parse(&source.file, &source.text) {
            Ok(definition) => {
                found.extend(same_name(source, &definition, &valid));
                let others = valid.iter().map(|(_, other)| other);
                let conflicts = runlet_workflow::hook_conflicts(&definition, others, &source.file, &source.text);
                found.extend(conflicts.into_iter().map(diagnostics::portable));
                valid.push((source, definition));
            }
            Err(mistakes) => found.extend(mistakes.into_iter().map(diagnostics::portable)),
        }
    }
    found
}

/// Of two definitions with one name, the second would silently take the place of the first.
fn same_name(source: &SourceText, definition: &Definition, valid: &[(&SourceText, Definition)]) -> Option<Diagnostic> {
    let (first, _) = valid.iter().find(|(_, other)| other.name == definition.name)?;
    Some(Diagnostic {
        code: "duplicate-name".to_owned(),
        message: format!("{} is a workflow `{}` too", first.file, definition.name),
        help: Some("give one of them another `name`, or its file another one".to_owned()),
        file: source.file.clone(),
        line: 1,
        column: 1,
        path: String::new(),
        offset: 0,
        length: 0,
    })
}
