//! One `{{ expression }}`: how it is evaluated.

use std::fmt;

use minijinja::{ErrorKind, Value as EngineValue};
use serde_json::Value;

use super::convert::{self, ConvertError};
use super::engine::{self, Bindings, Member};
use super::error::{TemplateError, TemplateErrorKind, shown};
use super::path::{Found, Path, Root};
use super::{Scope, Text};

/// One expression, written `{{ expression }}`.
pub struct Expression {
    source: String,
    body: Body,
}

/// How an expression is evaluated.
pub(crate) enum Body {
    /// Straight on the JSON.
    Path(Path),
    /// By the engine; the paths are handed to it as plain names.
    Engine { compiled: minijinja::Expression<'static, 'static>, paths: Vec<Path> },
}

impl Expression {
    pub(crate) fn new(source: String, body: Body) -> Self {
        Self { source, body }
    }

    /// The expression as written, without its braces.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is a path that begins with `item` or `index`.
    pub(crate) fn is_of_element(&self) -> bool {
        matches!(&self.body, Body::Path(path) if matches!(path.root, Root::Item | Root::Index))
    }

    /// Its value for one scope.
    ///
    /// # Errors
    /// [`TemplateError`] when it names something that is not there, does too much work, or yields too much or no JSON.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, TemplateError> {
        self.evaluate_sized(scope).map(|(value, _)| value)
    }

    /// Its value, and about how many bytes that takes as text.
    pub(super) fn evaluate_sized(&self, scope: &Scope) -> Result<(Value, usize), TemplateError> {
        match &self.body {
            Body::Path(path) => match path.resolve(scope)? {
                Found::Value(_, value) => convert::copy(value).map_err(|error| self.converted(error, scope)),
                Found::Index(index) => Ok((Value::from(index), size_of::<usize>())),
            },
            Body::Engine { compiled, paths } => {
                let value = self.run(compiled, paths, scope)?;
                convert::to_json(&value).map_err(|error| self.converted(error, scope))
            }
        }
    }

    /// Appends its value to a text.
    pub(super) fn write(&self, scope: &Scope, out: &mut Text) -> Result<(), TemplateError> {
        let written = match &self.body {
            Body::Path(path) => match path.resolve(scope)? {
                Found::Value(_, value) => out.push_json(value),
                Found::Index(index) => out.push(&index.to_string(), true),
            },
            Body::Engine { compiled, paths } => {
                let value = self.run(compiled, paths, scope)?;
                match value.as_str() {
                    Some(text) => out.push(text, value.is_safe()),
                    None => {
                        let (json, _) = convert::to_json(&value).map_err(|error| self.converted(error, scope))?;
                        out.push_json(&json)
                    }
                }
            }
        };
        if written { Ok(()) } else { Err(TemplateError::too_large(&self.source)) }
    }

    fn run(
        &self,
        compiled: &minijinja::Expression<'static, 'static>,
        paths: &[Path],
        scope: &Scope,
    ) -> Result<EngineValue, TemplateError> {
        let bindings = paths
            .iter()
            .map(|path| match path.resolve(scope) {
                Ok(Found::Value(document, value)) => Some(Member::value(document, &path.steps, value)),
                Ok(Found::Index(index)) => Some(EngineValue::from(index)),
                // Not an error yet: `| default(…)` and `is defined` are there for this case.
                Err(_) => None,
            })
            .collect();
        let (result, printed_too_much) = engine::evaluate(compiled, Bindings(bindings));
        if printed_too_much {
            return Err(TemplateError::too_large(&self.source));
        }
        let value = result.map_err(|error| {
            if error.kind() == ErrorKind::OutOfFuel {
                TemplateError::fuel(&self.source)
            } else if error.kind() == ErrorKind::UndefinedError || names_undefined(&error) {
                self.undefined(scope)
            } else {
                self.failed(&error)
            }
        })?;
        if value.is_undefined() { Err(self.undefined(scope)) } else { Ok(value) }
    }

    /// Names the path that is missing; without one, something inside the expression yielded nothing.
    fn undefined(&self, scope: &Scope) -> TemplateError {
        let paths = match &self.body {
            Body::Path(path) => std::slice::from_ref(path),
            Body::Engine { paths, .. } => paths.as_slice(),
        };
        paths.iter().find_map(|path| path.resolve(scope).err()).unwrap_or_else(|| {
            TemplateError::new(TemplateErrorKind::Undefined, format!("`{}` yields nothing", shown(&self.source)))
                .with_help("a member or element it asks for does not exist; `| default(…)` gives a value for that case")
        })
    }

    fn failed(&self, error: &minijinja::Error) -> TemplateError {
        let cause = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        TemplateError::new(TemplateErrorKind::Evaluation, format!("`{}` failed: {cause}", shown(&self.source)))
    }

    fn converted(&self, error: ConvertError, scope: &Scope) -> TemplateError {
        match error {
            ConvertError::Undefined => self.undefined(scope),
            ConvertError::TooLarge => TemplateError::too_large(&self.source),
            ConvertError::Fuel => TemplateError::fuel(&self.source),
            ConvertError::NotJson(cause) => TemplateError::new(
                TemplateErrorKind::NotJson,
                format!("`{}` yields no JSON value: {cause}", shown(&self.source)),
            ),
        }
    }
}

/// Operators say that an operand is undefined in the words of a wrong type.
fn names_undefined(error: &minijinja::Error) -> bool {
    error.kind() == ErrorKind::InvalidOperation && error.detail().is_some_and(|detail| detail.contains("undefined"))
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}
