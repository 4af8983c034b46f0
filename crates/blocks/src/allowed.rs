//! What a block may call for. In the light lane a call is made by the block's own code; a worker only says that it was.

use runlet_proto::call::Call;
use runlet_proto::ids::BlockIndex;
use runlet_proto::memory::SendCall;
use runlet_workflow::{BlockConfig, Definition};

use crate::{channel, fetch, memory, workflow};

/// The call as `block` can have made it: what decides what may be reached and at what cost comes from the definition,
/// whatever `call` says. `None` for a call that the block never makes.
#[must_use]
pub fn allowed_call(definition: &Definition, block: BlockIndex, call: Call) -> Option<Call> {
    match (&definition.blocks.get(block.as_usize())?.config, call) {
        (BlockConfig::Fetch(config), Call::Fetch(call)) => {
            Some(Call::Fetch(fetch::restricted(config, definition, call)))
        }
        (BlockConfig::Workflow(config), Call::Workflow(call)) => {
            Some(Call::Workflow(workflow::call_of(config, call.input)))
        }
        (BlockConfig::Memory(config), Call::Memory(call)) => memory::restricted(config, call).map(Call::Memory),
        (BlockConfig::Send(config), Call::Send(call)) => {
            let channel = config.channel.literal().map_or(call.channel, str::to_owned);
            Some(Call::Send(SendCall { channel, ..call }))
        }
        (BlockConfig::Receive(config), Call::Receive(call)) => {
            let channel = config.channel.literal().map_or(call.channel, str::to_owned);
            Some(Call::Receive(channel::receive_of(config, channel)))
        }
        (_, Call::Fetch(_) | Call::Workflow(_) | Call::Memory(_) | Call::Send(_) | Call::Receive(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_proto::call::WorkflowCall;

    use super::*;

    #[test]
    fn which_workflow_is_run_stands_in_the_definition() {
        let text = r#"[{ "type": "workflow", "parameter": { "name": "mine" } }, { "type": "transform", "parameter": { "jq": "." } }]"#;
        let definition = runlet_workflow::parse("x.json", text).unwrap();
        let call = Call::Workflow(WorkflowCall { workflow: "theirs".into(), input: "7".into(), wait: false });
        let allowed = WorkflowCall { workflow: "mine".into(), input: "7".into(), wait: true };
        assert_eq!(allowed_call(&definition, BlockIndex(0), call.clone()), Some(Call::Workflow(allowed)));
        assert_eq!(allowed_call(&definition, BlockIndex(1), call.clone()), None);
        assert_eq!(allowed_call(&definition, BlockIndex(2), call), None);
    }
}
