//! `runlet up`: supervisor and gateway together, for a person at a terminal.

use std::fmt::Display;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tokio::runtime::Builder;

use super::{CommandError, Setting, check};
use crate::args::Up;
use crate::demo::examples;
use crate::exit_code::ExitCode;
use crate::launcher::{Launch, launch};
use crate::output::diagnostics;
use crate::{paths, sources};

/// Checks all definitions before anything is started, then brings everything up and stays.
///
/// # Errors
/// [`CommandError`] when something of it could not be brought up; nothing is left running then.
pub(crate) fn perform(here: &Setting, args: Up) -> Result<ExitCode, CommandError> {
    let mut definitions = sources::read_all(&args.paths)?;
    if args.demo {
        definitions.extend(examples::all());
    }
    let found = check::check(&definitions);
    if !found.is_empty() {
        diagnostics::show(here.format, &definitions, &found)?;
        return Ok(ExitCode::Invalid);
    }
    let state = absolute(&args.supervisor.state.clone().unwrap_or_else(paths::default_state))?;
    make_private(&state)?;
    let launching = launch(Launch {
        format: here.format,
        state,
        options: args.supervisor,
        log: args.log,
        config: here.config.clone(),
        listen: args.listen,
        admin: args.admin,
        sources: definitions,
        demo: args.demo,
    });
    // One thread: the launcher mostly waits, and a child is bound to the life of the thread that started it.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::Failed { message: format!("cannot start: {error}"), help: None })?;
    runtime.block_on(launching)
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| CommandError::Usage {
        message: format!("{} is no directory: {error}", path.display()),
        help: None,
    })
}

/// Makes the directory, and writes nothing into one that others can reach: a name that somebody put there before us, such
/// as a link to another file, would be written through. The supervisor asks the same of it again.
fn make_private(state: &Path) -> Result<(), CommandError> {
    let unusable = |cause: &dyn Display| format!("cannot use the state directory {}: {cause}", state.display());
    let help = || Some("give another one with --state".to_owned());
    let found = DirBuilder::new().recursive(true).mode(0o700).create(state).and_then(|()| fs::metadata(state));
    match found {
        Ok(found) if found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0 => Ok(()),
        Ok(found) if found.uid() == geteuid().as_raw() => Err(CommandError::Denied {
            message: unusable(&format_args!("others can enter it (mode {:04o})", found.mode() & 0o7777)),
            help: Some(format!("make it private: chmod 700 {}", state.display())),
        }),
        Ok(found) => {
            let message = unusable(&format_args!("it belongs to user {}", found.uid()));
            Err(CommandError::Denied { message, help: help() })
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(CommandError::Denied { message: unusable(&error), help: help() })
        }
        Err(error) => Err(CommandError::Failed { message: unusable(&error), help: help() }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_others_can_enter_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("a/b");
        make_private(&state).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        let error = make_private(&state).unwrap_err();
        assert!(matches!(error, CommandError::Denied { .. }) && error.to_string().contains("0755"), "{error}");
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(make_private(file.path()).is_err());
    }
}
