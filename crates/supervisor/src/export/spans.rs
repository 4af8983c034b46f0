//! From what a run did to the spans that are exported: one of the run, one of each attempt below it, one of each call below
//! its attempt. Names of attributes are those of the semantic conventions where there are any (HTTP 1.x), else `runlet.…`.

use std::collections::HashMap;
use std::sync::Arc;

use runlet_kernel::{Time, WorkflowControlBlock};
use runlet_otel::{Event, Kind, Place, Span, Value};
use runlet_proto::control::TraceOutcome;
use runlet_proto::failure::FailureClass;
use runlet_proto::hook::Respond;
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::{Lane, RunState};
use runlet_workflow::Definition;

use super::{Asked, Facts};
use crate::clock::Clock;
use crate::core::Payload;
use crate::registry::hooks;
use crate::run_record::RunRecord;
use crate::trace;
use crate::trace_context::{TraceContext, root_span_id};

/// A run that has ended, as far as it is exported: copied by the loop, which makes no text of it. It may wait for long beside
/// thousands of others, so that it holds nothing large.
pub(super) struct Ended {
    run: RunId,
    definition: Arc<Definition>,
    context: TraceContext,
    clock: Clock,
    began: Time,
    ended: Time,
    state: RunState,
    lane: Lane,
    /// The request that began it, if one did.
    hook: Option<Hooked>,
    /// Code of its failure, and the block that failed.
    error: Option<(String, Option<Arc<str>>)>,
    parts: Vec<Part>,
    /// Oldest parts that are gone.
    dropped: u64,
}

/// A request to a hook, without its path and its body.
#[derive(Debug, Clone, Copy)]
struct Hooked {
    method: &'static str,
    /// Which hook of the definition it was made to.
    at: Option<usize>,
    /// What was answered.
    status: u16,
}

/// An attempt or a call.
struct Part {
    id: u64,
    block: BlockIndex,
    attempt: Attempt,
    is_call: bool,
    began: Time,
    handed_over: Option<Time>,
    ended: Time,
    outcome: Outcome,
    facts: Facts,
}

/// [`TraceOutcome`] without its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Completed,
    Skipped,
    Answered,
    Failed,
    GivenUp,
    Stopped,
}

impl Ended {
    /// Of a run whose trace is exported.
    pub(super) fn of(run: &WorkflowControlBlock<Payload>, record: &RunRecord, clock: Clock) -> Option<Self> {
        let hook = match &run.input {
            Payload::Hook(hook) => Some(Hooked {
                method: known_method(&hook.method),
                at: hook_at(&record.program.definition, &hook.path),
                status: status(run, hook.respond),
            }),
            Payload::Json(_) | Payload::Reply(_) => None,
        };
        let error = run.error.as_deref().map(|error| (error.failure.code.clone(), error.block.clone()));
        Some(Self {
            run: run.id,
            definition: Arc::clone(&record.program.definition),
            context: record.trace.context.as_deref()?.clone(),
            clock,
            began: run.created_at,
            ended: run.updated_at,
            state: run.state,
            lane: run.lane,
            hook,
            error,
            parts: record.trace.iter().map(|span| Part::of(span, run.updated_at)).collect(),
            dropped: record.trace.dropped(),
        })
    }

    /// How many spans it has.
    pub(super) fn count(&self) -> usize {
        1 + self.parts.len()
    }

    /// The spans, that of the run first.
    pub(super) fn spans(self) -> Vec<Span> {
        let state = Arc::from(self.context.state.as_str());
        let attempts: HashMap<_, _> =
            self.parts.iter().filter(|part| !part.is_call).map(|part| ((part.block, part.attempt), part.id)).collect();
        let root = root_span_id(self.run);
        let mut spans = Vec::with_capacity(self.count());
        spans.push(self.root(&state));
        for part in &self.parts {
            let attempt = attempts.get(&(part.block, part.attempt)).copied().filter(|_| part.is_call);
            let place = Place {
                trace_id: self.context.trace_id,
                span_id: part.id,
                // The attempt may be among what is gone.
                parent_id: Some(attempt.unwrap_or(root)),
                parent_is_remote: false,
                state: Arc::clone(&state),
            };
            spans.push(self.part(part, place));
        }
        spans
    }

    fn root(&self, state: &Arc<str>) -> Span {
        let place = Place {
            trace_id: self.context.trace_id,
            span_id: root_span_id(self.run),
            parent_id: (!self.context.is_own()).then_some(self.context.parent_id),
            parent_is_remote: !self.context.is_own(),
            state: Arc::clone(state),
        };
        let mut attributes = self.common();
        attributes.push(("runlet.run.state", self.state.as_str().into()));
        attributes.push(("runlet.lane", lane(self.lane).into()));
        if self.dropped > 0 {
            attributes.push(("runlet.trace.dropped_spans", i64::try_from(self.dropped).unwrap_or(i64::MAX).into()));
        }
        let mut name = format!("run {}", self.definition.name);
        let mut kind = Kind::Internal;
        if let Some(Hooked { method, at, status }) = self.hook {
            kind = Kind::Server;
            name = method_name(method);
            if let Some(hook) = at.and_then(|at| hooks(&self.definition).nth(at)) {
                let route = format!("/hook/{}", hook.path);
                name = format!("{name} {route}");
                attributes.push(("http.route", route.into()));
            }
            attributes.push(("http.request.method", method.into()));
            attributes.push(("http.response.status_code", status.into()));
        }
        let (code, error) = self.root_error();
        if let Some(code) = code {
            attributes.push(("error.type", code.into()));
        }
        let (began_ns, ended_ns) = (self.ns(self.began), self.ns(self.ended));
        Span { place, name: name.into(), kind, began_ns, ended_ns, attributes, events: Vec::new(), error }
    }

    /// Code and words of what went wrong with the run. One that was stopped did not fail.
    fn root_error(&self) -> (Option<String>, Option<String>) {
        let more = self.tells_more();
        match (&self.error, self.hook) {
            (Some((code, _)), _) if self.state != RunState::Failed => (Some(code.clone()), None),
            (Some((code, Some(block))), _) => {
                (Some(code.clone()), Some(format!("block `{block}` failed with `{code}`; {more}")))
            }
            (Some((code, None)), _) => (Some(code.clone()), Some(format!("the run failed with `{code}`; {more}"))),
            (None, Some(Hooked { status, .. })) if status >= 500 => {
                (Some(status.to_string()), Some(format!("the hook answered {status}")))
            }
            (None, _) => (None, None),
        }
    }

    fn part(&self, part: &Part, place: Place) -> Span {
        let block = self.definition.blocks.get(part.block.as_usize());
        let (id, kind) = block.map(|block| (block.id.as_str(), block.config.kind())).unwrap_or_default();
        let known = part.facts.0.as_deref().cloned().unwrap_or_default();
        let mut attributes = self.common();
        attributes.push(("runlet.block.id", id.to_owned().into()));
        attributes.push(("runlet.block.type", kind.into()));
        attributes.push(("runlet.attempt", part.attempt.0.into()));
        attributes.push(("runlet.outcome", part.outcome.name().into()));
        if let Some(of_attempt) = known.lane {
            attributes.push(("runlet.lane", lane(of_attempt).into()));
        }
        let name = match &known.asks {
            Some(asks) => asked(asks, &mut attributes),
            None => format!("{kind} {id}"),
        };
        // A server that answers that something is wrong was asked in vain, whatever the workflow makes of it.
        let bad_status = known.status.filter(|status| *status >= 400);
        if let Some(status) = known.status {
            attributes.push(("http.response.status_code", status.into()));
        }
        let code = known.error.map(String::from).or_else(|| bad_status.map(|status| status.to_string()));
        let error = match (&code, part.outcome) {
            (Some(status), Outcome::Answered) => Some(format!("the server answered {status}")),
            (Some(code), Outcome::Failed) => Some(format!("failed with `{code}`; {}", self.tells_more())),
            (None, Outcome::Failed) => Some(format!("failed; {}", self.tells_more())),
            (_, Outcome::Completed | Outcome::Skipped | Outcome::GivenUp | Outcome::Stopped)
            | (None, Outcome::Answered) => None,
        };
        if let Some(code) = code {
            attributes.push(("error.type", code.into()));
        }
        let events = part.handed_over.map(|at| Event { at_ns: self.ns(at), name: "runlet.worker.began" });
        Span {
            place,
            name: name.into(),
            kind: if known.asks.is_some() { Kind::Client } else { Kind::Internal },
            began_ns: self.ns(part.began),
            ended_ns: self.ns(part.ended),
            attributes,
            events: events.into_iter().collect(),
            error,
        }
    }

    fn common(&self) -> Vec<(&'static str, Value)> {
        let mut attributes = Vec::with_capacity(12);
        attributes.push(("runlet.run.id", self.run.to_string().into()));
        attributes.push(("runlet.workflow.name", self.definition.name.clone().into()));
        attributes.push(("runlet.workflow.version", self.definition.version.clone().into()));
        attributes
    }

    fn tells_more(&self) -> String {
        format!("`runlet inspect {}` tells more", self.run)
    }

    fn ns(&self, time: Time) -> u64 {
        self.clock.unix_ns(time)
    }
}

impl Part {
    fn of(span: &trace::Span, run_ended: Time) -> Self {
        let (ended, outcome) = match &span.ended {
            Some((at, outcome)) => (*at, Outcome::of(outcome)),
            None => (run_ended, Outcome::GivenUp),
        };
        Self {
            id: span.id,
            block: span.block,
            attempt: span.attempt,
            is_call: span.call.is_some(),
            began: span.began,
            handed_over: span.handed_over,
            ended,
            outcome,
            facts: span.facts.clone(),
        }
    }
}

impl Outcome {
    const fn of(outcome: &TraceOutcome) -> Self {
        match outcome {
            TraceOutcome::Completed => Self::Completed,
            TraceOutcome::Skipped => Self::Skipped,
            TraceOutcome::Answered(_) => Self::Answered,
            TraceOutcome::Failed(_) => Self::Failed,
            TraceOutcome::GivenUp => Self::GivenUp,
            TraceOutcome::Stopped(_) => Self::Stopped,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::GivenUp => "given-up",
            Self::Stopped => "stopped",
        }
    }
}

/// Notes whom a call asks; the span's name.
fn asked(asks: &Asked, attributes: &mut Vec<(&'static str, Value)>) -> String {
    let method = known_method(&asks.method);
    attributes.push(("http.request.method", method.into()));
    attributes.push(("server.address", asks.address.to_string().into()));
    attributes.push(("server.port", asks.port.into()));
    method_name(method)
}

/// The method of what is none of the well-known ones (HTTP semantic conventions): their number is to be small.
const OTHER: &str = "_OTHER";

fn known_method(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or(OTHER)
}

/// A method as the name of a span has it.
fn method_name(method: &str) -> String {
    if method == OTHER { "HTTP".to_owned() } else { method.to_owned() }
}

const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Light => "light",
        Lane::Heavy => "heavy",
    }
}

/// Which hook of a definition has this path.
fn hook_at(definition: &Definition, path: &str) -> Option<usize> {
    if hooks(definition).count() == 1 {
        // The only one it can be, even if its path was written otherwise.
        return Some(0);
    }
    let path = path.strip_prefix("/hook/").unwrap_or(path);
    let matches = |pattern: &str| {
        let all =
            path.split('/').zip(pattern.split('/')).all(|(asked, named)| named.starts_with(':') || asked == named);
        all && path.split('/').count() == pattern.split('/').count()
    };
    hooks(definition).position(|hook| matches(&hook.path))
}

/// What the hook's client was answered.
fn status(run: &WorkflowControlBlock<Payload>, respond: Respond) -> u16 {
    if respond == Respond::AtOnce {
        return 202;
    }
    let replied = run.blocks.iter().rev().find_map(|block| match &block.output {
        Some(Payload::Reply(reply)) => Some(reply.status),
        Some(Payload::Json(_) | Payload::Hook(_)) | None => None,
    });
    let class = run.error.as_deref().map(|error| error.failure.class);
    replied.unwrap_or(match (run.state, class) {
        (RunState::Completed, _) => 200,
        (RunState::Stopped, _) | (_, Some(FailureClass::Stopped)) => 503,
        (_, Some(FailureClass::Upstream)) => 502,
        (_, Some(FailureClass::Timeout)) => 504,
        (_, Some(FailureClass::Workflow) | None) => 500,
    })
}
