//! What `-o json` prints: the messages of the control socket with times as RFC 3339 text (`createdAt`), not as numbers.

use std::time::Duration;

use runlet_proto::control::{LogLine, RunEnd, RunEvent, RunEventKind, RunSummary, SupervisorStatus, WorkflowSummary};
use serde::Serialize;
use serde_json::Value;

use super::time::rfc3339;

/// A run, as `ps`, `top`, `stop`, `kill`, `pause`, `resume` and `renice` print it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunView<'a> {
    id: String,
    workflow: &'a str,
    version: &'a str,
    state: &'a str,
    blocked_on: Option<&'a str>,
    lane: String,
    priority: u8,
    block: Option<&'a str>,
    attempt: u32,
    created_at: String,
    updated_at: String,
    error: Option<&'a str>,
    pid: Option<u32>,
    cpu_ms: Option<f64>,
    resident_bytes: Option<u64>,
    /// Of `top` only: CPU time used since the listing before, in percent of one core.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
}

impl RunView<'_> {
    /// The same, with the share of a core it uses.
    pub(crate) fn using(self, cpu_percent: Option<f64>) -> Self {
        Self { cpu_percent, ..self }
    }
}

impl<'a> From<&'a RunSummary> for RunView<'a> {
    fn from(run: &'a RunSummary) -> Self {
        Self {
            id: run.id.to_string(),
            workflow: &run.workflow,
            version: &run.version,
            state: run.state.as_str(),
            blocked_on: run.blocked_on.as_deref(),
            lane: run.lane.to_string(),
            priority: run.priority.level(),
            block: run.block.as_deref(),
            attempt: run.attempt,
            created_at: rfc3339(run.created_at_ms),
            updated_at: rfc3339(run.updated_at_ms),
            error: run.error.as_deref(),
            pid: run.pid,
            cpu_ms: run.cpu_us.map(|us| us as f64 / 1_000.0),
            resident_bytes: run.resident_bytes,
            cpu_percent: None,
        }
    }
}

/// A deployed workflow, as `workflows`, `deploy` and `remove` print it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowView<'a> {
    name: &'a str,
    version: &'a str,
    description: Option<&'a str>,
    blocks: u32,
    priority: u8,
    hooks: &'a [String],
    live_runs: u64,
    deployed_at: String,
    /// The version a deployment took the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<&'a str>,
}

impl<'a> From<&'a WorkflowSummary> for WorkflowView<'a> {
    fn from(workflow: &'a WorkflowSummary) -> Self {
        Self {
            name: &workflow.name,
            version: &workflow.version,
            description: workflow.description.as_deref(),
            blocks: workflow.blocks,
            priority: workflow.priority.level(),
            hooks: &workflow.hooks,
            live_runs: workflow.live_runs,
            deployed_at: rfc3339(workflow.deployed_at_ms),
            replaced: None,
        }
    }
}

impl<'a> WorkflowView<'a> {
    /// The same, with the version it replaced.
    pub(crate) fn replacing(self, replaced: Option<&'a str>) -> Self {
        Self { replaced, ..self }
    }
}

/// `runlet status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusView<'a> {
    pid: u32,
    release: &'a str,
    started_at: String,
    workflows: u64,
    live_runs: u64,
    live: LiveView,
    ended_runs: EndedView,
    shutting_down: bool,
    slots: u64,
    slots_taken: u64,
    heavy_memory_bytes: u64,
    heavy_memory_bytes_max: u64,
    shared_memory: String,
}

#[derive(Debug, Serialize)]
struct LiveView {
    ready: u64,
    running: u64,
    blocked: u64,
    paused: u64,
}

#[derive(Debug, Serialize)]
struct EndedView {
    completed: u64,
    failed: u64,
    stopped: u64,
}

impl<'a> From<&'a SupervisorStatus> for StatusView<'a> {
    fn from(status: &'a SupervisorStatus) -> Self {
        let [completed, failed, stopped] = status.ended_runs;
        let [ready, running, blocked, paused] = status.live_by_state;
        Self {
            pid: status.pid,
            release: &status.release,
            started_at: rfc3339(status.started_at_ms),
            workflows: status.workflows,
            live_runs: status.live_runs,
            live: LiveView { ready, running, blocked, paused },
            ended_runs: EndedView { completed, failed, stopped },
            shutting_down: status.shutting_down,
            slots: status.slots,
            slots_taken: status.slots_taken,
            heavy_memory_bytes: status.heavy_memory_bytes,
            heavy_memory_bytes_max: status.heavy_memory_bytes_max,
            shared_memory: status.shared_memory.clone(),
        }
    }
}

/// A line of `runlet logs`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogView<'a> {
    sequence: u64,
    at: String,
    block: Option<&'a str>,
    level: runlet_proto::control::LogLevel,
    text: &'a str,
}

impl<'a> From<&'a LogLine> for LogView<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self {
            sequence: line.sequence,
            at: rfc3339(line.at_ms),
            block: line.block.as_deref(),
            level: line.level,
            text: &line.text,
        }
    }
}

/// A line of `runlet run -o jsonl`: `event` names what happened, the other members belong to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView<'a> {
    run: String,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<&'a str>,
    #[serde(flatten)]
    what: WhatView<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum WhatView<'a> {
    BlockStarted { attempt: u32 },
    Blocked { on: &'a str },
    BlockEnded { status: &'a str, error: Option<&'a str>, elapsed_ms: f64 },
    RetryScheduled { delay_ms: u64 },
    State { state: &'a str },
    Log { line: LogView<'a> },
}

impl<'a> From<&'a RunEvent> for EventView<'a> {
    fn from(event: &'a RunEvent) -> Self {
        let what = match &event.what {
            RunEventKind::BlockStarted { attempt } => WhatView::BlockStarted { attempt: *attempt },
            RunEventKind::Blocked { on } => WhatView::Blocked { on },
            RunEventKind::BlockEnded { status, error, elapsed_us } => {
                let elapsed_ms = Duration::from_micros(*elapsed_us).as_secs_f64() * 1_000.0;
                WhatView::BlockEnded { status: status.as_str(), error: error.as_deref(), elapsed_ms }
            }
            RunEventKind::RetryScheduled { delay_ms } => WhatView::RetryScheduled { delay_ms: *delay_ms },
            RunEventKind::State(state) => WhatView::State { state: state.as_str() },
            RunEventKind::Log(line) => WhatView::Log { line: line.into() },
        };
        Self { run: event.run.to_string(), at: rfc3339(event.at_ms), block: event.block.as_deref(), what }
    }
}

/// How a run ended, as `runlet run -o json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndView<'a> {
    event: &'static str,
    run: String,
    state: &'a str,
    output: Option<Value>,
    error: Option<&'a str>,
    help: Option<&'a str>,
    timed_out: bool,
}

impl<'a> From<&'a RunEnd> for EndView<'a> {
    fn from(end: &'a RunEnd) -> Self {
        Self {
            event: "ended",
            run: end.run.to_string(),
            state: end.state.as_str(),
            output: end.output.as_deref().map(|text| {
                // The supervisor sends JSON; should it ever not be, the text itself is shown rather than nothing.
                serde_json::from_slice(text).unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned().into())
            }),
            error: end.error.as_deref(),
            help: end.help.as_deref(),
            timed_out: end.timed_out,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use runlet_proto::ids::RunId;
    use runlet_proto::state::{BlockStatus, RunState};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = RunEvent {
            run: RunId::from_u128(1),
            at_ms: 1_500,
            block: Some("page".to_owned()),
            what: RunEventKind::BlockEnded {
                status: BlockStatus::Failed,
                error: Some("refused".to_owned()),
                elapsed_us: 12_500,
            },
        };
        assert_eq!(
            serde_json::to_value(EventView::from(&event)).unwrap(),
            json!({
                "run": "00000000-0000-0000-0000-000000000001", "at": "1970-01-01T00:00:01.500Z", "block": "page",
                "event": "block-ended", "status": "FAILED", "error": "refused", "elapsedMs": 12.5
            })
        );
    }

    #[test]
    fn an_output_stays_json() {
        let end = RunEnd {
            run: RunId::from_u128(1),
            state: RunState::Completed,
            output: Some(r#"{"h1":["a"]}"#.into()),
            error: None,
            help: None,
            timed_out: false,
        };
        assert_eq!(serde_json::to_value(EndView::from(&end)).unwrap()["output"], json!({"h1": ["a"]}));
    }
}
