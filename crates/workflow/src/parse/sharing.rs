//! What a workflow says about others: the namespaces it shares, and the workflows it depends on.

use std::ops::Range;

use jsonc_parser::ast::Value;

use super::report::{Finding, Report};
use super::spot::{Spot, clip};
use super::{NAME_HELP, is_name};
use crate::definition::{Namespace, OnDependencyFailure, WorkflowDependency};
use crate::field::{self, Field, Shape};
use crate::{limits, suggest};

/// How a dependency on a workflow begins where it is a string.
pub(crate) const PREFIX: &str = "workflow:";

/// The fields of a dependency that is an object.
pub(crate) const DEPENDENCY_FIELDS: &[Field] = &[
    Field::new("workflow", "Name of the workflow.", Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$")),
    Field::new("max_age", "How long ago its last COMPLETED run may have ended. Default: 24h.", Shape::Duration),
    Field::new(
        "start",
        "Whether a run is started if none is young enough and none is live. Default: true.",
        Shape::Flag,
    ),
    Field::new(
        "on_failure",
        "What happens if the run that is waited for does not complete. Default: fail.",
        Shape::Words(&["fail", "continue"]),
    ),
];

const FAILURE_WORDS: [(&str, OnDependencyFailure); 2] =
    [("fail", OnDependencyFailure::Fail), ("continue", OnDependencyFailure::Continue)];

/// A dependency on a workflow, and where it stands.
pub(crate) struct Depends {
    pub(crate) on: WorkflowDependency,
    pub(crate) range: Range<usize>,
    pub(crate) path: String,
}

/// `memory` of a workflow.
pub(crate) fn memory(spot: Spot<'_, '_>, report: &mut Report<'_>) -> Vec<Namespace> {
    let Some(list) = spot.list("a list of namespaces, such as [\"prices\", \"jobs:read\"]", report) else {
        return Vec::new();
    };
    let mut found: Vec<Namespace> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        // Not after all of them were read: each is compared with those before it, and every block with all.
        if found.len() == limits::NAMESPACES_MAX {
            let message = format!("{} namespaces; the limit is {}", list.len(), limits::NAMESPACES_MAX);
            let finding = Finding::new("too-many", message).help("use keys with prefixes inside a few namespaces");
            spot.refuse(finding, report);
            break;
        }
        let element = spot.element(index, value);
        let Some(text) = element.string(report) else { continue };
        let (name, write) = match text.split_once(':') {
            None => (text, true),
            Some((name, "read")) => (name, false),
            Some((_, suffix)) => {
                let message = format!("`:{}` is no way to use a namespace", clip(suffix));
                let help = "\"name\" reads and writes, \"name:read\" only reads";
                element.refuse(Finding::new("invalid-value", message).help(help), report);
                continue;
            }
        };
        if !is_name(name) {
            let finding = Finding::new("invalid-name", format!("`{}` is no name of a namespace", clip(name)));
            element.refuse(finding.help(NAME_HELP), report);
        } else if found.iter().any(|known| known.name == name) {
            element.refuse(Finding::new("duplicate-name", format!("`{}` is there twice", clip(name))), report);
        } else {
            found.push(Namespace { name: name.to_owned(), write });
        }
    }
    found
}

/// What is wrong with using a namespace, if anything.
pub(crate) fn judge(name: &str, writes: bool, op: &str, declared: &[Namespace]) -> Option<Finding> {
    if !is_name(name) {
        let finding = Finding::new("invalid-name", format!("`{}` is no name of a namespace", clip(name)));
        return Some(finding.help(match name.contains("{{") {
            true => "a namespace is written as it is, not as a template; vary the key instead",
            false => NAME_HELP,
        }));
    }
    let Some(found) = declared.iter().find(|namespace| namespace.name == name) else {
        let message = format!("the workflow does not declare the namespace `{name}`");
        let known = declared.iter().map(|namespace| namespace.name.as_str());
        let help = match (suggest::nearest(name, known), declared) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => format!("write \"memory\": [\"{name}\"] beside `blocks`"),
            (None, _) => format!("add \"{name}\" to `memory` of the workflow"),
        };
        return Some(Finding::new("undeclared-namespace", message).help(help));
    };
    (writes && !found.write).then(|| {
        let message = format!("`{op}` writes, and the namespace `{name}` is declared for reading only");
        Finding::new("read-only-namespace", message)
            .help(format!("write \"{name}\" instead of \"{name}:read\" under `memory` of the workflow"))
    })
}

/// `dependencies` of a workflow.
pub(crate) fn dependencies(spot: Spot<'_, '_>, report: &mut Report<'_>) -> Vec<Depends> {
    let Some(list) = spot.list("a list of workflows, such as [\"workflow:rates\"]", report) else { return Vec::new() };
    let mut found = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let element = spot.element(index, value);
        match is_workflow(value) {
            true => add(dependency(element, report), &mut found, report),
            false => {
                if let Some(text) = element.string(report) {
                    let finding =
                        Finding::new("invalid-value", format!("`{}` is no dependency of a workflow", clip(text)));
                    element.refuse(finding.help(format!("write \"{PREFIX}{}\"", clip(text))), report);
                }
            }
        }
    }
    found
}

/// Adds a dependency, unless it is there already. The one past the limit is filed and kept, so that it is filed once.
pub(crate) fn add(depends: Option<Depends>, to: &mut Vec<Depends>, report: &mut Report<'_>) {
    let Some(depends) = depends.filter(|_| to.len() <= limits::WORKFLOW_DEPENDENCIES_MAX) else { return };
    if to.len() == limits::WORKFLOW_DEPENDENCIES_MAX {
        let message = format!("more than {} dependencies on workflows", limits::WORKFLOW_DEPENDENCIES_MAX);
        let help = "let a workflow in between depend on some of them";
        report.add_at(Finding::new("too-many", message).help(help), depends.range.clone(), depends.path.clone());
        return to.push(depends);
    }
    if to.iter().any(|known| known.on.workflow == depends.on.workflow) {
        let message = format!("`{PREFIX}{}` is there twice", depends.on.workflow);
        return report.add_at(Finding::new("duplicate-name", message), depends.range, depends.path);
    }
    to.push(depends);
}

/// Whether a dependency is one on a workflow: an object, or a string with the prefix.
pub(crate) fn is_workflow(value: &Value<'_>) -> bool {
    match value {
        Value::Object(_) => true,
        Value::StringLit(text) => text.value.starts_with(PREFIX),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::Array(_) | Value::NullKeyword(_) => false,
    }
}

/// A dependency on a workflow.
pub(crate) fn dependency(spot: Spot<'_, '_>, report: &mut Report<'_>) -> Option<Depends> {
    let (range, path) = (spot.range(), spot.place.path());
    let mut on = WorkflowDependency {
        workflow: String::new(),
        max_age: limits::DEPENDENCY_AGE_DEFAULT,
        start: true,
        on_failure: OnDependencyFailure::Fail,
    };
    if let Value::StringLit(text) = spot.value {
        let name = text.value.strip_prefix(PREFIX).unwrap_or(&text.value);
        on.workflow = workflow(&spot, name, report)?;
        return Some(Depends { on, range, path });
    }
    let fields = spot.object("an object such as { \"workflow\": \"rates\", \"max_age\": \"1h\" }", report)?;
    if let Some(max_age) = fields.take("max_age").and_then(|spot| spot.timeout(report)) {
        on.max_age = max_age;
    }
    if let Some(start) = fields.take("start").and_then(|spot| spot.flag(report)) {
        on.start = start;
    }
    if let Some(on_failure) = fields.take("on_failure").and_then(|spot| spot.word(&FAILURE_WORDS, report)) {
        on.on_failure = on_failure;
    }
    let name = fields.take("workflow").map(|spot| spot.string(report).and_then(|name| workflow(&spot, name, report)));
    if name.is_none() {
        fields.missing("workflow", "the name of a workflow, such as \"workflow\": \"rates\"", report);
    }
    fields.finish(&field::names(DEPENDENCY_FIELDS), report);
    on.workflow = name??;
    Some(Depends { on, range, path })
}

fn workflow(spot: &Spot<'_, '_>, name: &str, report: &mut Report<'_>) -> Option<String> {
    if is_name(name) {
        return Some(name.to_owned());
    }
    let finding = Finding::new("invalid-name", format!("`{}` is no name of a workflow", clip(name)));
    spot.refuse(finding.help(NAME_HELP), report);
    None
}
