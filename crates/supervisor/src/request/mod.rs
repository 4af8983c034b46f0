//! Requests of the control socket: one file a group of verbs, this file only the match.

mod deploy;
mod look;
mod memory;
mod signal;
pub(crate) mod start;

pub(crate) use look::unknown_run;

use runlet_proto::control::{RefusalKind, Reply, Request};
use runlet_proto::failure::FailureClass;
use runlet_proto::hook::{HookAnswer, HookFailure};
use runlet_proto::ids::RunId;
use runlet_proto::state::BlockStatus;

use crate::core::{Core, Pending};
use crate::durable::Asked;
use crate::limits::PENDING_PER_CONNECTION_MAX;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::RequestId;

impl Core {
    /// Carries a request out, or refuses it.
    pub(crate) fn request(&mut self, from: RequestId, request: Request) {
        if let Some(overload) = self.overload(from, &request) {
            return self.refuse(from, refusal(RefusalKind::Overloaded, overload).with_help("try again later"));
        }
        match request {
            Request::Deploy(source) => self.deploy(from, source),
            Request::Remove { workflow } => self.remove(from, &workflow),
            Request::Workflows => self.workflows(from),
            Request::Start(start) => self.start(from, &start),
            Request::Hook(hook) => self.hook(from, hook),
            Request::Abandon { id } => self.abandon(RequestId { id, ..from }),
            Request::Runs(filter) => self.list_runs(from, &filter),
            Request::Inspect { run } => self.inspect(from, &run),
            Request::Logs { run, follow } => self.logs(from, &run, follow),
            Request::Signal { run, signal } => self.signal(from, &run, signal),
            Request::WatchRoutes => self.watch_routes(from),
            Request::Status => self.status(from),
            Request::Source { workflow } => self.source(from, &workflow),
            Request::Trace { run, follow } => self.trace_of(from, &run, follow),
            Request::History(filter) => self.ask_past(from, Asked::History(filter)),
            Request::Collect => self.collect(from),
            Request::Retry(retry) => self.retry(from, retry),
            Request::Metrics => self.tell_metrics(from),
            Request::Memory(question) => self.memory(from, question),
            Request::WatchMemory(watch) => self.watch_memory(from, watch),
            Request::Overdue { id, after_ms } => self.overdue(RequestId { id, ..from }, after_ms),
        }
    }

    fn overload(&self, from: RequestId, request: &Request) -> Option<&'static str> {
        let pending = self.connections.get(&from.connection).map(|connection| &connection.pending)?;
        let is_about_another = matches!(request, Request::Abandon { .. } | Request::Overdue { .. });
        if pending.contains_key(&from.id) && !is_about_another {
            return Some("the request's id is in use on this connection");
        }
        (pending.len() >= PENDING_PER_CONNECTION_MAX).then_some("too many requests of this connection are unanswered")
    }

    fn abandon(&mut self, request: RequestId) {
        let connection = self.connections.get_mut(&request.connection);
        if let Some(pending) = connection.and_then(|connection| connection.pending.remove(&request.id)) {
            self.give_up(request, pending);
        }
    }

    /// A hook's client has waited long enough: it is told what its run is doing.
    fn overdue(&mut self, request: RequestId, after_ms: u64) {
        let connection = self.connections.get(&request.connection);
        let Some(Pending::Hook(run)) = connection.and_then(|connection| connection.pending.get(&request.id)) else {
            // Its answer is on the way, or nobody waits for one.
            return;
        };
        let answer = HookAnswer::Failed(self.no_reply(*run, after_ms));
        self.send(request, Reply::Hook(answer));
        self.abandon(request);
    }

    fn no_reply(&self, run: RunId, after_ms: u64) -> HookFailure {
        let control_block = self.kernel.run(run);
        let block = control_block.and_then(|run| run.blocks.iter().find(|block| block.status == BlockStatus::Running));
        let state = match control_block.map(|run| (run.state, run.blocked_on(self.clock.now()))) {
            Some((state, Some(on))) => format!("; it is {state} on {on}"),
            Some((state, None)) => format!("; it is {state}"),
            None => String::new(),
        };
        HookFailure {
            run,
            class: FailureClass::Timeout,
            block: block.map(|block| block.id.to_string()),
            attempt: block.map_or(0, |block| block.attempt.0),
            code: "no-reply-in-time".to_owned(),
            message: format!("the run gave no reply within {after_ms} ms{state}"),
        }
    }
}
