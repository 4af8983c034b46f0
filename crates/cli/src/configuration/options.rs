//! Which options there are: those of the command line, by section of the file.

use clap::builder::ValueHint;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::args::Cli;

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// What stands before all tables, and is for everybody.
    Common,
    /// `[supervisor]`.
    Supervisor,
    /// `[gateway]`.
    Gateway,
}

/// All of them, as a file has them.
pub(crate) const SECTIONS: [Section; 3] = [Section::Common, Section::Supervisor, Section::Gateway];

impl Section {
    /// The name of its table, which is that of the subcommand whose options it has.
    pub(crate) const fn table(self) -> Option<&'static str> {
        match self {
            Self::Common => None,
            Self::Supervisor => Some("supervisor"),
            Self::Gateway => Some("gateway"),
        }
    }

    /// The sections that have something to say to a subcommand.
    pub(super) fn of_subcommand(name: &str) -> &'static [Self] {
        match name {
            "supervisor" | "doctor" => &[Self::Supervisor],
            "gateway" => &[Self::Gateway],
            // What both daemons know is the supervisor's here; the gateway it starts reads the file itself.
            "up" => &[Self::Supervisor, Self::Gateway],
            _ => &[],
        }
    }

    /// Its options, as the command line defines them.
    pub(crate) fn options(self) -> Vec<Arg> {
        let cli = Cli::command();
        let is_option = |arg: &&Arg| arg.get_long().is_some() && !arg.is_hide_set();
        match self.table() {
            None => cli.get_arguments().filter(|arg| arg.get_long() == Some("socket")).cloned().collect(),
            Some(name) => {
                let sub = cli.find_subcommand(name).expect("each table is named after a subcommand");
                sub.get_arguments().filter(is_option).cloned().collect()
            }
        }
    }

    /// The option with this key.
    pub(super) fn option(self, key: &str) -> Option<Arg> {
        self.options().into_iter().find(|arg| arg.get_long() == Some(key))
    }

    /// All keys.
    pub(super) fn keys(self) -> Vec<String> {
        self.options().iter().filter_map(Arg::get_long).map(str::to_owned).collect()
    }
}

/// What `up` tells both daemons if it is told so; otherwise each has what its own section says.
pub(super) fn is_for_both(key: &str) -> bool {
    key.starts_with("log-")
}

/// Whether an option takes a list.
pub(crate) fn is_list(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append)
}

/// Whether an option is the path of a file or a directory.
pub(super) fn is_path(option: &Arg) -> bool {
    matches!(option.get_value_hint(), ValueHint::FilePath | ValueHint::DirPath | ValueHint::AnyPath)
}

/// Why an option does not take these values, in the words of its own parser.
pub(super) fn refused(option: &Arg, values: &[String]) -> Option<String> {
    let key = option.get_long()?;
    let probe = Command::new("probe").no_binary_name(true).disable_help_flag(true);
    let probe = probe.arg(option.clone().global(false).required(false));
    let words = values.iter().map(|value| format!("--{key}={value}"));
    let error = probe.try_get_matches_from(words).err()?;
    if let Some(cause) = std::error::Error::source(&error) {
        return Some(cause.to_string());
    }
    let known = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) => format!(", only {}", known.join(", ")),
        Some(_) | None => String::new(),
    };
    Some(format!("`{}` is no value of it{known}", values.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_those_of_the_command_line() {
        assert_eq!(Section::Common.keys(), ["socket"]);
        let supervisor = Section::Supervisor.keys();
        for key in ["state", "ca-file", "threads", "drain", "heavy-memory", "allow-exec", "cgroup", "log-level"] {
            assert!(supervisor.iter().any(|one| one == key), "{key} in {supervisor:?}");
        }
        assert!(!supervisor.iter().any(|key| key == "zygote" || key == "help"), "{supervisor:?}");
        assert_eq!(Section::Gateway.keys(), ["listen", "admin", "threads", "log-level", "log-format"]);
    }

    #[test]
    fn a_value_is_refused_in_the_words_of_its_parser() {
        let refused = |section: Section, key: &str, value: &str| {
            refused(&section.option(key).expect("an option"), &[value.to_owned()])
        };
        assert_eq!(refused(Section::Supervisor, "drain", "30s"), None);
        let said = refused(Section::Supervisor, "drain", "30").expect("a number without a unit");
        assert!(said.contains("30s") && !said.contains("--drain"), "{said}");
        assert!(refused(Section::Supervisor, "worker-nice", "20").is_some_and(|said| said.contains("0..=19")));
        assert!(refused(Section::Gateway, "log-format", "xml").is_some_and(|said| said.contains("only text, json")));
        assert!(refused(Section::Supervisor, "state", "").is_some_and(|said| said.contains("no value")));
    }
}
