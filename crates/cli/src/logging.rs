//! What the daemons say about themselves: lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter, ParseError};

use crate::command::CommandError;
use crate::output::colours_on_stderr;

/// Which lines are wanted, such as `debug` or `runlet_gateway=debug`; without it, `info` and graver.
const VARIABLE: &str = "RUNLET_LOG";

/// The HTML parser, which warns at each element it moves: a page of 5 MB could write 40 MB of log.
const PARSER: &str = "html5ever";

/// Sends the daemon's lines to stderr. A terminal's reader knows the time; anything else gets it on each line.
///
/// # Errors
/// [`CommandError::Usage`] when `RUNLET_LOG` cannot be understood.
pub(crate) fn start() -> Result<(), CommandError> {
    let wanted = std::env::var_os(VARIABLE).unwrap_or_default();
    let filter = filter(&wanted.to_string_lossy()).map_err(|error| CommandError::Usage {
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

/// Which lines are written when `wanted` are.
fn filter(wanted: &str) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(wanted)?;
    if wanted.contains(PARSER) {
        return Ok(filter);
    }
    let quiet: Directive = format!("{PARSER}=error").parse().expect("a target and a level are a directive");
    Ok(filter.add_directive(quiet))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_page_cannot_fill_the_log() {
        for (wanted, written) in [
            ("", "html5ever=error,info"),
            ("debug", "html5ever=error,debug"),
            ("html5ever=warn,info", "html5ever=warn,info"),
        ] {
            assert_eq!(filter(wanted).unwrap().to_string(), written);
        }
        assert!(filter("runlet=loud").is_err());
    }
}
