//! `memory`: an operation on shared memory, in a namespace that the workflow declares.

use std::time::Duration;

use crate::definition::Namespace;
use crate::field::{Field, Shape};
use crate::limits;
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::parse::sharing;
use crate::parse::spot::Spot;
use crate::suggest;
use crate::template::{Escape, JsonTemplate, TextTemplate};

/// Configuration of a `memory` block.
#[derive(Debug)]
pub struct Memory {
    /// One of the workflow's namespaces.
    pub namespace: String,
    /// What is done in it.
    pub op: Op,
    /// Whether the namespace's lock is taken first.
    pub lock: Option<Lock>,
    /// Whether the output tells the version and the time to live too.
    pub detail: bool,
}

/// An operation. A value that is not given is the block's input.
#[derive(Debug)]
pub enum Op {
    /// Reads a key.
    Get {
        /// The key.
        key: TextTemplate,
        /// The output when there is no such key.
        default: Option<JsonTemplate>,
    },
    /// Writes a key.
    Set(Write),
    /// Adds to a number; a value that is not given is 1.
    Add(Write),
    /// Appends to a list.
    Append(Write),
    /// Writes a key that has this version; 0: that is not there.
    CompareAndSet {
        /// What is written.
        write: Write,
        /// The version.
        version: JsonTemplate,
    },
    /// Reads a key and removes it.
    Take {
        /// The key.
        key: TextTemplate,
        /// The output when there is no such key.
        default: Option<JsonTemplate>,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: TextTemplate,
    },
    /// Lists keys.
    List {
        /// With which they begin.
        prefix: Option<TextTemplate>,
        /// After which they come.
        after: Option<TextTemplate>,
        /// How many at most.
        limit: u32,
    },
    /// Waits until a key has another version than this one.
    Watch {
        /// The key.
        key: TextTemplate,
        /// The version that is known; without, that of a key that is not there.
        version: Option<JsonTemplate>,
        /// How long.
        timeout: Duration,
    },
    /// Gives the lock back.
    Unlock,
}

/// What is written.
#[derive(Debug)]
pub struct Write {
    /// The key.
    pub key: TextTemplate,
    /// The value; without, the block's input.
    pub value: Option<JsonTemplate>,
    /// How long it lives.
    pub ttl: Option<Duration>,
}

/// A lock that is taken before the operation, and kept until the run ends or gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// After how long others may have it although it was not given back.
    pub ttl: Duration,
    /// How long it is waited for.
    pub timeout: Duration,
}

impl Op {
    /// Whether it changes what is stored.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            Self::Set(_)
            | Self::Add(_)
            | Self::Append(_)
            | Self::CompareAndSet { .. }
            | Self::Take { .. }
            | Self::Delete { .. } => true,
            Self::Get { .. } | Self::List { .. } | Self::Watch { .. } | Self::Unlock => false,
        }
    }

    /// What it writes.
    #[must_use]
    pub fn write(&self) -> Option<&Write> {
        match self {
            Self::Set(write) | Self::Add(write) | Self::Append(write) | Self::CompareAndSet { write, .. } => {
                Some(write)
            }
            Self::Take { .. }
            | Self::Delete { .. }
            | Self::Get { .. }
            | Self::List { .. }
            | Self::Watch { .. }
            | Self::Unlock => None,
        }
    }
}

impl Memory {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.has(|text| text.literal().is_none(), |json| json.literal().is_none())
    }

    /// Whether all templates in it are of the element: [`TextTemplate::is_of_element`].
    #[must_use]
    pub fn is_of_element(&self) -> bool {
        !self.has(|text| !text.is_of_element(), |json| !json.is_of_element())
    }

    /// Whether it has a template like this.
    fn has(&self, text: fn(&TextTemplate) -> bool, json: fn(&JsonTemplate) -> bool) -> bool {
        let of_write = |write: &Write| text(&write.key) || write.value.as_ref().is_some_and(json);
        match &self.op {
            Op::Get { key, default } | Op::Take { key, default } => text(key) || default.as_ref().is_some_and(json),
            Op::Set(write) | Op::Add(write) | Op::Append(write) => of_write(write),
            Op::CompareAndSet { write, version } => of_write(write) || json(version),
            Op::Delete { key } => text(key),
            Op::List { prefix, after, .. } => [prefix, after].into_iter().flatten().any(text),
            Op::Watch { key, version, .. } => text(key) || version.as_ref().is_some_and(json),
            Op::Unlock => false,
        }
    }

    /// Whether the block's input is what it writes.
    #[must_use]
    pub fn writes_input(&self) -> bool {
        let without_value = self.op.write().is_some_and(|write| write.value.is_none());
        without_value && !matches!(self.op, Op::Add(_))
    }
}

const OP_WORDS: &[&str] =
    &["get", "set", "delete", "add", "append", "take", "compare-and-set", "list", "watch", "unlock"];

/// The fields that an operation has beside `op`, `namespace` and `lock`.
const FIELDS_OF: &[(&str, &[&str])] = &[
    ("get", &["key", "default", "detail"]),
    ("set", &["key", "value", "ttl", "detail"]),
    ("delete", &["key"]),
    ("add", &["key", "value", "ttl", "detail"]),
    ("append", &["key", "value", "ttl", "detail"]),
    ("take", &["key", "default", "detail"]),
    ("compare-and-set", &["key", "version", "value", "ttl", "detail"]),
    ("list", &["prefix", "after", "limit"]),
    ("watch", &["key", "version", "timeout", "detail"]),
    ("unlock", &[]),
];

const LOCK_FIELDS: &[Field] = &[
    Field::new(
        "ttl",
        "After how long others may have it although it was not given back. Default: 30s.",
        Shape::Duration,
    ),
    Field::new("timeout", "How long it is waited for. Default: 30s.", Shape::Duration),
];

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new("op", "What is done.", Shape::Words(OP_WORDS)),
        Field::new(
            "namespace",
            "One of the namespaces under `memory` of the workflow. Default: the only one.",
            Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"),
        ),
        Field::new("key", "The key: 1 to 512 bytes.", Shape::Template),
        Field::new("value", "The value: any JSON. Default: the block's input; for add, 1.", Shape::Any),
        Field::new(
            "ttl",
            "How long the key lives. Default: for ever; add and append keep what it has.",
            Shape::Duration,
        ),
        Field::new(
            "version",
            "compare-and-set: the version that the key must have, 0 if it must not be there. watch: the version that is known.",
            Shape::Either(&[Shape::Integer(0, u64::MAX), Shape::Expression]),
        ),
        Field::new("default", "get and take: the output when there is no such key. Default: null.", Shape::Any),
        Field::new("prefix", "list: with which the keys begin.", Shape::Template),
        Field::new("after", "list: only keys after this one.", Shape::Template),
        Field::new("limit", "list: how many at most. Default: 100.", Shape::Integer(1, limits::MEMORY_LIST_MAX as u64)),
        Field::new("timeout", "watch: how long a change is waited for. Default: 30s.", Shape::Duration),
        Field::new(
            "detail",
            "Whether the output is an object of key, value, version and expiresAtMs instead of the value.",
            Shape::Flag,
        ),
        Field::new(
            "lock",
            "Takes the namespace's lock first; the run has it until it ends, gives it back (unlock) or its ttl is over.",
            Shape::Either(&[Shape::Flag, Shape::Object(LOCK_FIELDS, &[])]),
        ),
    ],
    bare: &[],
    unavailable: &[],
};

impl Memory {
    pub(crate) fn read(config: &Config<'_, '_>, declared: &[Namespace], report: &mut Report<'_>) -> Option<Self> {
        let lock = config.take("lock", report).and_then(|spot| lock(&spot, report));
        let word = config.take("op", report).map(|spot| {
            let words = OP_WORDS.iter().map(|word| (*word, *word)).collect::<Vec<_>>();
            (spot.word(&words, report), spot.range(), spot.place.path())
        });
        let Some((word, range, path)) = word else {
            config.missing("op", &format!("one of {}", suggest::list(OP_WORDS)), report);
            leave_the_rest(config, report);
            return None;
        };
        let Some(word) = word else {
            leave_the_rest(config, report);
            return None;
        };
        refuse_others(config, word, report);
        let op = op(config, word, report);
        let namespace = match config.take("namespace", report) {
            Some(spot) => spot.string(report).map(|name| (name.to_owned(), spot.range(), spot.place.path())),
            None => match declared {
                [only] => Some((only.name.clone(), range, path)),
                _ => {
                    let help =
                        "one of the namespaces under `memory` of the workflow, such as \"namespace\": \"prices\"";
                    config.missing("namespace", help, report);
                    None
                }
            },
        };
        let detail = config.take("detail", report).and_then(|spot| spot.flag(report)).unwrap_or(false);
        let (op, (namespace, range, path)) = (op?, namespace?);
        if let Some(finding) = sharing::judge(&namespace, op.writes(), word, declared) {
            report.add_at(finding, range, path);
        }
        Some(Self { namespace, op, lock, detail })
    }
}

/// Of which operation the other fields are, nobody knows: nothing is said about them.
fn leave_the_rest(config: &Config<'_, '_>, report: &mut Report<'_>) {
    for field in KIND.fields {
        config.take(field.name, report);
    }
}

/// Files every field that the operation does not have.
fn refuse_others(config: &Config<'_, '_>, word: &str, report: &mut Report<'_>) {
    let own = FIELDS_OF.iter().find(|(op, _)| *op == word).map_or(&[][..], |(_, fields)| fields);
    let others = KIND.fields.iter().filter(|field| !["op", "namespace", "lock"].contains(&field.name));
    for field in others.filter(|field| !own.contains(&field.name)) {
        if let Some(spot) = config.take(field.name, report) {
            let finding =
                Finding::new("invalid-field", format!("`{}` means nothing with \"op\": \"{word}\"", field.name));
            let takers = FIELDS_OF.iter().filter(|(_, fields)| fields.contains(&field.name)).map(|(op, _)| *op);
            spot.refuse(finding.help(format!("it belongs to {}", suggest::list(&takers.collect::<Vec<_>>()))), report);
        }
    }
}

fn op(config: &Config<'_, '_>, word: &str, report: &mut Report<'_>) -> Option<Op> {
    let default = |report: &mut Report<'_>| config.take("default", report).and_then(|spot| spot.json(report));
    Some(match word {
        "get" => Op::Get { default: default(report), key: key(config, report)? },
        "take" => Op::Take { default: default(report), key: key(config, report)? },
        "delete" => Op::Delete { key: key(config, report)? },
        "set" => Op::Set(write(config, report)?),
        "add" => Op::Add(write(config, report)?),
        "append" => Op::Append(write(config, report)?),
        "compare-and-set" => {
            let version = config.take("version", report).map(|spot| version(&spot, report));
            let write = write(config, report);
            let Some(version) = version else {
                config.missing("version", "the version that the key must have, 0 if it must not be there", report);
                return None;
            };
            Op::CompareAndSet { write: write?, version: version? }
        }
        "list" => Op::List {
            prefix: config.take("prefix", report).and_then(|spot| spot.text(Escape::None, report)),
            after: config.take("after", report).and_then(|spot| spot.text(Escape::None, report)),
            limit: config
                .take("limit", report)
                .and_then(|spot| spot.integer(1..=u64::from(limits::MEMORY_LIST_MAX), report))
                .and_then(|limit| u32::try_from(limit).ok())
                .unwrap_or(limits::MEMORY_LIST_DEFAULT),
        },
        "watch" => Op::Watch {
            version: config.take("version", report).and_then(|spot| version(&spot, report)),
            timeout: config
                .take("timeout", report)
                .and_then(|spot| spot.timeout(report))
                .unwrap_or(limits::MEMORY_WATCH_TIMEOUT_DEFAULT),
            key: key(config, report)?,
        },
        _ => Op::Unlock,
    })
}

fn key(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<TextTemplate> {
    let Some(spot) = config.take("key", report) else {
        config.missing("key", "the key, such as \"key\": \"last\"", report);
        return None;
    };
    let key = spot.text(Escape::None, report)?;
    let good =
        |key: &str| (1..=limits::MEMORY_KEY_BYTES_MAX).contains(&key.len()) && !key.chars().any(char::is_control);
    if key.literal().is_some_and(|key| !good(key)) {
        let finding = Finding::new("invalid-name", "a key has 1 to 512 bytes and no control characters");
        spot.refuse(finding, report);
    }
    Some(key)
}

fn write(config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Write> {
    let value = config.take("value", report).map(|spot| spot.json(report));
    let ttl = config.take("ttl", report).and_then(|spot| spot.timeout(report));
    let key = key(config, report)?;
    Some(Write { key, value: value.map_or(Some(None), |value| value.map(Some))?, ttl })
}

fn version(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<JsonTemplate> {
    if let jsonc_parser::ast::Value::StringLit(text) = spot.value
        && text.value.contains("{{")
    {
        let example = "{{ blocks.before.output.version }}";
        return spot.expression(example, report).map(JsonTemplate::from_expression);
    }
    spot.integer(0..=u64::MAX, report).map(|version| JsonTemplate::from_literal(version.into()))
}

fn lock(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<Lock> {
    let default = Lock { ttl: limits::LOCK_TTL_DEFAULT, timeout: limits::LOCK_TIMEOUT_DEFAULT };
    if !matches!(spot.value, jsonc_parser::ast::Value::Object(_)) {
        return spot.flag(report)?.then_some(default);
    }
    let fields = spot.object("an object such as { \"ttl\": \"30s\" }", report)?;
    let mut found = default;
    if let Some(spot) = fields.take("ttl")
        && let Some(ttl) = spot.timeout(report)
    {
        if ttl > limits::LOCK_TTL_MAX {
            let finding = Finding::new("invalid-duration", "a lock may be kept for an hour at most");
            spot.refuse(finding.help("each operation with the lock begins its time anew"), report);
        }
        found.ttl = ttl;
    }
    if let Some(timeout) = fields.take("timeout").and_then(|spot| spot.timeout(report)) {
        found.timeout = timeout;
    }
    fields.finish(&crate::field::names(LOCK_FIELDS), report);
    Some(found)
}
