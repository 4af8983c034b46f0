//! Renders the templates of a block; says which field it was when one fails.

use std::borrow::Cow;

use runlet_proto::failure::Failure;
use runlet_workflow::template::{Expression, JsonTemplate, Scope, TemplateError, TextTemplate};
use serde_json::Value;

/// Text of a template; plain text needs no scope.
pub(crate) fn text(template: &TextTemplate, scope: Option<&Scope>, field: &str) -> Result<String, Failure> {
    match template.literal() {
        Some(text) => Ok(text.to_owned()),
        None => template.render(needed(scope, field)?).map_err(|error| failure(field, error)),
    }
}

/// Text of a template in HTML or XML.
pub(crate) fn markup(template: &TextTemplate, scope: Option<&Scope>, field: &str) -> Result<String, Failure> {
    template.render_markup(needed(scope, field)?).map_err(|error| failure(field, error))
}

/// Value of a template; a plain value needs no scope and is not copied.
pub(crate) fn json<'a>(
    template: &'a JsonTemplate,
    scope: Option<&Scope>,
    field: &str,
) -> Result<Cow<'a, Value>, Failure> {
    match template.literal() {
        Some(value) => Ok(Cow::Borrowed(value)),
        None => template.render(needed(scope, field)?).map(Cow::Owned).map_err(|error| failure(field, error)),
    }
}

/// Value of an expression.
pub(crate) fn evaluate(expression: &Expression, scope: Option<&Scope>, field: &str) -> Result<Value, Failure> {
    expression.evaluate(needed(scope, field)?).map_err(|error| failure(field, error))
}

/// Whether a value counts as true: everything but `false`, `null`, zero and what is empty.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

fn needed<'a>(scope: Option<&'a Scope>, field: &str) -> Result<&'a Scope, Failure> {
    scope.ok_or_else(|| {
        Failure::workflow("internal", format!("`{field}` is a template, but no values were passed for it"))
    })
}

fn failure(field: &str, error: TemplateError) -> Failure {
    let failure = Failure::workflow(error.code(), format!("`{field}`: {}", error.message));
    match error.help {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}
