//! What flows between blocks.

use std::sync::Arc;

use runlet_proto::hook::{HookRequest, HttpReply};
use serde_json::Value;

/// The output of a block, the input of a run. Cheap to clone; JSON is made of the special forms only when somebody
/// looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A JSON value.
    Json(Arc<Value>),
    /// The request that started the run: output of the `hook` block.
    Hook(Arc<HookRequest>),
    /// The reply of a `response` block.
    Reply(Arc<HttpReply>),
}
