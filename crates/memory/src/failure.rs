//! The failures that both stores tell alike: place, cause and way out.

use std::time::Duration;

use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::RunId;

use crate::limits::KEY_BYTES_MAX;
use crate::name::NAME_PATTERN;

pub(crate) fn bad_name(what: &str, name: &str) -> Failure {
    let shown: String = name.chars().take(80).collect();
    Failure::workflow("bad-name", format!("`{shown}` cannot name a {what}"))
        .with_help(format!("such a name looks like {NAME_PATTERN}"))
}

pub(crate) fn bad_key(key: &str) -> Failure {
    let shown: String = key.chars().take(80).collect();
    Failure::workflow("bad-name", format!("`{}` cannot be a key", shown.escape_debug()))
        .with_help(format!("a key has 1 to {KEY_BYTES_MAX} bytes and no control characters"))
}

pub(crate) fn bad_value(message: impl Into<String>) -> Failure {
    Failure::workflow("bad-value", message)
}

pub(crate) fn too_large(what: &str, bytes: usize, bytes_max: u64) -> Failure {
    Failure::workflow("too-large", format!("the {what} has {bytes} bytes, and may have {bytes_max}"))
        .with_help("store less, or raise `value` under [memory] in the configuration")
}

pub(crate) fn too_many_keys(namespace: &str, keys_max: u64) -> Failure {
    Failure::workflow("quota", format!("namespace `{namespace}` has {keys_max} keys, and may not have more"))
        .with_help("delete some, give them a `ttl`, or raise `keys` under [memory] in the configuration")
}

pub(crate) fn too_many_bytes(namespace: &str, bytes: u64, bytes_max: u64) -> Failure {
    let message = format!("namespace `{namespace}` would have {bytes} bytes, and may have {bytes_max}");
    Failure::workflow("quota", message)
        .with_help("delete some, give them a `ttl`, or raise `bytes` under [memory] in the configuration")
}

pub(crate) fn too_many(what: &str, most: usize) -> Failure {
    Failure::workflow("quota", format!("there are {most} {what}, and may not be more"))
        .with_help("use keys and prefixes inside a few namespaces, and few channels")
}

pub(crate) fn version_conflict(key: &str, wanted: u64, found: u64) -> Failure {
    let say = |version| if version == 0 { "is not there".to_owned() } else { format!("has version {version}") };
    let wanted = if wanted == 0 { "not be there".to_owned() } else { format!("have version {wanted}") };
    let failure = Failure::workflow("version-conflict", format!("key `{key}` should {wanted} and {}", say(found)));
    Failure { retryable: true, ..failure }
        .with_help("read it again with `\"detail\": true`, and try with the version it has")
}

pub(crate) fn not_a_number(key: &str) -> Failure {
    Failure::workflow("not-a-number", format!("key `{key}` holds no number, so nothing can be added to it"))
}

pub(crate) fn overflow(key: &str) -> Failure {
    Failure::workflow("overflow", format!("the sum would be a number that key `{key}` cannot hold"))
        .with_help("integers go from -9223372036854775808 to 18446744073709551615")
}

pub(crate) fn not_a_list(key: &str) -> Failure {
    Failure::workflow("not-a-list", format!("key `{key}` holds no list, so nothing can be appended to it"))
}

pub(crate) fn unchanged(key: &str, timeout: Duration) -> Failure {
    Failure::timeout(format!("key `{key}` did not change within {}", seconds(timeout)))
}

pub(crate) fn nothing_received(channel: &str, timeout: Duration) -> Failure {
    Failure::timeout(format!("no message came through channel `{channel}` within {}", seconds(timeout)))
}

pub(crate) fn lock_timeout(namespace: &str, timeout: Duration, holder: Option<RunId>) -> Failure {
    let holder = holder.map_or_else(String::new, |run| format!("; run {run} has it"));
    let message = format!("the lock of namespace `{namespace}` was not free within {}{holder}", seconds(timeout));
    Failure { code: "lock-timeout".to_owned(), ..Failure::timeout(message) }
        .with_help("a longer `timeout` of the lock waits longer; a shorter `ttl` frees it sooner")
}

pub(crate) fn lock_lost(namespace: &str) -> Failure {
    let message = format!(
        "the time of this run's lock on namespace `{namespace}` had passed, and another run has had the lock since"
    );
    Failure { retryable: true, ..Failure::workflow("lock-lost", message) }
        .with_help("give the lock a longer `ttl`, and check what this run read before it")
}

pub(crate) fn no_lock_for_people() -> Failure {
    bad_value("only a run can have a lock")
}

pub(crate) fn lock_ttl(ttl_ms: u64) -> Failure {
    bad_value(format!("a lock may be kept for 1 ms to an hour, not for {ttl_ms} ms"))
}

pub(crate) fn ttl(ttl_ms: u64) -> Failure {
    bad_value(format!("a key may live for 1 ms to a hundred years, not for {ttl_ms} ms"))
}

pub(crate) fn channel_full(channel: &str, messages: u64, bytes: u64) -> Failure {
    let message =
        format!("channel `{channel}` is full: {messages} messages of together {bytes} bytes wait or are dead");
    Failure { class: FailureClass::Upstream, retryable: true, ..Failure::workflow("channel-full", message) }
        .with_help("let more runs receive, or look at `runlet dead messages`; `messages` under [memory] is the bound")
}

pub(crate) fn busy(key: &str) -> Failure {
    let failure = Failure::workflow("busy", format!("key `{key}` was changed by others each time it was to be"));
    Failure { retryable: true, ..failure }
}

pub(crate) fn internal(message: impl Into<String>) -> Failure {
    Failure::workflow("internal", message)
}

/// A length of time as people read it.
fn seconds(time: Duration) -> String {
    if time.as_millis() < 1_000 { format!("{} ms", time.as_millis()) } else { format!("{} s", time.as_secs_f64()) }
}
