//! Strings that may be templates, and JSON values that may hold such strings.

use std::ops::Range;

use jsonc_parser::ast::{StringLit, Value};
use jsonc_parser::common::Ranged;
use serde_json::{Map, Number, Value as Json};

use super::report::{Finding, NameUse, Report};
use super::spot::{Fields, Spot};
use crate::template::compile::{self, Compiled, Findings};
use crate::template::{Escape, Expression, JsonTemplate, Shape, TextTemplate, scan};

impl Spot<'_, '_> {
    /// A string that may be a template.
    pub(crate) fn text(&self, escape: Escape, report: &mut Report<'_>) -> Option<TextTemplate> {
        let text = self.string(report)?;
        match self.compile(text, escape, report)? {
            Compiled::Plain => Some(TextTemplate::from_literal(text)),
            Compiled::Text(template) => Some(template),
            Compiled::Expression(expression) => Some(TextTemplate::from_expression(expression, escape)),
        }
    }

    /// A string that is exactly one expression.
    pub(crate) fn expression(&self, example: &str, report: &mut Report<'_>) -> Option<Expression> {
        let Value::StringLit(text) = self.value else {
            self.refuse(self.mismatch("one expression in a string").help(format!("such as \"{example}\"")), report);
            return None;
        };
        let compiled = self.compile(&text.value, Escape::None, report)?;
        if let Compiled::Expression(expression) = compiled {
            return Some(expression);
        }
        let finding = Finding::new("invalid-value", "expected exactly one expression, with nothing around its braces");
        self.refuse(finding.help(format!("such as \"{example}\"")), report);
        None
    }

    /// Whether it is a string that is exactly one expression.
    pub(crate) fn is_one_expression(&self) -> bool {
        match self.value {
            Value::StringLit(text) => matches!(scan::split(&text.value).as_deref(), Ok([scan::Piece::Expression(_)])),
            Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                false
            }
        }
    }

    /// Any JSON value; its strings may be templates.
    pub(crate) fn json(&self, report: &mut Report<'_>) -> Option<JsonTemplate> {
        self.shape(report).map(JsonTemplate::from_shape)
    }

    fn shape(&self, report: &mut Report<'_>) -> Option<Shape> {
        match self.value {
            Value::StringLit(text) => Some(match self.compile(&text.value, Escape::None, report)? {
                Compiled::Plain => Shape::Literal(Json::String(text.value.clone().into_owned())),
                Compiled::Text(template) => Shape::Text(template),
                Compiled::Expression(expression) => Shape::Expression(expression),
            }),
            Value::Array(list) => {
                // All elements are read, so that one bad one does not hide the next.
                let shapes: Vec<_> =
                    list.elements.iter().enumerate().map(|(i, value)| self.element(i, value).shape(report)).collect();
                shapes.into_iter().collect::<Option<Vec<_>>>().map(fold_list)
            }
            Value::Object(object) => {
                let fields = Fields::new(object, self.place);
                let members: Vec<_> = object
                    .properties
                    .iter()
                    .map(|property| {
                        let name = property.name.as_str();
                        plain_key(name, property.name.range().start..property.name.range().end, &fields, report);
                        let spot = Spot { value: &property.value, place: fields.place.key(name) };
                        spot.shape(report).map(|shape| (name.to_owned(), shape))
                    })
                    .collect();
                members.into_iter().collect::<Option<Vec<_>>>().map(fold_object)
            }
            Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {
                Some(Shape::Literal(scalar(self.value)))
            }
        }
    }

    /// Compiles a string; files its problems and remembers the names it uses. `None` with problems.
    fn compile(&self, text: &str, escape: Escape, report: &mut Report<'_>) -> Option<Compiled> {
        let mut findings = Findings::default();
        let compiled = compile::string(text, escape, &mut findings);
        if let Compiled::Plain = compiled
            && findings.problems.is_empty()
        {
            return Some(compiled);
        }
        let Value::StringLit(literal) = self.value else { return Some(compiled) };
        for used in findings.used {
            report.names.push(NameUse {
                block: report.block,
                root: used.root,
                param: used.param,
                per_element: report.per_element,
                range: in_document(literal, report.text(), used.range),
                path: self.place.path(),
            });
        }
        let bad = !findings.problems.is_empty();
        for problem in findings.problems {
            let range = in_document(literal, report.text(), problem.range);
            report.add(
                Finding { code: problem.code, message: problem.message, help: problem.help },
                range,
                &self.place,
            );
        }
        (!bad).then_some(compiled)
    }
}

/// Files that a key looks like a template: keys are never rendered.
pub(crate) fn plain_key(name: &str, range: Range<usize>, fields: &Fields<'_, '_>, report: &mut Report<'_>) {
    if scan::is_template(name) {
        let finding = Finding::new("invalid-value", "the key of an object cannot be a template")
            .help("build the object in one expression: {{ {\"key\": value} }}");
        report.add(finding, range, &fields.place.key(name));
    }
}

/// Bytes of a string's value, as bytes of the document. With escapes in between, the whole string is marked.
fn in_document(literal: &StringLit<'_>, text: &str, range: Range<usize>) -> Range<usize> {
    let whole = literal.range.start..literal.range.end;
    match text.get(whole.start + 1..whole.end.saturating_sub(1)) {
        Some(raw) if raw == literal.value => whole.start + 1 + range.start..whole.start + 1 + range.end,
        _ => whole,
    }
}

fn fold_list(shapes: Vec<Shape>) -> Shape {
    if shapes.iter().any(|shape| !matches!(shape, Shape::Literal(_))) {
        return Shape::List(shapes);
    }
    Shape::Literal(Json::Array(shapes.into_iter().filter_map(literal).collect()))
}

fn fold_object(members: Vec<(String, Shape)>) -> Shape {
    if members.iter().any(|(_, shape)| !matches!(shape, Shape::Literal(_))) {
        return Shape::Object(members);
    }
    let members: Map<String, Json> =
        members.into_iter().filter_map(|(name, shape)| Some((name, literal(shape)?))).collect();
    Shape::Literal(Json::Object(members))
}

fn literal(shape: Shape) -> Option<Json> {
    match shape {
        Shape::Literal(value) => Some(value),
        Shape::Text(_) | Shape::Expression(_) | Shape::List(_) | Shape::Object(_) => None,
    }
}

/// A value without members. Numbers were checked before.
pub(crate) fn scalar(value: &Value<'_>) -> Json {
    match value {
        Value::StringLit(text) => Json::String(text.value.clone().into_owned()),
        Value::NumberLit(number) => number.value.parse::<Number>().map_or(Json::Null, Json::Number),
        Value::BooleanLit(flag) => Json::Bool(flag.value),
        Value::NullKeyword(_) | Value::Array(_) | Value::Object(_) => Json::Null,
    }
}
