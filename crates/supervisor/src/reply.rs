//! Sends replies, and makes the refusals.

use runlet_proto::codec::EncodeError;
use runlet_proto::control::{Diagnostic, Refusal, RefusalKind, Reply, ServerMessage};

use crate::core::{Core, Pending};
use crate::run_record::RequestId;

impl Core {
    /// Queues a reply for its client; one that is gone gets none. A reply too large for a frame becomes a refusal.
    pub(crate) fn send(&self, to: RequestId, reply: Reply) {
        let Some(reply) = self.durable.hold(to, reply) else { return };
        let Some(connection) = self.connections.get(&to.connection) else { return };
        if let Err(error) = connection.outbox.push(&ServerMessage { id: to.id, reply }) {
            let refusal = too_large(&error);
            if let Err(error) = connection.outbox.push(&ServerMessage { id: to.id, reply: Reply::Refused(refusal) }) {
                tracing::error!(%error, "a refusal could not be encoded");
            }
        }
    }

    /// Refuses a request.
    pub(crate) fn refuse(&self, to: RequestId, refusal: Refusal) {
        self.send(to, Reply::Refused(refusal));
    }

    /// Notes that a request has further replies to come.
    pub(crate) fn expect_reply(&mut self, request: RequestId, pending: Pending) {
        if let Some(connection) = self.connections.get_mut(&request.connection) {
            connection.pending.insert(request.id, pending);
        }
    }

    /// Notes that a request has had its last reply.
    pub(crate) fn forget_pending(&mut self, request: RequestId) {
        if let Some(connection) = self.connections.get_mut(&request.connection) {
            connection.pending.remove(&request.id);
        }
    }
}

/// The refusal of a reply that does not fit into a frame.
pub(crate) fn too_large(error: &EncodeError) -> Refusal {
    refusal(RefusalKind::Protocol, format!("the reply cannot be sent: {error}"))
        .with_help("make the run's output smaller; one reply may have 16 MiB")
}

/// A refusal without a way out.
pub(crate) fn refusal(kind: RefusalKind, message: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into(), help: None, diagnostics: Vec::new() }
}

/// Builds on a refusal.
pub(crate) trait RefusalExt {
    /// The same refusal with a way out named.
    fn with_help(self, help: impl Into<String>) -> Self;
}

impl RefusalExt for Refusal {
    fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The refusal of a definition with everything that is wrong with it.
pub(crate) fn invalid(file: &str, diagnostics: Vec<runlet_workflow::Diagnostic>) -> Refusal {
    let count = diagnostics.len();
    let message = format!("{file} is not a valid workflow: {count} finding{}", if count == 1 { "" } else { "s" });
    Refusal { diagnostics: diagnostics.into_iter().map(diagnostic).collect(), ..refusal(RefusalKind::Invalid, message) }
}

fn diagnostic(found: runlet_workflow::Diagnostic) -> Diagnostic {
    Diagnostic {
        code: found.code.to_owned(),
        message: found.message,
        help: found.help,
        file: found.file,
        line: found.line,
        column: found.column,
        path: found.path,
        offset: found.offset as u64,
        length: found.length as u64,
    }
}
