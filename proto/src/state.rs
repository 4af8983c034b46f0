//! The states of a run and of its blocks, as the founding document writes them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// State of a run. READY, RUNNING, BLOCKED and PAUSED are live; the others are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// A block of it could run now and waits for its turn.
    Ready,
    /// At least one block of it holds a CPU slot.
    Running,
    /// Everything it does waits for something outside; BLOCKED always says on what.
    Blocked,
    /// All blocks are completed or skipped.
    Completed,
    /// A block failed and its policy said so, or a deadline passed.
    Failed,
    /// Held by a user; nothing of it is dispatched until it is resumed.
    Paused,
    /// Ended by a user, by a client that went away, or by a shutdown.
    Stopped,
}

impl RunState {
    /// Whether no further transition is possible.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stopped)
    }

    /// The name a user sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Running => "RUNNING",
            Self::Blocked => "BLOCKED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Status of one block inside a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BlockStatus {
    /// Not started: its dependencies are not done, or it waits for its turn or its next attempt.
    Pending,
    /// An attempt is under way, on a slot or waiting for a call.
    Running,
    /// Done; its output is kept.
    Completed,
    /// Its last attempt failed.
    Failed,
    /// Passed over: its `when` was false, or it failed under `on_error: "skip"`. Its input is passed on.
    Skipped,
}

impl BlockStatus {
    /// The name a user sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
        }
    }
}

impl fmt::Display for BlockStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a run's blocks are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// A thread of the supervisor's pool.
    Light,
    /// A process of its own.
    Heavy,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Light => "light",
            Self::Heavy => "heavy",
        })
    }
}
