//! What the language has and one operator does not: programs of `exec` blocks, memory.

use std::ops::Range;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;

use super::report::{Finding, Place, Report};
use super::structure;
use crate::suggest::nearest;
use crate::{Definition, Diagnostic};

/// The programs of `definition` that are not among the `allowed` names. `file` and `text` are those it was parsed from.
#[must_use]
pub fn programs_not_allowed(definition: &Definition, allowed: &[&str], file: &str, text: &str) -> Vec<Diagnostic> {
    let refused: Vec<_> = definition.programs().filter(|(_, exec)| !allowed.contains(&exec.program.as_str())).collect();
    if refused.is_empty() {
        return Vec::new();
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(file, text);
    let value = structure::parse(&mut report);
    for (index, exec) in refused {
        let name = &exec.program;
        let id = definition.blocks.get(index).map_or("", |block| block.id.as_str());
        let message = format!("the operator does not allow the program `{name}` of block `{id}`");
        let how = format!("to allow it, start the supervisor with --allow-exec {name}=/path/to/{name}");
        let help = match nearest(name, allowed.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {how}"),
            None => how,
        };
        let finding = Finding::new("exec-not-allowed", message).help(help);
        match value.as_ref().and_then(|value| place_of(value, index)) {
            Some((range, path)) => report.add_at(finding, range, path),
            None => report.add(finding, 0..0, &Place::ROOT),
        }
    }
    report.finish()
}

/// That a run may have more memory than the `budget_bytes` of all heavy runs together, if it may. `file` and `text` are those
/// that `definition` was parsed from.
#[must_use]
pub fn memory_over_budget(definition: &Definition, budget_bytes: u64, file: &str, text: &str) -> Vec<Diagnostic> {
    let Some(bytes) = definition.limits.memory_bytes.filter(|bytes| *bytes > budget_bytes) else { return Vec::new() };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(file, text);
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "a run may have {} MiB of memory, and all heavy runs together have {} MiB here: none could ever begin",
        mib(bytes),
        mib(budget_bytes)
    );
    let finding =
        Finding::new("over-memory-budget", message).help("lower it, or give the supervisor more: --heavy-memory SIZE");
    let value = structure::parse(&mut report);
    let limit = value.as_ref().and_then(|value| value.as_object()?.get_object("limits")?.get("memory"));
    match limit.map(|limit| limit.value.range()) {
        Some(range) => report.add_at(finding, range.start..range.end, "limits.memory".to_owned()),
        None => report.add(finding, 0..0, &Place::ROOT),
    }
    report.finish()
}

/// Where the program of a block stands.
fn place_of(value: &Value<'_>, index: usize) -> Option<(Range<usize>, String)> {
    let (list, blocks) = match value {
        Value::Array(list) => (list, ""),
        Value::Object(object) => (object.get_array("blocks")?, "blocks"),
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => return None,
    };
    let block = list.elements.get(index)?.as_object()?;
    let range = block.get_object("parameter")?.get_array("argv")?.elements.first()?.range();
    Some((range.start..range.end, format!("{blocks}[{index}].parameter.argv[0]")))
}
