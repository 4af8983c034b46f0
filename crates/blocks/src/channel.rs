//! `send` and `receive`: messages between runs.

use std::time::Duration;

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_proto::memory::{Acknowledge, Delivery, ReceiveCall, SendCall};
use runlet_workflow::block::receive::{self, Receive};
use runlet_workflow::block::send::{OnFull, Send};
use runlet_workflow::template::Scope;
use serde_json::{Value, json};

use crate::output::Output;
use crate::template;

/// The call of a `send` block.
pub(crate) fn send(config: &Send, input: &Output, scope: Option<&Scope>) -> Result<SendCall, Failure> {
    let message = match &config.message {
        Some(message) => Output::text_of(template::json(message, scope, "message")?.as_ref()),
        None => input.to_json_text(),
    };
    Ok(send_of(config, message))
}

/// The call of a `send` block with this message.
pub(crate) fn send_of(config: &Send, message: Bytes) -> SendCall {
    let ttl_ms = config.ttl.as_ref().map(Duration::as_millis).map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    SendCall { channel: config.channel.clone(), message, ttl_ms, wait: config.on_full == OnFull::Wait }
}

/// The output of a `send` block.
pub(crate) fn sent(config: &Send, id: &str) -> Output {
    Output::json(json!({ "channel": config.channel, "id": id }))
}

/// The call of a `receive` block.
pub(crate) fn receive(config: &Receive) -> ReceiveCall {
    let acknowledge = match config.acknowledge {
        receive::Acknowledge::Block => Acknowledge::Block,
        receive::Acknowledge::Run => Acknowledge::Run,
    };
    ReceiveCall { channel: config.channel.clone(), acknowledge }
}

/// The output of a `receive` block.
pub(crate) fn received(config: &Receive, delivery: &Delivery) -> Result<Output, Failure> {
    let message: Value = serde_json::from_slice(&delivery.message)
        .map_err(|error| Failure::workflow("memory", format!("what the channel held is no JSON: {error}")))?;
    if !config.whole_delivery {
        return Ok(Output::json(message));
    }
    Ok(Output::json(json!({
        "id": delivery.id,
        "message": message,
        "deliveries": delivery.deliveries,
        "sentAt": delivery.sent_at_ms,
    })))
}
