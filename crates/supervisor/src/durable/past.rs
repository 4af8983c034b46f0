//! Runs that are no longer remembered, read from the journal on a thread that may wait for the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runlet_journal::{BlockDone, BlockProgress, Reader, RunLine, Stored, StoredRun};
use runlet_proto::control::{HistoryFilter, Refusal, RefusalKind, Reply, RunSummary};
use runlet_proto::failure::FailureClass;
use runlet_proto::hook::{HookAnswer, HookFailure, HttpReply};
use runlet_proto::ids::{Priority, RunId};
use runlet_proto::state::{Lane, RunState};
use runlet_workflow::Definition;
use serde_json::{Value, json};

use super::stored::load;
use crate::control_block::{payload_json, rfc3339};
use crate::core::{Core, Payload};
use crate::inbound::Inbound;
use crate::limits::{PAST_READS_MAX, READ_WRITTEN_WITHIN, RUNS_LISTED_MAX};
use crate::reply::{RefusalExt as _, refusal};
use crate::request::unknown_run;
use crate::run_record::RequestId;
use crate::trace_context::TraceContext;

/// What is asked about the past.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Runs in brief, newest first.
    History(HistoryFilter),
    /// A control block, by an id or a part of one.
    Inspect(String),
    /// A log.
    Logs(String),
    /// A trace.
    Trace(String),
    /// What the client of a hook was answered.
    Answer(RunId),
}

impl Core {
    /// Has something read, and answered.
    pub(crate) fn ask_past(&mut self, from: RequestId, asked: Asked) {
        self.read_past(from, move |directory| {
            let replies = answer(directory, &asked).unwrap_or_else(|refusal| vec![Reply::Refused(refusal)]);
            Inbound::Past { to: from, replies }
        });
    }

    /// Reads the journal on a thread that may wait for the disk, once it has all that was appended so far.
    pub(super) fn read_past(&mut self, from: RequestId, read: impl FnOnce(&Path) -> Inbound + Send + 'static) {
        if self.durable.reads >= PAST_READS_MAX {
            let busy = refusal(RefusalKind::Overloaded, "too many others read the journal");
            return self.refuse(from, busy.with_help("try again when they are done"));
        }
        self.durable.reads += 1;
        let (directory, written) = (self.durable.directory.clone(), self.all_on_disk());
        let loop_queue = self.loop_queue.clone();
        tokio::spawn(async move {
            // Without room on the disk it would never come: what is there can be read all the same.
            let _ = tokio::time::timeout(READ_WRITTEN_WITHIN, written.reached()).await;
            tokio::task::spawn_blocking(move || {
                let _ = loop_queue.blocking_send(read(&directory));
            });
        });
    }

    /// Something was read. What has not ended is told as it is now.
    pub(crate) fn past_read(&mut self, to: RequestId, replies: Vec<Reply>) {
        self.durable.reads -= 1;
        for mut reply in replies {
            if let Reply::Runs { runs, .. } = &mut reply {
                for line in runs.iter_mut().filter(|line| !line.state.is_terminal()) {
                    if let Some(control_block) = self.kernel.run(line.id) {
                        *line = self.summary(control_block);
                    }
                }
            }
            self.send(to, reply);
        }
        self.forget_pending(to);
    }
}

fn answer(directory: &Path, asked: &Asked) -> Result<Vec<Reply>, Refusal> {
    let reader = Reader::open(directory).map_err(|error| unreadable(&error))?;
    match asked {
        Asked::History(filter) => history(&reader, filter),
        Asked::Inspect(text) => {
            let run = find(&reader, text)?;
            Ok(vec![Reply::Inspected(inspect(&run).to_string().into())])
        }
        Asked::Logs(text) => Ok(vec![Reply::Log(log(find(&reader, text)?)), Reply::LogEnd]),
        Asked::Trace(text) => {
            let spans = find(&reader, text)?.ended.map(|ended| ended.trace).unwrap_or_default();
            Ok(vec![Reply::Trace(spans), Reply::TraceEnd { dropped: 0 }])
        }
        Asked::Answer(run) => {
            let stored = reader.run(*run).map_err(|error| unreadable(&error))?;
            let stored = stored.ok_or_else(|| unknown_run(&run.to_string()))?;
            Ok(vec![Reply::Hook(hook_answer(&stored))])
        }
    }
}

pub(super) fn unreadable(error: &dyn std::error::Error) -> Refusal {
    refusal(RefusalKind::Protocol, error.to_string())
}

fn history(reader: &Reader, filter: &HistoryFilter) -> Result<Vec<Reply>, Refusal> {
    let limit = filter.limit.map_or(RUNS_LISTED_MAX, |limit| usize::try_from(limit).unwrap_or(RUNS_LISTED_MAX));
    let limit = limit.min(RUNS_LISTED_MAX);
    let lines = if filter.dead {
        reader.dead(limit)
    } else {
        reader.history(&runlet_journal::HistoryFilter {
            states: filter.states.clone(),
            workflows: filter.workflows.clone(),
            since_ms: filter.since_ms,
            before: filter.before,
            limit,
        })
    };
    let lines = lines.map_err(|error| unreadable(&error))?;
    let runs: Vec<_> = lines.into_iter().map(summary).collect();
    Ok(vec![Reply::Runs { total: runs.len() as u64, runs }])
}

fn summary(line: RunLine) -> RunSummary {
    RunSummary {
        id: line.run,
        workflow: line.workflow,
        version: line.version,
        state: line.state.unwrap_or(RunState::Ready),
        blocked_on: None,
        // What an earlier version wrote says nothing of it.
        lane: line.lane.unwrap_or(Lane::Light),
        priority: Priority::new(line.priority).unwrap_or_default(),
        block: None,
        attempt: 0,
        created_at_ms: line.created_at_ms,
        updated_at_ms: line.ended_at_ms.unwrap_or(line.created_at_ms),
        error: line.error,
        pid: line.pid,
        cpu_us: None,
        resident_bytes: None,
    }
}

/// The run that a person means.
pub(super) fn find(reader: &Reader, text: &str) -> Result<StoredRun, Refusal> {
    let found = match text.parse::<RunId>() {
        Ok(run) => vec![run],
        Err(_) => reader.find(text, 2).map_err(|error| unreadable(&error))?,
    };
    match found[..] {
        [run] => reader.run(run).map_err(|error| unreadable(&error))?.ok_or_else(|| unknown_run(text)),
        [] => Err(unknown_run(text)),
        [one, other, ..] => {
            let message = format!("`{text}` names several runs, {one} and {other} among them");
            Err(refusal(RefusalKind::Conflict, message).with_help("give more of the id"))
        }
    }
}

fn log(run: StoredRun) -> Vec<runlet_proto::control::LogLine> {
    match run.ended {
        Some(ended) => ended.log,
        None => run.log,
    }
}

/// The control block of a stored run, in the words of a live one's.
fn inspect(run: &StoredRun) -> Value {
    let source = run.source.as_ref();
    let definition = source.and_then(|source| runlet_workflow::parse(&source.file, &source.text).ok());
    let (began, ended) = (&run.began, run.ended.as_ref());
    let error = ended.and_then(|ended| ended.error.as_ref()).map(|error| {
        json!({
            "block": error.block,
            "attempt": error.attempt,
            "code": error.failure.code,
            "message": error.failure.message,
            "help": error.failure.help,
        })
    });
    let worker = ended.and_then(|ended| ended.worker.as_deref()).and_then(|text| serde_json::from_str(text).ok());
    json!({
        "id": began.run.to_string(),
        "workflow": began.workflow,
        "version": began.version,
        "state": ended.map(|ended| ended.state.as_str()),
        "lane": ended.and_then(|ended| ended.lane).map(|lane| lane.to_string()),
        "priority": run.priority,
        "input": shown(Some(&began.input)),
        "output": shown(output(run)),
        "error": error,
        "createdAt": rfc3339(began.created_at_ms),
        "updatedAt": rfc3339(ended.map_or(began.created_at_ms, |ended| ended.ended_at_ms)),
        "blocks": blocks(run, definition.as_ref()),
        "worker": worker.unwrap_or(Value::Null),
        "retryOf": began.retry_of.map(|run| run.to_string()),
        "handles": began.handles.map(|run| run.to_string()),
        "parent": began.parent.map(|run| run.to_string()),
        "retriedBy": run.retried_by.map(|run| run.to_string()),
        "log": ended.map_or(&run.log, |ended| &ended.log),
        "traceId": began.traceparent.as_deref().and_then(TraceContext::from_parent).map(|context| context.id_text()),
    })
}

fn blocks(run: &StoredRun, definition: Option<&Definition>) -> Vec<Value> {
    let id = |index: u16| {
        let block = definition.and_then(|definition| definition.blocks.get(usize::from(index)));
        (block.map_or_else(|| index.to_string(), |block| block.id.clone()), block.map(|block| block.config.kind()))
    };
    let done = |index: u16, done: &BlockDone| {
        let (id, kind) = id(index);
        json!({
            "id": id,
            "type": kind,
            "status": done.status.as_str(),
            "output": shown(done.output.as_ref()),
            "retries": done.retries,
            "attempt": done.attempt,
            "startedAt": rfc3339(done.started_at_ms),
            "endedAt": rfc3339(done.ended_at_ms),
            "elapsedMs": done.ended_at_ms.saturating_sub(done.started_at_ms),
            "error": done.failure.as_ref().map(|failure| json!({
                "code": failure.code,
                "message": failure.message,
                "help": failure.help,
            })),
        })
    };
    match &run.ended {
        Some(ended) => ended.blocks.iter().map(|(index, block)| done(*index, block)).collect(),
        None => {
            let block = |(index, progress): (&u16, &BlockProgress)| match progress {
                BlockProgress::Done(block) => done(*index, block),
                BlockProgress::Waiting { attempt, .. } => {
                    json!({ "id": id(*index).0, "status": "PENDING", "attempt": attempt })
                }
                BlockProgress::Unknown { attempt } => {
                    json!({ "id": id(*index).0, "status": "RUNNING", "attempt": attempt })
                }
            };
            run.blocks.iter().map(block).collect()
        }
    }
}

/// The run's output: its own, or that of its last block.
pub(crate) fn output(run: &StoredRun) -> Option<&Stored> {
    let ended = run.ended.as_ref().filter(|ended| ended.state == RunState::Completed)?;
    ended.output.as_ref().or_else(|| ended.blocks.iter().rev().find_map(|(_, block)| block.output.as_ref()))
}

fn shown(stored: Option<&Stored>) -> Value {
    let payload = stored.map(load);
    match payload {
        None => Value::Null,
        Some(Ok(payload)) => payload_json(Some(&payload)),
        Some(Err(why)) => json!({ "unreadable": why }),
    }
}

/// What the client of a hook was answered, or would have been.
fn hook_answer(run: &StoredRun) -> HookAnswer {
    let Some(ended) = &run.ended else {
        return HookAnswer::Accepted(run.began.run);
    };
    let replies = ended.blocks.iter().rev().filter_map(|(_, block)| block.output.as_ref());
    for stored in replies {
        if let Ok(Payload::Reply(reply)) = load(stored) {
            return HookAnswer::Reply(reply);
        }
    }
    if ended.state == RunState::Completed {
        let body = output(run)
            .and_then(|output| load(output).ok())
            .map_or_else(|| "null".into(), |output| output.to_json_text());
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        return HookAnswer::Reply(Arc::new(HttpReply { status: 200, headers, body }));
    }
    let error = ended.error.as_ref();
    HookAnswer::Failed(HookFailure {
        run: run.began.run,
        class: match (error, ended.state) {
            (_, RunState::Stopped) => FailureClass::Stopped,
            (Some(error), _) => error.failure.class,
            (None, _) => FailureClass::Workflow,
        },
        block: error.and_then(|error| error.block.clone()),
        attempt: error.map_or(0, |error| error.attempt),
        code: error.map_or_else(|| "no-reply".to_owned(), |error| error.failure.code.clone()),
        message: error
            .map_or_else(|| "the run ended without a reply".to_owned(), |error| error.failure.message.clone()),
    })
}

/// Where the journal of a state directory lies.
pub(crate) fn directory_in(state: &Path) -> PathBuf {
    state.join("journal")
}
