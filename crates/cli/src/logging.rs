//! What the daemons say about themselves: lines on stderr.
//!
//! Where stderr is the journal, each line has its level before it, as sd-daemon(3) has it (`<4>`), which the journal takes off and
//! files by. A client of the journal's own socket would keep fields apart, too; but it costs a dependency and a second way that
//! lines can go, and the JSON form keeps the fields already.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter, ParseError};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, SubscriberBuilder};
use tracing_subscriber::registry::LookupSpan;

use crate::args::Log;
use crate::output::colours_on_stderr;
use crate::service;

/// The HTML parser, which warns at each element it moves: a page of 5 MB could write 40 MB of log.
const PARSER: &str = "html5ever";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// Objects, one a line.
    Json,
}

/// Has other lines logged, once there is a log.
static CHANGE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Reads which lines are wanted: a level, or target=level pairs.
///
/// # Errors
/// In words, when it cannot be understood.
pub(crate) fn level(text: &str) -> Result<String, String> {
    let help = "write a level, or target=level pairs with commas between: runlet_gateway=debug";
    filter(text).map(|_| text.to_owned()).map_err(|error| format!("{error}; {help}"))
}

/// Sends the daemon's lines to stderr. A terminal's reader and the journal know the time; anything else gets it on each line.
pub(crate) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colours_on_stderr());
    let filter = filter(&log.log_level).unwrap_or_default();
    let journal = service::stderr_is_journal();
    match (log.log_format, journal) {
        (LogFormat::Text, false) if io::stderr().is_terminal() => {
            begin(lines.event_format(Format::default().without_time().with_target(false)), filter);
        }
        (LogFormat::Text, false) => begin(lines, filter),
        (LogFormat::Text, true) => begin(lines.event_format(Levelled(Format::default().without_time())), filter),
        (LogFormat::Json, false) => begin(lines.json().flatten_event(true), filter),
        (LogFormat::Json, true) => {
            let lines = lines.json().map_event_format(|format| Levelled(format.flatten_event(true)));
            begin(lines, filter);
        }
    }
}

/// Has other lines logged from now on, as [`level`] has read them.
pub(crate) fn set_level(wanted: &str) {
    if let (Ok(filter), Some(change)) = (filter(wanted), CHANGE.get()) {
        change(filter);
    }
}

fn begin<N, E, W>(lines: SubscriberBuilder<N, E, LevelFilter, W>, filter: EnvFilter)
where
    N: for<'writer> FormatFields<'writer> + Send + Sync + 'static,
    E: FormatEvent<tracing_subscriber::Registry, N> + Send + Sync + 'static,
    W: for<'writer> tracing_subscriber::fmt::MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = lines.with_env_filter(filter).with_filter_reloading();
    let handle = lines.reload_handle();
    lines.init();
    // The first log is the only one.
    let _ = CHANGE.set(Box::new(move |filter| {
        let _ = handle.reload(filter);
    }));
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

/// Lines with their level before them, for the journal.
struct Levelled<F>(F);

impl<S, N, F> FormatEvent<S, N> for Levelled<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// A level as syslog(3) counts it.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_page_cannot_fill_the_log() {
        for (wanted, written) in [
            ("", "html5ever=error,info"),
            ("info", "html5ever=error,info"),
            ("debug", "html5ever=error,debug"),
            ("html5ever=warn,info", "html5ever=warn,info"),
        ] {
            assert_eq!(filter(wanted).unwrap().to_string(), written);
        }
        assert!(level("runlet=loud").is_err_and(|error| error.contains("runlet_gateway=debug")));
    }
}
