//! `hook`: an HTTP path that starts a run.

use std::sync::Arc;
use std::time::Duration;

use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::headers::is_token;
use crate::parse::report::{Finding, Report};
use crate::parse::spot::{Spot, clip};
use crate::template::{Escape, TextTemplate};
use crate::{limits, unavailable};

/// Configuration of a `hook` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Path below `/hook/`, no leading slash, normalised; `:name` segments are parameters.
    pub path: String,
    /// Allowed methods in upper case; empty means any.
    pub methods: Vec<String>,
    /// When the client is answered; resolved: `when-done` if the definition has a `response` block and says nothing.
    pub respond: Respond,
    /// Longest request body in bytes.
    pub body_bytes_max: u64,
    /// How long a client waits before it is answered 504.
    pub timeout: Duration,
    /// Whether the run is stopped when its client goes away (the default) or goes on.
    pub stop_on_disconnect: bool,
    /// What tells which requests are the same: only the first of them starts a run.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// What tells which requests of a hook are the same.
#[derive(Debug, Clone)]
pub enum IdempotencyKey {
    /// The value of this header field, its name in lower case.
    Header(String),
    /// What this template makes of the request: its text as it is written, and compiled.
    Template(String, Arc<TextTemplate>),
}

impl IdempotencyKey {
    /// As it is written, but for the case of a header's name.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Header(source) | Self::Template(source, _) => source,
        }
    }
}

impl PartialEq for IdempotencyKey {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for IdempotencyKey {}

/// When a hook's client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Respond {
    /// With the reply of the `response` block, or when the run ends.
    WhenDone,
    /// At once with 202 and the run's id.
    AtOnce,
}

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new(
            "path",
            "Path below /hook/; a segment such as :id is a parameter, found in hook.params.",
            Shape::Text,
        ),
        Field::new(
            "methods",
            "Allowed HTTP methods. Default: any.",
            Shape::List(1, &Shape::Pattern("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")),
        ),
        Field::new(
            "respond",
            "When the client is answered: when-done with the reply (the default if there is a response block), or at-once with 202 and the run's id.",
            Shape::Words(&["when-done", "at-once"]),
        ),
        Field::new("max_body_size", "Largest request body, at most 8MiB. Default: 1MiB.", Shape::Size),
        Field::new("timeout", "How long a client waits before it is answered 504. Default: 30s.", Shape::Duration),
        Field::new(
            "on_disconnect",
            "What becomes of the run when its client goes away. Default: stop.",
            Shape::Words(&["stop", "continue"]),
        ),
        Field::new(
            "idempotency_key",
            "Name of a header field, such as Idempotency-Key or X-GitHub-Delivery, or a template such as {{ hook.body.order }}: for 24 hours a request with the same value gets the first one's answer, and starts no run.",
            Shape::Template,
        ),
    ],
    bare: &["idempotency_key", "path", "methods", "respond", "max_body_size", "timeout", "on_disconnect"],
    unavailable: &unavailable::HOOK_FIELDS,
};

/// Longest path in bytes.
const PATH_BYTES_MAX: usize = 512;

impl Hook {
    /// Reads the configuration; `has_response` decides the default of `respond`.
    pub(crate) fn read(config: &Config<'_, '_>, has_response: bool, report: &mut Report<'_>) -> Self {
        let path = match config.take("path", report) {
            Some(spot) => path(&spot, report).unwrap_or_default(),
            None => {
                config.missing("path", "the path below /hook/, such as \"path\": \"test\"", report);
                String::new()
            }
        };
        let default = if has_response { Respond::WhenDone } else { Respond::AtOnce };
        Self {
            path,
            methods: config.take("methods", report).map_or_else(Vec::new, |spot| methods(&spot, report)),
            respond: config
                .take("respond", report)
                .and_then(|spot| spot.word(&[("when-done", Respond::WhenDone), ("at-once", Respond::AtOnce)], report))
                .unwrap_or(default),
            body_bytes_max: config
                .take("max_body_size", report)
                .and_then(|spot| spot.size(limits::HOOK_BODY_BYTES_MAX, report))
                .unwrap_or(limits::HOOK_BODY_BYTES_DEFAULT),
            timeout: config
                .take("timeout", report)
                .and_then(|spot| spot.timeout(report))
                .unwrap_or(limits::HOOK_TIMEOUT_DEFAULT),
            stop_on_disconnect: config
                .take("on_disconnect", report)
                .and_then(|spot| spot.word(&[("stop", true), ("continue", false)], report))
                .unwrap_or(true),
            idempotency_key: config.take("idempotency_key", report).and_then(|spot| idempotency_key(&spot, report)),
        }
    }

    /// The path with every parameter unnamed: two hooks of one pattern match the same requests.
    #[must_use]
    pub fn pattern(&self) -> String {
        let segments: Vec<&str> =
            self.path.split('/').map(|segment| if segment.starts_with(':') { ":" } else { segment }).collect();
        segments.join("/")
    }

    /// Whether some request would match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || other.methods.is_empty()
            || self.methods.iter().any(|method| other.methods.contains(method));
        methods && self.pattern() == other.pattern()
    }
}

/// The name of a header field, or a template over the request.
fn idempotency_key(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<IdempotencyKey> {
    let source = spot.string(report)?;
    if source.contains("{{") {
        let template = spot.text(Escape::None, report)?;
        return Some(IdempotencyKey::Template(source.to_owned(), Arc::new(template)));
    }
    if !is_token(source) {
        let finding = Finding::new("invalid-value", format!("`{}` is no name of a header field", clip(source)));
        let help = "such as \"Idempotency-Key\" or \"X-GitHub-Delivery\"; or a template, \"{{ hook.body.order }}\"";
        spot.refuse(finding.help(help), report);
        return None;
    }
    Some(IdempotencyKey::Header(source.to_ascii_lowercase()))
}

/// Reads and normalises a path.
fn path(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let text = spot.string(report)?;
    let trimmed = text.strip_prefix('/').unwrap_or(text);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    match check_path(trimmed) {
        Ok(()) => Some(trimmed.to_owned()),
        Err(finding) => {
            spot.refuse(finding, report);
            None
        }
    }
}

fn check_path(path: &str) -> Result<(), Finding> {
    let refused = |message: String| Finding::new("invalid-path", message);
    if path.is_empty() {
        return Err(refused("the path is empty".to_owned()).help("such as \"test\", for /hook/test"));
    }
    if let Some(below) = path.strip_prefix("hook/") {
        let finding = refused(format!("with this path the hook would be served at /hook/{}", clip(path)));
        return Err(finding.help(format!("paths are below /hook/ already: write {:?}", clip(below))));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(refused(format!("the path is longer than {PATH_BYTES_MAX} bytes")));
    }
    let mut parameters = Vec::new();
    for segment in path.split('/') {
        if segment.is_empty() {
            return Err(refused("the path has an empty segment".to_owned()).help("write one slash between segments"));
        }
        if matches!(segment, "." | "..") {
            return Err(refused(format!("the path has a segment `{segment}`")));
        }
        if let Some(name) = segment.strip_prefix(':') {
            if !crate::template::path::is_plain(name) {
                let finding = refused(format!("`{}` is no name of a parameter", clip(segment)));
                return Err(finding.help("a colon, then letters, digits and _, such as :id"));
            }
            if parameters.contains(&name) {
                return Err(refused(format!("the parameter `:{name}` is there twice")));
            }
            parameters.push(name);
        } else if segment.contains(['{', '}', '*']) {
            let finding = refused(format!("`{}` is no segment of a path", clip(segment)));
            return Err(
                finding.help("a parameter is a whole segment with a colon, such as :id; there are no wildcards")
            );
        } else if let Some(bad) =
            segment.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._~@+,=!$&'();".contains(*c))
        {
            let finding = refused(format!("`{}` cannot hold `{}`", clip(segment), bad.escape_debug()));
            return Err(finding.help("letters, digits and -._~@+,=!$&'(); a parameter begins its segment with a colon"));
        }
    }
    Ok(())
}

fn methods(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Vec<String> {
    let Some(list) = spot.list("a list of methods such as [\"POST\"]", report) else { return Vec::new() };
    if list.is_empty() {
        spot.refuse(
            Finding::new("invalid-value", "no method is allowed").help("leave `methods` out to allow any"),
            report,
        );
    }
    let mut methods = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let element = spot.element(index, value);
        let Some(text) = element.string(report) else { continue };
        let method = text.to_ascii_uppercase();
        if !is_token(text) || method == "CONNECT" {
            element.refuse(Finding::new("invalid-value", format!("`{}` is no HTTP method", clip(text))), report);
        } else if methods.contains(&method) {
            element.refuse(Finding::new("invalid-value", format!("`{method}` is there twice")), report);
        } else {
            methods.push(method);
        }
    }
    methods
}
