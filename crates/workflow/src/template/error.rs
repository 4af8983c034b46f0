//! Why a template yielded nothing.

use crate::limits;

/// A template that could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What kind of failure it is.
    pub kind: TemplateErrorKind,
    /// What happened, naming the expression.
    pub message: String,
    /// The way out, if one is known.
    pub help: Option<String>,
}

/// The kinds of [`TemplateError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateErrorKind {
    /// A name or member that is not there.
    Undefined,
    /// The expression did more work than [`limits::TEMPLATE_FUEL`] allows.
    Fuel,
    /// The result is larger than [`limits::TEMPLATE_OUTPUT_BYTES_MAX`] or deeper than
    /// [`limits::TEMPLATE_OUTPUT_DEPTH_MAX`].
    OutputTooLarge,
    /// The result is not a JSON value.
    NotJson,
    /// Anything else: a wrong type, an unknown conversion, a division by zero.
    Evaluation,
}

impl TemplateError {
    /// Short, stable name of the kind of failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            TemplateErrorKind::Undefined => "template-undefined",
            TemplateErrorKind::Fuel => "template-fuel",
            TemplateErrorKind::OutputTooLarge => "template-output-too-large",
            TemplateErrorKind::NotJson => "template-not-json",
            TemplateErrorKind::Evaluation => "template-evaluation",
        }
    }

    pub(super) fn new(kind: TemplateErrorKind, message: String) -> Self {
        Self { kind, message, help: None }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn fuel(source: &str) -> Self {
        Self::new(
            TemplateErrorKind::Fuel,
            format!("`{}` did more work than a template may ({} units of fuel)", shown(source), limits::TEMPLATE_FUEL),
        )
        .with_help("take a smaller part of the input, or do less in one expression")
    }

    pub(super) fn too_large(source: &str) -> Self {
        Self::new(
            TemplateErrorKind::OutputTooLarge,
            format!(
                "`{}` yields more than {} MiB, {} values or {} levels",
                shown(source),
                limits::TEMPLATE_OUTPUT_BYTES_MAX / (1024 * 1024),
                limits::TEMPLATE_OUTPUT_VALUES_MAX,
                limits::TEMPLATE_OUTPUT_DEPTH_MAX
            ),
        )
        .with_help("take a smaller part of the input")
    }
}

/// An expression short enough for a message.
pub(crate) fn shown(source: &str) -> String {
    const CHARS_MAX: usize = 80;
    match source.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &source[..end]),
        None => source.to_owned(),
    }
}
