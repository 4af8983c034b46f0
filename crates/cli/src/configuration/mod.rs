//! The configuration: for each option of a daemon what the command line says, else the environment, else the file, else its
//! default.
//!
//! There is no table of options beside the command line: what `supervisor` and `gateway` take (`args/process.rs`) are the keys
//! of the file's sections, under their own names, checked by their own parsers, described by their own help. So a new option
//! is one field there, and the file, `config show` and `config example` know it; to have a reload take it over, name it in the
//! `reload.rs` of its daemon.

pub(crate) mod effective;
pub(crate) mod example;
mod file;
mod options;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use nix::unistd::geteuid;

use crate::args::{Cli, MEMORY_URL};
use crate::command::CommandError;
use crate::paths;

pub(crate) use file::{File, Mistake};
use options::{SECTIONS, Section, is_for_both};

/// The file of the system's own services.
const SYSTEM_FILE: &str = "/etc/runlet/runlet.toml";

/// Subcommands that a file has nothing to say to.
const WITHOUT_FILE: [&str; 5] = ["check", "schema", "completions", "zygote", "config"];

/// Reads a command line, and what the environment and the file say besides. What cannot be understood of the command line
/// itself, or asks for help, ends the process.
///
/// # Errors
/// [`CommandError`] of the file.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, CommandError> {
    try_parse(words)?.map_err(|error| error.exit())
}

/// The same, for a process that goes on in any case.
///
/// # Errors
/// All that is wrong, in words.
pub(crate) fn parse_again(words: &[OsString]) -> Result<Cli, String> {
    match try_parse(words) {
        Ok(Ok(cli)) => Ok(cli),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads words by the command line's definition. The error repeats what is refused, and that may be the address of shared
/// memory with a password in it: it is told without.
fn matches_of(command: Command, words: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, clap::Error> {
    command.try_get_matches_from(words).map_err(|mut error| {
        let option = format!("--{MEMORY_URL} ");
        let of_url =
            matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(arg)) if arg.starts_with(&option));
        if let (true, Some(ContextValue::String(url))) = (of_url, error.get(ContextKind::InvalidValue)) {
            let shown = effective::without_password(url.clone());
            error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
        }
        error
    })
}

fn try_parse(words: &[OsString]) -> Result<Result<Cli, clap::Error>, CommandError> {
    let first = match matches_of(command(None), words.iter().cloned()) {
        Ok(matches) => matches,
        Err(error) => return Ok(Err(error)),
    };
    let file = match first.subcommand_name() {
        Some(name) if !WITHOUT_FILE.contains(&name) => File::find(first.get_one::<PathBuf>("config"))?,
        Some(_) | None => None,
    };
    let matches = match &file {
        Some(file) => matches_of(command(Some(file)), words.iter().cloned()),
        None => Ok(first),
    };
    Ok(matches.and_then(|matches| {
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.socket_given = matches.value_source("socket") == Some(ValueSource::CommandLine);
        cli.socket = cli.socket.or_else(|| socket_of(file.as_ref()?));
        Ok(cli)
    }))
}

/// The socket in the state directory that a file names, unless the environment names another.
fn socket_of(file: &File) -> Option<PathBuf> {
    let is_named = std::env::var_os("RUNLET_STATE").is_some_and(|state| !state.is_empty());
    let state = file.entry(Section::Supervisor, "state").filter(|_| !is_named)?;
    Some(paths::socket_in(state.values.first()?.as_ref()))
}

/// The command line, with what the file says as defaults. A variable that is set to nothing counts as one that is not set.
fn command(file: Option<&File>) -> Command {
    let command = Cli::command().mut_args(without_empty_variable);
    let command = command.mut_subcommands(|sub| sub.mut_args(without_empty_variable));
    let Some(file) = file else { return command };
    let command = with_values(command, file, &[Section::Common]);
    command.mut_subcommands(|sub| {
        let sections = Section::of_subcommand(sub.get_name());
        with_values(sub, file, sections)
    })
}

fn without_empty_variable(arg: Arg) -> Arg {
    let is_empty = arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    if is_empty { arg.env(None) } else { arg }
}

/// Of two sections that both know a key, the first has it.
fn with_values(command: Command, file: &File, sections: &[Section]) -> Command {
    command.mut_args(|arg| {
        let key = arg.get_long().filter(|key| sections.len() == 1 || !is_for_both(key));
        let entry = key.and_then(|key| sections.iter().find_map(|section| file.entry(*section, key)));
        match entry {
            Some(entry) => arg.default_values(&entry.values),
            None => arg,
        }
    })
}

/// The file that is read when none is named: the system's for root, one's own for everybody else.
fn default_file() -> Option<PathBuf> {
    if geteuid().is_root() {
        return Some(SYSTEM_FILE.into());
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(folder.join("runlet/runlet.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_address_of_shared_memory_is_told_without_its_password() {
        let line = ["supervisor", "--memory-url", "rdis://u:secret@host"].map(OsString::from);
        let words: Vec<_> = [OsString::from("runlet")].into_iter().chain(line.iter().cloned()).collect();
        let told = [
            parse_again(&words).expect_err("there is no such scheme"),
            effective::Effective::of(Some(&PathBuf::from("/dev/null")), &line).expect_err("nor here").to_string(),
        ];
        for error in told {
            assert!(error.contains("rdis://u:***@host") && error.contains("`redis://host:port`"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
