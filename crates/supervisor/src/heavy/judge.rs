//! What a worker may call for: what the block it executes could have called for, and nothing else.
//!
//! A worker that was taken over by a page it parsed must not be able to reach what the definition's author did not choose.

use runlet_blocks::{CallId, allowed_call};
use runlet_proto::call::Call;
use runlet_proto::ids::BlockIndex;
use runlet_workflow::Definition;

use crate::limits::CALLS_AT_ONCE_MAX;

/// The calls, as far as they are the block's; or what is wrong with them.
pub(super) fn calls(
    definition: &Definition,
    block: BlockIndex,
    calls: Vec<(u32, Call)>,
) -> Result<Vec<(CallId, Call)>, String> {
    if calls.len() > CALLS_AT_ONCE_MAX {
        return Err(format!("it made {} calls at once", calls.len()));
    }
    let judge = |(id, call)| {
        let call = allowed_call(definition, block, call).ok_or("it made a call that its block does not make")?;
        Ok((CallId(id), call))
    };
    calls.into_iter().map(judge).collect()
}
