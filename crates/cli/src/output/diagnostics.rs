//! Shows what is wrong with a definition: marked source text for people, the data itself as JSON.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};
use runlet_proto::control::{Diagnostic, SourceText};

use super::{Format, colours_on_stderr, list, note};
use crate::command::CommandError;

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
    let source = sources.iter().find(|source| source.name() == diagnostic.file);
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
    sources.iter().map(|source| NamedSource::new(&source.file, source.text.clone())).collect()
}

/// One diagnostic in miette's terms.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<&'a NamedSource<String>>,
}

impl Report<'_> {
    /// Offset and length of the mark, if they lie in the source as we read it (a file may have changed since).
    fn span(&self) -> Option<(usize, usize)> {
        let text = self.source?.inner();
        let start = usize::try_from(self.diagnostic.offset).ok()?;
        let length = usize::try_from(self.diagnostic.length).ok()?;
        let end = start.checked_add(length)?;
        text.get(start..end).map(|_| (start, length))
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
        self.source.map(|source| source as &dyn SourceCode)
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
    fn mistakes_are_counted() {
        assert_eq!(summary(&[diagnostic(0)]), "error: 1 mistake in 1 definition");
        assert_eq!(summary(&[diagnostic(0), diagnostic(1)]), "error: 2 mistakes in 1 definition");
    }
}
