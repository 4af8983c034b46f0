//! Templates (minijinja): compiled at deploy, rendered once with bounded fuel, recursion and output.
//!
//! A string that holds `{{` is a template. Paths such as `input.items[0]` are resolved straight on the JSON; only what
//! does more than that goes through the engine. In text, a string stands as it is and every other value as its JSON.

pub(crate) mod compile;
mod convert;
mod engine;
mod error;
mod expression;
mod filters;
pub(crate) mod path;
pub(crate) mod scan;

use std::io;
use std::sync::Arc;

use serde_json::Value;

pub use error::{TemplateError, TemplateErrorKind};
pub use expression::Expression;

use crate::limits;

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
pub struct TextTemplate {
    parts: Vec<Part>,
    escape: Escape,
}

/// Plain text or an expression.
#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Expression(Expression),
}

/// What is done to the text of a value on its way into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// Nothing.
    None,
    /// Characters that mean something in HTML become entities, unless the value went through `| safe`.
    Html,
}

impl TextTemplate {
    /// Plain text.
    #[must_use]
    pub fn from_literal(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())], escape: Escape::None }
    }

    pub(crate) fn from_parts(parts: Vec<Part>, escape: Escape) -> Self {
        Self { parts, escape }
    }

    pub(crate) fn from_expression(expression: Expression, escape: Escape) -> Self {
        Self { parts: vec![Part::Expression(expression)], escape }
    }

    /// The text, if no template is in it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether rendering it takes as long as copying what it names of the element and its number: no filter, no operator, and
    /// nothing but `item` and `index`.
    #[must_use]
    pub fn is_of_element(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Expression(expression) => expression.is_of_element(),
        })
    }

    /// The text before the first expression.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            Some(Part::Expression(_)) | None => "",
        }
    }

    /// The text for one scope.
    ///
    /// # Errors
    /// [`TemplateError`] of the first expression that yields nothing, or when the text exceeds
    /// [`limits::TEMPLATE_OUTPUT_BYTES_MAX`].
    pub fn render(&self, scope: &Scope) -> Result<String, TemplateError> {
        self.render_with(scope, self.escape)
    }

    /// [`Self::render`] into HTML or XML: the values are escaped, unless they went through `| safe`.
    ///
    /// # Errors
    /// As of [`Self::render`].
    pub fn render_markup(&self, scope: &Scope) -> Result<String, TemplateError> {
        self.render_with(scope, Escape::Html)
    }

    /// The expression, if it is exactly one.
    #[must_use]
    pub fn expression(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => Some(expression),
            _ => None,
        }
    }

    fn render_with(&self, scope: &Scope, escape: Escape) -> Result<String, TemplateError> {
        let mut out = Text { bytes: Vec::new(), escape };
        for part in &self.parts {
            match part {
                Part::Text(text) => out.bytes.extend_from_slice(text.as_bytes()),
                Part::Expression(expression) => expression.write(scope, &mut out)?,
            }
        }
        Ok(String::from_utf8(out.bytes).expect("only whole strings and JSON, which is UTF-8, were written"))
    }
}

/// A JSON value whose strings may be templates; a string that is exactly one `{{ expression }}` yields a typed value.
#[derive(Debug)]
pub struct JsonTemplate {
    shape: Shape,
}

/// A [`JsonTemplate`]: the largest parts without templates are kept as plain values.
#[derive(Debug)]
pub(crate) enum Shape {
    Literal(Value),
    Text(TextTemplate),
    Expression(Expression),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl JsonTemplate {
    /// A plain value.
    #[must_use]
    pub fn from_literal(value: Value) -> Self {
        Self { shape: Shape::Literal(value) }
    }

    pub(crate) fn from_shape(shape: Shape) -> Self {
        Self { shape }
    }

    pub(crate) fn from_expression(expression: Expression) -> Self {
        Self { shape: Shape::Expression(expression) }
    }

    /// The value, if no template is in it.
    #[must_use]
    pub fn literal(&self) -> Option<&Value> {
        match &self.shape {
            Shape::Literal(value) => Some(value),
            Shape::Text(_) | Shape::Expression(_) | Shape::List(_) | Shape::Object(_) => None,
        }
    }

    /// As [`TextTemplate::is_of_element`].
    #[must_use]
    pub fn is_of_element(&self) -> bool {
        self.shape.is_of_element()
    }

    /// The value for one scope.
    ///
    /// # Errors
    /// [`TemplateError`] of the first expression that yields nothing, or when the value exceeds
    /// [`limits::TEMPLATE_OUTPUT_BYTES_MAX`].
    pub fn render(&self, scope: &Scope) -> Result<Value, TemplateError> {
        let mut bytes_left = limits::TEMPLATE_OUTPUT_BYTES_MAX;
        self.shape.render(scope, &mut bytes_left)
    }
}

impl Shape {
    fn is_of_element(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Text(template) => template.is_of_element(),
            Self::Expression(expression) => expression.is_of_element(),
            Self::List(list) => list.iter().all(Self::is_of_element),
            Self::Object(members) => members.iter().all(|(_, member)| member.is_of_element()),
        }
    }

    fn render(&self, scope: &Scope, bytes_left: &mut usize) -> Result<Value, TemplateError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Text(template) => {
                let text = template.render(scope)?;
                take(bytes_left, text.len())?;
                Ok(Value::String(text))
            }
            Self::Expression(expression) => {
                let (value, bytes) = expression.evaluate_sized(scope)?;
                take(bytes_left, bytes)?;
                Ok(value)
            }
            Self::List(list) => {
                list.iter().map(|shape| shape.render(scope, bytes_left)).collect::<Result<_, _>>().map(Value::Array)
            }
            Self::Object(members) => members
                .iter()
                .map(|(key, shape)| Ok((key.clone(), shape.render(scope, bytes_left)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
        }
    }
}

/// Several values that are each within the limit may exceed it together.
fn take(bytes_left: &mut usize, bytes: usize) -> Result<(), TemplateError> {
    *bytes_left = bytes_left.checked_sub(bytes).ok_or_else(|| TemplateError::too_large("the whole value"))?;
    Ok(())
}

/// Text under way, bounded.
pub(crate) struct Text {
    bytes: Vec<u8>,
    escape: Escape,
}

impl Text {
    /// Appends a string; `false` when that would be too much.
    #[must_use]
    fn push(&mut self, text: &str, safe: bool) -> bool {
        if self.escape == Escape::None || safe {
            return self.append(text.as_bytes());
        }
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let entity: &[u8] = match rest.as_bytes()[at] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                _ => b"&#39;",
            };
            if !(self.append(&rest.as_bytes()[..at]) && self.append(entity)) {
                return false;
            }
            rest = &rest[at + 1..];
        }
        self.append(rest.as_bytes())
    }

    /// Appends a value as it stands in text; `false` when that would be too much.
    #[must_use]
    fn push_json(&mut self, value: &Value) -> bool {
        match (value, self.escape) {
            (Value::String(text), _) => self.push(text, false),
            (_, Escape::None) => serde_json::to_writer(&mut *self, value).is_ok(),
            (_, Escape::Html) => {
                let mut plain = Self { bytes: Vec::new(), escape: Escape::None };
                serde_json::to_writer(&mut plain, value).is_ok()
                    && self.push(std::str::from_utf8(&plain.bytes).expect("JSON is UTF-8"), false)
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        if self.bytes.len() + bytes.len() > limits::TEMPLATE_OUTPUT_BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.append(bytes) { Ok(bytes.len()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
