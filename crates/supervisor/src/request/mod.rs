//! Requests of the control socket: one file a group of verbs, this file only the match.

mod deploy;
mod look;
mod signal;
mod start;

use runlet_proto::control::{RefusalKind, Request};

use crate::core::Core;
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
            Request::Deploy(source) => self.deploy(from, &source),
            Request::Remove { workflow } => self.remove(from, &workflow),
            Request::Workflows => self.workflows(from),
            Request::Start(start) => self.start(from, &start),
            Request::Hook(hook) => self.hook(from, hook),
            Request::Abandon { id } => self.abandon(RequestId { id, ..from }),
            Request::Runs { all } => self.list_runs(from, all),
            Request::Inspect { run } => self.inspect(from, &run),
            Request::Logs { run, follow } => self.logs(from, &run, follow),
            Request::Signal { run, signal } => self.signal(from, &run, signal),
            Request::WatchRoutes => self.watch_routes(from),
            Request::Status => self.status(from),
        }
    }

    fn overload(&self, from: RequestId, request: &Request) -> Option<&'static str> {
        let pending = self.connections.get(&from.connection).map(|connection| &connection.pending)?;
        if pending.contains_key(&from.id) && !matches!(request, Request::Abandon { .. }) {
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
}
