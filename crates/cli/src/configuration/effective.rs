//! What is in force: each option's value, and where it came from.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use runlet_supervisor::config::Memory;
use serde_json::{Map, Value, json};

use super::options::{is_for_both, is_list};
use super::{File, SECTIONS, Section, command, matches_of};
use crate::args::MEMORY_URL;
use crate::command::CommandError;
use crate::paths;

/// Every option of every section.
#[derive(Debug)]
pub(crate) struct Effective {
    /// The file that was read, if there is one.
    pub(crate) file: Option<PathBuf>,
    settings: Vec<Setting>,
}

/// One option.
#[derive(Debug)]
struct Setting {
    section: Section,
    key: String,
    /// `None` when it has no value.
    value: Option<Value>,
    origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    File { line: usize },
    Environment { variable: String },
    Flag,
}

impl Effective {
    /// What would be in force for a command line such as `supervisor --drain 5s`, or for none.
    ///
    /// # Errors
    /// [`CommandError`] of the file, or of the command line.
    pub(crate) fn of(named: Option<&PathBuf>, line: &[OsString]) -> Result<Self, CommandError> {
        let file = File::find(named)?;
        let given = matches(file.as_ref(), line)?;
        let given = given.as_ref().and_then(ArgMatches::subcommand);
        let mut settings = Vec::new();
        for section in SECTIONS {
            let own = matches(file.as_ref(), &[OsString::from(section.table().unwrap_or("status"))])?;
            let own = own.as_ref().and_then(ArgMatches::subcommand);
            for option in section.options() {
                let Some(key) = option.get_long() else { continue };
                let speaks = |&(name, matches): &(&str, &ArgMatches)| match section {
                    Section::Common => true,
                    Section::Supervisor | Section::Gateway if name == "up" && is_for_both(key) => {
                        matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine)
                    }
                    Section::Supervisor | Section::Gateway => speaks_for(name, section, key),
                };
                let Some((_, matches)) = given.filter(speaks).or(own) else { continue };
                settings.push(Setting::of(section, key, &option, matches, file.as_ref()));
            }
        }
        let mut effective = Self { file: file.map(|file| file.path), settings };
        effective.compute();
        Ok(effective)
    }

    /// The defaults that are found out at the start.
    fn compute(&mut self) {
        let state = self.settings.iter().find(|one| one.section == Section::Supervisor && one.key == "state");
        let state =
            state.and_then(|one| one.value.as_ref()?.as_str().map(PathBuf::from)).unwrap_or_else(paths::default_state);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        for setting in self.settings.iter_mut().filter(|one| one.value.is_none()) {
            setting.value = match (setting.section, setting.key.as_str()) {
                (Section::Common, "socket") => Some(json!(paths::socket_in(&state))),
                (Section::Supervisor, "state") => Some(json!(state)),
                (Section::Supervisor, "threads") => Some(json!(cores)),
                (Section::Gateway, "threads") => Some(json!(cores.min(runlet_gateway::limits::THREADS_DEFAULT_MAX))),
                _ => None,
            };
        }
    }

    /// As a file that would have the same effect.
    pub(crate) fn toml(&self, with_origin: bool) -> String {
        let mut text = String::new();
        for section in SECTIONS {
            if let Some(table) = section.table() {
                text += &format!("\n[{table}]\n");
            }
            for Setting { key, value, origin, .. } in self.settings.iter().filter(|one| one.section == section) {
                let line = match value {
                    Some(value) => format!("{key} = {}", toml_of(value)),
                    None => format!("# {key} is not set"),
                };
                text += &match (with_origin, value) {
                    (true, Some(_)) => format!("{line:<40}  # {}\n", self.described(origin)),
                    (true, None) | (false, _) => line + "\n",
                };
            }
        }
        text
    }

    fn described(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::File { line } => {
                format!("{}:{line}", self.file.as_deref().unwrap_or_else(|| "the file".as_ref()).display())
            }
            Origin::Environment { variable } => format!("environment {variable}"),
            Origin::Flag => "flag".to_owned(),
        }
    }

    /// As a document of JSON, by the names of the file.
    pub(crate) fn json(&self, with_origin: bool) -> Value {
        let mut document = Map::new();
        document.insert("file".to_owned(), json!(self.file));
        for Setting { section, key, value, origin } in &self.settings {
            let value = value.clone().unwrap_or(Value::Null);
            let shown = if with_origin { self.with_origin(&value, origin) } else { value };
            let table = match section.table() {
                None => &mut document,
                Some(name) => {
                    let table = document.entry(name).or_insert_with(|| json!({}));
                    table.as_object_mut().expect("only objects are put in under the name of a table")
                }
            };
            table.insert(key.clone(), shown);
        }
        Value::Object(document)
    }

    fn with_origin(&self, value: &Value, origin: &Origin) -> Value {
        match origin {
            Origin::Default => json!({ "value": value, "origin": "default" }),
            Origin::File { line } => json!({ "value": value, "origin": "file", "file": self.file, "line": line }),
            Origin::Environment { variable } => {
                json!({ "value": value, "origin": "environment", "variable": variable })
            }
            Origin::Flag => json!({ "value": value, "origin": "flag" }),
        }
    }
}

/// An address as it may be shown.
pub(super) fn without_password(url: String) -> String {
    Memory { url, ..Memory::default() }.shown_url()
}

/// Whether what a subcommand is given says something of an option.
fn speaks_for(subcommand: &str, section: Section, key: &str) -> bool {
    let owner = Section::of_subcommand(subcommand).iter().find(|section| section.option(key).is_some());
    let takes = |sub: &clap::Command| sub.get_arguments().any(|arg| arg.get_long() == Some(key));
    owner == Some(&section) && command(None).find_subcommand(subcommand).is_some_and(takes)
}

/// The values of a command line; `None` if there is none.
fn matches(file: Option<&File>, line: &[OsString]) -> Result<Option<ArgMatches>, CommandError> {
    if line.is_empty() {
        return Ok(None);
    }
    let words = [OsString::from("runlet")].into_iter().chain(line.iter().cloned());
    let matches = matches_of(command(file), words).map_err(|error| CommandError::Usage {
        message: error.to_string().trim().trim_start_matches("error: ").to_owned(),
        help: Some("behind `--` stands a command line as it would be typed: -- supervisor --drain 5s".to_owned()),
    })?;
    Ok(Some(matches))
}

impl Setting {
    fn of(section: Section, key: &str, option: &Arg, matches: &ArgMatches, file: Option<&File>) -> Self {
        let id = option.get_id().as_str();
        let raw = matches.try_get_raw(id).ok().flatten();
        let values = raw.map(|raw| raw.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>());
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => {
                let variable = option.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                Origin::Environment { variable }
            }
            _ => match file.and_then(|file| file.entry(section, key)) {
                Some(entry) => Origin::File { line: entry.line },
                None => Origin::Default,
            },
        };
        let values = if key == MEMORY_URL {
            values.map(|urls| urls.into_iter().map(without_password).collect())
        } else {
            values
        };
        let value = match values {
            Some(values) if is_list(option) => Some(json!(values)),
            Some(values) => {
                values.into_iter().next().map(|one| one.parse::<u64>().map_or_else(|_| json!(one), |n| json!(n)))
            }
            None if is_list(option) => Some(json!([])),
            None => None,
        };
        Self { section, key: key.to_owned(), value, origin }
    }
}

/// A text, a number or a list of texts, as TOML has it.
pub(super) fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
