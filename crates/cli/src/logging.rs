//! What the daemons say about themselves: lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::command::CommandError;
use crate::output::colours_on_stderr;

/// Which lines are wanted, such as `debug` or `runlet_gateway=debug`; without it, `info` and graver.
const VARIABLE: &str = "RUNLET_LOG";

/// Sends the daemon's lines to stderr. A terminal's reader knows the time; anything else gets it on each line.
///
/// # Errors
/// [`CommandError::Usage`] when `RUNLET_LOG` cannot be understood.
pub(crate) fn start() -> Result<(), CommandError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var(VARIABLE)
        .from_env()
        .map_err(|error| CommandError::Usage {
            message: format!("{VARIABLE}: {error}"),
            help: Some("write a level, or target=level pairs with commas between: runlet_gateway=debug".to_owned()),
        })?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours_on_stderr());
    if io::stderr().is_terminal() {
        lines.without_time().with_target(false).init();
    } else {
        lines.init();
    }
    Ok(())
}
