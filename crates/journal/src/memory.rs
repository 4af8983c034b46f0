//! What the journal keeps of the embedded store of shared memory: changes one by one, and all of it when it is opened.

use bytes::Bytes;
use runlet_proto::ids::RunId;

/// One change of shared memory. It is on disk before anything that is appended after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryChange {
    /// A key was written.
    Set {
        /// Its namespace.
        namespace: String,
        /// The key.
        key: String,
        /// JSON text.
        value: Bytes,
        /// Its version.
        version: u64,
        /// When it expires, in milliseconds since the Unix epoch.
        expires_at_ms: Option<u64>,
    },
    /// A key was removed, or has expired.
    Removed {
        /// Its namespace.
        namespace: String,
        /// The key.
        key: String,
        /// The highest version of the namespace so far, which goes on from there.
        version: u64,
    },
    /// A run has the lock of a namespace, or, without a run, none has.
    Locked {
        /// The namespace.
        namespace: String,
        /// The run, and until when it has it, in milliseconds since the Unix epoch.
        holder: Option<(RunId, u64)>,
    },
    /// A run had the lock of a namespace until its time was over and another took it, and is to be told so; or it was told.
    Lost {
        /// The namespace.
        namespace: String,
        /// The run.
        run: RunId,
        /// Whether it is to be told.
        untold: bool,
    },
    /// A message was sent, or is in another state.
    Message(StoredMessage),
    /// A message is done with.
    Done {
        /// Its channel.
        channel: String,
        /// Its number.
        id: u64,
    },
    /// A call that must not be done twice was answered.
    Answered(StoredAnswer),
    /// A run was answered so much since then that this answer is no longer kept.
    Outdated {
        /// The run.
        run: RunId,
        /// As in [`StoredAnswer`].
        block: u16,
        /// As in [`StoredAnswer`].
        retries: u32,
        /// As in [`StoredAnswer`].
        call: u32,
    },
    /// A run has ended: its answers are no longer needed.
    Forgotten(RunId),
}

impl MemoryChange {
    /// About how many bytes it holds beside itself.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Set { namespace, key, value, .. } => namespace.len() + key.len() + value.len(),
                Self::Removed { namespace, key, .. } => namespace.len() + key.len(),
                Self::Locked { namespace, .. } | Self::Lost { namespace, .. } => namespace.len(),
                Self::Message(message) => message.channel.len() + message.body.as_ref().map_or(0, Bytes::len),
                Self::Done { channel, .. } => channel.len(),
                Self::Answered(answer) => answer.answer.len(),
                Self::Outdated { .. } | Self::Forgotten(_) => 0,
            }
    }
}

/// A message of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its channel.
    pub channel: String,
    /// Its number in the channel, from 1; the channel goes on after the highest there ever was.
    pub id: u64,
    /// JSON text. Written once: a later change of the same message may leave it out.
    pub body: Option<Bytes>,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
    /// How often it has been delivered.
    pub deliveries: u32,
    /// The run that has it, or had it last.
    pub run: Option<RunId>,
    /// Where it is.
    pub state: MessageState,
    /// After how many deliveries it is dead, as its last receiver said.
    pub deliveries_max: u32,
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// It waits for a receiver.
    Ready,
    /// A run has it.
    Delivered,
    /// It has been given back too often.
    Dead,
}

/// The answer to a call that must not be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The run.
    pub run: RunId,
    /// Position of the block in its definition.
    pub block: u16,
    /// How often the block had been tried again.
    pub retries: u32,
    /// Number of the call within the attempt.
    pub call: u32,
    /// What was answered, in the store's own form.
    pub answer: Bytes,
}

/// All that is kept of shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredMemory {
    /// Namespaces that have lost a key, or have had a lock.
    pub namespaces: Vec<StoredNamespace>,
    /// Runs that lost a lock and are to be told so: namespace and run.
    pub lost: Vec<(String, RunId)>,
    /// Keys: namespace, key, value, version, expiry.
    pub keys: Vec<StoredKeyValue>,
    /// Channels: name, and the highest number of a message there ever was.
    pub channels: Vec<(String, u64)>,
    /// Messages with their bodies, by channel and number.
    pub messages: Vec<StoredMessage>,
    /// Answers of runs that have not ended, in the order in which they were given.
    pub answers: Vec<StoredAnswer>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNamespace {
    /// Its name.
    pub name: String,
    /// The highest version that a key which is gone has had.
    pub version: u64,
    /// The run that has its lock, and until when, in milliseconds since the Unix epoch.
    pub holder: Option<(RunId, u64)>,
}

/// A key and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeyValue {
    /// Its namespace.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// JSON text.
    pub value: Bytes,
    /// Its version.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}
