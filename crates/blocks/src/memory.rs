//! `memory`: renders the operation, and makes an output of the answer.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_proto::memory::{Entry, LockUse, MemoryAnswer, MemoryCall, MemoryOperation};
use runlet_workflow::block::memory::{Lock, Memory, Operation};
use runlet_workflow::template::{JsonTemplate, Scope, TextTemplate};
use serde_json::{Value, json};

use crate::output::Output;
use crate::template;

/// The call, and what stands for an absent value.
pub(crate) fn call(
    config: &Memory,
    input: &Output,
    scope: Option<&Scope>,
) -> Result<(MemoryCall, Option<Value>), Failure> {
    let key = |key: &TextTemplate| match template::text(key, scope, "key")? {
        key if key.is_empty() => Err(Failure::workflow("memory", "`key` is empty")
            .with_help("the template yields an empty string: say what is to stand there, with `default(…)`")),
        key => Ok(key),
    };
    let value = |value: &Option<JsonTemplate>| match value {
        Some(value) => template::json(value, scope, "value").map(|value| Output::text_of(&value)),
        None => Ok(input.to_json_text()),
    };
    let mut stand_in = None;
    let operation = match &config.operation {
        Operation::Get { key: name, default } => {
            let default = default.as_ref().map(|default| template::json(default, scope, "default")).transpose()?;
            stand_in = default.map(Cow::into_owned);
            Some(MemoryOperation::Get { key: key(name)? })
        }
        Operation::Set { key: name, value: written, ttl } => {
            Some(MemoryOperation::Set { key: key(name)?, value: value(written)?, ttl_ms: ttl.map(ms) })
        }
        Operation::Add { key: name, by } => {
            let by = by.as_ref().map(|by| template::json(by, scope, "by")).transpose()?;
            let by = by.map_or_else(|| Ok(Bytes::from_static(b"1")), |by| number(&by, "by").map(Output::text_of))?;
            Some(MemoryOperation::Add { key: key(name)?, by })
        }
        Operation::Append { key: name, value: written } => {
            Some(MemoryOperation::Append { key: key(name)?, value: value(written)? })
        }
        Operation::Take { key: name } => Some(MemoryOperation::Take { key: key(name)? }),
        Operation::CompareAndSet { key: name, version, value: written, ttl } => {
            let version = template::json(version, scope, "version")?;
            let version = number(&version, "version")?.as_u64().ok_or_else(|| {
                Failure::workflow("memory", format!("`version` is {version}, which no version is")).with_help(
                    "it is the `version` of an entry, which `get` yields with \"output\": \"entry\"; 0 if absent",
                )
            })?;
            let (key, value) = (key(name)?, value(written)?);
            Some(MemoryOperation::CompareAndSet { key, version, value, ttl_ms: ttl.map(ms) })
        }
        Operation::Delete { key: name } => Some(MemoryOperation::Delete { key: key(name)? }),
        Operation::List { prefix, after, limit } => {
            let prefix = prefix.as_ref().map(|prefix| template::text(prefix, scope, "prefix")).transpose()?;
            let after = after.as_ref().map(|after| template::text(after, scope, "after")).transpose()?;
            Some(MemoryOperation::List { prefix: prefix.unwrap_or_default(), after, limit: *limit })
        }
        Operation::LockOnly => None,
    };
    Ok((call_of(config, operation), stand_in))
}

fn call_of(config: &Memory, operation: Option<MemoryOperation>) -> MemoryCall {
    let lock = match config.lock {
        Lock::Leave => LockUse::Leave,
        Lock::Hold { ttl } => LockUse::Hold { ttl_ms: ms(ttl) },
        Lock::Release => LockUse::Release,
    };
    MemoryCall { namespace: config.namespace.clone(), operation, lock }
}

/// The call as this block can have made it: where, and what kind of operation. `None` if it does something else.
pub(crate) fn restricted(config: &Memory, call: MemoryCall) -> Option<MemoryCall> {
    let fits = match (&config.operation, &call.operation) {
        (Operation::Get { .. }, Some(MemoryOperation::Get { .. }))
        | (Operation::Set { .. }, Some(MemoryOperation::Set { .. }))
        | (Operation::Add { .. }, Some(MemoryOperation::Add { .. }))
        | (Operation::Append { .. }, Some(MemoryOperation::Append { .. }))
        | (Operation::Take { .. }, Some(MemoryOperation::Take { .. }))
        | (Operation::CompareAndSet { .. }, Some(MemoryOperation::CompareAndSet { .. }))
        | (Operation::Delete { .. }, Some(MemoryOperation::Delete { .. }))
        | (Operation::List { .. }, Some(MemoryOperation::List { .. }))
        | (Operation::LockOnly, None) => true,
        (
            Operation::Get { .. }
            | Operation::Set { .. }
            | Operation::Add { .. }
            | Operation::Append { .. }
            | Operation::Take { .. }
            | Operation::CompareAndSet { .. }
            | Operation::Delete { .. }
            | Operation::List { .. }
            | Operation::LockOnly,
            _,
        ) => false,
    };
    fits.then(|| call_of(config, call.operation))
}

/// The output: the value, or the whole entry; a list of entries for `list`.
pub(crate) fn finish(config: &Memory, answer: Option<MemoryAnswer>, default: Option<Value>) -> Result<Output, Failure> {
    let output = match answer {
        None => Value::Null,
        // What was removed is of no use to whoever comes after.
        Some(MemoryAnswer::Entry(_)) if matches!(config.operation, Operation::Delete { .. }) => Value::Null,
        Some(MemoryAnswer::Entry(None)) if config.whole_entry => {
            json!({ "value": default, "version": 0 })
        }
        Some(MemoryAnswer::Entry(None)) => default.unwrap_or_default(),
        Some(MemoryAnswer::Entry(Some(entry))) if config.whole_entry => whole(&entry)?,
        Some(MemoryAnswer::Entry(Some(entry))) => parsed(&entry.value)?,
        Some(MemoryAnswer::Conflict(now)) => return Err(conflict(config, now.as_ref())),
        Some(MemoryAnswer::Entries { entries, more: _ }) => {
            Value::Array(entries.iter().map(whole).collect::<Result<_, _>>()?)
        }
    };
    Ok(Output::json(output))
}

fn conflict(config: &Memory, now: Option<&Entry>) -> Failure {
    let now =
        now.map_or_else(|| "it is absent now".to_owned(), |entry| format!("its version is {} now", entry.version));
    let message = format!("somebody else wrote the value in `{}` meanwhile: {now}", config.namespace);
    Failure::workflow("conflict", message)
        .with_help("read it again and repeat the change, or hold the namespace's lock from the reading to the writing")
}

fn whole(entry: &Entry) -> Result<Value, Failure> {
    let mut whole = json!({ "key": entry.key, "value": parsed(&entry.value)?, "version": entry.version });
    if let Some(at) = entry.expires_at_ms {
        whole["expiresAt"] = at.into();
    }
    Ok(whole)
}

fn parsed(text: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(text)
        .map_err(|error| Failure::workflow("memory", format!("what the store holds is no JSON: {error}")))
}

fn number<'v>(value: &'v Value, field: &str) -> Result<&'v Value, Failure> {
    if value.is_number() {
        return Ok(value);
    }
    let message = format!("`{field}` is to be a number and is {}", kind(value));
    Err(Failure::workflow("memory", message))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
