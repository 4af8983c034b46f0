//! Hooks of different workflows that would answer the same requests.

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;

use super::report::{Finding, Place, Report};
use super::{blocks, structure};
use crate::block::BlockConfig;
use crate::block::hook::Hook;
use crate::{Definition, Diagnostic};

/// Hooks of `definition` that some hook of the `others` would answer too: the same path, whatever its parameters are
/// called, with a method in common. Another version of the same workflow is no conflict. `file` and `text` are those
/// the definition was parsed from.
#[must_use]
pub fn hook_conflicts<'d>(
    definition: &Definition,
    others: impl IntoIterator<Item = &'d Definition>,
    file: &str,
    text: &str,
) -> Vec<Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let own: Vec<(usize, &Hook)> = hooks(definition).collect();
    for other in others.into_iter().filter(|other| other.name != definition.name) {
        for (_, theirs) in hooks(other) {
            for (index, hook) in own.iter().filter(|(_, hook)| hook.overlaps(theirs)) {
                let finding = Finding::new(
                    "hook-conflict",
                    format!("the workflow `{}` answers `/hook/{}` already", other.name, theirs.path),
                );
                let finding = finding.help(format!(
                    "choose another path for `/hook/{}`, other methods, or remove `{}`",
                    hook.path, other.name
                ));
                found.push((*index, finding));
            }
        }
    }
    if found.is_empty() {
        return Vec::new();
    }
    let mut report = Report::new(file, text);
    let value = structure::parse(&mut report);
    for (index, finding) in found {
        match value.as_ref().and_then(|value| path_of(value, index)) {
            Some((range, path)) => report.add_at(finding, range, path),
            None => report.add(finding, 0..0, &Place::ROOT),
        }
    }
    report.finish()
}

fn hooks(definition: &Definition) -> impl Iterator<Item = (usize, &Hook)> {
    definition.blocks.iter().enumerate().filter_map(|(index, block)| match &block.config {
        BlockConfig::Hook(hook) => Some((index, hook)),
        BlockConfig::Fetch(_)
        | BlockConfig::HtmlScraper(_)
        | BlockConfig::Transform(_)
        | BlockConfig::Exec(_)
        | BlockConfig::Workflow(_)
        | BlockConfig::Memory(_)
        | BlockConfig::Send(_)
        | BlockConfig::Receive(_)
        | BlockConfig::Response(_) => None,
    })
}

/// Where the `path` of a hook stands.
fn path_of(value: &Value<'_>, index: usize) -> Option<(std::ops::Range<usize>, String)> {
    let root = Place::ROOT;
    let below = root.key("blocks");
    let (list, place) = match value {
        Value::Array(list) => (list, &root),
        Value::Object(object) => (object.get_array("blocks")?, &below),
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => return None,
    };
    let block = list.elements.get(index)?.as_object()?;
    let place = blocks::place(place, index);
    let inner = place.key("parameter");
    let (property, place) =
        match (block.get("path"), block.get_object("parameter").and_then(|p: &Object<'_>| p.get("path"))) {
            (Some(property), _) => (property, &place),
            (None, Some(property)) => (property, &inner),
            (None, None) => return None,
        };
    let range = property.value.range();
    Some((range.start..range.end, place.key("path").path()))
}
