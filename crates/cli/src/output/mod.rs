//! What is printed: data on stdout as a table, JSON, or JSON lines; everything else on stderr.

pub(crate) mod diagnostics;
pub(crate) mod events;
pub(crate) mod memory;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod trace;
pub(crate) mod view;

use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// Prints a list: a table, a JSON array, or a line an element.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn list<V: Serialize>(format: Format, items: &[V], table: impl FnOnce() -> String) -> io::Result<()> {
    match format {
        Format::Table => text(&table()),
        Format::Json => json(&items),
        Format::Jsonl => items.iter().try_for_each(json_line),
    }
}

/// Prints one thing: a table, a JSON document, or a line.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn one<V: Serialize>(format: Format, item: &V, table: impl FnOnce() -> String) -> io::Result<()> {
    match format {
        Format::Table => text(&table()),
        Format::Json => json(item),
        Format::Jsonl => json_line(item),
    }
}

/// Prints an indented JSON document.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn json<V: Serialize>(value: &V) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    bytes_out(&bytes)
}

/// Prints a JSON document on a line of its own.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn json_line<V: Serialize>(value: &V) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    bytes_out(&bytes)
}

/// Prints text as it is, and a line end unless it has one.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn text(text: &str) -> io::Result<()> {
    match text.as_bytes() {
        [] => Ok(()),
        [.., b'\n'] => bytes_out(text.as_bytes()),
        _ => bytes_out(format!("{text}\n").as_bytes()),
    }
}

/// Prints bytes as they are, at once.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn bytes_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Text without the characters that a terminal would act on, each replaced by as many question marks as it has bytes, so that
/// offsets stay: control characters but tab and line end, and those that reorder text (Unicode's bidirectional controls).
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let acts = |c: char| match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        match acts(c) {
            true => harmless.extend(std::iter::repeat_n('?', c.len_utf8())),
            false => harmless.push(c),
        }
    }
    Cow::Owned(harmless)
}

/// [`harmless`] text on one line, for a cell of a table.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

/// Prints one line for people on stderr. If nobody reads it, nothing is lost that the exit code does not say.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether stdout gets colours: a terminal, and <https://no-color.org> is not asked for.
pub(crate) fn colours_on_stdout() -> bool {
    io::stdout().is_terminal() && colours_wanted()
}

/// Whether stderr gets colours.
pub(crate) fn colours_on_stderr() -> bool {
    io::stderr().is_terminal() && colours_wanted()
}

fn colours_wanted() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_replaced_byte_for_byte() {
        let text = "a\u{1b}[31mé\n\t\u{9b}x\u{202e}y\r";
        let shown = harmless(text);
        assert_eq!(shown, "a?[31mé\n\t??x???y?");
        assert_eq!(shown.len(), text.len());
        assert_eq!(one_line(text), "a?[31mé  ??x???y?");
        assert!(matches!(harmless("plain é\n"), Cow::Borrowed(_)));
    }
}
