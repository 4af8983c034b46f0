//! Tidy: the repository's own habits, enforced by a test. One file per group of rules; a rule is a plain function from
//! text to [`Finding`]s, so each is also tested on a sample that must fail.
//!
//! Exceptions stand in `tests/tidy-allow.txt` and may only shrink: see [`allow`].

pub mod allow;
pub mod files;
pub mod layers;
pub mod repository;
pub mod source;
pub mod tokens;

use std::fmt;

pub use allow::Ratchet;
pub use repository::Repository;

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Short name of the rule, as an exception would name it.
    pub rule: &'static str,
    /// What it is about: a path from the top of the repository, for a function with `::name` added.
    pub key: String,
    /// Line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
    /// The measured size, for rules that have one.
    pub measure: Option<usize>,
}

impl Finding {
    /// A finding without a measured size.
    #[must_use]
    pub fn new(rule: &'static str, key: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self { rule, key: key.into(), line, message: message.into(), measure: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, key, line, message, measure } = self;
        write!(f, "{key}")?;
        if *line > 0 {
            write!(f, ":{line}")?;
        }
        write!(f, ": {message} [{rule}")?;
        if let Some(measure) = measure {
            write!(f, " {measure}")?;
        }
        f.write_str("]")
    }
}

/// Every rule over the whole repository, before exceptions.
#[must_use]
pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = source::check_all(&repository.rust_files(), source::UNSAFE_MODULES);
    findings.extend(layers::check(repository));
    findings.extend(files::check(repository));
    findings.sort_by(|a, b| (&a.key, a.line).cmp(&(&b.key, b.line)));
    findings
}
