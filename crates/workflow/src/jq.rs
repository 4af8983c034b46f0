//! Programs in jq: compiled when a definition is deployed, run in a worker.
//!
//! A program is code of its author's choosing: it may loop for ever and take any amount of memory, so it never runs where
//! other runs do. Compiling it is bounded here: the compiler recurses over the program, so a program may only have so many
//! places that can nest ([`limits::JQ_LEVELS_MAX`]), and the compiler gets a stack that is large enough for all of them.

mod library;

use std::fmt;
use std::ops::Range;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Native, Vars, box_iter, compile};
use jaq_json::{Num, Val};
use serde::Deserialize as _;
use serde_json::{Map, Number, Value};

use crate::limits;

/// A compiled program.
pub struct Program {
    filter: Filter<JustLut<Val>>,
}

/// What is wrong with a program, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes of the text.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
}

/// Why a program ended without its outputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It raised an error and did not catch it.
    #[error("{0}")]
    Raised(String),
    /// It halted with an exit code that is not 0.
    #[error("it halted with exit code {0}; `error(\"…\")` fails with a message")]
    Halted(i32),
    /// An output that JSON cannot hold.
    #[error("an output is {0}")]
    NotJson(&'static str),
    /// More outputs than [`limits::JQ_OUTPUTS_MAX`].
    #[error("the program has more than {} outputs", limits::JQ_OUTPUTS_MAX)]
    TooMany,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles a program.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as the compiler came.
    pub fn compile(text: &str) -> Result<Self, Vec<Mistake>> {
        let levels = levels(text);
        if levels > limits::JQ_LEVELS_MAX {
            let message = format!(
                "the program has {levels} operators, brackets and words that nest; the limit is {}",
                limits::JQ_LEVELS_MAX
            );
            return Err(vec![Mistake { at: 0..text.len(), message }]);
        }
        let stack_bytes = limits::JQ_STACK_BYTES + levels * limits::JQ_LEVEL_STACK_BYTES;
        stacker::grow(stack_bytes, || compile_here(text)).map(|filter| Self { filter })
    }

    /// Runs the program over `input` to its end, which may never come.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run(&self, input: &Value) -> Result<Vec<Value>, RunError> {
        let input = Val::deserialize(input).map_err(|error| RunError::Raised(error.to_string()))?;
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut outputs = Vec::new();
        for output in self.filter.id.run((context, input)) {
            let output = match output.map_err(jaq_core::Exn::get_err) {
                Ok(output) => output,
                Err(Ok(error)) => return Err(RunError::Raised(error.to_string())),
                // `halt` ends the program; so does `halt_error`, which is to say that something is wrong.
                Err(Err(end)) => match end.get_halt() {
                    Ok(0) | Err(_) => break,
                    Ok(code) => return Err(RunError::Halted(code)),
                },
            };
            if outputs.len() == limits::JQ_OUTPUTS_MAX {
                return Err(RunError::TooMany);
            }
            outputs.push(json(&output, limits::JQ_OUTPUT_DEPTH_MAX)?);
        }
        Ok(outputs)
    }
}

/// How deep the compiler may have to recurse: a bound, found without parsing.
fn levels(text: &str) -> usize {
    const WORDS: [&str; 12] =
        ["if", "elif", "else", "try", "catch", "def", "reduce", "foreach", "label", "as", "and", "or"];
    let operators = text.bytes().filter(|byte| b"([{|,:;+-*/%?=<>!".contains(byte)).count();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| WORDS.contains(word));
    operators + words.count()
}

fn compile_here(text: &str) -> Result<Filter<JustLut<Val>>, Vec<Mistake>> {
    let arena = Arena::default();
    let modules = Loader::new(library::reachable_from(text))
        .load(&arena, File { code: text, path: () })
        .map_err(|errors| errors.into_iter().flat_map(|(_, error)| load_mistakes(text, error)).collect::<Vec<_>>())?;
    Compiler::default().with_funs(functions()).compile(modules).map_err(|errors| {
        let undefined = errors.into_iter().flat_map(|(_, errors)| errors);
        undefined
            .map(|(name, what)| Mistake { at: place(text, name), message: undefined_message(name, &what) })
            .collect()
    })
}

/// Everything jq has, but for the environment of the process, which is none of a workflow's business.
fn functions() -> impl Iterator<Item = jaq_core::native::Fun<JustLut<Val>>> {
    let all = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let empty = Native::new(|_| box_iter::box_once(Ok(Val::obj(jaq_json::Map::default()))));
    all.filter(|(name, _, _)| *name != "env").chain([("env", Box::default(), empty)])
}

fn load_mistakes(text: &str, error: load::Error<&str>) -> Vec<Mistake> {
    match error {
        load::Error::Io(modules) => modules
            .into_iter()
            .map(|(name, _)| Mistake { at: place(text, name), message: "modules cannot be loaded here".to_owned() })
            .collect(),
        load::Error::Lex(errors) => {
            errors.into_iter().map(|(expected, found)| mistake(text, expected.as_str(), found)).collect()
        }
        load::Error::Parse(errors) => {
            errors.into_iter().map(|(expected, found)| mistake(text, expected.as_str(), found)).collect()
        }
    }
}

fn mistake(text: &str, expected: &str, found: &str) -> Mistake {
    let at = place(text, found);
    let found = match found.chars().next() {
        None => "the end".to_owned(),
        Some(_) => format!("`{}`", clip(found)),
    };
    Mistake { at, message: format!("expected {expected}, found {found}") }
}

fn undefined_message(name: &str, what: &compile::Undefined) -> String {
    if let compile::Undefined::Filter(arity) = what {
        return format!("there is no function `{name}` with {arity} arguments");
    }
    format!("there is no {} `{name}`", what.as_str())
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(24)]
}

/// Where `part`, a part of `text`, stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    if start <= text.len() { start..(start + part.len()).min(text.len()) } else { 0..text.len() }
}

fn json(value: &Val, depth_left: usize) -> Result<Value, RunError> {
    let Some(depth_left) = depth_left.checked_sub(1) else { return Err(RunError::NotJson("nested too deep")) };
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(number) => number_value(number),
        Val::TStr(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        Val::BStr(_) => return Err(RunError::NotJson("binary data; encode it with @base64")),
        Val::Arr(list) => Value::Array(list.iter().map(|item| json(item, depth_left)).collect::<Result<_, _>>()?),
        Val::Obj(members) => {
            let mut object = Map::with_capacity(members.len());
            for (key, member) in &**members {
                let Val::TStr(key) = key else { return Err(RunError::NotJson("an object whose key is no string")) };
                object.insert(String::from_utf8_lossy(key).into_owned(), json(member, depth_left)?);
            }
            Value::Object(object)
        }
    })
}

/// As jq prints numbers: what is not a number is null, what is infinite is the greatest number.
fn number_value(number: &Num) -> Value {
    let float = |value: f64| match value {
        value if value.is_nan() => Value::Null,
        value => Number::from_f64(value.clamp(f64::MIN, f64::MAX)).map_or(Value::Null, Value::Number),
    };
    match number {
        Num::Int(value) => Value::from(*value),
        Num::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Value::from(*value as i64),
        Num::Float(value) => float(*value),
        Num::BigInt(_) | Num::Dec(_) => {
            let text = number.to_string();
            serde_json::from_str(&text).unwrap_or_else(|_| float(text.parse().unwrap_or(f64::NAN)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn run(text: &str, input: &Value) -> Result<Vec<Value>, RunError> {
        Program::compile(text).unwrap().run(input)
    }

    #[test]
    fn programs_do_what_jq_does() {
        for (text, input, outputs) in [
            (".a | map(. + 1)", json!({"a": [1, 2]}), vec![json!([2, 3])]),
            (".[]", json!([1, "x", null]), vec![json!(1), json!("x"), json!(null)]),
            ("empty", json!(0), vec![]),
            ("{b: .a, c: (.a | length)}", json!({"a": "ä"}), vec![json!({"b": "ä", "c": 1})]),
            ("10 / 4, 10 / 5, nan, infinite", json!(null), vec![json!(2.5), json!(2), json!(null), json!(f64::MAX)]),
            ("1, halt, 2", json!(null), vec![json!(1)]),
            ("env", json!(null), vec![json!({})]),
            (". + 1", json!(9_007_199_254_740_993_i64), vec![json!(9_007_199_254_740_994_i64)]),
        ] {
            assert_eq!(run(text, &input), Ok(outputs), "{text}");
        }
    }

    #[test]
    fn an_error_that_is_raised_is_told() {
        assert!(run("error(\"no price\")", &json!(1)).unwrap_err().to_string().contains("no price"));
        assert!(matches!(run(".a", &json!(1)), Err(RunError::Raised(_))));
        assert_eq!(run("try error(\"x\") catch .", &json!(1)), Ok(vec![json!("x")]));
        assert_eq!(run("halt_error", &json!(null)), Err(RunError::Halted(5)));
    }

    #[test]
    fn outputs_are_bounded_and_are_json() {
        assert_eq!(run("range(infinite)", &json!(null)), Err(RunError::TooMany));
        assert!(matches!(run("reduce range(1000) as $i (0; [.])", &json!(null)), Err(RunError::NotJson(_))));
        assert!(matches!(run("{(0): 1}", &json!(null)), Err(RunError::NotJson(_) | RunError::Raised(_))));
    }

    #[test]
    fn every_mistake_has_its_place() {
        let mistakes = |text: &str| Program::compile(text).unwrap_err();
        assert_eq!(mistakes(".a | foo + $x").iter().map(|it| it.at.clone()).collect::<Vec<_>>(), [5..8, 11..13]);
        assert_eq!(mistakes(".a.")[0].at, 3..3);
        assert!(mistakes("[1, 2")[0].message.contains("expected"), "{:?}", mistakes("[1, 2"));
        assert!(mistakes("import \"x\" as x; 1")[0].message.contains("modules"));
    }

    #[test]
    fn no_program_overflows_the_stack_of_the_compiler() {
        let levels = limits::JQ_LEVELS_MAX;
        for part in [
            "(",
            "[",
            "1|",
            "1,",
            "-",
            "if 1 then ",
            "try ",
            "def f: ",
            "\"\\(",
            ". as $x|",
            "1+",
            "label $x|",
            "try -",
            "1//",
        ] {
            for end in ["", "1"] {
                for count in [levels / 4, levels / 2, levels, levels * 2] {
                    let _ = Program::compile(&(part.repeat(count) + end));
                }
            }
        }
        let nested = "(1|".repeat(levels / 2) + "1" + &")".repeat(levels / 2);
        assert!(Program::compile(&nested).is_ok());
    }
}
