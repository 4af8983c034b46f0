//! The fields of the language as data: what the parser knows and what the JSON Schema says are the same table.

use serde_json::{Map, Value, json};

/// One field.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) shape: Shape,
}

/// What may stand in a field.
pub(crate) enum Shape {
    /// A string.
    Text,
    /// A string of a pattern.
    Pattern(&'static str),
    /// A string that may be a template.
    Template,
    /// Exactly one `{{ expression }}`.
    Expression,
    /// Any JSON; its strings may be templates.
    Any,
    /// `true` or `false`.
    Flag,
    /// `"30s"`
    Duration,
    /// `"10MiB"`
    Size,
    /// A whole number.
    Integer(u64, u64),
    /// A number.
    Number(f64, f64),
    /// One of some words.
    Words(&'static [&'static str]),
    /// A list of at least so many.
    List(usize, &'static Self),
    /// Any of these.
    Either(&'static [Self]),
    /// An object with these fields, the first so many of them required.
    Object(&'static [Field], &'static [&'static str]),
    /// An object with any keys.
    Map(&'static Self),
    /// Header fields: an object, or a list of one-pair objects.
    Headers,
}

impl Field {
    pub(crate) const fn new(name: &'static str, about: &'static str, shape: Shape) -> Self {
        Self { name, about, shape }
    }
}

/// The names of some fields.
pub(crate) fn names(fields: &[Field]) -> Vec<&'static str> {
    fields.iter().map(|field| field.name).collect()
}

/// The schema of some fields, as `properties`.
pub(crate) fn properties<'f>(fields: impl IntoIterator<Item = &'f Field>) -> Map<String, Value> {
    fields
        .into_iter()
        .map(|field| {
            let mut schema = field.shape.schema();
            if let Value::Object(members) = &mut schema {
                members.insert("description".to_owned(), Value::from(field.about));
            }
            (field.name.to_owned(), schema)
        })
        .collect()
}

impl Shape {
    /// Its JSON Schema.
    pub(crate) fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
            Self::Template => json!({ "type": "string" }),
            Self::Expression => json!({ "type": "string", "pattern": "^\\{\\{[\\s\\S]*\\}\\}$" }),
            Self::Any => json!({}),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Duration => json!({ "$ref": "#/$defs/duration" }),
            Self::Size => json!({ "$ref": "#/$defs/size" }),
            Self::Integer(min, u64::MAX) => json!({ "type": "integer", "minimum": min }),
            Self::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Self::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
            Self::Words(words) => json!({ "enum": words }),
            Self::List(min, of) => json!({ "type": "array", "minItems": min, "items": of.schema() }),
            Self::Either(shapes) => json!({ "anyOf": shapes.iter().map(Self::schema).collect::<Vec<_>>() }),
            Self::Object(fields, required) => json!({
                "type": "object",
                "properties": properties(*fields),
                "required": required,
                "additionalProperties": false,
            }),
            Self::Map(of) => json!({ "type": "object", "additionalProperties": of.schema() }),
            Self::Headers => json!({ "$ref": "#/$defs/headers" }),
        }
    }
}
