//! The script that changes a key, as seen from here: what it is given, and what its answer means.

use runlet_proto::failure::Failure;
use runlet_proto::memory::{MemoryOp, MemoryReply};

use super::memory::unpack;
use crate::failure;
use crate::store::{By, Quota};

/// What the script is to do.
pub(super) struct Write<'a> {
    pub(super) op: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    /// The version it must have, if that matters.
    pub(super) version: u64,
    /// A time to live in milliseconds, empty for none, or `keep`.
    pub(super) ttl: String,
    /// Whether doing it twice leaves something else than doing it once.
    pub(super) has_effect: bool,
}

impl<'a> Write<'a> {
    pub(super) fn new(op: &'a str, key: &'a str, value: &'a [u8]) -> Self {
        Self { op, key, value, version: 0, ttl: String::new(), has_effect: false }
    }

    /// What an operation is for the script; `None` for one that changes no key.
    pub(super) fn of(op: &'a MemoryOp) -> Option<Self> {
        let given = |ttl_ms: Option<u64>| ttl_ms.map_or_else(String::new, |ttl_ms| ttl_ms.to_string());
        let kept = |ttl_ms: Option<u64>| ttl_ms.map_or_else(|| "keep".to_owned(), |ttl_ms| ttl_ms.to_string());
        let write = match op {
            MemoryOp::Set { key, value, ttl_ms } => Self { ttl: given(*ttl_ms), ..Self::new("set", key, value) },
            MemoryOp::CompareAndSet { key, version, value, ttl_ms } => {
                Self { version: *version, ttl: given(*ttl_ms), ..Self::new("cas", key, value) }
            }
            MemoryOp::Append { key, value, ttl_ms } => {
                Self { ttl: kept(*ttl_ms), ..Self::new("append", key, value.trim_ascii()) }
            }
            MemoryOp::Add { key, value, ttl_ms } => {
                Self { ttl: kept(*ttl_ms), ..Self::new("add", key, value.trim_ascii()) }
            }
            MemoryOp::Take { key } => Self::new("take", key, b""),
            MemoryOp::Delete { key } => Self::new("delete", key, b""),
            MemoryOp::Get { .. } | MemoryOp::List { .. } | MemoryOp::Watch { .. } | MemoryOp::Unlock => return None,
        };
        Some(Self { has_effect: op.has_effect(), ..write })
    }

    /// Who does it, with the token only if its answer must be kept.
    pub(super) fn by(&self, by: By) -> By {
        if self.has_effect { by } else { By { token: None, ..by } }
    }
}

/// What the script answered: its first word, and what came after it.
pub(super) struct Written {
    pub(super) word: String,
    pub(super) given: Option<redis::Value>,
}

impl Written {
    pub(super) fn of(answer: redis::Value) -> Self {
        let mut answer = answer.into_sequence().unwrap_or_default().into_iter();
        let word = answer.next().and_then(|word| redis::from_redis_value(word).ok()).unwrap_or_default();
        Self { word, given: answer.next() }
    }

    /// Whether it did nothing and left the sum to who asked; or the sum was computed, and another writer came first.
    pub(super) fn is_to_be_computed(&self, write: &Write<'_>) -> bool {
        self.word == "compute" || (self.word == "conflict" && write.op == "add")
    }

    /// What that means.
    pub(super) fn reply(self, namespace: &str, write: &Write<'_>, quota: &Quota) -> Result<MemoryReply, Failure> {
        let Self { word, given } = self;
        let key = write.key;
        let number = |given: Option<redis::Value>| {
            let number = given.and_then(|given| redis::from_redis_value::<u64>(given).ok());
            number.unwrap_or_default()
        };
        match word.as_str() {
            "ok" | "again" => {
                let packed = packed_of(given).filter(|packed| !packed.is_empty());
                packed.map(|packed| unpack(key, packed)).transpose().map(MemoryReply::Value)
            }
            "conflict" => Err(failure::version_conflict(key, write.version, number(given))),
            "keys" => Err(failure::too_many_keys(namespace, quota.keys_max)),
            "bytes" => Err(failure::too_many_bytes(namespace, number(given), quota.bytes_max)),
            "large" => {
                let bytes = usize::try_from(number(given)).unwrap_or(usize::MAX);
                Err(failure::too_large("value", bytes, quota.value_bytes_max))
            }
            "list" => Err(failure::not_a_list(key)),
            other => Err(failure::internal(format!("a script answered {other}"))),
        }
    }
}

/// A packed value that the server gave.
pub(super) fn packed_of(given: Option<redis::Value>) -> Option<Vec<u8>> {
    given.and_then(|given| redis::from_redis_value::<Option<Vec<u8>>>(given).ok()).flatten()
}
