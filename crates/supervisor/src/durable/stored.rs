//! Payloads as the journal keeps them.

use std::sync::Arc;

use bytes::Bytes;
use runlet_journal::{Later, Stored};
use runlet_proto::codec;
use serde::Serialize;

use crate::core::Payload;
use crate::limits::CONVERTED_IN_PLACE_BYTES_MAX;

/// A payload for the journal. A request or a reply is within a frame, since it came or goes in one.
pub(super) fn store(payload: &Payload) -> Stored {
    match payload {
        Payload::Json(_) => match payload.heap_bytes() {
            bytes if bytes > CONVERTED_IN_PLACE_BYTES_MAX => {
                let payload = payload.clone();
                Stored::Later(Later::new(bytes, move || Stored::Json(payload.to_json_text())))
            }
            _ => Stored::Json(payload.to_json_text()),
        },
        Payload::Hook(request) => encoded(&**request).map_or(Stored::Nothing, Stored::Hook),
        Payload::Reply(reply) => encoded(&**reply).map_or(Stored::Nothing, Stored::Reply),
    }
}

fn encoded(message: &impl Serialize) -> Option<Bytes> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).ok()?;
    Some(bytes.into())
}

/// A payload of the journal's.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn load(stored: &Stored) -> Result<Payload, String> {
    match stored {
        Stored::Json(text) => json(text),
        Stored::Hook(bytes) => {
            codec::decode(bytes).map(|request| Payload::Hook(Arc::new(request))).map_err(|error| error.to_string())
        }
        Stored::Reply(bytes) => {
            codec::decode(bytes).map(|reply| Payload::Reply(Arc::new(reply))).map_err(|error| error.to_string())
        }
        // Nothing that was read is still to be made.
        Stored::Nothing | Stored::Later(_) => Ok(Payload::json(serde_json::Value::Null)),
    }
}

fn json(text: &Bytes) -> Result<Payload, String> {
    serde_json::from_slice(text).map(Payload::json).map_err(|error| format!("it is no JSON: {error}"))
}
