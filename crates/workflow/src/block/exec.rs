//! `exec`: a program that the operator allowed, with the block's input on its standard input.

use jsonc_parser::ast::Value;

use crate::definition::Isolation;
use crate::field::{Field, Shape};
use crate::limits;
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::parse::spot::{Spot, clip};
use crate::template::{Escape, TextTemplate, scan};

/// Configuration of an `exec` block.
#[derive(Debug)]
pub struct Exec {
    /// The name under which the operator allows the program.
    pub program: String,
    /// Its arguments behind its name; each template is rendered to one of them.
    pub arguments: Vec<TextTemplate>,
    /// What it reads.
    pub stdin: Stdin,
    /// What is made of what it writes.
    pub output: Stdout,
}

/// What a program has on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// The block's input as JSON.
    Json,
    /// The block's input, a string, as it is.
    Text,
    /// Nothing.
    Nothing,
}

/// What the block's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// The JSON value that the program writes.
    Json,
    /// What it writes, as a string.
    Text,
}

impl Exec {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.arguments.iter().any(|argument| argument.literal().is_none())
    }
}

/// Whether a program can be allowed under this name.
#[must_use]
pub fn is_program_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    name.len() <= limits::NAME_CHARS_MAX
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && name.bytes().all(plain)
}

/// What [`is_program_name`] asks for, in words.
pub const PROGRAM_NAME_HELP: &str = "a letter, a digit or _, then at most 63 letters, digits, ., _, + or -";

const STDIN_WORDS: [(&str, Stdin); 3] = [("json", Stdin::Json), ("text", Stdin::Text), ("none", Stdin::Nothing)];

const STDOUT_WORDS: [(&str, Stdout); 2] = [("json", Stdout::Json), ("text", Stdout::Text)];

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new(
            "argv",
            "The name of a program that the operator allows (`--allow-exec` of the supervisor), then its arguments. No shell reads them.",
            Shape::List(1, &Shape::Template),
        ),
        Field::new(
            "stdin",
            "What the program reads: the block's input as JSON, or the string that it is, or nothing. Default: json.",
            Shape::Words(&["json", "text", "none"]),
        ),
        Field::new(
            "output",
            "What the program writes to stdout: JSON, or text that becomes a string. Default: json.",
            Shape::Words(&["json", "text"]),
        ),
    ],
    bare: &[],
    unavailable: &[],
};

const ARGV_EXAMPLE: &str = "\"argv\": [\"jq\", \"--arg\", \"size\", \"{{ input.size }}\", \".\"]";

impl Exec {
    pub(crate) fn read(config: &Config<'_, '_>, isolation: Isolation, report: &mut Report<'_>) -> Option<Self> {
        let stdin = config.take("stdin", report).and_then(|spot| spot.word(&STDIN_WORDS, report));
        let output = config.take("output", report).and_then(|spot| spot.word(&STDOUT_WORDS, report));
        let Some(spot) = config.take("argv", report) else {
            config.missing("argv", &format!("a program and its arguments, such as {ARGV_EXAMPLE}"), report);
            return None;
        };
        if isolation == Isolation::Thread {
            let finding = Finding::new("isolation", "a program runs in a process, not on a thread");
            spot.refuse(finding.help("leave `isolation` out, or write \"isolation\": \"process\""), report);
        }
        let (program, arguments) = argv(&spot, report)?;
        Some(Self { program, arguments, stdin: stdin.unwrap_or(Stdin::Json), output: output.unwrap_or(Stdout::Json) })
    }
}

fn argv(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<(String, Vec<TextTemplate>)> {
    if let Value::StringLit(_) = spot.value {
        let finding = spot.mismatch("a list of a program and its arguments");
        spot.refuse(
            finding.help(format!("no shell splits it: write each argument apart, as in {ARGV_EXAMPLE}")),
            report,
        );
        return None;
    }
    let list = spot.list("a list of a program and its arguments", report)?;
    if list.is_empty() {
        let finding = Finding::new("missing-field", "expected the name of a program, found an empty list");
        spot.refuse(finding.help(format!("such as {ARGV_EXAMPLE}")), report);
        return None;
    }
    if list.len() - 1 > limits::EXEC_ARGUMENTS_MAX {
        let message = format!("{} arguments; the limit is {}", list.len() - 1, limits::EXEC_ARGUMENTS_MAX);
        spot.refuse(Finding::new("too-many", message).help("hand the program its data on stdin"), report);
        return None;
    }
    let mut elements = list.iter().enumerate();
    let program = elements.next().and_then(|(index, value)| program(&spot.element(index, value), report));
    // All of them are read, so that one bad one does not hide the next.
    let arguments: Vec<_> = elements.map(|(index, value)| argument(&spot.element(index, value), report)).collect();
    let arguments = arguments.into_iter().collect::<Option<Vec<_>>>()?;
    let bytes: usize = arguments.iter().filter_map(TextTemplate::literal).map(|text| text.len() + 1).sum();
    if bytes > limits::EXEC_ARGUMENTS_BYTES_MAX {
        let message = format!("arguments of {bytes} bytes; the limit is {}", limits::EXEC_ARGUMENTS_BYTES_MAX);
        spot.refuse(Finding::new("too-long", message).help("hand the program its data on stdin"), report);
        return None;
    }
    Some((program?, arguments))
}

fn program(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let name = spot.string(report)?;
    if is_program_name(name) {
        return Some(name.to_owned());
    }
    let finding = if scan::is_template(name) {
        Finding::new("invalid-name", "which program runs cannot come out of a template")
            .help("write the name under which the operator allows it, such as \"jq\"")
    } else if let Some((_, file)) = name.rsplit_once('/') {
        let message = format!("`{}` is a path; a program has the name under which the operator allows it", clip(name));
        let file = if is_program_name(file) { file } else { "jq" };
        Finding::new("invalid-name", message)
            .help(format!("write \"{file}\", and start the supervisor with --allow-exec {file}=/path/to/{file}"))
    } else {
        Finding::new("invalid-name", format!("`{}` is no name of a program", clip(name))).help(PROGRAM_NAME_HELP)
    };
    spot.refuse(finding, report);
    None
}

fn argument(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<TextTemplate> {
    let argument = spot.text(Escape::None, report)?;
    if argument.literal().is_some_and(|text| text.contains('\0')) {
        spot.refuse(Finding::new("invalid-value", "an argument of a program cannot hold a NUL character"), report);
        return None;
    }
    Some(argument)
}
