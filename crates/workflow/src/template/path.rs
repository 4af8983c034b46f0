//! A path into the scope, `input.items[0].name`: resolved straight on the JSON, without the template engine.

use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::Scope;
use super::error::{TemplateError, TemplateErrorKind};
use crate::suggest;

/// One member of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Of an object.
    Key(Arc<str>),
    /// Of a list.
    Index(usize),
}

/// Names a path may begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// `input`
    Input,
    /// `hook`
    Hook,
    /// `blocks.<id>.output`
    Block(Arc<str>),
    /// `run`
    Run,
    /// `item`
    Item,
    /// `index`
    Index,
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
}

/// What a path leads to.
pub(crate) enum Found<'a> {
    /// A value, and the shared document it is part of.
    Value(&'a Arc<Value>, &'a Value),
    /// The number of an element.
    Index(usize),
}

/// `hook` in a run that no hook started: its members are empty, so that `hook.query.q | default("x")` works there.
static NO_HOOK: LazyLock<Arc<Value>> =
    LazyLock::new(|| Arc::new(serde_json::json!({ "params": {}, "query": {}, "headers": {} })));

impl Path {
    /// Follows the path.
    pub(crate) fn resolve<'a>(&self, scope: &'a Scope) -> Result<Found<'a>, TemplateError> {
        let document = match &self.root {
            Root::Input => Some(&scope.input),
            Root::Hook => Some(scope.hook.as_ref().unwrap_or(&*NO_HOOK)),
            Root::Run => Some(&scope.run),
            Root::Block(id) => scope.blocks.iter().find(|(known, _)| known == id).map(|(_, output)| output),
            Root::Item => scope.item.as_ref().map(|(_, item)| item),
            Root::Index => match (&scope.item, self.steps.is_empty()) {
                (Some((index, _)), true) => return Ok(Found::Index(*index)),
                _ => None,
            },
        };
        let Some(document) = document else { return Err(self.without_document()) };
        let mut value: &Value = document;
        for (position, step) in self.steps.iter().enumerate() {
            value = member(value, step).ok_or_else(|| self.undefined(position, value, scope))?;
        }
        Ok(Found::Value(document, value))
    }

    fn without_document(&self) -> TemplateError {
        // That the block comes before this one was checked when the definition was read.
        let (cause, help) = match self.root {
            Root::Block(_) => (": the block was skipped", "`| default(…)` gives a value for that case"),
            Root::Input | Root::Hook | Root::Run | Root::Item | Root::Index => ("", "it exists inside `for_each` only"),
        };
        let message = format!("`{self}` is undefined{cause}");
        TemplateError::new(TemplateErrorKind::Undefined, message).with_help(help)
    }

    /// Says which member is missing of what, and which one was probably meant.
    fn undefined(&self, position: usize, parent: &Value, scope: &Scope) -> TemplateError {
        let parent_path = Self { root: self.root.clone(), steps: self.steps[..position].to_vec() };
        let missing = Self { root: self.root.clone(), steps: self.steps[..=position].to_vec() };
        let mut message = format!("`{missing}` is undefined");
        let help = match (parent, &self.steps[position]) {
            (Value::Object(members), Step::Key(key)) => {
                let known: Vec<&str> = members.keys().map(String::as_str).collect();
                suggest::help(key, &known)
            }
            (Value::Array(list), Step::Index(_)) => {
                let _ = write!(message, ": `{parent_path}` has {} elements", list.len());
                None
            }
            (other, _) => {
                let _ = write!(message, ": `{parent_path}` is {}", kind(other));
                None
            }
        };
        let error = TemplateError::new(TemplateErrorKind::Undefined, message);
        if self.root == Root::Hook && scope.hook.as_deref().is_none_or(Value::is_null) {
            return error.with_help(
                "no request started this run; `runlet run --input` can stand in for one, `| default(…)` for a part of it",
            );
        }
        error.with_help(help.map_or_else(
            || "`| default(…)` gives a value for that case".to_owned(),
            |help| format!("{help} (or give a value for that case: `| default(…)`)"),
        ))
    }
}

/// A member of a value.
pub(crate) fn member<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(members), Step::Key(key)) => members.get(&**key),
        (Value::Array(list), Step::Index(index)) => list.get(*index),
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
            _,
        ) => None,
    }
}

/// The kind of a value, for a sentence.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Input => f.write_str("input")?,
            Root::Hook => f.write_str("hook")?,
            Root::Run => f.write_str("run")?,
            Root::Item => f.write_str("item")?,
            Root::Index => f.write_str("index")?,
            Root::Block(id) => {
                f.write_str("blocks")?;
                write_key(f, id)?;
                f.write_str(".output")?;
            }
        }
        for step in &self.steps {
            match step {
                Step::Key(key) => write_key(f, key)?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn write_key(f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
    if is_plain(key) { write!(f, ".{key}") } else { write!(f, "[{key:?}]") }
}

/// Whether a key may be written after a dot.
pub(crate) fn is_plain(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
