//! What both stores refuse before anything is done.

use std::time::Duration;

use runlet_proto::failure::Failure;
use runlet_proto::memory::{LockWish, MemoryCall, MemoryOp, ReceiveCall, SendCall};

use crate::limits::{KEY_BYTES_MAX, LOCK_TTL_MAX, TTL_MAX};
use crate::name::is_name;
use crate::store::{By, Quota};
use crate::{failure, value};

/// An operation on a namespace.
pub(crate) fn memory(call: &MemoryCall, by: By, quota: &Quota) -> Result<(), Failure> {
    namespace(&call.namespace)?;
    if let Some(LockWish { ttl_ms, .. }) = call.lock {
        by.run.ok_or_else(failure::no_lock_for_people)?;
        if !within(ttl_ms, LOCK_TTL_MAX) {
            return Err(failure::lock_ttl(ttl_ms));
        }
    }
    match &call.op {
        MemoryOp::Get { key } | MemoryOp::Delete { key } | MemoryOp::Take { key } | MemoryOp::Watch { key, .. } => {
            check_key(key)
        }
        MemoryOp::Set { key, value, ttl_ms }
        | MemoryOp::CompareAndSet { key, value, ttl_ms, .. }
        | MemoryOp::Add { key, value, ttl_ms }
        | MemoryOp::Append { key, value, ttl_ms } => {
            check_key(key)?;
            if let Some(ttl_ms) = ttl_ms.filter(|ttl_ms| !within(*ttl_ms, TTL_MAX)) {
                return Err(failure::ttl(ttl_ms));
            }
            value::check("value", value, quota.value_bytes_max)?;
            // Only what is a number may be added, whatever the key holds.
            if let MemoryOp::Add { .. } = call.op { value::add(key, None, value).map(drop) } else { Ok(()) }
        }
        MemoryOp::List { prefix, after, .. } => {
            if !prefix.is_empty() {
                check_key(prefix)?;
            }
            after.as_deref().map_or(Ok(()), check_key)
        }
        MemoryOp::Unlock => Ok(()),
    }
}

/// A message to be sent.
pub(crate) fn send(call: &SendCall, quota: &Quota) -> Result<(), Failure> {
    channel(&call.channel)?;
    value::check("message", &call.message, quota.value_bytes_max)
}

/// A message that is wanted.
pub(crate) fn receive(call: &ReceiveCall, by: By) -> Result<(), Failure> {
    channel(&call.channel)?;
    by.run
        .map(drop)
        .ok_or_else(|| failure::bad_value("only a run can receive; people look with `runlet channel peek`"))?;
    if call.deliveries_max == 0 {
        return Err(failure::bad_value("a message is delivered at least once"));
    }
    Ok(())
}

/// An operation of somebody who does not wait.
pub(crate) fn looked(call: &MemoryCall) -> Result<(), Failure> {
    let watches = matches!(call.op, MemoryOp::Watch { .. });
    if watches { Err(failure::bad_value("`runlet memory watch` tells of changes")) } else { Ok(()) }
}

/// The name of a namespace.
pub(crate) fn namespace(name: &str) -> Result<(), Failure> {
    is_name(name).then_some(()).ok_or_else(|| failure::bad_name("namespace", name))
}

/// The name of a channel.
pub(crate) fn channel(name: &str) -> Result<(), Failure> {
    is_name(name).then_some(()).ok_or_else(|| failure::bad_name("channel", name))
}

fn check_key(key: &str) -> Result<(), Failure> {
    let good = !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.chars().any(char::is_control);
    good.then_some(()).ok_or_else(|| failure::bad_key(key))
}

fn within(ms: u64, longest: Duration) -> bool {
    ms > 0 && u128::from(ms) <= longest.as_millis()
}
