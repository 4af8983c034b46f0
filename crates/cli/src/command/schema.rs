//! `runlet schema`: the JSON Schema of definitions.

use super::CommandError;
use crate::exit_code::ExitCode;
use crate::output::{self, Format};

/// Prints the schema, indented unless lines are asked for.
///
/// # Errors
/// [`CommandError::Output`] when stdout does not take it.
pub(crate) fn perform(format: Format) -> Result<ExitCode, CommandError> {
    let schema = runlet_workflow::schema();
    match format {
        Format::Table | Format::Json => output::json(&schema)?,
        Format::Jsonl => output::json_line(&schema)?,
    }
    Ok(ExitCode::Ok)
}
