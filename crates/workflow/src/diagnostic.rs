//! One finding in a definition: data first; rendering is the caller's.

/// Something wrong in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Short, stable name of the rule, such as `unknown-field`.
    pub code: &'static str,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The way out, such as the nearest known name.
    pub help: Option<String>,
    /// File name, as given to the parser.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Path inside the document: `blocks[2].parameter[0].limit`; empty for the whole document.
    pub path: String,
    /// Byte offset of the marked text.
    pub offset: usize,
    /// Length of the marked text in bytes.
    pub length: usize,
}
