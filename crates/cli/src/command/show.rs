//! `runlet show`: the text of a deployed definition.

use std::io::{self, IsTerminal};

use runlet_proto::control::{Reply, Request};
use serde_json::json;

use super::{CommandError, Setting};
use crate::args::OneWorkflow;
use crate::exit_code::ExitCode;
use crate::output::view::WorkflowView;
use crate::output::{self, Format, harmless, note, table};

/// Prints the text as it was deployed, and on stderr what it is; with `-o json` both in one document.
///
/// # Errors
/// [`CommandError::Refused`] when nothing of that name is deployed.
pub(crate) fn perform(here: &Setting, args: OneWorkflow) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Source { workflow: args.workflow })?;
    let Reply::Source { workflow, source } = reply else { return Err(CommandError::unexpected(&reply)) };
    let document = || json!({ "workflow": WorkflowView::from(&workflow), "file": source.file, "source": source.text });
    match here.format {
        Format::Json => output::json(&document())?,
        Format::Jsonl => output::json_line(&document())?,
        Format::Table => {
            let hooks = workflow.hooks.join(", ");
            let served = if hooks.is_empty() { String::new() } else { format!(", {hooks}") };
            note(&format!("{} {}{served}", workflow.name, table::short(&workflow.version)));
            // To a file or a pipe byte for byte; what a terminal would act on is for nobody's eyes.
            match io::stdout().is_terminal() {
                true => output::text(&harmless(&source.text))?,
                false => output::bytes_out(source.text.as_bytes())?,
            }
        }
    }
    Ok(ExitCode::Ok)
}
