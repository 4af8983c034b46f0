//! `runlet config`: the configuration that is in force, and one to begin with.

use super::{CommandError, Setting};
use crate::args::Config;
use crate::configuration::effective::Effective;
use crate::configuration::example;
use crate::exit_code::ExitCode;
use crate::output::{Format, json, json_line, text};

/// Prints it. Needs no supervisor.
///
/// # Errors
/// [`CommandError`] of the file, or of the command line that is asked about.
pub(crate) fn perform(here: &Setting, args: &Config) -> Result<ExitCode, CommandError> {
    match args {
        Config::Example => text(&example::text())?,
        Config::Show(show) => {
            let effective = Effective::of(here.config.as_ref(), &show.line)?;
            match here.format {
                Format::Table => text(&effective.toml(show.origin))?,
                Format::Json => json(&effective.json(show.origin))?,
                Format::Jsonl => json_line(&effective.json(show.origin))?,
            }
        }
    }
    Ok(ExitCode::Ok)
}
