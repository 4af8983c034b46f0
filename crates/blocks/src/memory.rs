//! `memory`: an operation on shared memory.

use std::time::Duration;

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_proto::memory::{Item, LockWish, MemoryCall, MemoryOp, MemoryReply};
use runlet_workflow::block::memory::{Lock, Memory, Op, Write};
use runlet_workflow::template::{JsonTemplate, Scope};
use serde_json::{Value, json};

use crate::output::Output;
use crate::template;

/// The call, and what the output is if there is no such key.
pub(crate) fn call(config: &Memory, input: &Output, scope: Option<&Scope>) -> Result<(MemoryCall, Value), Failure> {
    let (op, default) = op(&config.op, input, scope)?;
    Ok((MemoryCall { namespace: config.namespace.clone(), op, lock: config.lock.map(wish) }, default))
}

/// The call as the block can have made it: namespace, operation, times and lock are those of the definition.
pub(crate) fn restricted(config: &Memory, call: MemoryCall) -> Option<MemoryCall> {
    let op = match (&config.op, call.op) {
        (Op::Get { .. }, MemoryOp::Get { key }) => MemoryOp::Get { key },
        (Op::Take { .. }, MemoryOp::Take { key }) => MemoryOp::Take { key },
        (Op::Delete { .. }, MemoryOp::Delete { key }) => MemoryOp::Delete { key },
        (Op::Set(write), MemoryOp::Set { key, value, .. }) => MemoryOp::Set { key, value, ttl_ms: ttl_ms(write) },
        (Op::Add(write), MemoryOp::Add { key, value, .. }) => MemoryOp::Add { key, value, ttl_ms: ttl_ms(write) },
        (Op::Append(write), MemoryOp::Append { key, value, .. }) => {
            MemoryOp::Append { key, value, ttl_ms: ttl_ms(write) }
        }
        (Op::CompareAndSet { write, .. }, MemoryOp::CompareAndSet { key, version, value, .. }) => {
            MemoryOp::CompareAndSet { key, version, value, ttl_ms: ttl_ms(write) }
        }
        (Op::List { limit, .. }, MemoryOp::List { prefix, after, .. }) => {
            MemoryOp::List { prefix, after, limit: *limit }
        }
        (Op::Watch { timeout, .. }, MemoryOp::Watch { key, version, .. }) => {
            MemoryOp::Watch { key, version, timeout_ms: ms(*timeout) }
        }
        (Op::Unlock, MemoryOp::Unlock) => MemoryOp::Unlock,
        (_, _) => return None,
    };
    Some(MemoryCall { namespace: config.namespace.clone(), op, lock: config.lock.map(wish) })
}

fn op(op: &Op, input: &Output, scope: Option<&Scope>) -> Result<(MemoryOp, Value), Failure> {
    let key = |key| template::text(key, scope, "key");
    let op = match op {
        Op::Get { key: name, default } => return Ok((MemoryOp::Get { key: key(name)? }, rendered(default, scope)?)),
        Op::Take { key: name, default } => return Ok((MemoryOp::Take { key: key(name)? }, rendered(default, scope)?)),
        Op::Set(write) => {
            let (key, value, ttl_ms) = written(write, || input.to_json_text(), scope)?;
            MemoryOp::Set { key, value, ttl_ms }
        }
        Op::Add(write) => {
            let (key, value, ttl_ms) = written(write, || Bytes::from_static(b"1"), scope)?;
            MemoryOp::Add { key, value, ttl_ms }
        }
        Op::Append(write) => {
            let (key, value, ttl_ms) = written(write, || input.to_json_text(), scope)?;
            MemoryOp::Append { key, value, ttl_ms }
        }
        Op::CompareAndSet { write, version } => {
            let version = self::version(version, scope)?;
            let (key, value, ttl_ms) = written(write, || input.to_json_text(), scope)?;
            MemoryOp::CompareAndSet { key, version, value, ttl_ms }
        }
        Op::Delete { key: name } => MemoryOp::Delete { key: key(name)? },
        Op::List { prefix, after, limit } => MemoryOp::List {
            prefix: prefix
                .as_ref()
                .map(|prefix| template::text(prefix, scope, "prefix"))
                .transpose()?
                .unwrap_or_default(),
            after: after.as_ref().map(|after| template::text(after, scope, "after")).transpose()?,
            limit: *limit,
        },
        Op::Watch { key: name, version, timeout } => MemoryOp::Watch {
            key: key(name)?,
            version: version.as_ref().map(|version| self::version(version, scope)).transpose()?.unwrap_or(0),
            timeout_ms: ms(*timeout),
        },
        Op::Unlock => MemoryOp::Unlock,
    };
    Ok((op, Value::Null))
}

fn rendered(default: &Option<JsonTemplate>, scope: Option<&Scope>) -> Result<Value, Failure> {
    match default {
        Some(default) => Ok(template::json(default, scope, "default")?.into_owned()),
        None => Ok(Value::Null),
    }
}

fn written(
    write: &Write,
    otherwise: impl FnOnce() -> Bytes,
    scope: Option<&Scope>,
) -> Result<(String, Bytes, Option<u64>), Failure> {
    let value = match &write.value {
        Some(value) => Bytes::from(template::json(value, scope, "value")?.to_string()),
        None => otherwise(),
    };
    Ok((template::text(&write.key, scope, "key")?, value, ttl_ms(write)))
}

fn version(version: &JsonTemplate, scope: Option<&Scope>) -> Result<u64, Failure> {
    let value = template::json(version, scope, "version")?;
    // Of a key that is not there, `detail` tells nothing.
    let version = if value.is_null() { Some(0) } else { value.as_u64() };
    version.ok_or_else(|| Failure::workflow("bad-value", format!("`version`: expected a whole number, found {value}")))
}

fn wish(lock: Lock) -> LockWish {
    LockWish { ttl_ms: ms(lock.ttl), timeout_ms: ms(lock.timeout) }
}

fn ttl_ms(write: &Write) -> Option<u64> {
    write.ttl.map(ms)
}

/// Milliseconds; what is shorter than one is one.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The output.
pub(crate) fn finish(config: &Memory, default: Value, reply: MemoryReply) -> Result<Output, Failure> {
    Ok(match reply {
        MemoryReply::Value(None) => Output::json(default),
        MemoryReply::Value(Some(item)) if config.detail => Output::json(detail(&item)?),
        MemoryReply::Value(Some(item)) => Output::json(value_of(&item.key, &item.value)?),
        MemoryReply::Items { items, .. } => {
            let listed = |item: &Item| {
                let value = value_of(&item.key, &item.value)?;
                Ok(json!({ "key": item.key, "value": value, "version": item.version }))
            };
            Output::json(Value::Array(items.iter().map(listed).collect::<Result<_, Failure>>()?))
        }
    })
}

fn detail(item: &Item) -> Result<Value, Failure> {
    let value = value_of(&item.key, &item.value)?;
    Ok(json!({ "key": item.key, "value": value, "version": item.version, "expiresAtMs": item.expires_at_ms }))
}

fn value_of(key: &str, text: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::workflow("memory", format!("what key `{key}` holds is no JSON: {error}")))
}
