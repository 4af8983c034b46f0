//! The file: TOML, every key of which is an option of the command line. All mistakes are told, each with its place.

use std::fs;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Arg;
use runlet_workflow::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::options::{is_list, is_path, refused};
use super::{SECTIONS, Section, default_file};
use crate::args::MEMORY_PREFIX;
use crate::command::CommandError;
use crate::limits::CONFIGURATION_BYTES_MAX;

/// A file without mistakes.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    entries: Vec<Entry>,
}

/// What it says of one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    section: Section,
    key: String,
    /// As on the command line.
    pub(crate) values: Vec<String>,
    /// From 1.
    pub(crate) line: usize,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// The way out, if it is known.
    pub(crate) help: Option<String>,
}

impl File {
    /// The one that is named, else the one at its usual place, if there is one.
    ///
    /// # Errors
    /// [`CommandError`] when it cannot be read, or has mistakes.
    pub(crate) fn find(named: Option<&PathBuf>) -> Result<Option<Self>, CommandError> {
        let Some(path) = named.cloned().or_else(default_file) else { return Ok(None) };
        match read(&path) {
            Ok(text) => Self::parse_text(&path, &text).map(Some),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CommandError::Usage {
                message: format!("the configuration file {} cannot be read: {error}", path.display()),
                help: Some(
                    "it is what --config or RUNLET_CONFIG names; `runlet config example` prints one to begin with"
                        .to_owned(),
                ),
            }),
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`CommandError::Configuration`] with everything that is wrong.
    pub(super) fn parse_text(path: &Path, text: &str) -> Result<Self, CommandError> {
        let mut reading = Reading { path, text, entries: Vec::new(), mistakes: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            reading.mistake(error.span().unwrap_or_default(), error.message(), None);
        }
        // What the parser made of a line it did not understand says nothing of its own.
        let broken: Vec<usize> = reading.mistakes.iter().map(|mistake| mistake.line).collect();
        let from = reading.mistakes.len();
        reading.read_all(table.get_ref());
        let Reading { entries, mut mistakes, .. } = reading;
        let found = mistakes.split_off(from);
        mistakes.extend(found.into_iter().filter(|mistake| !broken.contains(&mistake.line)));
        if mistakes.is_empty() {
            return Ok(Self { path: path.to_owned(), entries });
        }
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Err(CommandError::Configuration { file: path.to_owned(), mistakes })
    }

    /// What it says of an option.
    pub(crate) fn entry(&self, section: Section, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.section == section && entry.key == key)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(CONFIGURATION_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CONFIGURATION_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {CONFIGURATION_BYTES_MAX} bytes")));
    }
    Ok(text)
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn read_all(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let section = SECTIONS.into_iter().find(|section| section.table() == Some(key.get_ref().as_ref()));
            if let ("memory", DeValue::Table(table)) = (key.get_ref().as_ref(), value.get_ref()) {
                // What the supervisor's options have before their names stands above them here.
                for (key, value) in table {
                    let option = format!("{MEMORY_PREFIX}{}", key.get_ref());
                    self.read_one(Section::Supervisor, &option, key.span(), value);
                }
                continue;
            }
            match (section, value.get_ref()) {
                (Some(section), DeValue::Table(table)) => {
                    for (key, value) in table {
                        self.read_one(section, key.get_ref().as_ref(), key.span(), value);
                    }
                }
                (Some(_), other) => {
                    let message = format!("`{}` is a table of options, not {}", key.get_ref(), described(other));
                    self.mistake(
                        value.span(),
                        &message,
                        Some(format!("write [{}], and its options below", key.get_ref())),
                    );
                }
                (None, DeValue::Table(_)) => {
                    let known = SECTIONS.iter().filter_map(|section| section.table());
                    let help = help(key.get_ref(), known);
                    self.mistake(key.span(), &format!("there is no table `{}`", key.get_ref()), help);
                }
                (None, _) => self.read_one(Section::Common, key.get_ref().as_ref(), key.span(), value),
            }
        }
    }

    fn read_one(&mut self, section: Section, key: &str, at: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let Some(option) = section.option(key) else { return self.unknown(section, key, at) };
        let values = match texts(&option, value.get_ref()) {
            Ok(values) => values,
            Err(message) => return self.mistake(value.span(), &format!("`{key}`: {message}"), None),
        };
        if let Some(cause) = refused(&option, &values) {
            return self.mistake(value.span(), &format!("`{key}`: {cause}"), None);
        }
        let values = if is_path(&option) { values.iter().map(|path| self.absolute(path)).collect() } else { values };
        let line = self.place(at.start).0;
        self.entries.push(Entry { section, key: key.to_owned(), values, line });
    }

    fn unknown(&mut self, section: Section, key: &str, at: Range<usize>) {
        let place = |section: Section| match section.table() {
            Some(table) => format!("in [{table}]"),
            None => "before the first table".to_owned(),
        };
        let elsewhere = SECTIONS.into_iter().find(|other| *other != section && other.option(key).is_some());
        let help = match elsewhere {
            Some(other) => Some(format!("it belongs {}", place(other))),
            None => help(key, section.keys().iter().map(String::as_str)),
        };
        self.mistake(at, &format!("there is no option `{key}` {}", place(section)), help);
    }

    /// A path in the file means the same wherever the daemon is started: it begins at the file's own folder.
    fn absolute(&self, path: &str) -> String {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        let joined = folder.join(path);
        std::path::absolute(&joined).unwrap_or(joined).to_string_lossy().into_owned()
    }

    fn mistake(&mut self, at: Range<usize>, message: &str, help: Option<String>) {
        let (line, column) = self.place(at.start);
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        self.mistakes.push(Mistake { line, column, message, help });
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

fn help<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    match nearest(name, known.clone()) {
        Some(nearest) => Some(format!("did you mean `{nearest}`?")),
        None => Some(format!("known: {}", known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))),
    }
}

/// A value as the words of a command line.
fn texts(option: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match (value, is_list(option)) {
        (DeValue::Array(items), true) => items.iter().map(|item| text(item.get_ref())).collect(),
        (DeValue::Array(_), false) => Err("one value is needed, not a list".to_owned()),
        (value, _) => Ok(vec![text(value)?]),
    }
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!("a text or a whole number is needed, not {}", described(value)))
        }
    }
}

const fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number of this kind",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let Err(CommandError::Configuration { mistakes, .. }) = File::parse_text(Path::new("/etc/x.toml"), text) else {
            panic!("mistakes in {text}")
        };
        let line =
            |one: Mistake| format!("{}:{} {} | {}", one.line, one.column, one.message, one.help.unwrap_or_default());
        mistakes.into_iter().map(line).collect()
    }

    #[test]
    fn values_are_those_of_a_command_line() {
        let text = "socket = 'c.sock'\n[supervisor]\ndrain = '5s'\nallow-exec = ['/bin/a', '/bin/b']\nthreads = 1_0\n";
        let file = File::parse_text(Path::new("/etc/runlet/x.toml"), text).unwrap();
        let values = |section, key: &str| file.entry(section, key).map(|entry| (entry.values.join(" "), entry.line));
        assert_eq!(values(Section::Common, "socket"), Some(("/etc/runlet/c.sock".to_owned(), 1)));
        assert_eq!(values(Section::Supervisor, "drain"), Some(("5s".to_owned(), 3)));
        assert_eq!(values(Section::Supervisor, "allow-exec"), Some(("/bin/a /bin/b".to_owned(), 4)));
        assert_eq!(values(Section::Supervisor, "threads"), Some(("10".to_owned(), 5)));
        assert_eq!(values(Section::Gateway, "threads"), None);
    }

    #[test]
    fn all_mistakes_are_told_with_their_places() {
        let text =
            "[supervisor]\ndrian = '5s'\ndrain = 30\n  listen = '127.0.0.1:1'\nallow-exec = [1.5]\n[gatewy]\nx = 1\n";
        let found = mistakes(text);
        assert_eq!(found.len(), 5, "{found:#?}");
        assert_eq!(found[0], "2:1 there is no option `drian` in [supervisor] | did you mean `drain`?");
        assert!(found[1].starts_with("3:9 `drain`: ") && found[1].contains("30s"), "{}", found[1]);
        assert_eq!(found[2], "4:3 there is no option `listen` in [supervisor] | it belongs in [gateway]");
        assert!(found[3].starts_with("5:") && found[3].contains("with a point"), "{}", found[3]);
        assert_eq!(found[4], "6:2 there is no table `gatewy` | did you mean `gateway`?");
    }

    #[test]
    fn what_is_no_toml_is_told_once_a_line_with_all_else() {
        let found = mistakes("[supervisor]\ndrain = 5s\nstate = \n[gateway]\nlisten = 8080\n");
        let lines: Vec<_> = found.iter().map(|one| one.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["2", "3", "5"], "{found:#?}");
    }
}
