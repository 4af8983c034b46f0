//! From the engine's values to JSON and text, within the limits on what a template may yield.

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::{Map, Number, Value as Json};

use super::engine::Member;
use crate::limits;

/// A value that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    /// Something in it is undefined.
    #[error("undefined value")]
    Undefined,
    /// Too large or too deep.
    #[error("the value is too large")]
    TooLarge,
    /// It ran out of fuel while it was made.
    #[error("out of fuel")]
    Fuel,
    /// It has no JSON form.
    #[error("{0}")]
    NotJson(String),
}

/// The JSON of a value, and about how many bytes it takes as text.
pub(crate) fn to_json(value: &Value) -> Result<(Json, usize), ConvertError> {
    let mut budget = Budget::new(limits::TEMPLATE_OUTPUT_VALUES_MAX);
    let json = budget.convert(value, 0)?;
    Ok((json, budget.spent()))
}

/// A copy of a document if it is within the limits, and about how many bytes it takes as text.
pub(crate) fn copy(value: &Json) -> Result<(Json, usize), ConvertError> {
    let mut budget = Budget::new(usize::MAX);
    budget.measure(value, 0)?;
    Ok((value.clone(), budget.spent()))
}

/// About how many bytes a document takes as text, at most the limit.
pub(crate) fn size(value: &Json) -> usize {
    let mut budget = Budget::new(usize::MAX);
    match budget.measure(value, 0) {
        Ok(()) => budget.spent(),
        Err(_) => limits::TEMPLATE_OUTPUT_BYTES_MAX,
    }
}

/// What may still be yielded.
struct Budget {
    bytes: usize,
    values: usize,
}

impl Budget {
    /// The number of values is bounded where they are made; a document that exists was bounded where it came from.
    fn new(values: usize) -> Self {
        Self { bytes: limits::TEMPLATE_OUTPUT_BYTES_MAX, values }
    }

    fn spent(&self) -> usize {
        limits::TEMPLATE_OUTPUT_BYTES_MAX - self.bytes
    }

    fn take(&mut self, bytes: usize) -> Result<(), ConvertError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(ConvertError::TooLarge)?;
        Ok(())
    }

    fn count(&mut self, depth: usize) -> Result<(), ConvertError> {
        self.values = self.values.checked_sub(1).ok_or(ConvertError::TooLarge)?;
        if depth > limits::TEMPLATE_OUTPUT_DEPTH_MAX { Err(ConvertError::TooLarge) } else { Ok(()) }
    }

    fn measure(&mut self, value: &Json, depth: usize) -> Result<(), ConvertError> {
        self.count(depth)?;
        match value {
            Json::Null | Json::Bool(_) => self.take(4),
            Json::Number(_) => self.take(8),
            Json::String(text) => self.take(text.len() + 2),
            Json::Array(list) => {
                self.take(2 + list.len())?;
                list.iter().try_for_each(|element| self.measure(element, depth + 1))
            }
            Json::Object(members) => {
                self.take(2)?;
                members.iter().try_for_each(|(key, member)| {
                    self.take(key.len() + 4)?;
                    self.measure(member, depth + 1)
                })
            }
        }
    }

    fn convert(&mut self, value: &Value, depth: usize) -> Result<Json, ConvertError> {
        if let Some(member) = value.downcast_object_ref::<Member>() {
            let json = member.json();
            self.measure(json, depth)?;
            return Ok(json.clone());
        }
        self.count(depth)?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's enum may grow")]
        match value.kind() {
            ValueKind::Undefined => Err(ConvertError::Undefined),
            ValueKind::None => self.take(4).map(|()| Json::Null),
            ValueKind::Bool => self.take(4).map(|()| Json::Bool(value.is_true())),
            ValueKind::Number => self.take(8).and_then(|()| number(value)),
            ValueKind::String | ValueKind::Bytes => {
                let text = value.as_str().ok_or_else(|| ConvertError::NotJson("bytes that are no text".to_owned()))?;
                self.take(text.len() + 2)?;
                Ok(Json::String(text.to_owned()))
            }
            ValueKind::Seq | ValueKind::Iterable => self.list(value, depth),
            ValueKind::Map => self.object(value, depth),
            ValueKind::Invalid => Err(invalid(value)),
            other => Err(ConvertError::NotJson(format!("a {other} has no JSON form"))),
        }
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<Json, ConvertError> {
        let elements = value.try_iter().map_err(|error| ConvertError::NotJson(error.to_string()))?;
        let mut list = Vec::new();
        self.take(2)?;
        for element in elements {
            self.take(1)?;
            list.push(self.convert(&element, depth + 1)?);
        }
        Ok(Json::Array(list))
    }

    fn object(&mut self, value: &Value, depth: usize) -> Result<Json, ConvertError> {
        let keys = value.try_iter().map_err(|error| ConvertError::NotJson(error.to_string()))?;
        let mut members = Map::new();
        self.take(2)?;
        for key in keys {
            let member = value.get_item(&key).map_err(|error| ConvertError::NotJson(error.to_string()))?;
            let name = key_name(&key)?;
            self.take(name.len() + 4)?;
            members.insert(name, self.convert(&member, depth + 1)?);
        }
        Ok(Json::Object(members))
    }
}

fn key_name(key: &Value) -> Result<String, ConvertError> {
    match (key.as_str(), key.kind()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, ValueKind::Number) => Ok(key.to_string()),
        (None, ValueKind::Invalid) => Err(invalid(key)),
        (None, other) => Err(ConvertError::NotJson(format!("a {other} is no key of a JSON object"))),
    }
}

fn number(value: &Value) -> Result<Json, ConvertError> {
    let number = if !value.is_integer() {
        f64::try_from(value.clone()).ok().and_then(Number::from_f64)
    } else if let Ok(integer) = i64::try_from(value.clone()) {
        Some(Number::from(integer))
    } else {
        u64::try_from(value.clone()).ok().map(Number::from)
    };
    number.map(Json::Number).ok_or_else(|| ConvertError::NotJson(format!("{value} is no number JSON can carry")))
}

/// An error that travelled as a value: iteration cannot fail any other way in the engine.
fn invalid(value: &Value) -> ConvertError {
    let text = value.to_string();
    if text.contains("fuel") { ConvertError::Fuel } else { ConvertError::NotJson(text) }
}
