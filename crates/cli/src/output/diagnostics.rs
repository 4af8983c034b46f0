//! Shows what is wrong with a definition: marked source text for people, the data itself as JSON.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, NamedSource, Severity,
    SourceCode, SourceSpan, SpanContents,
};
use runlet_proto::control::{Diagnostic, SourceText};

use super::{Format, colours_on_stderr, harmless, list, note};
use crate::command::CommandError;
use crate::limits::{EXCERPT_BYTES_BEFORE, EXCERPT_BYTES_MAX, MARK_BYTES_MAX};

/// Shows all diagnostics of one or more definitions: on stderr as marked text, or on stdout as JSON.
///
/// # Errors
/// Whatever stdout says; a closed pipe too.
pub(crate) fn show(format: Format, sources: &[SourceText], diagnostics: &[Diagnostic]) -> Result<(), CommandError> {
    match format {
        Format::Table => {
            let named = name_all(sources);
            for diagnostic in diagnostics {
                note(&render(&named, diagnostic, colours_on_stderr()));
            }
            note(&summary(diagnostics));
        }
        Format::Json | Format::Jsonl => list(format, diagnostics, String::new)?,
    }
    Ok(())
}

/// A parser's diagnostic in the shape that crosses processes.
pub(crate) fn portable(diagnostic: runlet_workflow::Diagnostic) -> Diagnostic {
    Diagnostic {
        code: diagnostic.code.to_owned(),
        message: diagnostic.message,
        help: diagnostic.help,
        file: diagnostic.file,
        line: diagnostic.line,
        column: diagnostic.column,
        path: diagnostic.path,
        offset: diagnostic.offset as u64,
        length: diagnostic.length as u64,
    }
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    let mut files: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!("error: {} in {}", count(diagnostics.len(), "mistake"), count(files.len(), "definition"))
}

fn render(sources: &[NamedSource<String>], diagnostic: &Diagnostic, colours: bool) -> String {
    let source = sources.iter().find(|source| source.name() == diagnostic.file).map(Excerpt);
    let report = Report { diagnostic, source };
    let theme = if colours { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut text = String::new();
    // Rendering fails only when the span does not lie in the source; the plain line says the same.
    if GraphicalReportHandler::new_themed(theme).with_links(false).render_report(&mut text, &report).is_err() {
        text = report.to_string();
    }
    text
}

fn name_all(sources: &[SourceText]) -> Vec<NamedSource<String>> {
    sources.iter().map(|source| NamedSource::new(&source.file, harmless(&source.text).into_owned())).collect()
}

/// A source of which no more is shown than people can read. miette would print whole lines, and a definition without
/// line breaks is one line of a megabyte.
#[derive(Debug)]
struct Excerpt<'a>(&'a NamedSource<String>);

impl SourceCode for Excerpt<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let lines = self.0.read_span(span, lines_before, lines_after)?;
        if lines.data().len() <= EXCERPT_BYTES_MAX {
            return Ok(lines);
        }
        let text = self.0.inner();
        let start = text.floor_char_boundary(span.offset().saturating_sub(EXCERPT_BYTES_BEFORE));
        let start = start.max(text[..span.offset()].rfind('\n').map_or(0, |at| at + 1));
        let end = text.floor_char_boundary(start + EXCERPT_BYTES_MAX).max(span.offset() + span.len());
        let place = self.0.read_span(&(start, 0).into(), 0, 0)?;
        let (data, span) = (&text.as_bytes()[start..end], (start, end - start).into());
        let name = self.0.name().to_owned();
        Ok(Box::new(MietteSpanContents::new_named(name, data, span, place.line(), place.column(), 1)))
    }
}

/// One diagnostic in miette's terms.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<Excerpt<'a>>,
}

impl Report<'_> {
    /// Offset and length of the mark, if they lie in the source as we read it (a file may have changed since). A long mark
    /// ends where the excerpt may.
    fn span(&self) -> Option<(usize, usize)> {
        let text = self.source.as_ref()?.0.inner();
        let start = usize::try_from(self.diagnostic.offset).ok()?;
        let length = usize::try_from(self.diagnostic.length).ok()?;
        let end = start.checked_add(length)?;
        text.get(start..end)?;
        let shown = text.floor_char_boundary(start + MARK_BYTES_MAX);
        Some((start, end.min(shown) - start))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, line, column, message, .. } = self.diagnostic;
        if self.span().is_some() { f.write_str(message) } else { write!(f, "{file}:{line}:{column}: {message}") }
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.diagnostic.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span()?;
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (start, length) = self.span()?;
        let path = Some(&self.diagnostic.path).filter(|path| !path.is_empty()).cloned();
        Some(Box::new(std::iter::once(LabeledSpan::new(path, start, length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(offset: u64) -> Diagnostic {
        Diagnostic {
            code: "unknown-type".to_owned(),
            message: "unknown block type `fetsh`".to_owned(),
            help: Some("did you mean `fetch`?".to_owned()),
            file: "a.json".to_owned(),
            line: 1,
            column: 12,
            path: "[0].type".to_owned(),
            offset,
            length: 7,
        }
    }

    fn sources() -> Vec<NamedSource<String>> {
        name_all(&[SourceText { file: "a.json".to_owned(), text: r#"[{ "type": "fetsh" }]"#.to_owned() }])
    }

    #[test]
    fn the_place_is_marked_in_the_source() {
        let text = render(&sources(), &diagnostic(11), false);
        for part in ["a.json:1:12", "unknown block type `fetsh`", "[0].type", "did you mean `fetch`?", "unknown-type"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_place_outside_the_source_is_named_in_words() {
        let text = render(&sources(), &diagnostic(4_000), false);
        assert!(text.contains("a.json:1:12: unknown block type"), "{text}");
        let text = render(&[], &diagnostic(11), false);
        assert!(text.contains("a.json:1:12: unknown block type"), "{text}");
    }

    #[test]
    fn of_a_long_line_only_the_place_is_shown() {
        let text = format!(r#"{}[{{ "type": "fetsh" }}]{}"#, "é".repeat(100_000), " ".repeat(100_000));
        let sources = name_all(&[SourceText { file: "a.json".to_owned(), text }]);
        for length in [7, 100_000] {
            let text = render(&sources, &Diagnostic { length, ..diagnostic(200_011) }, false);
            assert!(text.len() < 8 * EXCERPT_BYTES_MAX, "{} bytes", text.len());
            for part in ["a.json:1:", "unknown block type `fetsh`", r#""type": "fetsh""#, "[0].type"] {
                assert!(text.contains(part), "{part} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn mistakes_are_counted() {
        assert_eq!(summary(&[diagnostic(0)]), "error: 1 mistake in 1 definition");
        assert_eq!(summary(&[diagnostic(0), diagnostic(1)]), "error: 2 mistakes in 1 definition");
    }
}
