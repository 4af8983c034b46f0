//! The trait that both stores have, and what they are told beside the call itself.

use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    MemoryCall, MemoryChange, MemoryFound, MemoryQuestion, MemoryReply, Message, ReceiveCall, SendCall,
};
use tokio::sync::broadcast;

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct By {
    /// The run; none for a person.
    pub run: Option<RunId>,
    /// The call's place in its run, if it may be made again after a crash.
    pub token: Option<Token>,
}

/// A call's place in its run: the same when a block is executed again after a crash, since what it made known did not reach
/// the disk. A store that has answered a call that must not be done twice answers the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// Position of the block in its definition.
    pub block: u16,
    /// How often the block had been tried again.
    pub retries: u32,
    /// Number of the call within the attempt.
    pub call: u32,
}

/// What becomes of a message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done with.
    Acknowledge,
    /// It is to be delivered again, at once; or it is dead, if it has been delivered as often as its receiver allows.
    GiveBack,
}

/// How much each namespace and each channel may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Keys of a namespace.
    pub keys_max: u64,
    /// Bytes of a namespace's keys and values.
    pub bytes_max: u64,
    /// Bytes of one value, or of one message.
    pub value_bytes_max: u64,
    /// Messages of a channel that are not acknowledged, dead ones included.
    pub messages_max: u64,
    /// Bytes of these messages.
    pub message_bytes_max: u64,
}

/// Shared memory, channels and locks. Every method may be called at any time from any thread; what waits ends when its future
/// is dropped. Names and sizes are checked here; whether a run may use a namespace is not.
pub trait SharedMemory: Send + Sync + 'static {
    /// An operation on a namespace. Failures by code: `bad-name`, `bad-value` (no JSON, or no number), `not-a-number`,
    /// `not-a-list`, `too-large`, `quota`, `version-conflict`, `timeout`, `lock-timeout`, `lock-lost`, `memory-unavailable`.
    fn memory(&self, call: MemoryCall, by: By) -> impl Future<Output = Result<MemoryReply, Failure>> + Send;

    /// Sends a message; its number. Failures: `bad-name`, `bad-value`, `too-large`, `channel-full`, `memory-unavailable`.
    fn send(&self, call: SendCall, by: By) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Receives a message, which is `by.run`'s until it is settled or released. Failures: `bad-name`, `timeout`,
    /// `memory-unavailable`.
    fn receive(&self, call: ReceiveCall, by: By) -> impl Future<Output = Result<Message, Failure>> + Send;

    /// Decides about a message that `run` has received; false: it is not that run's any more.
    fn settle(
        &self,
        channel: String,
        id: u64,
        run: RunId,
        verdict: Verdict,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// A run has ended: its locks are free, the messages it has are decided on, the answers kept for it are given up.
    fn release(&self, run: RunId, verdict: Verdict) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What people ask.
    fn look(&self, question: MemoryQuestion) -> impl Future<Output = Result<MemoryFound, Failure>> + Send;

    /// Changes of a namespace from now on, for watchers. One that lags behind is told so by [`broadcast`] and must look again.
    fn subscribe(
        &self,
        namespace: &str,
    ) -> impl Future<Output = Result<broadcast::Receiver<MemoryChange>, Failure>> + Send;
}
