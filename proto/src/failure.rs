//! The one shape of a run-time failure: of a block, of a call, of a run.

use serde::{Deserialize, Serialize};

/// Why a block or a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Short, stable name: `connect`, `dns`, `tls`, `timeout`, `too-large`, `address-refused`, `template`, `panic`…
    pub code: String,
    /// One sentence for people: the place and the cause.
    pub message: String,
    /// The way out, if there is one to name.
    pub help: Option<String>,
    /// What HTTP status a hook's client gets.
    pub class: FailureClass,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long the server that was called wants to be left alone, in milliseconds (`Retry-After`, RFC 9110, section 10.2.3).
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure of the workflow itself that another attempt would only repeat.
    #[must_use]
    pub fn workflow(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            help: None,
            class: FailureClass::Workflow,
            retryable: false,
            retry_after_ms: None,
        }
    }

    /// A failure of a server that was called; another attempt may succeed.
    #[must_use]
    pub fn upstream(code: &str, message: impl Into<String>) -> Self {
        Self { class: FailureClass::Upstream, retryable: true, ..Self::workflow(code, message) }
    }

    /// A deadline that passed; another attempt may succeed.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self { class: FailureClass::Timeout, retryable: true, ..Self::workflow("timeout", message) }
    }

    /// The same failure with a way out named.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The sort of a failure, as far as an HTTP status depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The workflow itself failed: 500.
    Workflow,
    /// A server the workflow called failed, refused, or answered something unusable: 502.
    Upstream,
    /// Stopped by a user, or by a shutdown: 503.
    Stopped,
    /// A timeout, of the run, of a block, or of a call: 504.
    Timeout,
}
