//! Templates (minijinja): compiled at deploy, rendered once with bounded fuel, recursion and output.

use std::sync::Arc;

use serde_json::Value;

/// The values a template can name.
#[derive(Debug, Clone)]
pub struct Scope {
    /// `input`: the block's input.
    pub input: Arc<Value>,
    /// `hook`: the request that started the run; absent in a run that no hook started.
    pub hook: Option<Arc<Value>>,
    /// `blocks.<id>.output`: outputs of the blocks that are done.
    pub blocks: Vec<(Arc<str>, Arc<Value>)>,
    /// `run`: id, workflow, version, attempt, createdAt.
    pub run: Arc<Value>,
    /// `item` and `index` inside `for_each`.
    pub item: Option<(usize, Arc<Value>)>,
}

/// A string with `{{ }}` in it, or plain text; yields text.
#[derive(Debug)]
pub struct TextTemplate {}

/// A JSON value whose strings may be templates; a string that is exactly one `{{ expression }}` yields a typed value.
#[derive(Debug)]
pub struct JsonTemplate {}

/// One expression, written `{{ expression }}`.
#[derive(Debug)]
pub struct Expression {}
