//! From text to a [`Definition`], or to everything that is wrong with it.

pub(crate) mod blocks;
pub(crate) mod config;
pub(crate) mod conflict;
mod graph;
pub(crate) mod headers;
pub(crate) mod operator;
pub(crate) mod report;
pub(crate) mod sharing;
pub(crate) mod spot;
pub(crate) mod strings;
mod structure;
pub(crate) mod units;

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use jsonc_parser::ast::Value;

use self::blocks::{Defaults, Draft, ERROR_WORDS, ErrorWord, UNKNOWN_WORDS};
use self::graph::Resolved;
use self::report::{Finding, Place, Report};
use self::sharing::Depends;
use self::spot::{Fields, Spot, clip, kind};
use crate::block::BlockConfig;
use crate::definition::{Block, Definition, Durability, Isolation, Limits, Namespace, OnError, OnUnknown};
use crate::field::{self, Field, Shape};
use crate::{Diagnostic, limits};

const LIMITS_FIELDS: &[Field] = &[
    Field::new("memory", "Memory of one run.", Shape::Size),
    Field::new("cpu", "CPU time of one run.", Shape::Duration),
    Field::new("output", "What the output of one block may take. Beyond it, the block fails.", Shape::Size),
    Field::new("log", "What one run may write to its log. Beyond it, the run fails.", Shape::Size),
    Field::new(
        "processes",
        "Processes that the programs of one run may have at once, threads counted. Default: 16.",
        Shape::Integer(1, limits::RUN_PROCESSES_MAX as u64),
    ),
];

/// The fields of the object form.
pub(crate) static DEFINITION: &[Field] = &[
    Field::new("$schema", "This schema, for editors.", Shape::Text),
    Field::new(
        "name",
        "Name of the workflow. Default: the name of its file without the ending.",
        Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"),
    ),
    Field::new("description", "For people.", Shape::Text),
    Field::new(
        "priority",
        "Scheduling priority, higher first. Default: 5.",
        Shape::Integer(0, limits::PRIORITY_MAX as u64),
    ),
    Field::new("isolation", "Where blocks run. Default: auto.", Shape::Words(&["auto", "thread", "process"])),
    Field::new("timeout", "Limit for a whole run.", Shape::Duration),
    Field::new("concurrency", "Most runs under way at once.", Shape::Integer(1, u32::MAX as u64)),
    Field::new(
        "durability",
        "When runs are written down. Default: auto.",
        Shape::Words(&["auto", "strict", "relaxed", "none"]),
    ),
    Field::new("limits", "Limits of one run.", Shape::Object(LIMITS_FIELDS, &[])),
    Field::new(
        "on_error",
        "What a block does after a failed attempt, unless it says otherwise. Default: fail.",
        Shape::Words(&["retry", "skip", "fail"]),
    ),
    Field::new(
        "on_failure",
        "Name of a workflow that is started when a run FAILED, with its control block (as `runlet inspect` shows it) as input.",
        Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"),
    ),
    Field::new(
        "on_unknown",
        "What becomes of a block with side effects when a crash leaves open whether it had them, unless it says otherwise. Default: fail.",
        Shape::Words(&["fail", "retry", "skip"]),
    ),
    Field::new(
        "memory",
        "The namespaces of shared memory that its blocks use: \"prices\", or \"prices:read\" to read only.",
        Shape::List(0, &Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}(:read)?$")),
    ),
    Field::new(
        "dependencies",
        "The workflows that must have completed before its first blocks begin.",
        Shape::List(0, &WORKFLOW_DEPENDENCY),
    ),
    Field::new("blocks", "The blocks, in order.", Shape::List(1, &Shape::Any)),
];

/// A dependency on a workflow.
pub(crate) const WORKFLOW_DEPENDENCY: Shape = Shape::Either(&[
    Shape::Pattern("^workflow:[a-z0-9][a-z0-9._-]{0,63}$"),
    Shape::Object(sharing::DEPENDENCY_FIELDS, &["workflow"]),
]);

const DURABILITY_WORDS: [(&str, Durability); 4] = [
    ("auto", Durability::Auto),
    ("strict", Durability::Strict),
    ("relaxed", Durability::Relaxed),
    ("none", Durability::None),
];

/// Parses a definition. `file` names it in diagnostics and, without its directory and ending, is the workflow's name
/// if the document says none.
///
/// # Errors
/// Everything that is wrong, in the order of the text; never empty.
pub fn parse(file: &str, text: &str) -> Result<Definition, Vec<Diagnostic>> {
    // Editors of one family begin files with a byte order mark.
    let (text, skipped) = text.strip_prefix('\u{feff}').map_or((text, 0), |rest| (rest, '\u{feff}'.len_utf8()));
    let mut report = Report::new(file, text);
    let definition = structure::parse(&mut report).and_then(|value| document(file, &value, &mut report));
    match definition {
        Some(definition) if report.is_empty() => Ok(definition),
        _ => {
            let mut found = report.finish();
            found.iter_mut().for_each(|diagnostic| diagnostic.offset += skipped);
            Err(found)
        }
    }
}

/// Everything the object form says besides its blocks.
struct Head {
    name: Option<String>,
    description: Option<String>,
    priority: u8,
    isolation: Isolation,
    timeout: Option<Duration>,
    concurrency: Option<NonZeroU32>,
    limits: Limits,
    durability: Durability,
    on_error: ErrorWord,
    on_failure: Option<String>,
    on_unknown: OnUnknown,
    memory: Vec<Namespace>,
    dependencies: Vec<Depends>,
}

impl Head {
    const BARE: Self = Self {
        name: None,
        description: None,
        priority: limits::PRIORITY_DEFAULT,
        isolation: Isolation::Auto,
        timeout: None,
        concurrency: None,
        limits: Limits { memory_bytes: None, cpu: None, output_bytes: None, log_bytes: None, processes: None },
        durability: Durability::Auto,
        on_error: ErrorWord::Fail,
        on_failure: None,
        on_unknown: OnUnknown::Fail,
        memory: Vec::new(),
        dependencies: Vec::new(),
    };
}

fn document(file: &str, value: &Value<'_>, report: &mut Report<'_>) -> Option<Definition> {
    let root = Spot { value, place: Place::ROOT };
    structure::check(&root, report);
    let (head, drafts) = match value {
        Value::Array(_) => {
            let drafts = block_list(root, &Head::BARE, report);
            (Head::BARE, drafts)
        }
        Value::Object(object) => object_form(&Fields::new(object, Place::ROOT), report),
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {
            let finding = Finding::new(
                "wrong-type",
                format!("expected a list of blocks, or an object with `blocks`, found {}", kind(value)),
            );
            root.refuse(finding, report);
            return None;
        }
    };
    let name = head.name.clone().or_else(|| name_of_file(file, value, report));
    let drafts = drafts?;
    let resolved = graph::resolve(&drafts, report);
    if let Some(name) = &name {
        let all = head.dependencies.iter().chain(drafts.iter().flat_map(|draft| &draft.workflows));
        for depends in all.filter(|depends| depends.on.workflow == *name) {
            let finding = Finding::new("cycle", "the workflow depends on itself").help("take this dependency away");
            report.add_at(finding, depends.range.clone(), depends.path.clone());
        }
    }
    if !report.is_empty() {
        return None;
    }
    build(head, name?, structure::version(value), drafts, resolved)
}

fn object_form(fields: &Fields<'_, '_>, report: &mut Report<'_>) -> (Head, Option<Vec<Draft>>) {
    if let Some(spot) = fields.take("$schema") {
        spot.string(report);
    }
    let concurrency = fields.take("concurrency").and_then(|spot| spot.integer(1..=u64::from(u32::MAX), report));
    let head = Head {
        name: fields.take("name").and_then(|spot| name(&spot, report)),
        description: fields.take("description").and_then(|spot| spot.string(report)).map(str::to_owned),
        priority: fields
            .take("priority")
            .and_then(|spot| spot.integer(0..=u64::from(limits::PRIORITY_MAX), report))
            .and_then(|priority| u8::try_from(priority).ok())
            .unwrap_or(limits::PRIORITY_DEFAULT),
        isolation: fields
            .take("isolation")
            .and_then(|spot| {
                let words = [("auto", Isolation::Auto), ("thread", Isolation::Thread), ("process", Isolation::Process)];
                spot.word(&words, report)
            })
            .unwrap_or(Isolation::Auto),
        timeout: fields.take("timeout").and_then(|spot| spot.timeout(report)),
        concurrency: concurrency.and_then(|most| u32::try_from(most).ok()).and_then(NonZeroU32::new),
        limits: fields.take("limits").map_or_else(Limits::default, |spot| run_limits(spot, report)),
        durability: fields
            .take("durability")
            .and_then(|spot| spot.word(&DURABILITY_WORDS, report))
            .unwrap_or(Durability::Auto),
        on_unknown: fields
            .take("on_unknown")
            .and_then(|spot| spot.word(&UNKNOWN_WORDS, report))
            .unwrap_or(OnUnknown::Fail),
        on_failure: fields.take("on_failure").and_then(|spot| name(&spot, report)),
        on_error: fields.take("on_error").and_then(|spot| spot.word(&ERROR_WORDS, report)).unwrap_or(ErrorWord::Fail),
        memory: fields.take("memory").map_or_else(Vec::new, |spot| sharing::memory(spot, report)),
        dependencies: fields.take("dependencies").map_or_else(Vec::new, |spot| sharing::dependencies(spot, report)),
    };
    let drafts = match fields.take("blocks") {
        Some(spot) => block_list(spot, &head, report),
        None => {
            fields.missing("blocks", "the list of blocks", report);
            None
        }
    };
    fields.finish(&field::names(DEFINITION), report);
    (head, drafts)
}

fn run_limits(spot: Spot<'_, '_>, report: &mut Report<'_>) -> Limits {
    let Some(fields) = spot.object("an object such as { \"memory\": \"256MiB\", \"cpu\": \"10s\" }", report) else {
        return Limits::default();
    };
    let found = Limits {
        memory_bytes: fields.take("memory").and_then(|spot| spot.size(limits::RUN_MEMORY_BYTES_MAX, report)),
        cpu: fields.take("cpu").and_then(|spot| whole_seconds(&spot, report)),
        output_bytes: fields.take("output").and_then(|spot| spot.size(limits::RUN_MEMORY_BYTES_MAX, report)),
        log_bytes: fields.take("log").and_then(|spot| spot.size(limits::RUN_LOG_BYTES_MAX, report)),
        processes: fields
            .take("processes")
            .and_then(|spot| spot.integer(1..=u64::from(limits::RUN_PROCESSES_MAX), report))
            .and_then(|most| u32::try_from(most).ok()),
    };
    fields.finish(&field::names(LIMITS_FIELDS), report);
    found
}

/// A duration as the system counts CPU time (RLIMIT_CPU, setrlimit(2)).
fn whole_seconds(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<Duration> {
    let duration = spot.timeout(report)?;
    if duration.subsec_nanos() != 0 {
        let finding = Finding::new("invalid-duration", "CPU time is counted in whole seconds");
        let seconds = duration.as_secs() + 1;
        spot.refuse(finding.help(format!("write \"{seconds}s\"; `timeout` bounds the time on the clock")), report);
        return None;
    }
    Some(duration)
}

pub(crate) const NAME_HELP: &str = "a lower-case letter or a digit, then at most 63 of a-z, 0-9, `.`, `_` and `-`";

/// The name of a workflow.
pub(crate) fn name(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let name = spot.string(report)?;
    if !is_name(name) {
        let finding = Finding::new("invalid-name", format!("`{}` is no name of a workflow", clip(name)));
        spot.refuse(finding.help(NAME_HELP), report);
    }
    // Also when it is bad: nothing more is said about a missing one then.
    Some(name.to_owned())
}

/// Whether a text may name a workflow, a namespace or a channel.
pub(crate) fn is_name(name: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= limits::NAME_CHARS_MAX
        && name.bytes().next().is_some_and(lower)
        && name.bytes().all(|byte| lower(byte) || b"._-".contains(&byte))
}

fn name_of_file(file: &str, value: &Value<'_>, report: &mut Report<'_>) -> Option<String> {
    if let Value::Object(object) = value
        && object.get("name").is_some()
    {
        return None;
    }
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if is_name(stem) {
        return Some(stem.to_owned());
    }
    let message = format!("the workflow has no name, and that of its file, `{}`, cannot be one", clip(stem));
    let help = if value.as_object().is_some() {
        format!("add a `name`: {NAME_HELP}")
    } else {
        format!("rename the file, or write {{ \"name\": …, \"blocks\": […] }}; a name is {NAME_HELP}")
    };
    report.add(Finding::new("missing-name", message).help(help), 0..0, &Place::ROOT);
    None
}

/// Reads all blocks. `None` when some are so wrong that nothing can be said about how they fit together.
fn block_list(spot: Spot<'_, '_>, head: &Head, report: &mut Report<'_>) -> Option<Vec<Draft>> {
    let Head { on_error, on_unknown, isolation, ref memory, .. } = *head;
    let list = spot.list("a list of blocks", report)?;
    if list.is_empty() || list.len() > limits::BLOCKS_MAX {
        let message = format!("expected 1 to {} blocks, found {}", limits::BLOCKS_MAX, list.len());
        spot.refuse(Finding::new(if list.is_empty() { "missing-field" } else { "too-many" }, message), report);
        return None;
    }
    let has_response = list.iter().any(|value| blocks::is_kind(value, "response"));
    let mut drafts = Vec::with_capacity(list.len());
    let mut complete = true;
    for (index, value) in list.iter().enumerate() {
        report.block = index;
        match blocks::read(
            spot.element(index, value),
            Defaults { on_error, on_unknown, isolation, has_response, memory },
            report,
        ) {
            Some(draft) => drafts.push(draft),
            None => complete = false,
        }
    }
    complete.then_some(drafts)
}

fn build(head: Head, name: String, version: String, drafts: Vec<Draft>, resolved: Resolved) -> Option<Definition> {
    let blocks = drafts
        .into_iter()
        .zip(resolved.ids.into_iter().zip(resolved.dependencies))
        .map(|(draft, (id, dependencies))| {
            Some(Block {
                id,
                input: draft.input,
                dependencies,
                workflows: draft.workflows.into_iter().map(|depends| depends.on).collect(),
                timeout: draft.timeout,
                when: draft.when,
                for_each: draft.for_each,
                retry: draft.retry,
                on_error: draft.on_error,
                on_unknown: draft.on_unknown,
                config: draft.config?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let mut literal_hosts: Vec<String> = blocks
        .iter()
        .filter_map(|block| match &block.config {
            BlockConfig::Fetch(fetch) => fetch.literal_host(),
            BlockConfig::Hook(_)
            | BlockConfig::HtmlScraper(_)
            | BlockConfig::Transform(_)
            | BlockConfig::Exec(_)
            | BlockConfig::Workflow(_)
            | BlockConfig::Memory(_)
            | BlockConfig::Send(_)
            | BlockConfig::Receive(_)
            | BlockConfig::Response(_) => None,
        })
        .collect();
    literal_hosts.sort_unstable();
    literal_hosts.dedup();
    Some(Definition {
        name,
        version,
        description: head.description,
        priority: head.priority,
        isolation: head.isolation,
        timeout: head.timeout,
        concurrency: head.concurrency,
        limits: head.limits,
        durability: head.durability,
        on_error: match head.on_error {
            ErrorWord::Skip => OnError::Skip,
            ErrorWord::Fail | ErrorWord::Retry => OnError::Fail,
        },
        on_failure: head.on_failure,
        literal_hosts,
        memory: head.memory,
        dependencies: head.dependencies.into_iter().map(|depends| depends.on).collect(),
        blocks,
    })
}
