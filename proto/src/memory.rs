//! Shared memory, locks and channels: what is asked of the store behind them, and what it answers. Values are JSON texts.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One operation on one namespace. Each is atomic: nobody sees a half of it, and no other comes between its reading and its
/// writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryOperation {
    /// Read a value. → [`MemoryAnswer::Entry`]
    Get {
        /// Its key.
        key: String,
    },
    /// Write a value, whatever was there. → [`MemoryAnswer::Entry`], as it is now
    Set {
        /// Its key.
        key: String,
        /// The value.
        value: Bytes,
        /// How long it lives, in milliseconds; for ever without it, also if what it replaces had an end.
        ttl_ms: Option<u64>,
    },
    /// Add to a number; an absent one is 0. Integers stay exact, and are refused beyond ±(2⁵³ − 1) (RFC 8259, section 6), so
    /// that every store counts alike; all else is added as 64-bit floating point. What has an end keeps it. →
    /// [`MemoryAnswer::Entry`], as it is now
    Add {
        /// Its key.
        key: String,
        /// JSON text of the number to be added.
        by: Bytes,
    },
    /// Append to a list; an absent one is empty. What has an end keeps it. → [`MemoryAnswer::Entry`], as it is now
    Append {
        /// Its key.
        key: String,
        /// The new last element.
        value: Bytes,
    },
    /// Read a value and remove it. → [`MemoryAnswer::Entry`], as it was
    Take {
        /// Its key.
        key: String,
    },
    /// Write a value if nobody has written it since `version` was read; 0 stands for "it is absent". →
    /// [`MemoryAnswer::Entry`], as it is now, or [`MemoryAnswer::Conflict`]
    CompareAndSet {
        /// Its key.
        key: String,
        /// The version that was read.
        version: u64,
        /// The value.
        value: Bytes,
        /// As in [`Self::Set`].
        ttl_ms: Option<u64>,
    },
    /// Remove a value. → [`MemoryAnswer::Entry`], as it was
    Delete {
        /// Its key.
        key: String,
    },
    /// Entries in the order of their keys' bytes. → [`MemoryAnswer::Entries`]
    List {
        /// What their keys begin with.
        prefix: String,
        /// Only keys behind this one: the last of the page before.
        after: Option<String>,
        /// How many at most; the store has a bound of its own.
        limit: u32,
    },
}

impl MemoryOperation {
    /// Whether it writes, so that read-only access does not allow it.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            Self::Get { .. } | Self::List { .. } => false,
            Self::Set { .. }
            | Self::Add { .. }
            | Self::Append { .. }
            | Self::Take { .. }
            | Self::CompareAndSet { .. }
            | Self::Delete { .. } => true,
        }
    }

    /// Whether doing it twice may leave something else behind than doing it once.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        match self {
            Self::Get { .. } | Self::List { .. } | Self::Set { .. } | Self::Delete { .. } => false,
            Self::Add { .. } | Self::Append { .. } | Self::Take { .. } | Self::CompareAndSet { .. } => true,
        }
    }

    /// Its name, as a definition writes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::Set { .. } => "set",
            Self::Add { .. } => "add",
            Self::Append { .. } => "append",
            Self::Take { .. } => "take",
            Self::CompareAndSet { .. } => "compare-and-set",
            Self::Delete { .. } => "delete",
            Self::List { .. } => "list",
        }
    }
}

/// What the store answers to an operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryAnswer {
    /// The entry; `None` if there is none.
    Entry(Option<Entry>),
    /// Somebody wrote it meanwhile; this is what is there now. Nothing was changed.
    Conflict(Option<Entry>),
    /// Entries by key.
    Entries {
        /// The entries.
        entries: Vec<Entry>,
        /// Whether more follow.
        more: bool,
    },
}

/// A value in shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// JSON text of the value.
    pub value: Bytes,
    /// Greater after each write of this key; versions of a namespace are never used again, not even of a key that was removed.
    pub version: u64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// An operation of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCall {
    /// The namespace.
    pub namespace: String,
    /// What is to be done; without it only the lock is taken.
    pub operation: Option<MemoryOperation>,
    /// What becomes of the namespace's lock.
    pub lock: LockUse,
}

/// What becomes of a namespace's lock at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockUse {
    /// Nothing.
    Leave,
    /// The run holds it from before the operation until it ends or gives it back.
    Hold {
        /// How long it stays taken after a supervisor that died without a word, in milliseconds.
        ttl_ms: u64,
    },
    /// It is given back after the operation.
    Release,
}

/// A message of a block to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendCall {
    /// The channel.
    pub channel: String,
    /// JSON text of the message.
    pub message: Bytes,
    /// How long it waits for a receiver before it is dead, in milliseconds; for ever without it.
    pub ttl_ms: Option<u64>,
    /// Whether a full channel is waited for.
    pub wait: bool,
}

/// A block waits for a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveCall {
    /// The channel.
    pub channel: String,
    /// When the message is acknowledged.
    pub acknowledge: Acknowledge,
}

/// When a received message is acknowledged, so that nobody is given it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acknowledge {
    /// When the block that received it is COMPLETED.
    Block,
    /// When the run that received it is COMPLETED; of one that ends otherwise it goes back to its channel.
    Run,
}

/// A message as its receiver gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id, unique in its channel, in the order of sending.
    pub id: String,
    /// JSON text of the message.
    pub message: Bytes,
    /// How often it was given to a receiver, this time included; more than 1 if an earlier one did not acknowledge it.
    pub deliveries: u32,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
}

/// A message that waits, or that is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Its channel.
    pub channel: String,
    /// The message.
    pub delivery: Delivery,
    /// Why it is dead; `None` if it waits.
    pub dead: Option<DeadReason>,
    /// Whether a receiver has it at this moment and has not acknowledged it.
    pub taken: bool,
}

/// Why a message is given to nobody any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadReason {
    /// It was given to as many receivers as are allowed, and none acknowledged it.
    Undelivered,
    /// No receiver took it within its time.
    Expired,
}

/// A channel in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: String,
    /// Messages that wait for a receiver.
    pub waiting: u64,
    /// Messages that a receiver has and has not acknowledged.
    pub taken: u64,
    /// Dead messages.
    pub dead: u64,
}

/// A namespace in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceStatus {
    /// Its name.
    pub namespace: String,
    /// How many keys it has.
    pub keys: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// Who holds its lock: the id of a run, and how many milliseconds the lock has left if its supervisor dies now.
    pub lock: Option<(String, u64)>,
}
