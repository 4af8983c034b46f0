//! Shared memory and channels: what is asked of their store, by blocks and by people, and what it answers.
//!
//! Values and messages are JSON texts. Each key has a version; the versions of one namespace come from one counter that only
//! grows, so a key that was deleted and set again has a version it never had before.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// An operation on one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCall {
    /// The namespace.
    pub namespace: String,
    /// What is to be done.
    pub op: MemoryOp,
    /// Take the namespace's lock first; the run has it until it ends, gives it back or lets it expire.
    pub lock: Option<LockWish>,
}

/// How a lock is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWish {
    /// After how many milliseconds others may have it although it was not given back. Each operation with the lock begins it anew.
    pub ttl_ms: u64,
    /// How long it is waited for, in milliseconds.
    pub timeout_ms: u64,
}

/// What is to be done in a namespace. Each is atomic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryOp {
    /// Read a value. → [`MemoryReply::Value`]
    Get {
        /// The key.
        key: String,
    },
    /// Write a value. A time to live that is not given is none, whatever the key had. → [`MemoryReply::Value`]
    Set {
        /// The key.
        key: String,
        /// JSON text.
        value: Bytes,
        /// Time to live in milliseconds.
        ttl_ms: Option<u64>,
    },
    /// Remove a key, which need not be there. → [`MemoryReply::Value`] with `None`
    Delete {
        /// The key.
        key: String,
    },
    /// Add to a number; a key that is not there counts as 0. Integers stay integers. → [`MemoryReply::Value`]
    Add {
        /// The key.
        key: String,
        /// JSON text of a number.
        value: Bytes,
        /// Time to live in milliseconds, begun anew; without, the key keeps what it has.
        ttl_ms: Option<u64>,
    },
    /// Append one element to a list; a key that is not there counts as `[]`. → [`MemoryReply::Value`], the whole list
    Append {
        /// The key.
        key: String,
        /// JSON text of the element.
        value: Bytes,
        /// Time to live in milliseconds, begun anew; without, the key keeps what it has.
        ttl_ms: Option<u64>,
    },
    /// Read a value and remove it. → [`MemoryReply::Value`], what was taken
    Take {
        /// The key.
        key: String,
    },
    /// Write a value if the key has this version. → [`MemoryReply::Value`]; the failure `version-conflict` otherwise
    CompareAndSet {
        /// The key.
        key: String,
        /// The version it must have; 0: it must not be there.
        version: u64,
        /// JSON text.
        value: Bytes,
        /// Time to live in milliseconds.
        ttl_ms: Option<u64>,
    },
    /// The keys that begin with a prefix, in the order of their bytes. → [`MemoryReply::Items`]
    List {
        /// The prefix; empty for all.
        prefix: String,
        /// Only keys after this one.
        after: Option<String>,
        /// How many at most.
        limit: u32,
    },
    /// Wait until a key has another version than this one, or is gone; 0: until it is there. That it expires is not waited
    /// for. → [`MemoryReply::Value`]; the failure `timeout` otherwise
    Watch {
        /// The key.
        key: String,
        /// The version that is known.
        version: u64,
        /// How long it is waited, in milliseconds.
        timeout_ms: u64,
    },
    /// Give the namespace's lock back, if this run has it. → [`MemoryReply::Value`] with `None`
    Unlock,
}

impl MemoryOp {
    /// Its name in a definition.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Set { .. } => "set",
            Self::Delete { .. } => "delete",
            Self::Add { .. } => "add",
            Self::Append { .. } => "append",
            Self::Take { .. } => "take",
            Self::CompareAndSet { .. } => "compare-and-set",
            Self::List { .. } => "list",
            Self::Watch { .. } => "watch",
            Self::Unlock => "unlock",
        }
    }

    /// Whether it changes what is stored.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            Self::Get { .. } | Self::List { .. } | Self::Watch { .. } | Self::Unlock => false,
            Self::Set { .. }
            | Self::Delete { .. }
            | Self::Add { .. }
            | Self::Append { .. }
            | Self::Take { .. }
            | Self::CompareAndSet { .. } => true,
        }
    }

    /// Whether doing it twice may leave something else than doing it once.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Append { .. } | Self::Take { .. } | Self::CompareAndSet { .. } => true,
            Self::Get { .. }
            | Self::Set { .. }
            | Self::Delete { .. }
            | Self::List { .. }
            | Self::Watch { .. }
            | Self::Unlock => false,
        }
    }
}

/// A key, what it holds, and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The key.
    pub key: String,
    /// JSON text.
    pub value: Bytes,
    /// Its version, from 1.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// The answer to a [`MemoryCall`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryReply {
    /// The value after the operation (before it for [`MemoryOp::Take`]); `None`: the key is not there.
    Value(Option<Item>),
    /// To [`MemoryOp::List`].
    Items {
        /// The keys.
        items: Vec<Item>,
        /// Whether there are more after the last of them.
        more: bool,
    },
}

/// A message for a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendCall {
    /// The channel.
    pub channel: String,
    /// JSON text.
    pub message: Bytes,
}

/// A message is wanted from a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveCall {
    /// The channel.
    pub channel: String,
    /// How long it is waited for, in milliseconds; without, as long as the block may take.
    pub timeout_ms: Option<u64>,
    /// When the message is done with.
    pub acknowledge: Acknowledge,
    /// After how many deliveries that were not acknowledged it is dead.
    pub deliveries_max: u32,
}

/// When a message that was received is done with. If that does not come, it is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledge {
    /// When the block that received it has completed, and that is on disk.
    Block,
    /// When the run has COMPLETED; one that FAILED or was STOPPED gives it back.
    Run,
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number within the channel, from 1.
    pub id: u64,
    /// JSON text.
    pub body: Bytes,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
}

/// What people ask about memory and channels, beside what blocks ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryQuestion {
    /// Every namespace. → [`MemoryFound::Namespaces`]
    Namespaces,
    /// An operation, as a block would ask for it; [`MemoryOp::Watch`] is refused. → [`MemoryFound::Reply`]
    Call(MemoryCall),
    /// Every channel. → [`MemoryFound::Channels`]
    Channels,
    /// Send a message. → [`MemoryFound::Sent`]
    Send(SendCall),
    /// The next messages of a channel, which stay there. → [`MemoryFound::Messages`]
    Peek {
        /// The channel.
        channel: String,
        /// How many at most.
        limit: u32,
    },
    /// Messages that are dead, oldest first. → [`MemoryFound::Messages`]
    Dead {
        /// Of this channel only.
        channel: Option<String>,
        /// How many at most.
        limit: u32,
    },
    /// Put a dead message at the end of its channel again, as if it had never been delivered. → [`MemoryFound::Done`]
    Revive {
        /// The channel.
        channel: String,
        /// The message.
        id: u64,
    },
    /// Remove a dead message. → [`MemoryFound::Done`]
    Bury {
        /// The channel.
        channel: String,
        /// The message.
        id: u64,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryFound {
    /// The namespaces, by name.
    Namespaces(Vec<NamespaceSummary>),
    /// What an operation answered.
    Reply(MemoryReply),
    /// The channels, by name.
    Channels(Vec<ChannelSummary>),
    /// The number of the message that was sent.
    Sent(u64),
    /// Messages.
    Messages(Vec<MessageSummary>),
    /// Whether there was such a message.
    Done(bool),
}

/// A namespace: a line of `runlet memory ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSummary {
    /// Its name.
    pub name: String,
    /// How many keys it has.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The run that has its lock.
    pub locked_by: Option<RunId>,
    /// How much longer it has it, in milliseconds.
    pub locked_for_ms: Option<u64>,
}

/// A channel: a line of `runlet channel ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelSummary {
    /// Its name.
    pub name: String,
    /// Messages that wait for a receiver.
    pub ready: u64,
    /// Messages that were delivered and are not acknowledged.
    pub delivered: u64,
    /// Messages that are dead.
    pub dead: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Runs of this supervisor that wait for a message.
    pub receivers: u64,
}

/// A message, to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSummary {
    /// Its channel.
    pub channel: String,
    /// Its number within the channel.
    pub id: u64,
    /// JSON text.
    pub body: Bytes,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
    /// How often it has been delivered.
    pub deliveries: u32,
    /// The run that has it, or had it last.
    pub run: Option<RunId>,
}

/// What is to be told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryWatch {
    /// The namespace.
    pub namespace: String,
    /// Only keys that begin with this.
    pub prefix: String,
}

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryChange {
    /// The namespace.
    pub namespace: String,
    /// The key; empty: changes were missed, for the watcher was too slow or the store was away.
    pub key: String,
    /// Its version; 0: it is gone.
    pub version: u64,
    /// JSON text of what it holds; absent when it is gone, or larger than what such a message carries.
    pub value: Option<Bytes>,
}
