//! The template engine: which filters, tests and functions there are, and JSON as the engine sees it.
//!
//! Documents are never copied into the engine: a [`Member`] is a shared document and a path into it, and its members
//! are made when an expression asks for them.
//!
//! The engine's fuel pays for what an expression makes, not for how often the same list is part of a result: a list of
//! a thousand times the same list of a thousand times… costs little and is endless when it is printed or compared.
//! So nothing here can put one list many times into another: `map` passes no lists on, `batch` and `slice`, which fill
//! up, are not there, and [`super::compile`] keeps `*` for numbers and strings.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};
use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::Value as Json;

use super::convert;
use super::filters;
use super::path::{Step, member};
use crate::limits;

/// What follows `|`.
#[rustfmt::skip]
pub(crate) const FILTERS: [&str; 49] = [
    "abs", "attr", "bool", "capitalize", "chain", "contains", "count", "d", "default", "dictsort",
    "e", "endswith", "escape", "first", "float", "format", "groupby", "indent", "int", "items", "join",
    "last", "length", "lines", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "split", "startswith",
    "string", "sum", "title", "tojson", "trim", "unique", "upper", "urlencode", "zip",
];

/// What follows `is`.
#[rustfmt::skip]
pub(crate) const TESTS: [&str; 35] = [
    "boolean", "defined", "divisibleby", "endingwith", "eq", "equalto", "escaped", "even", "false", "filter",
    "float", "ge", "greaterthan", "gt", "in", "int", "integer", "iterable", "le", "lessthan", "lower", "lt",
    "mapping", "ne", "none", "number", "odd", "safe", "sameas", "sequence", "startingwith", "string", "true",
    "undefined", "upper",
];

/// What may be called.
pub(crate) const FUNCTIONS: [&str; 2] = ["dict", "range"];

/// The one engine of the process: expressions are compiled against it and shared by all threads.
pub(crate) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(limits::TEMPLATE_FUEL));
    engine.set_recursion_limit(limits::TEMPLATE_RECURSION_MAX);
    for global in ["debug", "namespace"] {
        engine.remove_global(global);
    }
    for filter in ["batch", "pprint", "slice"] {
        engine.remove_filter(filter);
    }
    filters::add(&mut engine);
    engine
});

thread_local! {
    /// Bytes of documents printed by the evaluation under way on this thread; `usize::MAX` when it was too much.
    static PRINTED: Cell<usize> = const { Cell::new(0) };
}

/// Evaluates, and says whether more was printed on the way than a template may yield.
pub(crate) fn evaluate(
    compiled: &minijinja::Expression<'static, 'static>,
    bindings: Bindings,
) -> (Result<Value, minijinja::Error>, bool) {
    PRINTED.set(0);
    let result = compiled.eval(bindings);
    (result, PRINTED.get() == usize::MAX)
}

/// An array or object inside a shared document.
pub(crate) struct Member {
    document: Arc<Json>,
    steps: Vec<Step>,
}

impl Member {
    /// The engine's value of what `steps` lead to in `document`.
    pub(crate) fn value(document: &Arc<Json>, steps: &[Step], found: &Json) -> Value {
        match found {
            Json::Null => Value::from(()),
            Json::Bool(flag) => Value::from(*flag),
            Json::Number(number) => number_value(number),
            Json::String(text) => Value::from(text.as_str()),
            Json::Array(_) | Json::Object(_) => {
                Value::from_object(Self { document: Arc::clone(document), steps: steps.to_vec() })
            }
        }
    }

    /// The JSON it stands for.
    pub(crate) fn json(&self) -> &Json {
        self.steps.iter().fold(&*self.document, |value, step| member(value, step).unwrap_or(&Json::Null))
    }

    fn child(&self, step: Step) -> Option<Value> {
        let found = member(self.json(), &step)?;
        let mut steps = Vec::with_capacity(self.steps.len() + 1);
        steps.extend_from_slice(&self.steps);
        steps.push(step);
        Some(match found {
            Json::Array(_) | Json::Object(_) => {
                Value::from_object(Self { document: Arc::clone(&self.document), steps })
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                Self::value(&self.document, &steps, found)
            }
        })
    }
}

fn number_value(number: &serde_json::Number) -> Value {
    if let Some(integer) = number.as_i64() {
        Value::from(integer)
    } else if let Some(integer) = number.as_u64() {
        Value::from(integer)
    } else {
        Value::from(number.as_f64().unwrap_or(f64::NAN))
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json())
    }
}

impl Object for Member {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.json().is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some(key) => self.get_value_by_str(key),
            None => self.child(Step::Index(key.as_usize()?)),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.json().get(key)?;
        self.child(Step::Key(key.into()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.json() {
            Json::Array(list) => Enumerator::Seq(list.len()),
            Json::Object(members) => Enumerator::Values(members.keys().map(|key| Value::from(key.as_str())).collect()),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Enumerator::Empty,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        match self.json() {
            Json::Array(list) => Some(list.len()),
            Json::Object(members) => Some(members.len()),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Some(0),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.json();
        let bytes = convert::size(json);
        // A failing `Display` would be a panic in the engine: what is too much is left out here, and noticed after.
        if PRINTED.get().saturating_add(bytes) > limits::TEMPLATE_OUTPUT_BYTES_MAX {
            PRINTED.set(usize::MAX);
            return Ok(());
        }
        PRINTED.set(PRINTED.get() + bytes);
        write!(f, "{json}")
    }
}

/// Name of the n-th path of an expression inside the engine.
pub(crate) fn path_name(number: usize) -> String {
    format!("__path_{number}")
}

/// The values of an expression's paths: what the engine looks names up in.
pub(crate) struct Bindings(pub(crate) Vec<Option<Value>>);

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bindings").field(&self.0.len()).finish()
    }
}

impl Object for Bindings {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let number: usize = key.strip_prefix("__path_")?.parse().ok()?;
        self.0.get(number)?.clone()
    }
}

impl From<Bindings> for Value {
    fn from(bindings: Bindings) -> Self {
        Self::from_dyn_object(DynObject::new(Arc::new(bindings)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn every_listed_filter_and_test_exists() {
        for name in FILTERS {
            let probe = ENGINE.compile_expression_owned(format!("'{name}' is filter")).unwrap();
            assert!(probe.eval(()).unwrap().is_true(), "{name}");
        }
        for name in TESTS {
            let probe = ENGINE.compile_expression_owned(format!("'{name}' is test")).unwrap();
            assert!(probe.eval(()).unwrap().is_true(), "{name}");
        }
        for name in FUNCTIONS {
            let probe = ENGINE.compile_expression_owned(format!("{name} is defined")).unwrap();
            assert!(probe.eval(()).unwrap().is_true(), "{name}");
        }
    }
}
