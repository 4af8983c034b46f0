//! What a run did, as `runlet trace` prints it.

use std::fmt::Write;

use comfy_table::Cell;
use runlet_proto::control::{TraceOutcome, TraceSpan, TraceWhat};
use serde::Serialize;

use super::one_line;
use super::table::Table;
use super::time::elapsed;

/// A span in JSON. One that goes on has neither a time nor an outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceView<'a> {
    sequence: u64,
    block: &'a str,
    attempt: u32,
    /// The call in words; null for the attempt itself.
    call: Option<&'a str>,
    offset_ms: f64,
    /// Of an attempt that a worker executed: how long it took until the worker began with it.
    handover_ms: Option<f64>,
    elapsed_ms: Option<f64>,
    outcome: Option<&'static str>,
    /// What was answered, or why it failed.
    detail: Option<&'a str>,
    /// The trace of the run's caller, as W3C Trace Context has it; null if it named none.
    trace_id: Option<String>,
    /// The span in that trace: what a fetch tells the server it asks.
    span_id: Option<String>,
}

impl<'a> From<&'a TraceSpan> for TraceView<'a> {
    fn from(span: &'a TraceSpan) -> Self {
        let ms = |us: u64| us as f64 / 1_000.0;
        let (outcome, detail) = match &span.outcome {
            None => (None, None),
            Some(TraceOutcome::Completed) => (Some("completed"), None),
            Some(TraceOutcome::Skipped) => (Some("skipped"), None),
            Some(TraceOutcome::Answered(words)) => (Some("answered"), Some(words.as_str())),
            Some(TraceOutcome::Failed(message)) => (Some("failed"), Some(message.as_str())),
            Some(TraceOutcome::GivenUp) => (Some("given-up"), None),
            Some(TraceOutcome::Stopped(reason)) => (Some("stopped"), Some(reason.as_str())),
        };
        Self {
            sequence: span.sequence,
            block: &span.block,
            attempt: span.attempt,
            call: call(span),
            offset_ms: ms(span.offset_us),
            handover_ms: span.handover_us.map(ms),
            elapsed_ms: span.elapsed_us.map(ms),
            outcome,
            detail,
            trace_id: span.place.map(|place| format!("{:032x}", place.trace_id)),
            span_id: span.place.map(|place| format!("{:016x}", place.span_id)),
        }
    }
}

/// All spans in the order they began, calls below the attempt that made them.
pub(crate) fn table(spans: &[TraceSpan]) -> String {
    let mut table = Table::new(&["START", "TOOK", "BLOCK", "TRY", "WHAT", "OUTCOME"], true);
    for span in spans {
        table.row(vec![
            Cell::new(seconds(span.offset_us)),
            Cell::new(span.elapsed_us.map_or_else(|| "-".to_owned(), elapsed)),
            Cell::new(one_line(&span.block)),
            Cell::new(span.attempt),
            Cell::new(call(span).map_or_else(|| "block".to_owned(), |call| format!("  {}", one_line(call)))),
            Cell::new(one_line(&outcome(span))),
        ]);
    }
    table.finish()
}

/// Tells of spans as they begin and end.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// Number of the newest span whose beginning was told: they begin in the order of their numbers.
    begun: u64,
}

impl Follower {
    /// A line for each beginning and each end that has not been told, in the order of time.
    pub(crate) fn lines(&mut self, spans: &[TraceSpan]) -> String {
        let mut lines = Vec::new();
        for span in spans {
            if span.sequence > self.begun {
                self.begun = span.sequence;
                lines.push((span.offset_us, line(span.offset_us, span, "begins")));
            }
            if let Some(took_us) = span.elapsed_us {
                let at_us = span.offset_us.saturating_add(took_us);
                lines.push((at_us, line(at_us, span, &format!("{}, took {}", outcome(span), elapsed(took_us)))));
            }
        }
        lines.sort_by_key(|(at_us, _)| *at_us);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

fn line(at_us: u64, span: &TraceSpan, what: &str) -> String {
    let mut line = format!("{:>12}  {:<16}", seconds(at_us), one_line(&span.block));
    if span.attempt > 1 {
        let _ = write!(line, "  attempt {}", span.attempt);
    }
    if let Some(call) = call(span) {
        let _ = write!(line, "  {}", one_line(call));
    }
    line + "  " + &one_line(what) + "\n"
}

fn call(span: &TraceSpan) -> Option<&str> {
    match &span.what {
        TraceWhat::Block => None,
        TraceWhat::Call(words) => Some(words),
    }
}

fn outcome(span: &TraceSpan) -> String {
    match &span.outcome {
        None => "goes on".to_owned(),
        Some(TraceOutcome::Completed) => match span.handover_us {
            Some(us) => format!("COMPLETED by a worker that had it after {}", elapsed(us)),
            None => "COMPLETED".to_owned(),
        },
        Some(TraceOutcome::Skipped) => "SKIPPED".to_owned(),
        Some(TraceOutcome::Answered(words)) => words.clone(),
        Some(TraceOutcome::Failed(message)) => format!("FAILED: {message}"),
        Some(TraceOutcome::GivenUp) => "given up".to_owned(),
        Some(TraceOutcome::Stopped(reason)) => format!("STOPPED: {reason}"),
    }
}

/// Seconds since the run was submitted, to the microsecond.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(sequence: u64, what: TraceWhat, offset_us: u64, ended: Option<(u64, TraceOutcome)>) -> TraceSpan {
        let (elapsed_us, outcome) = ended.unzip();
        TraceSpan {
            sequence,
            block: "page".to_owned(),
            attempt: 1,
            what,
            offset_us,
            handover_us: None,
            elapsed_us,
            outcome,
            place: None,
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_span_and_lets_nothing_through_to_the_terminal() {
        let call = TraceWhat::Call("fetch GET a\u{1b}[2J".to_owned());
        let spans = [
            span(1, TraceWhat::Block, 1_500, None),
            span(2, call, 2_000, Some((840, TraceOutcome::Failed("no\nanswer".to_owned())))),
        ];
        let printed = table(&spans);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["0.001500", "-", "page", "1", "block", "goes", "on"]
        );
        assert!(lines[2].contains("fetch GET a?[2J") && lines[2].ends_with("FAILED: no answer"), "{printed}");
    }

    #[test]
    fn what_is_followed_begins_once_and_ends_once() {
        let mut follower = Follower::default();
        let call = || TraceWhat::Call("fetch GET a".to_owned());
        let first = follower.lines(&[
            span(1, TraceWhat::Block, 0, None),
            span(2, call(), 10, Some((20, TraceOutcome::GivenUp))),
            span(3, call(), 15, None),
        ]);
        let said: Vec<_> = first.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
        assert_eq!(said, ["0.000000", "0.000010", "0.000015", "0.000030"]);
        let next =
            follower.lines(&[span(3, call(), 15, Some((25, TraceOutcome::Answered("200, 5 bytes".to_owned()))))]);
        assert_eq!(next, "    0.000040  page              fetch GET a  200, 5 bytes, took 25 µs\n");
    }
}
