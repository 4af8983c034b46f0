//! One namespace: keys with their versions and times to live, and its lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use runlet_journal::MemoryChange as Stored;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{Item, MemoryChange, MemoryOp, MemoryReply};
use tokio::sync::{Notify, broadcast};

use super::line::Line;
use crate::limits::{EXPIRED_AT_ONCE, LIST_BYTES_MAX, LIST_ITEMS_MAX, WATCH_VALUE_BYTES_MAX};
use crate::store::Quota;
use crate::{failure, value};

/// A namespace.
#[derive(Debug, Default)]
pub(super) struct Space {
    keys: BTreeMap<String, Held>,
    /// The highest version there ever was.
    pub(super) version: u64,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
    /// The keys that expire, by when.
    expiries: BTreeSet<(u64, String)>,
    pub(super) lock: Lock,
    /// Who is told of a change of one key.
    pub(super) watched: HashMap<String, Arc<Notify>>,
    /// Who is told of all changes.
    pub(super) changes: Option<broadcast::Sender<MemoryChange>>,
}

/// What a key holds.
#[derive(Debug, Clone)]
struct Held {
    value: Bytes,
    version: u64,
    expires_at_ms: Option<u64>,
}

/// The lock of a namespace.
#[derive(Debug, Default)]
pub(super) struct Lock {
    /// The run that has it, and until when, in milliseconds since the Unix epoch.
    pub(super) holder: Option<(RunId, u64)>,
    /// Runs that had it until its time was over, and that another came after.
    pub(super) lost: HashSet<RunId>,
    pub(super) line: Line,
}

/// What an operation works with, beside its namespace.
pub(super) struct Scene<'a> {
    pub(super) namespace: &'a str,
    pub(super) now_ms: u64,
    pub(super) quota: &'a Quota,
    /// What the journal is to keep.
    pub(super) stored: &'a mut Vec<Stored>,
}

impl Space {
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was ever in it, and nobody has its lock, waits for it or watches it.
    pub(super) fn is_unused(&self) -> bool {
        let Lock { holder, lost, line } = &self.lock;
        let is_watched = self.changes.as_ref().is_some_and(|changes| changes.receiver_count() > 0);
        let is_locked = holder.is_some() || !lost.is_empty() || line.len() > 0;
        self.version == 0 && self.keys.is_empty() && self.watched.is_empty() && !is_locked && !is_watched
    }

    /// Takes up a key as it was stored.
    pub(super) fn restore(&mut self, key: String, value: Bytes, version: u64, expires_at_ms: Option<u64>) {
        self.version = self.version.max(version);
        self.bytes += (key.len() + value.len()) as u64;
        if let Some(at_ms) = expires_at_ms {
            self.expiries.insert((at_ms, key.clone()));
        }
        self.keys.insert(key, Held { value, version, expires_at_ms });
    }

    /// The version of a key; 0 if it is not there.
    pub(super) fn version_of(&self, key: &str, now_ms: u64) -> u64 {
        self.live(key, now_ms).map_or(0, |held| held.version)
    }

    /// When the next key expires, in milliseconds since the Unix epoch.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiries.first().map(|(at_ms, _)| *at_ms)
    }

    /// Removes keys whose time is over, at most [`EXPIRED_AT_ONCE`].
    pub(super) fn expire(&mut self, scene: &mut Scene<'_>) {
        for _ in 0..EXPIRED_AT_ONCE {
            match self.expiries.first() {
                Some((at_ms, _)) if *at_ms <= scene.now_ms => {}
                Some(_) | None => return,
            }
            let Some((_, key)) = self.expiries.pop_first() else { return };
            if let Some(held) = self.keys.remove(&key) {
                self.bytes -= (key.len() + held.value.len()) as u64;
                scene.stored.push(Stored::Removed {
                    namespace: scene.namespace.to_owned(),
                    key,
                    version: self.version,
                });
            }
        }
    }

    /// Does an operation; what waits is not for here.
    pub(super) fn perform(&mut self, op: &MemoryOp, scene: &mut Scene<'_>) -> Result<MemoryReply, Failure> {
        self.expire(scene);
        let now_ms = scene.now_ms;
        let expiry = |ttl_ms: &Option<u64>| ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms));
        match op {
            MemoryOp::Get { key } | MemoryOp::Watch { key, .. } => Ok(MemoryReply::Value(self.item(key, now_ms))),
            MemoryOp::Set { key, value, ttl_ms } => self.set(key, value.clone(), expiry(ttl_ms), scene),
            MemoryOp::CompareAndSet { key, version, value, ttl_ms } => {
                let found = self.version_of(key, now_ms);
                if found != *version {
                    return Err(failure::version_conflict(key, *version, found));
                }
                self.set(key, value.clone(), expiry(ttl_ms), scene)
            }
            MemoryOp::Add { key, value, ttl_ms } | MemoryOp::Append { key, value, ttl_ms } => {
                let held = self.live(key, now_ms);
                let expires_at_ms = expiry(ttl_ms).or_else(|| held.and_then(|held| held.expires_at_ms));
                let before = held.map(|held| &held.value[..]);
                let is_sum = matches!(op, MemoryOp::Add { .. });
                let after = if is_sum { value::add(key, before, value)? } else { value::append(key, before, value)? };
                self.set(key, after, expires_at_ms, scene)
            }
            MemoryOp::Take { key } => {
                let item = self.item(key, now_ms);
                self.remove(key, scene);
                Ok(MemoryReply::Value(item))
            }
            MemoryOp::Delete { key } => {
                self.remove(key, scene);
                Ok(MemoryReply::Value(None))
            }
            MemoryOp::List { prefix, after, limit } => Ok(self.list(prefix, after.as_deref(), *limit, now_ms)),
            MemoryOp::Unlock => Ok(MemoryReply::Value(None)),
        }
    }

    fn live(&self, key: &str, now_ms: u64) -> Option<&Held> {
        self.keys.get(key).filter(|held| held.is_live(now_ms))
    }

    fn item(&self, key: &str, now_ms: u64) -> Option<Item> {
        self.live(key, now_ms).map(|held| held.item(key))
    }

    fn set(
        &mut self,
        key: &str,
        value: Bytes,
        expires_at_ms: Option<u64>,
        scene: &mut Scene<'_>,
    ) -> Result<MemoryReply, Failure> {
        let quota = scene.quota;
        if value.len() as u64 > quota.value_bytes_max {
            return Err(failure::too_large("value", value.len(), quota.value_bytes_max));
        }
        let before = self.keys.get(key);
        let old_bytes = before.map_or(0, |held| (key.len() + held.value.len()) as u64);
        let bytes = self.bytes - old_bytes + (key.len() + value.len()) as u64;
        if before.is_none() && self.keys.len() as u64 >= quota.keys_max {
            return Err(failure::too_many_keys(scene.namespace, quota.keys_max));
        }
        if bytes > quota.bytes_max && bytes > self.bytes {
            return Err(failure::too_many_bytes(scene.namespace, bytes, quota.bytes_max));
        }
        if let Some(at_ms) = before.and_then(|held| held.expires_at_ms) {
            self.expiries.remove(&(at_ms, key.to_owned()));
        }
        if let Some(at_ms) = expires_at_ms {
            self.expiries.insert((at_ms, key.to_owned()));
        }
        self.bytes = bytes;
        self.version += 1;
        let held = Held { value: value.clone(), version: self.version, expires_at_ms };
        let item = held.item(key);
        match self.keys.get_mut(key) {
            Some(place) => *place = held,
            None => drop(self.keys.insert(key.to_owned(), held)),
        }
        let (namespace, version) = (scene.namespace.to_owned(), self.version);
        scene.stored.push(Stored::Set { namespace, key: key.to_owned(), value: value.clone(), version, expires_at_ms });
        self.tell(scene.namespace, key, version, Some(value));
        Ok(MemoryReply::Value(Some(item)))
    }

    fn remove(&mut self, key: &str, scene: &mut Scene<'_>) {
        let Some(held) = self.keys.remove(key) else { return };
        self.bytes -= (key.len() + held.value.len()) as u64;
        if let Some(at_ms) = held.expires_at_ms {
            self.expiries.remove(&(at_ms, key.to_owned()));
        }
        let (namespace, key) = (scene.namespace.to_owned(), key.to_owned());
        scene.stored.push(Stored::Removed { namespace, key: key.clone(), version: self.version });
        if held.is_live(scene.now_ms) {
            self.tell(scene.namespace, &key, 0, None);
        }
    }

    fn tell(&mut self, namespace: &str, key: &str, version: u64, value: Option<Bytes>) {
        if let Some(watchers) = self.watched.get(key) {
            watchers.notify_waiters();
        }
        let Some(changes) = &self.changes else { return };
        let value = value.filter(|value| value.len() <= WATCH_VALUE_BYTES_MAX);
        let change = MemoryChange { namespace: namespace.to_owned(), key: key.to_owned(), version, value };
        if changes.send(change).is_err() {
            // Nobody watches any more.
            self.changes = None;
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: u32, now_ms: u64) -> MemoryReply {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let most = LIST_ITEMS_MAX.min(limit as usize);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for (key, held) in self.keys.range::<str, _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            if !held.is_live(now_ms) {
                continue;
            }
            bytes += key.len() + held.value.len();
            // One is given however large it is.
            if items.len() >= most || (bytes > LIST_BYTES_MAX && !items.is_empty()) {
                return MemoryReply::Items { items, more: true };
            }
            items.push(held.item(key));
        }
        MemoryReply::Items { items, more: false }
    }
}

impl Held {
    fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
    }

    fn item(&self, key: &str) -> Item {
        let Self { value, version, expires_at_ms } = self;
        Item { key: key.to_owned(), value: value.clone(), version: *version, expires_at_ms: *expires_at_ms }
    }
}
