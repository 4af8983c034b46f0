//! `memory`: an operation on a value that all workflows share.

use std::time::Duration;

use crate::definition::{Access, Namespace};
use crate::field::{Field, Shape};
use crate::limits::{MEMORY_ENTRIES_DEFAULT, MEMORY_ENTRIES_MAX};
use crate::parse::config::{Config, Kind};
use crate::parse::report::{Finding, Report};
use crate::parse::spot::{Spot, clip};
use crate::suggest;
use crate::template::{Escape, JsonTemplate, TextTemplate};

/// Configuration of a `memory` block.
#[derive(Debug)]
pub struct Memory {
    /// The namespace, which the definition declares.
    pub namespace: String,
    /// What is done there.
    pub operation: Operation,
    /// What becomes of the namespace's lock.
    pub lock: Lock,
    /// Whether the output is a value, or an entry with its key and version.
    pub whole_entry: bool,
}

/// What is done in a namespace.
#[derive(Debug)]
pub enum Operation {
    /// Read a value.
    Get {
        /// Its key.
        key: TextTemplate,
        /// What stands for an absent one.
        default: Option<JsonTemplate>,
    },
    /// Write a value.
    Set {
        /// Its key.
        key: TextTemplate,
        /// The value; the block's input without it.
        value: Option<JsonTemplate>,
        /// How long it lives.
        ttl: Option<Duration>,
    },
    /// Add to a number.
    Add {
        /// Its key.
        key: TextTemplate,
        /// What is added; 1 without it.
        by: Option<JsonTemplate>,
    },
    /// Append to a list.
    Append {
        /// Its key.
        key: TextTemplate,
        /// The new element; the block's input without it.
        value: Option<JsonTemplate>,
    },
    /// Read a value and remove it.
    Take {
        /// Its key.
        key: TextTemplate,
    },
    /// Write a value if it has not changed.
    CompareAndSet {
        /// Its key.
        key: TextTemplate,
        /// The version that was read, 0 for an absent value.
        version: JsonTemplate,
        /// The value; the block's input without it.
        value: Option<JsonTemplate>,
        /// How long it lives.
        ttl: Option<Duration>,
    },
    /// Remove a value.
    Delete {
        /// Its key.
        key: TextTemplate,
    },
    /// Entries by key.
    List {
        /// What their keys begin with.
        prefix: Option<TextTemplate>,
        /// Only keys behind this one.
        after: Option<TextTemplate>,
        /// How many at most.
        limit: u32,
    },
    /// Nothing but the lock.
    LockOnly,
}

/// What becomes of a namespace's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Nothing.
    Leave,
    /// It is held from before the operation until the run ends, or gives it back.
    Hold {
        /// How long it stays taken after a supervisor that died.
        ttl: Duration,
    },
    /// It is given back.
    Release,
}

/// Names of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Get,
    Set,
    Add,
    Append,
    Take,
    CompareAndSet,
    Delete,
    List,
    Lock,
    Unlock,
}

const WORDS: [(&str, Word); 10] = [
    ("get", Word::Get),
    ("set", Word::Set),
    ("add", Word::Add),
    ("append", Word::Append),
    ("take", Word::Take),
    ("compare-and-set", Word::CompareAndSet),
    ("delete", Word::Delete),
    ("list", Word::List),
    ("lock", Word::Lock),
    ("unlock", Word::Unlock),
];

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new(
            "op",
            "What is done.",
            Shape::Words(&[
                "get",
                "set",
                "add",
                "append",
                "take",
                "compare-and-set",
                "delete",
                "list",
                "lock",
                "unlock",
            ]),
        ),
        Field::new(
            "namespace",
            "Where: one of those that the workflow declares in `memory`. Default: the only one.",
            Shape::Pattern("^[a-z0-9][a-z0-9._-]{0,63}$"),
        ),
        Field::new("key", "Which value.", Shape::Template),
        Field::new("value", "What set, append and compare-and-set write. Default: the block's input.", Shape::Any),
        Field::new("by", "What add adds. Default: 1.", Shape::Any),
        Field::new("default", "What get yields where there is no value. Default: null.", Shape::Any),
        Field::new("ttl", "How long what set and compare-and-set write lives. Default: for ever.", Shape::Duration),
        Field::new(
            "version",
            "Of compare-and-set: the version that was read, 0 where there was no value. If it is another now, the block fails.",
            Shape::Any,
        ),
        Field::new("prefix", "Of list: what the keys begin with.", Shape::Template),
        Field::new("after", "Of list: only keys behind this one, the last of the page before.", Shape::Template),
        Field::new(
            "limit",
            "Of list: how many entries at most. Default: 100.",
            Shape::Integer(1, MEMORY_ENTRIES_MAX as u64),
        ),
        Field::new(
            "lock",
            "Take the namespace's lock first, and hold it until the run ends, or to an `unlock`. The duration is how long the lock outlives a supervisor that died; a live one renews it.",
            Shape::Duration,
        ),
        Field::new(
            "output",
            "The value after the operation (of take: the one before), or an object with key, value, version and expiresAt. Default: value.",
            Shape::Words(&["value", "entry"]),
        ),
    ],
    bare: &[],
    unavailable: &[],
};

/// The fields that each operation has beside `op` and `namespace`; the first so many are required.
fn fields_of(word: Word) -> (&'static [&'static str], usize) {
    match word {
        Word::Get => (&["key", "default", "lock", "output"], 1),
        Word::Set => (&["key", "value", "ttl", "lock", "output"], 1),
        Word::Add => (&["key", "by", "lock", "output"], 1),
        Word::Append => (&["key", "value", "lock", "output"], 1),
        Word::Take | Word::Delete => (&["key", "lock", "output"], 1),
        Word::CompareAndSet => (&["key", "version", "value", "ttl", "lock", "output"], 2),
        Word::List => (&["prefix", "after", "limit", "lock"], 0),
        Word::Lock => (&["lock"], 1),
        Word::Unlock => (&[], 0),
    }
}

impl Memory {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        let text = |template: &TextTemplate| template.literal().is_none();
        let json = |template: &JsonTemplate| template.literal().is_none();
        let some = |template: &Option<JsonTemplate>| template.as_ref().is_some_and(json);
        match &self.operation {
            Operation::Get { key, default } => text(key) || some(default),
            Operation::Set { key, value, ttl: _ } | Operation::Append { key, value } => text(key) || some(value),
            Operation::Add { key, by } => text(key) || some(by),
            Operation::Take { key } | Operation::Delete { key } => text(key),
            Operation::CompareAndSet { key, version, value, ttl: _ } => text(key) || json(version) || some(value),
            Operation::List { prefix, after, limit: _ } => {
                prefix.as_ref().is_some_and(text) || after.as_ref().is_some_and(text)
            }
            Operation::LockOnly => false,
        }
    }

    pub(crate) fn read(config: &Config<'_, '_>, namespaces: &[Namespace], report: &mut Report<'_>) -> Option<Self> {
        let namespace = config.take("namespace", report);
        let word = match config.take("op", report) {
            Some(spot) => spot.word(&WORDS, report),
            None => {
                config.missing("op", "what is to be done, such as \"op\": \"get\"", report);
                None
            }
        };
        let Some(word) = word else {
            // Which of the fields it has cannot be said.
            for field in KIND.fields {
                let _ = config.take(field.name, report);
            }
            return None;
        };
        let namespace = declared(config, namespace, word, namespaces, report);
        refuse_others(config, word, report);
        let lock = config.take("lock", report).and_then(|spot| spot.timeout(report));
        let lock = match (word, lock) {
            (Word::Unlock, _) => Lock::Release,
            (_, Some(ttl)) => Lock::Hold { ttl },
            (_, None) => Lock::Leave,
        };
        let outputs = [("value", false), ("entry", true)];
        let whole_entry = config.take("output", report).and_then(|spot| spot.word(&outputs, report));
        let operation = operation(config, word, report);
        Some(Self { namespace: namespace?, operation: operation?, lock, whole_entry: whole_entry.unwrap_or(false) })
    }
}

fn operation(config: &Config<'_, '_>, word: Word, report: &mut Report<'_>) -> Option<Operation> {
    let (fields, required) = fields_of(word);
    let mut key = None;
    for name in &fields[..required] {
        let spot = config.take(name, report);
        match (*name, spot) {
            ("key", Some(spot)) => key = Some(text(&spot, report)?),
            // What else is required is read where it is used.
            (_, Some(_)) => {}
            (name, None) => config.missing(name, example(name), report),
        }
    }
    let json = |name, report: &mut Report<'_>| match config.take(name, report) {
        Some(spot) => spot.json(report).map(Some),
        None => Some(None),
    };
    let ttl = config.take("ttl", report).and_then(|spot| spot.timeout(report));
    Some(match word {
        Word::Get => Operation::Get { key: key?, default: json("default", report)? },
        Word::Set => Operation::Set { key: key?, value: json("value", report)?, ttl },
        Word::Add => Operation::Add { key: key?, by: number("by", config, report)? },
        Word::Append => Operation::Append { key: key?, value: json("value", report)? },
        Word::Take => Operation::Take { key: key? },
        Word::CompareAndSet => {
            let version = number("version", config, report)?;
            Operation::CompareAndSet { key: key?, version: version?, value: json("value", report)?, ttl }
        }
        Word::Delete => Operation::Delete { key: key? },
        Word::List => {
            let mut named = |name| match config.take(name, report) {
                Some(spot) => text(&spot, report).map(Some),
                None => Some(None),
            };
            let (prefix, after) = (named("prefix")?, named("after")?);
            let limit = config.take("limit", report);
            let limit = limit.and_then(|spot| spot.integer(1..=u64::from(MEMORY_ENTRIES_MAX), report));
            let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(MEMORY_ENTRIES_DEFAULT);
            Operation::List { prefix, after, limit }
        }
        Word::Lock | Word::Unlock => Operation::LockOnly,
    })
}

fn example(name: &str) -> &'static str {
    match name {
        "key" => "which value, such as \"key\": \"{{ input.sku }}\"",
        "version" => "the version that was read, such as \"version\": \"{{ blocks.read.output.version }}\"",
        _ => "how long the lock outlives a supervisor that died, such as \"lock\": \"30s\"",
    }
}

/// A key, which is not empty.
fn text(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<TextTemplate> {
    let text = spot.text(Escape::None, report)?;
    if text.literal() == Some("") {
        spot.refuse(Finding::new("invalid-value", "a key has at least one character"), report);
        return None;
    }
    Some(text)
}

/// A number, or a template, which will yield one.
fn number(name: &'static str, config: &Config<'_, '_>, report: &mut Report<'_>) -> Option<Option<JsonTemplate>> {
    let Some(spot) = config.take(name, report) else { return Some(None) };
    let template = spot.json(report)?;
    if template.literal().is_some_and(|value| !value.is_number()) {
        spot.expected("a number, or a template that yields one", report);
        return None;
    }
    Some(Some(template))
}

/// The namespace, if the workflow may do that there.
fn declared(
    config: &Config<'_, '_>,
    written: Option<Spot<'_, '_>>,
    word: Word,
    namespaces: &[Namespace],
    report: &mut Report<'_>,
) -> Option<String> {
    let Some(spot) = written else {
        let [only] = namespaces else {
            let help = "one of those that the workflow declares, as in \"memory\": [\"prices\"] beside its `blocks`";
            config.missing("namespace", help, report);
            return None;
        };
        return may(only, word).then(|| only.name.clone()).or_else(|| {
            config.missing("namespace", &format!("`{}` is declared read-only, and this writes", only.name), report);
            None
        });
    };
    let name = spot.string(report)?;
    let Some(found) = namespaces.iter().find(|namespace| namespace.name == name) else {
        let message = format!("the workflow does not declare the namespace `{}`", clip(name));
        let names: Vec<&str> = namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
        let help = suggest::nearest(name, names).map_or_else(
            || "declare it beside `blocks`: \"memory\": [\"NAME\"], or \"NAME:read\" for reading only".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        spot.refuse(Finding::new("undeclared-namespace", message).help(help), report);
        return None;
    };
    if !may(found, word) {
        let message = format!("`{name}` is declared read-only, and this block writes");
        let help = format!("declare \"{name}\" in `memory` instead of \"{name}:read\"");
        spot.refuse(Finding::new("read-only-namespace", message).help(help), report);
        return None;
    }
    Some(found.name.clone())
}

fn may(namespace: &Namespace, word: Word) -> bool {
    namespace.access == Access::ReadWrite || matches!(word, Word::Get | Word::List)
}

/// Files the fields that mean nothing to this operation.
fn refuse_others(config: &Config<'_, '_>, word: Word, report: &mut Report<'_>) {
    let (own, _) = fields_of(word);
    let name = WORDS.iter().find(|(_, other)| *other == word).map_or("", |(name, _)| name);
    let others = KIND.fields.iter().map(|field| field.name).filter(|name| !own.contains(name));
    for other in others.filter(|name| !matches!(*name, "op" | "namespace")) {
        if let Some(spot) = config.take(other, report) {
            let message = format!("`{other}` means nothing to the operation `{name}`");
            let finding = Finding::new("unknown-field", message);
            spot.refuse(finding.help_if((!own.is_empty()).then(|| format!("it has {}", suggest::list(own)))), report);
        }
    }
}
