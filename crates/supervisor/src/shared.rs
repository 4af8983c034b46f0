//! `memory`, `send` and `receive` blocks: what they ask of the store.

use runlet_blocks::CallId;
use runlet_proto::call::{Answer, Call};
use runlet_proto::failure::Failure;

use crate::core::Core;
use crate::durable::OnDisk;
use crate::execute::Started;
use crate::inbound::AttemptId;

impl Core {
    /// Does what a block asks of the store.
    pub(crate) fn share(&mut self, _attempt: AttemptId, _id: CallId, _call: Call, _intent: Option<OnDisk>) -> Started {
        Started::Answered(Answer::Failed(Failure::workflow("internal", "no store")))
    }
}
