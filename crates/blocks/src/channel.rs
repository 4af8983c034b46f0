//! `send` and `receive`: messages of channels.

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_proto::memory::{Acknowledge, Message, ReceiveCall, SendCall};
use runlet_workflow::block::receive::{self, Receive};
use runlet_workflow::block::send::Send;
use runlet_workflow::template::Scope;
use serde_json::{Value, json};

use crate::memory::ms;
use crate::output::Output;
use crate::template;

/// The call of a `send`.
pub(crate) fn send(config: &Send, input: &Output, scope: Option<&Scope>) -> Result<SendCall, Failure> {
    let message = match &config.message {
        Some(message) => Bytes::from(template::json(message, scope, "message")?.to_string()),
        None => input.to_json_text(),
    };
    Ok(SendCall { channel: template::text(&config.channel, scope, "channel")?, message })
}

/// The output of a `send`.
pub(crate) fn sent(channel: &str, id: u64) -> Output {
    Output::json(json!({ "channel": channel, "id": id }))
}

/// The call of a `receive`, and what the output is if no message comes in time.
pub(crate) fn receive(config: &Receive, scope: Option<&Scope>) -> Result<(ReceiveCall, Option<Value>), Failure> {
    let default = config.default.as_ref().map(|default| template::json(default, scope, "default")).transpose()?;
    let channel = template::text(&config.channel, scope, "channel")?;
    Ok((receive_of(config, channel), default.map(std::borrow::Cow::into_owned)))
}

/// The call of a `receive` from this channel.
pub(crate) fn receive_of(config: &Receive, channel: String) -> ReceiveCall {
    ReceiveCall {
        channel,
        timeout_ms: config.timeout.map(ms),
        acknowledge: match config.acknowledge {
            receive::Acknowledge::Block => Acknowledge::Block,
            receive::Acknowledge::Run => Acknowledge::Run,
        },
        deliveries_max: config.deliveries_max,
    }
}

/// The output of a `receive`.
pub(crate) fn received(config: &Receive, message: &Message) -> Result<Output, Failure> {
    let Message { id, body, sent_at_ms, deliveries } = message;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::workflow("receive", format!("message {id} is no JSON: {error}")))?;
    if !config.detail {
        return Ok(Output::json(body));
    }
    Ok(Output::json(json!({ "id": id, "message": body, "sentAtMs": sent_at_ms, "deliveries": deliveries })))
}
