//! From a string of the document to a compiled template, with everything wrong in it.

use std::ops::Range;
use std::sync::Arc;

use super::engine::{ENGINE, FILTERS, FUNCTIONS, TESTS, path_name};
use super::error::shown;
use super::expression::{Body, Expression};
use super::path::{Path, Root, Step, is_plain};
use super::scan::{self, Names, Piece, Reference};
use super::{Escape, Part, TextTemplate};
use crate::limits;
use crate::suggest;

/// Something wrong in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where, in bytes of the string.
    pub(crate) range: Range<usize>,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// A name in a template that only the whole definition can judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    /// Where, in bytes of the string.
    pub(crate) range: Range<usize>,
    pub(crate) root: Root,
    /// The parameter of the hook's path that it names.
    pub(crate) param: Option<Arc<str>>,
}

/// What came of compiling one string.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    pub(crate) used: Vec<Used>,
}

/// What a string of the document means.
pub(crate) enum Compiled {
    /// No template.
    Plain,
    /// Exactly one expression: typed.
    Expression(Expression),
    /// Text with expressions in it.
    Text(TextTemplate),
}

/// Compiles one string. With problems the result is of no use.
pub(crate) fn string(text: &str, escape: Escape, findings: &mut Findings) -> Compiled {
    if !scan::is_template(text) {
        return Compiled::Plain;
    }
    let pieces = match scan::split(text) {
        Ok(pieces) => pieces,
        Err(unclosed) => {
            findings.problems.push(Problem {
                range: unclosed.offset..text.len(),
                code: "template-syntax",
                message: "`{{` without its `}}`".to_owned(),
                help: Some("for two braces that are no template, write {{ \"{{\" }}".to_owned()),
            });
            return Compiled::Plain;
        }
    };
    let expressions = pieces.iter().filter(|piece| matches!(piece, Piece::Expression(_))).count();
    if expressions > limits::TEMPLATE_EXPRESSIONS_MAX {
        findings.problems.push(Problem {
            range: 0..text.len(),
            code: "too-many",
            message: format!("{expressions} expressions in one string; at most {}", limits::TEMPLATE_EXPRESSIONS_MAX),
            help: None,
        });
        return Compiled::Plain;
    }
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Text(range) => parts.push(Part::Text(text[range].to_owned())),
            Piece::Expression(range) => match expression(&text[range.clone()], range.start, findings) {
                Some(expression) => parts.push(Part::Expression(expression)),
                None => parts.push(Part::Text(String::new())),
            },
        }
    }
    match (parts.len(), parts.pop()) {
        (1, Some(Part::Expression(expression))) => Compiled::Expression(expression),
        (_, last) => {
            parts.extend(last);
            Compiled::Text(TextTemplate::from_parts(parts, escape))
        }
    }
}

/// Compiles one expression that begins at `offset` of its string.
fn expression(source: &str, offset: usize, findings: &mut Findings) -> Option<Expression> {
    let whole = offset..offset + source.len();
    if source.is_empty() {
        findings.problems.push(Problem {
            range: offset.saturating_sub(2)..offset + 2,
            code: "template-syntax",
            message: "an expression is missing between `{{` and `}}`".to_owned(),
            help: Some("such as {{ input.title }}".to_owned()),
        });
        return None;
    }
    let names = scan::names(source);
    if let Some(problem) = check_make(source, &names, offset) {
        findings.problems.push(problem);
        return None;
    }
    if let Err(error) = ENGINE.compile_expression_owned(source.to_owned()) {
        let cause = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        findings.problems.push(Problem {
            range: whole,
            code: "template-syntax",
            message: format!("`{}` is no expression: {cause}", shown(source)),
            help: None,
        });
        return None;
    }
    let problems_before = findings.problems.len();
    check_known(&names, offset, findings);
    let paths = resolve(source, &names.references, offset, findings);
    if findings.problems.len() > problems_before {
        return None;
    }
    findings.used.extend(names.references.iter().zip(&paths).map(|(reference, path)| Used {
        range: offset + reference.range.start..offset + reference.range.end,
        root: path.root.clone(),
        param: match (&path.root, path.steps.as_slice()) {
            (Root::Hook, [Step::Key(params), Step::Key(name), ..]) if &**params == "params" => Some(Arc::clone(name)),
            _ => None,
        },
    }));
    let body = match (names.references.as_slice(), paths.as_slice()) {
        ([reference], [path]) if reference.range == (0..source.len()) => Body::Path(path.clone()),
        (references, paths) => {
            let mut distinct: Vec<Path> = Vec::new();
            let numbers: Vec<usize> = paths
                .iter()
                .map(|path| {
                    distinct.iter().position(|known| known == path).unwrap_or_else(|| {
                        distinct.push(path.clone());
                        distinct.len() - 1
                    })
                })
                .collect();
            let compiled = ENGINE.compile_expression_owned(rewrite(source, references, &numbers)).ok()?;
            Body::Engine { compiled, paths: distinct }
        }
    };
    Some(Expression::new(source.to_owned(), body))
}

/// Filters, tests and functions must exist.
fn check_known(names: &Names, offset: usize, findings: &mut Findings) {
    let groups = [
        ("filter", &names.filters, &FILTERS[..]),
        ("test", &names.tests, &TESTS[..]),
        ("function", &names.functions, &FUNCTIONS[..]),
    ];
    for (what, found, known) in groups {
        for (range, name) in found.iter().filter(|(_, name)| !known.contains(&name.as_str())) {
            findings.problems.push(Problem {
                range: offset + range.start..offset + range.end,
                code: "unknown-name",
                message: format!("there is no {what} `{name}`"),
                help: suggest::help(name, known),
            });
        }
    }
}

/// The paths of an expression, with a problem for each that can lead nowhere.
fn resolve(source: &str, references: &[Reference], offset: usize, findings: &mut Findings) -> Vec<Path> {
    let mut paths = Vec::with_capacity(references.len());
    for reference in references {
        let range = offset + reference.range.start..offset + reference.range.end;
        match path(source, reference) {
            Ok(path) => paths.push(path),
            Err((code, message, help)) => {
                findings.problems.push(Problem { range, code, message, help });
                // What follows an id with an unquoted hyphen is read as names that were never meant.
                if reference.root == "blocks" {
                    return paths;
                }
            }
        }
    }
    paths
}

type Refusal = (&'static str, String, Option<String>);

fn path(source: &str, reference: &Reference) -> Result<Path, Refusal> {
    const ROOTS: [&str; 6] = ["input", "hook", "blocks", "run", "item", "index"];
    let steps = reference.steps.as_slice();
    let (root, steps) = match reference.root.as_str() {
        "input" => (Root::Input, steps),
        "hook" => (Root::Hook, known_member("hook", &HOOK_MEMBERS, steps)?),
        "run" => (Root::Run, known_member("run", &RUN_MEMBERS, steps)?),
        "item" => (Root::Item, steps),
        "index" => (Root::Index, steps),
        "blocks" => match steps {
            [Step::Key(id), Step::Key(output), rest @ ..] if &**output == "output" => {
                (Root::Block(Arc::clone(id)), rest)
            }
            _ => return Err(incomplete_block(source, reference)),
        },
        name @ ("env" | "secrets") => {
            return Err((
                "not-available",
                format!("`{name}` cannot be named in a template yet"),
                Some("this version knows `input`, `hook`, `blocks` and `run`".to_owned()),
            ));
        }
        name => {
            return Err((
                "unknown-name",
                format!("there is no `{name}` to name in a template"),
                suggest::help(name, &ROOTS),
            ));
        }
    };
    Ok(Path { root, steps: steps.to_vec() })
}

/// Members of `hook`: what is known of a request.
const HOOK_MEMBERS: [&str; 7] = ["method", "path", "params", "query", "headers", "body", "encoding"];

/// Members of `run`.
const RUN_MEMBERS: [&str; 6] = ["id", "workflow", "version", "priority", "attempt", "createdAt"];

/// Refuses a first member that is never there.
fn known_member<'a>(root: &str, members: &[&str], steps: &'a [Step]) -> Result<&'a [Step], Refusal> {
    match steps.first() {
        Some(Step::Key(name)) if !members.contains(&&**name) => {
            Err(("unknown-name", format!("`{root}` has no member `{}`", shown(name)), suggest::help(name, members)))
        }
        Some(_) | None => Ok(steps),
    }
}

fn incomplete_block(source: &str, reference: &Reference) -> Refusal {
    let help = match reference.steps.as_slice() {
        [Step::Key(id), ..] if source[reference.range.end..].starts_with('-') => {
            format!("an id with a hyphen is written in brackets: blocks[\"{id}-…\"].output")
        }
        [Step::Key(id), ..] if is_plain(id) => format!("write blocks.{id}.output"),
        [Step::Key(id), ..] => format!("write blocks[{id:?}].output"),
        _ => "write blocks.<id>.output, the id as it stands in the definition".to_owned(),
    };
    ("unknown-name", "`blocks` is followed by a block's id and `output`".to_owned(), Some(help))
}

/// Filters whose result is never a list.
const SCALAR_FILTERS: [&str; 11] =
    ["abs", "count", "d", "default", "float", "int", "length", "lower", "round", "string", "upper"];

/// Refuses what the engine cannot compile or evaluate within bounds.
fn check_make(source: &str, names: &Names, offset: usize) -> Option<Problem> {
    let whole = offset..offset + source.len();
    let too_long = |message: String| {
        Some(Problem {
            range: whole.clone(),
            code: "too-large",
            message,
            help: Some("do it in several blocks or strings".to_owned()),
        })
    };
    if source.len() > limits::TEMPLATE_EXPRESSION_BYTES_MAX {
        let max = limits::TEMPLATE_EXPRESSION_BYTES_MAX;
        return too_long(format!("an expression of {} bytes; at most {max}", source.len()));
    }
    let make = scan::make(source);
    if make.operators > limits::TEMPLATE_OPERATORS_MAX {
        let max = limits::TEMPLATE_OPERATORS_MAX;
        return too_long(format!(
            "an expression with {} operators, brackets and members; at most {max}",
            make.operators
        ));
    }
    if names.references.len() > limits::TEMPLATE_NAMES_MAX {
        let max = limits::TEMPLATE_NAMES_MAX;
        return too_long(format!("an expression with {} names; at most {max}", names.references.len()));
    }
    let at = make.product?;
    let filters = names.filters.iter().any(|(_, name)| !SCALAR_FILTERS.contains(&name.as_str()));
    if !make.literals && !filters && names.functions.is_empty() {
        return None;
    }
    Some(Problem {
        range: offset + at..offset + at + 1,
        code: "template-product",
        message: "`*` cannot stand in one expression with lists, objects, functions, or filters that may yield them"
            .to_owned(),
        help: Some(format!(
            "give the product an expression of its own; filters that may stand beside it: {}",
            suggest::list(&SCALAR_FILTERS)
        )),
    })
}

/// The expression with every path replaced by a plain name.
fn rewrite(source: &str, references: &[Reference], numbers: &[usize]) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = 0;
    for (reference, number) in references.iter().zip(numbers) {
        out.push_str(&source[rest..reference.range.start]);
        out.push_str(&path_name(*number));
        rest = reference.range.end;
    }
    out.push_str(&source[rest..]);
    out
}
