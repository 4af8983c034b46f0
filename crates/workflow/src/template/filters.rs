//! Filters of our own, and those of the engine that are replaced: they keep what one expression makes within bounds.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::convert;

/// Adds them, in place of the engine's where it has one of the name.
pub(super) fn add(engine: &mut Environment<'static>) {
    engine.add_filter("contains", |text: &str, part: &str| text.contains(part));
    engine.add_filter("endswith", |text: &str, end: &str| text.ends_with(end));
    engine.add_filter("map", map);
    engine.add_filter("startswith", |text: &str, start: &str| text.starts_with(start));
    engine.add_filter("string", string);
    engine.add_filter("tojson", tojson);
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// `tojson`: JSON that may also stand inside HTML.
fn tojson(value: &Value) -> Result<Value, Error> {
    let (json, _) = convert::to_json(value).map_err(|error| refused(error.to_string()))?;
    let text = json.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\'' => out.push_str("\\u0027"),
            other => out.push(other),
        }
    }
    Ok(Value::from_safe_string(out))
}

/// `string`: what a value is in text, a string itself and everything else its JSON.
fn string(value: Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value);
    }
    let (json, _) = convert::to_json(&value).map_err(|error| refused(error.to_string()))?;
    Ok(Value::from(json.to_string()))
}

/// `map(attribute="a.b")`, with a `default`, or `map("filter")` with what else the filter takes. Lists and objects are
/// not passed on: each element of the result could be one.
#[expect(clippy::needless_pass_by_value, reason = "the engine passes the arguments of a filter by value")]
fn map(state: &mut State<'_, '_>, list: &Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Vec<Value>, Error> {
    let attribute: Option<&str> = kwargs.get("attribute")?;
    let default: Option<Value> = if attribute.is_some() { kwargs.get("default")? } else { None };
    kwargs.assert_all_used()?;
    if args.iter().chain(&default).any(|value| !is_scalar(value)) {
        return Err(refused("`map` passes no lists or objects on to its filter"));
    }
    let mut mapped = Vec::with_capacity(list.len().unwrap_or(0).min(CAPACITY_MAX));
    for element in list.try_iter()?.checked() {
        let element = element?;
        state.consume_fuel(1)?;
        mapped.push(match (attribute, args.first()) {
            (Some(path), None) => member(&element, path, default.as_ref())?,
            (None, Some(name)) => {
                let name = name.as_str().ok_or_else(|| refused("`map` takes the name of a filter"))?;
                let mut passed = vec![element];
                passed.extend_from_slice(&args[1..]);
                state.apply_filter(name, &passed)?
            }
            _ => return Err(refused("`map` takes the name of a filter, or attribute=\"…\"")),
        });
    }
    Ok(mapped)
}

/// Places reserved at once; longer lists grow, and fuel ends them.
const CAPACITY_MAX: usize = 1024;

fn member(element: &Value, path: &str, default: Option<&Value>) -> Result<Value, Error> {
    let mut value = element.clone();
    for part in path.split('.') {
        let key = part.parse::<usize>().map_or_else(|_| Value::from(part), Value::from);
        value = if value.is_undefined() { Value::UNDEFINED } else { value.get_item(&key)? };
    }
    match (value.is_undefined(), default) {
        (false, _) => Ok(value),
        (true, Some(default)) => Ok(default.clone()),
        (true, None) => Err(refused(format!("an element has no `{path}`; default=… stands in for it"))),
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Undefined | ValueKind::None | ValueKind::Bool | ValueKind::Number | ValueKind::String
    )
}
