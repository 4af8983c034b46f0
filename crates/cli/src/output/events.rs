//! What a person sees of a run on stderr while it goes on.

use std::collections::HashMap;
use std::fmt::Write;

use runlet_proto::control::{LogLevel, LogLine, RunEnd, RunEvent, RunEventKind};
use runlet_proto::state::{BlockStatus, RunState};

use super::time::{elapsed, rfc3339};

/// What a run waits for, block by block, as far as a person was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    waits: HashMap<Option<String>, String>,
}

impl Told {
    /// One line for an event; `None` for what a person knows: a `for_each` waits for the same thing thousands of times.
    pub(crate) fn line(&mut self, event: &RunEvent) -> Option<String> {
        match &event.what {
            RunEventKind::Blocked { on } => {
                if self.waits.get(&event.block) == Some(on) {
                    return None;
                }
                self.waits.insert(event.block.clone(), on.clone());
            }
            RunEventKind::BlockStarted { .. } => drop(self.waits.remove(&event.block)),
            RunEventKind::BlockEnded { .. }
            | RunEventKind::RetryScheduled { .. }
            | RunEventKind::State(_)
            | RunEventKind::Log(_) => {}
        }
        line(event)
    }
}

/// One line for an event; `None` for what only repeats its neighbours.
fn line(event: &RunEvent) -> Option<String> {
    let block = event.block.as_deref().unwrap_or("run");
    let what = match &event.what {
        RunEventKind::BlockStarted { attempt: 1 } => "started".to_owned(),
        RunEventKind::BlockStarted { attempt } => format!("started, attempt {attempt}"),
        RunEventKind::Blocked { on } => format!("BLOCKED on {on}"),
        RunEventKind::BlockEnded { status, error, elapsed_us } => ended(*status, error.as_deref(), *elapsed_us),
        RunEventKind::RetryScheduled { delay_ms } => format!("again in {}", elapsed(delay_ms.saturating_mul(1_000))),
        RunEventKind::State(RunState::Paused) => "PAUSED".to_owned(),
        RunEventKind::State(
            RunState::Ready
            | RunState::Running
            | RunState::Blocked
            | RunState::Completed
            | RunState::Failed
            | RunState::Stopped,
        ) => return None,
        RunEventKind::Log(line) => format!("{}: {}", level(line.level), line.text),
    };
    Some(format!("{block:<16}  {what}"))
}

/// A line of `runlet logs`.
pub(crate) fn log_line(line: &LogLine) -> String {
    format!(
        "{}  {:<5}  {}  {}",
        rfc3339(line.at_ms),
        level(line.level),
        line.block.as_deref().unwrap_or("-"),
        line.text
    )
}

/// The last words about a run that did not complete; `None` for one that did.
pub(crate) fn end(end: &RunEnd) -> Option<String> {
    if end.state == RunState::Completed {
        return None;
    }
    let mut text = format!("run {} {}", end.run, end.state);
    if let Some(error) = &end.error {
        let _ = write!(text, ": {error}");
    }
    if let Some(help) = &end.help {
        let _ = write!(text, "\n  help: {help}");
    }
    Some(text)
}

fn ended(status: BlockStatus, error: Option<&str>, elapsed_us: u64) -> String {
    let mut text = format!("{status} after {}", elapsed(elapsed_us));
    if let Some(error) = error {
        let _ = write!(text, ": {error}");
    }
    text
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use runlet_proto::ids::RunId;

    use super::*;

    fn event(what: RunEventKind) -> RunEvent {
        RunEvent { run: RunId::from_u128(1), at_ms: 0, block: Some("page".to_owned()), what }
    }

    #[test]
    fn events_read_as_sentences() {
        let said = |what| line(&event(what));
        assert_eq!(said(RunEventKind::BlockStarted { attempt: 1 }).as_deref(), Some("page              started"));
        assert_eq!(
            said(RunEventKind::Blocked { on: "fetch localhost:4000".to_owned() }).as_deref(),
            Some("page              BLOCKED on fetch localhost:4000")
        );
        assert_eq!(said(RunEventKind::State(RunState::Running)), None);
    }

    #[test]
    fn that_a_block_waits_for_the_same_again_is_not_told_again() {
        let mut told = Told::default();
        let mut said =
            |block: &str, what| told.line(&RunEvent { block: Some(block.to_owned()), ..event(what) }).is_some();
        let blocked = |on: &str| RunEventKind::Blocked { on: on.to_owned() };
        assert!(said("a", blocked("memory x")) && said("b", blocked("memory x")));
        assert!(!said("a", blocked("memory x")) && !said("b", blocked("memory x")));
        assert!(said("a", blocked("memory y")) && said("a", blocked("memory x")));
        assert!(said("b", RunEventKind::BlockStarted { attempt: 2 }) && said("b", blocked("memory x")));
    }

    #[test]
    fn a_failure_is_told_with_its_way_out() {
        let failed = RunEnd {
            run: RunId::from_u128(1),
            state: RunState::Failed,
            output: None,
            error: Some("block `page`, attempt 1: refused".to_owned()),
            help: Some("start the server".to_owned()),
            timed_out: false,
        };
        let said = end(&failed).unwrap_or_default();
        assert!(said.contains("FAILED: block `page`, attempt 1: refused\n  help: start the server"), "{said}");
    }
}
