//! Why the supervisor did not carry a request out, and what is wrong with a definition.

use serde::{Deserialize, Serialize};

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The sort of refusal.
    pub kind: RefusalKind,
    /// One sentence: the place and the cause.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// For [`RefusalKind::Invalid`]: everything wrong with the definition.
    pub diagnostics: Vec<Diagnostic>,
}

/// The sort of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The definition or the input is not valid.
    Invalid,
    /// No such workflow or run.
    NotFound,
    /// It clashes with something that exists: an ended run, an ambiguous prefix.
    Conflict,
    /// A queue is full; try again later.
    Overloaded,
    /// The supervisor is shutting down.
    ShuttingDown,
    /// The message itself was wrong.
    Protocol,
    /// The disk is full: what is to be written down is not accepted.
    NoRoom,
}

/// One finding in a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// Short, stable name of the rule, such as `unknown-field`.
    pub code: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The way out, such as the nearest known name.
    pub help: Option<String>,
    /// File name.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path inside the document: `blocks[2].parameter[0].limit`; empty for the whole document.
    pub path: String,
    /// Byte offset of the marked text.
    pub offset: u64,
    /// Length of the marked text in bytes.
    pub length: u64,
}
