//! What a running block may ask for without giving up its thread.

use runlet_proto::control::LogLevel;

/// The attempt was cancelled: the block is to return as soon as it can; whatever it returns is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Interrupted;

/// The services a block has while it computes. Calls that wait are not here: they are [`crate::Step::Wait`].
pub trait Calls {
    /// Called between chunks of work, at least every millisecond or so of compute. The scheduler may hold the caller
    /// here while others have their turn; it returns when the block may go on.
    ///
    /// # Errors
    /// [`Interrupted`] when the attempt was given up.
    fn tick(&mut self) -> Result<(), Interrupted>;

    /// Writes one line to the run's log.
    fn log(&mut self, level: LogLevel, text: &str);
}
