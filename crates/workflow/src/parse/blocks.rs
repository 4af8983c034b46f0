//! Reads one block: the fields every kind has, then those of its kind.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use super::config::{Config, Kind};
use super::report::{Finding, Place, Report};
use super::sharing::{self, Depends};
use super::spot::{Fields, Spot, clip};
use crate::block::exec::Exec;
use crate::block::fetch::Fetch;
use crate::block::hook::Hook;
use crate::block::html_scraper::HtmlScraper;
use crate::block::memory::Memory;
use crate::block::receive::Receive;
use crate::block::response::Response;
use crate::block::send::Send;
use crate::block::transform::Transform;
use crate::block::workflow::Workflow;
use crate::block::{
    BlockConfig, KINDS, exec, fetch, hook, html_scraper, memory, receive, response, send, transform, workflow,
};
use crate::definition::{ForEach, Isolation, Namespace, OnError, OnUnknown, Retry};
use crate::field::{self, Field, Shape};
use crate::template::{Expression, JsonTemplate};
use crate::{limits, suggest, unavailable};

/// The fields of a retry policy.
const RETRY_FIELDS: &[Field] = &[
    Field::new("attempts", "Attempts in all. Default: 3.", Shape::Integer(1, limits::ATTEMPTS_MAX as u64)),
    Field::new("delay", "Delay before the second attempt. Default: 500ms.", Shape::Duration),
    Field::new("backoff", "Factor from one delay to the next. Default: 2.", Shape::Number(1.0, limits::BACKOFF_MAX)),
    Field::new("max_delay", "Longest delay. Default: 30s.", Shape::Duration),
    Field::new("jitter", "Whether delays are spread at random. Default: true.", Shape::Flag),
];

/// The fields every kind of block has.
pub(crate) static COMMON: &[Field] = &[
    Field::new("type", "Kind of the block.", Shape::Text),
    Field::new(
        "id",
        "Name of the block, unique in the workflow. Default: its type, with -2, -3… where that is taken.",
        Shape::Pattern("^[A-Za-z_][A-Za-z0-9_-]{0,63}$"),
    ),
    Field::new("input", "Predefined input. Without it, the output of the blocks it depends on.", Shape::Any),
    Field::new(
        "dependencies",
        "Ids of the blocks it waits for. Without it, the block before it. Beside them, workflows that must have completed.",
        Shape::List(0, &Shape::Either(&[Shape::Text, Shape::Object(sharing::DEPENDENCY_FIELDS, &["workflow"])])),
    ),
    Field::new("timeout", "Limit for one attempt.", Shape::Duration),
    Field::new("when", "The block is skipped when this expression is false.", Shape::Expression),
    Field::new(
        "for_each",
        "Runs the block for each element of this list; item and index are names then.",
        Shape::Expression,
    ),
    Field::new(
        "parallel",
        "How many elements of for_each are under way at once. Default: 1.",
        Shape::Integer(1, limits::PARALLEL_MAX as u64),
    ),
    Field::new("retry", "What happens after a failed attempt.", Shape::Object(RETRY_FIELDS, &[])),
    Field::new(
        "on_error",
        "What happens after the last failed attempt: fail the run, or skip the block and pass its input on. retry: the retry policy, then fail.",
        Shape::Words(&["retry", "skip", "fail"]),
    ),
    Field::new(
        "on_unknown",
        "What happens when a crash leaves open whether an attempt with side effects (a POST) had them. Default: fail.",
        Shape::Words(&["fail", "retry", "skip"]),
    ),
    Field::new("parameter", "Configuration of the block's kind.", Shape::Any),
];

/// What a block does after its last failed attempt, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorWord {
    Retry,
    Skip,
    Fail,
}

pub(crate) const ERROR_WORDS: [(&str, ErrorWord); 3] =
    [("retry", ErrorWord::Retry), ("skip", ErrorWord::Skip), ("fail", ErrorWord::Fail)];

pub(crate) const UNKNOWN_WORDS: [(&str, OnUnknown); 3] =
    [("fail", OnUnknown::Fail), ("retry", OnUnknown::Retry), ("skip", OnUnknown::Skip)];

/// What the definition says about all its blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults<'d> {
    /// `on_error` of the definition.
    pub(crate) on_error: ErrorWord,
    /// `on_unknown` of the definition.
    pub(crate) on_unknown: OnUnknown,
    /// `isolation` of the definition.
    pub(crate) isolation: Isolation,
    /// Whether there is a `response` block.
    pub(crate) has_response: bool,
    /// The namespaces of shared memory that it declares.
    pub(crate) memory: &'d [Namespace],
}

/// A name written in `dependencies`, and where.
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) range: Range<usize>,
    pub(crate) path: String,
}

/// A block as read, its references not yet resolved.
pub(crate) struct Draft {
    /// The id as written.
    pub(crate) id: Option<Named>,
    /// Its type, even if there is no such kind.
    pub(crate) kind: String,
    /// Where findings about the whole block point.
    pub(crate) range: Range<usize>,
    pub(crate) path: String,
    /// `dependencies` as written.
    pub(crate) dependencies: Option<Vec<Named>>,
    /// The workflows among them.
    pub(crate) workflows: Vec<Depends>,
    pub(crate) input: Option<JsonTemplate>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) when: Option<Expression>,
    /// Whether there is a `when`, readable or not.
    pub(crate) conditional: bool,
    pub(crate) for_each: Option<ForEach>,
    pub(crate) retry: Retry,
    pub(crate) on_error: OnError,
    pub(crate) on_unknown: OnUnknown,
    /// `None` when it could not be read.
    pub(crate) config: Option<BlockConfig>,
}

/// Reads a block.
pub(crate) fn read(spot: Spot<'_, '_>, defaults: Defaults<'_>, report: &mut Report<'_>) -> Option<Draft> {
    let fields = spot.object("a block: an object with a `type`", report)?;
    let kind = kind(&fields, report);
    let is_hook = kind.as_deref() == Some("hook");
    if is_hook {
        refuse_on_hook(&fields, report);
    }
    let id = fields.take("id").and_then(|spot| id(&spot, report));
    let mut workflows = Vec::new();
    let dependencies = fields.take("dependencies").and_then(|spot| dependencies(&spot, &mut workflows, report));
    let input = fields.take("input").and_then(|spot| spot.json(report));
    // A hook's `timeout` is its client's.
    let timeout = if is_hook { None } else { fields.take("timeout").and_then(|spot| spot.timeout(report)) };
    let condition = fields.take("when");
    let when = condition.and_then(|spot| spot.expression("{{ input.count > 0 }}", report));
    let per_element = fields.take("for_each");
    let items = per_element.and_then(|spot| spot.expression("{{ input.items }}", report));
    let parallel = parallel(&fields, per_element.is_some(), report);
    let (retry, on_error) = errors(&fields, defaults.on_error, report);
    let on_unknown = fields.take("on_unknown").and_then(|spot| spot.word(&UNKNOWN_WORDS, report));
    report.per_element = per_element.is_some();
    let config = config(&fields, kind.as_deref(), defaults, report);
    report.per_element = false;
    let range = match fields.object.get("type") {
        Some(property) => property.range.start..property.range.end,
        None => fields.range(),
    };
    Some(Draft {
        id,
        kind: kind.unwrap_or_default(),
        range,
        path: fields.place.path(),
        dependencies,
        workflows,
        input,
        timeout,
        when,
        conditional: condition.is_some(),
        for_each: items.map(|items| ForEach { items, parallel }),
        retry,
        on_error,
        on_unknown: on_unknown.unwrap_or(defaults.on_unknown),
        config,
    })
}

/// The type of a block; files what is wrong with it.
fn kind(fields: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    let Some(spot) = fields.take("type") else {
        fields.missing("type", &format!("one of {}", suggest::list(&known)), report);
        return None;
    };
    let kind = spot.string(report)?;
    if unavailable::BLOCK_KINDS.contains(&kind) {
        spot.refuse(unavailable::finding(&format!("the block type `{kind}`")), report);
    } else if !known.contains(&kind) {
        let finding = Finding::new("unknown-type", format!("there is no block type `{}`", clip(kind)));
        spot.refuse(finding.help_if(suggest::help(&kind.replace('_', "-"), &known)), report);
    }
    Some(kind.to_owned())
}

/// A hook starts the run: what governs how a block runs means nothing there.
fn refuse_on_hook(fields: &Fields<'_, '_>, report: &mut Report<'_>) {
    for name in ["dependencies", "input", "when", "for_each", "parallel", "retry", "on_error", "on_unknown"] {
        if let Some(spot) = fields.take(name) {
            let message = match name {
                "dependencies" => "a hook starts the run, it depends on nothing".to_owned(),
                _ => format!("a hook starts the run, `{name}` means nothing there"),
            };
            spot.refuse(Finding::new("invalid-field", message).help("leave it out"), report);
        }
    }
}

fn id(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<Named> {
    let id = spot.string(report)?;
    let starts_well = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well
        || id.len() > limits::NAME_CHARS_MAX
        || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    {
        let finding = Finding::new("invalid-name", format!("`{}` is no block id", clip(id)));
        spot.refuse(finding.help("a letter or _, then at most 63 letters, digits, _ or -"), report);
    }
    Some(Named { id: id.to_owned(), range: spot.range(), path: spot.place.path() })
}

/// The blocks; `None` if there are none named and the order of the list holds.
fn dependencies(spot: &Spot<'_, '_>, workflows: &mut Vec<Depends>, report: &mut Report<'_>) -> Option<Vec<Named>> {
    let list = spot.list("a list of block ids", report)?;
    let mut named: Vec<Named> = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let element = spot.element(index, value);
        if sharing::is_workflow(value) {
            sharing::add(sharing::dependency(element, report), workflows, report);
            continue;
        }
        let Some(id) = element.string(report) else { continue };
        if named.iter().any(|known| known.id == id) {
            element.refuse(Finding::new("duplicate-name", format!("`{}` is there twice", clip(id))), report);
        } else {
            named.push(Named { id: id.to_owned(), range: element.range(), path: element.place.path() });
        }
    }
    (list.is_empty() || !named.is_empty() || workflows.is_empty()).then_some(named)
}

fn parallel(fields: &Fields<'_, '_>, has_for_each: bool, report: &mut Report<'_>) -> usize {
    let Some(spot) = fields.take("parallel") else { return 1 };
    if !has_for_each {
        let finding = Finding::new("invalid-field", "`parallel` means nothing without `for_each`");
        spot.refuse(finding.help("leave it out: independent blocks run in parallel by their `dependencies`"), report);
    }
    let parallel = spot.integer(1..=limits::PARALLEL_MAX as u64, report).unwrap_or(1);
    usize::try_from(parallel).ok().and_then(NonZeroUsize::new).map_or(1, NonZeroUsize::get)
}

/// Retry policy and what comes after it.
fn errors(fields: &Fields<'_, '_>, default: ErrorWord, report: &mut Report<'_>) -> (Retry, OnError) {
    let policy = fields.take("retry").map(|spot| retry(spot, report));
    let word = fields.take("on_error").and_then(|spot| spot.word(&ERROR_WORDS, report)).unwrap_or(default);
    match word {
        ErrorWord::Retry => (policy.unwrap_or(Retry::DEFAULT), OnError::Fail),
        ErrorWord::Skip => (policy.unwrap_or(Retry::NEVER), OnError::Skip),
        ErrorWord::Fail => (policy.unwrap_or(Retry::NEVER), OnError::Fail),
    }
}

fn retry(spot: Spot<'_, '_>, report: &mut Report<'_>) -> Retry {
    let mut retry = Retry::DEFAULT;
    let Some(fields) = spot.object("an object such as { \"attempts\": 3, \"delay\": \"500ms\" }", report) else {
        return retry;
    };
    if let Some(attempts) =
        fields.take("attempts").and_then(|spot| spot.integer(1..=u64::from(limits::ATTEMPTS_MAX), report))
    {
        retry.attempts = u32::try_from(attempts).unwrap_or(limits::ATTEMPTS_MAX);
    }
    if let Some(delay) = fields.take("delay").and_then(|spot| spot.duration(report)) {
        retry.delay = delay;
    }
    if let Some(backoff) = fields.take("backoff").and_then(|spot| spot.number(1.0..=limits::BACKOFF_MAX, report)) {
        retry.backoff = backoff;
    }
    match fields.take("max_delay").and_then(|spot| Some((spot.duration(report)?, spot))) {
        Some((delay_max, spot)) if delay_max < retry.delay => {
            let finding = Finding::new("invalid-value", "`max_delay` is shorter than `delay`");
            spot.refuse(finding, report);
        }
        Some((delay_max, _)) => retry.delay_max = delay_max,
        None => retry.delay_max = retry.delay_max.max(retry.delay),
    }
    if let Some(jitter) = fields.take("jitter").and_then(|spot| spot.flag(report)) {
        retry.jitter = jitter;
    }
    fields.finish(&field::names(RETRY_FIELDS), report);
    retry
}

/// The kind's own configuration. Also files every field that is left.
fn config(
    fields: &Fields<'_, '_>,
    kind: Option<&str>,
    defaults: Defaults<'_>,
    report: &mut Report<'_>,
) -> Option<BlockConfig> {
    let parameter = fields.take("parameter");
    let isolation = defaults.isolation;
    match kind? {
        "hook" => read_with(fields, parameter, &hook::KIND, report, |config, report| {
            Some(BlockConfig::Hook(Hook::read(config, defaults.has_response, report)))
        }),
        "fetch" => read_with(fields, parameter, &fetch::KIND, report, |config, report| {
            Some(BlockConfig::Fetch(Fetch::read(config, report)))
        }),
        "html-scraper" => {
            let rules = match parameter {
                Some(spot) => Some(HtmlScraper::read(&spot, report)),
                None => {
                    let help = "a list of rules, such as \"parameter\": [{ \"selector\": \"h1\" }]";
                    fields.missing("parameter", help, report);
                    None
                }
            };
            Config::new(fields, None, &html_scraper::KIND, report).finish(&field::names(COMMON), report);
            rules.map(BlockConfig::HtmlScraper)
        }
        "transform" => read_with(fields, parameter, &transform::KIND, report, |config, report| {
            Transform::read(config, isolation, report).map(BlockConfig::Transform)
        }),
        "exec" => read_with(fields, parameter, &exec::KIND, report, |config, report| {
            Exec::read(config, isolation, report).map(BlockConfig::Exec)
        }),
        "workflow" => read_with(fields, parameter, &workflow::KIND, report, |config, report| {
            Workflow::read(config, report).map(BlockConfig::Workflow)
        }),
        "memory" => read_with(fields, parameter, &memory::KIND, report, |config, report| {
            Memory::read(config, defaults.memory, report).map(BlockConfig::Memory)
        }),
        "send" => read_with(fields, parameter, &send::KIND, report, |config, report| {
            Send::read(config, report).map(BlockConfig::Send)
        }),
        "receive" => read_with(fields, parameter, &receive::KIND, report, |config, report| {
            Receive::read(config, report).map(BlockConfig::Receive)
        }),
        "response" => read_with(fields, parameter, &response::KIND, report, |config, report| {
            Some(BlockConfig::Response(Response::read(config, report)))
        }),
        _ => None,
    }
}

/// Reads a configuration of a kind, and files every field that is left.
fn read_with(
    fields: &Fields<'_, '_>,
    parameter: Option<Spot<'_, '_>>,
    kind: &'static Kind,
    report: &mut Report<'_>,
    read: impl FnOnce(&Config<'_, '_>, &mut Report<'_>) -> Option<BlockConfig>,
) -> Option<BlockConfig> {
    let config = Config::new(fields, parameter, kind, report);
    let read = read(&config, report);
    config.finish(&field::names(COMMON), report);
    read
}

/// Whether a value is a block of a kind, seen before it is read.
pub(crate) fn is_kind(value: &jsonc_parser::ast::Value<'_>, kind: &str) -> bool {
    value.as_object().and_then(|object| object.get_string("type")).is_some_and(|text| text.value == kind)
}

/// Where a block stands: `[1]` in the bare list, `blocks[1]` in the object form.
pub(crate) fn place<'c>(list: &'c Place<'c>, index: usize) -> Place<'c> {
    list.index(index)
}
