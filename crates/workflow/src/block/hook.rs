//! `hook`: an HTTP path that starts a run.

use std::time::Duration;

/// Configuration of a `hook` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Path below `/hook/`, no leading slash, normalised; `:name` segments are parameters.
    pub path: String,
    /// Allowed methods in upper case; empty means any.
    pub methods: Vec<String>,
    /// When the client is answered; resolved: `when-done` if the definition has a `response` block and says nothing.
    pub respond: Respond,
    /// Longest request body in bytes.
    pub body_bytes_max: u64,
    /// How long a client waits before it is answered 504.
    pub timeout: Duration,
    /// Whether the run is stopped when its client goes away (the default) or goes on.
    pub stop_on_disconnect: bool,
}

/// When a hook's client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Respond {
    /// With the reply of the `response` block, or when the run ends.
    WhenDone,
    /// At once with 202 and the run's id.
    AtOnce,
}
