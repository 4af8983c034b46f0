//! The surface of a template: where its expressions begin and end, and which names an expression uses.

use std::ops::Range;

use super::path::Step;

/// A stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Plain text.
    Text(Range<usize>),
    /// What stands between `{{` and `}}`, trimmed.
    Expression(Range<usize>),
}

/// A template that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unclosed {
    /// Where its `{{` stands.
    pub(crate) offset: usize,
}

/// Whether a string is a template at all. `{%` and `{#` are plain text.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Takes a template apart. `{{-` and `-}}` take the white space on their outer side with them.
pub(crate) fn split(text: &str) -> Result<Vec<Piece>, Unclosed> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find("{{") {
        let open = rest + found;
        let inner_start = open + 2;
        let close = closing(text, inner_start).ok_or(Unclosed { offset: open })?;
        let mut inner = inner_start..close;
        let mut text_end = open;
        if text[inner.clone()].starts_with('-') {
            inner.start += 1;
            text_end = rest + text[rest..open].trim_end().len();
        }
        let mut next = close + 2;
        // A minus that is all there is belongs to the opening marker.
        if inner.start < inner.end && text[inner.clone()].ends_with('-') {
            inner.end -= 1;
            next += text[next..].len() - text[next..].trim_start().len();
        }
        if rest < text_end {
            pieces.push(Piece::Text(rest..text_end));
        }
        pieces.push(Piece::Expression(trimmed(text, inner)));
        rest = next;
    }
    if rest < text.len() {
        pieces.push(Piece::Text(rest..text.len()));
    }
    Ok(pieces)
}

/// Where the `}}` of an expression stands: outside strings and outside all brackets.
fn closing(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => at = string_end(bytes, at, quote)?,
            b'(' | b'[' | b'{' => depth += 1,
            b'}' if depth == 0 && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Position of the quote that ends the string beginning at `at`.
fn string_end(bytes: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        at += 1;
        match *bytes.get(at)? {
            b'\\' => at += 1,
            byte if byte == quote => return Some(at),
            _ => {}
        }
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    start..start + inner.trim().len()
}

/// A name at the head of a path, as in `input.items[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Where the path stands in the expression.
    pub(crate) range: Range<usize>,
    /// Its first name.
    pub(crate) root: String,
    /// The members after it, as far as they are written out.
    pub(crate) steps: Vec<Step>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Values.
    pub(crate) references: Vec<Reference>,
    /// What follows `|`.
    pub(crate) filters: Vec<(Range<usize>, String)>,
    /// What follows `is`.
    pub(crate) tests: Vec<(Range<usize>, String)>,
    /// What is called.
    pub(crate) functions: Vec<(Range<usize>, String)>,
}

const KEYWORDS: [&str; 12] = ["and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False"];

/// What came before a name, as far as it changes what the name means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Other,
    Dot,
    Pipe,
    Is,
}

/// How an expression is made, seen without parsing it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Make {
    /// Operators, opening brackets, dots and pipes: no expression nests deeper than it has of these.
    pub(crate) operators: usize,
    /// Where a `*` stands that is no `**`.
    pub(crate) product: Option<usize>,
    /// Whether it writes a list or an object out.
    pub(crate) literals: bool,
}

/// Counts what bounds the work of compiling an expression.
pub(crate) fn make(expression: &str) -> Make {
    const WORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];
    let bytes = expression.as_bytes();
    let mut make = Make::default();
    // The last byte that was no white space.
    let mut before = b' ';
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let mut end = at + 1;
        match byte {
            b'"' | b'\'' => end = string_end(bytes, at, byte).map_or(bytes.len(), |last| last + 1),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {
                end = ident_end(bytes, at);
                make.operators += usize::from(WORDS.contains(&&expression[at..end]));
            }
            b'*' if bytes.get(end) == Some(&b'*') => {
                make.operators += 1;
                end += 1;
            }
            b'*' => {
                make.operators += 1;
                make.product = make.product.or(Some(at));
            }
            b'[' | b'{' => {
                make.operators += 1;
                // A bracket right after a value is a subscript.
                let subscript = byte == b'[' && (before.is_ascii_alphanumeric() || b"_])\"'".contains(&before));
                make.literals |= !subscript;
            }
            b',' | b':' | b')' | b']' | b'}' => {}
            other => make.operators += usize::from(!other.is_ascii_whitespace()),
        }
        if !byte.is_ascii_whitespace() {
            before = bytes[end.min(bytes.len()) - 1];
        }
        at = end;
    }
    make
}

/// Finds the names of an expression. It need not be valid.
pub(crate) fn names(expression: &str) -> Names {
    let bytes = expression.as_bytes();
    let mut found = Names::default();
    let mut before = Before::Other;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at = string_end(bytes, at, quote).unwrap_or(bytes.len()) + 1;
                before = Before::Other;
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let end = ident_end(bytes, at);
                let word = &expression[at..end];
                (at, before) = name(expression, at..end, word, before, &mut found);
            }
            byte if byte.is_ascii_digit() => {
                // `1.5` and `1e3` hold no names.
                at = ident_end(bytes, at);
                while at < bytes.len() && bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                    at = ident_end(bytes, at + 1);
                }
                before = Before::Other;
            }
            byte => {
                before = match byte {
                    b'.' => Before::Dot,
                    b'|' => Before::Pipe,
                    _ => Before::Other,
                };
                at += 1;
            }
        }
    }
    found
}

/// Files one word away; returns where to go on and what the word means for the next one.
fn name(expression: &str, range: Range<usize>, word: &str, before: Before, found: &mut Names) -> (usize, Before) {
    let bytes = expression.as_bytes();
    let next = skip_space(bytes, range.end);
    match before {
        Before::Dot => {}
        Before::Pipe => found.filters.push((range.clone(), word.to_owned())),
        Before::Is if word == "not" => return (range.end, Before::Is),
        Before::Is => found.tests.push((range.clone(), word.to_owned())),
        Before::Other if word == "is" => return (range.end, Before::Is),
        Before::Other if KEYWORDS.contains(&word) || word == "None" => {}
        Before::Other if bytes.get(next) == Some(&b'=') && bytes.get(next + 1) != Some(&b'=') => {}
        Before::Other if bytes.get(next) == Some(&b'(') => found.functions.push((range.clone(), word.to_owned())),
        Before::Other => {
            let reference = reference(expression, range, word);
            let end = reference.range.end;
            found.references.push(reference);
            return (end, Before::Other);
        }
    }
    (range.end, Before::Other)
}

/// Reads the members after a name, as long as they are written out: `.a`, `["b"]`, `[0]`.
fn reference(expression: &str, root: Range<usize>, word: &str) -> Reference {
    let bytes = expression.as_bytes();
    let mut reference = Reference { range: root, root: word.to_owned(), steps: Vec::new() };
    loop {
        let at = skip_space(bytes, reference.range.end);
        let (step, end) = match bytes.get(at) {
            Some(b'.') => {
                let start = skip_space(bytes, at + 1);
                if !bytes.get(start).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
                    break;
                }
                let end = ident_end(bytes, start);
                // A method belongs to the value before it.
                if bytes.get(skip_space(bytes, end)) == Some(&b'(') {
                    break;
                }
                (Step::Key(expression[start..end].into()), end)
            }
            Some(b'[') => match subscript(expression, skip_space(bytes, at + 1)) {
                Some(found) => found,
                None => break,
            },
            _ => break,
        };
        reference.steps.push(step);
        reference.range.end = end;
    }
    reference
}

/// A subscript that is written out, and where its bracket closes.
fn subscript(expression: &str, start: usize) -> Option<(Step, usize)> {
    let bytes = expression.as_bytes();
    let (step, end) = match *bytes.get(start)? {
        quote @ (b'"' | b'\'') => {
            let end = string_end(bytes, start, quote)?;
            let key = &expression[start + 1..end];
            if key.contains('\\') {
                return None;
            }
            (Step::Key(key.into()), end + 1)
        }
        byte if byte.is_ascii_digit() => {
            let end = ident_end(bytes, start);
            (Step::Index(expression[start..end].parse().ok()?), end)
        }
        _ => return None,
    };
    let close = skip_space(bytes, end);
    (bytes.get(close) == Some(&b']')).then_some((step, close + 1))
}

fn ident_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..]
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .map_or(bytes.len(), |n| start + n)
}

fn skip_space(bytes: &[u8], start: usize) -> usize {
    bytes[start.min(bytes.len())..]
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .map_or(bytes.len(), |n| start + n)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        split(text)
            .unwrap()
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(range) => format!("text {}", &text[range]),
                Piece::Expression(range) => format!("expr {}", &text[range]),
            })
            .collect()
    }

    fn paths(expression: &str) -> Vec<String> {
        names(expression).references.iter().map(|r| expression[r.range.clone()].to_owned()).collect()
    }

    #[test]
    fn a_template_is_taken_apart() {
        assert_eq!(pieces("a {{ b }} c"), ["text a ", "expr b", "text  c"]);
        assert_eq!(pieces("{{ {\"a\": {\"b\": \"}}\"}} }}"), ["expr {\"a\": {\"b\": \"}}\"}}"]);
        assert_eq!(pieces("{{ {'a': {'b': 1}}}}"), ["expr {'a': {'b': 1}}"]);
        assert_eq!(pieces("a  {{- b -}}  c"), ["text a", "expr b", "text c"]);
        assert_eq!(pieces("{% if %}{# no #}"), ["text {% if %}{# no #}"]);
        assert_eq!(pieces("{{}}{{-}}"), ["expr ", "expr "]);
        assert_eq!(split("é{{ 'a }}"), Err(Unclosed { offset: 2 }));
    }

    #[test]
    fn names_are_found_where_they_are_values() {
        assert_eq!(paths("input.a[0][\"b c\"].d"), ["input.a[0][\"b c\"].d"]);
        assert_eq!(paths("input.items | map(attribute='name') | join(sep)"), ["input.items", "sep"]);
        assert_eq!(paths("input.title.upper()"), ["input.title"]);
        assert_eq!(paths("1.5 + x1 if not y is defined else z.w[1:2]"), ["x1", "y", "z.w"]);
        assert_eq!(paths("input[run.id]"), ["input", "run.id"]);
        let found = names("range(3) | list is not sequence");
        assert_eq!(found.functions[0].1, "range");
        assert_eq!(found.filters[0].1, "list");
        assert_eq!(found.tests[0].1, "sequence");
    }
}
