//! Hooks: the routes the gateway serves, the request it passes on, and the reply it sends back.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::failure::FailureClass;
use crate::ids::RunId;

/// All hooks of all deployed workflows. The gateway replaces its table by each newer generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with every change of the table within one supervisor's life.
    pub generation: u64,
    /// The routes, no two of which match the same path.
    pub routes: Vec<Route>,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Path below `/hook/`, without a leading slash; a `:name` segment is a parameter: `shop/:id`.
    pub path: String,
    /// Allowed methods in upper case; empty means any.
    pub methods: Vec<String>,
    /// The workflow a request starts.
    pub workflow: String,
    /// When the client gets its answer.
    pub respond: Respond,
    /// Longest request body in bytes; a longer one is answered 413 before it is read whole.
    pub body_bytes_max: u64,
    /// How long the gateway waits for a reply before it answers 504, in milliseconds.
    pub timeout_ms: u64,
    /// What happens to the run when the client goes away before the reply.
    pub on_disconnect: OnDisconnect,
}

/// When a hook's client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Respond {
    /// With the workflow's `response` block, or when the run ends.
    WhenDone,
    /// At once, `202` with the run's id.
    AtOnce,
}

/// What becomes of a run whose client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDisconnect {
    /// It is stopped: nobody waits for its answer.
    Stop,
    /// It goes on to its end.
    Continue,
}

/// One HTTP request to a hook, as the gateway read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRequest {
    /// The workflow of the matched route.
    pub workflow: String,
    /// [`Route::respond`] of the matched route.
    pub respond: Respond,
    /// Upper-case method.
    pub method: String,
    /// Path of the URL as received, with `/hook/`.
    pub path: String,
    /// Parameters from the path, percent-decoded, in route order.
    pub params: Vec<(String, String)>,
    /// The query string as received, without `?`.
    pub query: String,
    /// Header fields in the order received; names in lower case, values that are not UTF-8 replaced lossily.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`Route::body_bytes_max`] bytes.
    pub body: Bytes,
}

/// What the gateway writes back to the hook's client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpReply {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Header fields in order; names in lower case. `content-length` and hop-by-hop fields are never among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// How a hook's request was answered by the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookAnswer {
    /// A `response` block answered, or the run completed and its output is the body (200, `application/json`).
    Reply(Arc<HttpReply>),
    /// The run was accepted and goes on: 202.
    Accepted(RunId),
    /// The run ended without a reply.
    Failed(HookFailure),
}

/// Why a run gave no reply; the gateway makes an RFC 9457 problem of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFailure {
    /// The run.
    pub run: RunId,
    /// What sort of failure it was; decides the HTTP status.
    pub class: FailureClass,
    /// The block that failed, if one did.
    pub block: Option<String>,
    /// The failed attempt, from 1; 0 when no block failed.
    pub attempt: u32,
    /// Short, stable name of the cause ([`Failure::code`](crate::failure::Failure::code)).
    pub code: String,
    /// The cause, one sentence for people.
    pub message: String,
}
