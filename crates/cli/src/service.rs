//! What a service manager gives to the processes it starts: sockets, and an address to report to.

use std::env;
use std::io::{self, IsTerminal as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::stat::fstat;
use runlet_ipc::{Manager, inherited};

use crate::command::CommandError;
use crate::limits::PASSED_MAX;

/// Environment variables that are for the process they were given to, and for none that it starts.
pub(crate) const VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Who is to be told how this process is (sd_notify(3)).
pub(crate) fn manager() -> Manager {
    match env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) {
        Some(address) => Manager::at(address, sd_notify::watchdog_enabled()),
        None => Manager::default(),
    }
}

/// The socket that was passed (sd_listen_fds(3)): the only one, or of several the one of this name. To be called before anything
/// else opens a descriptor.
///
/// # Errors
/// [`CommandError::Usage`] when what was announced is not there, or none of several has the name.
pub(crate) fn passed(name: &str) -> Result<Option<Arc<OwnedFd>>, CommandError> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let own = std::process::id().to_string();
    let Some(count) = announced(&own, &variable("LISTEN_PID"), &variable("LISTEN_FDS"))? else { return Ok(None) };
    let mut descriptors = inherited::take(count).map_err(|error| CommandError::Usage {
        message: format!("LISTEN_FDS={count} announces sockets from descriptor 3 on that were not passed: {error}"),
        help: Some("a service manager sets it for the sockets it passes; unset it where there are none".to_owned()),
    })?;
    let at = chosen(name, count, &variable("LISTEN_FDNAMES"))?;
    Ok(Some(Arc::new(descriptors.swap_remove(at))))
}

/// How many sockets were passed to this process; `None` when it is none, or they are for another.
fn announced(own: &str, pid: &str, count: &str) -> Result<Option<usize>, CommandError> {
    if pid != own || count.is_empty() {
        return Ok(None);
    }
    match count.parse() {
        Ok(0) => Ok(None),
        Ok(count @ 1..=PASSED_MAX) => Ok(Some(count)),
        Ok(_) | Err(_) => Err(CommandError::Usage {
            message: format!("LISTEN_FDS is `{count}`, which is no number of sockets up to {PASSED_MAX}"),
            help: Some("a service manager sets it for the sockets it passes; unset it where there are none".to_owned()),
        }),
    }
}

/// Which of them is meant.
fn chosen(name: &str, count: usize, names: &str) -> Result<usize, CommandError> {
    if count == 1 {
        return Ok(0);
    }
    names.split(':').take(count).position(|one| one == name).ok_or_else(|| CommandError::Usage {
        message: format!(
            "{count} sockets were passed, and none of them is called `{name}` (LISTEN_FDNAMES is `{names}`)"
        ),
        help: Some(format!("pass one alone, or name it in its unit: FileDescriptorName={name}")),
    })
}

/// Whether stderr is a stream into systemd's journal (systemd.exec(5), $JOURNAL_STREAM).
pub(crate) fn stderr_is_journal() -> bool {
    let Ok(announced) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|found| announced == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Whether SIGHUP asks for a reload. On a terminal it means that this is gone, and ends the process as ever.
pub(crate) fn reloads() -> bool {
    !io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn sockets_are_for_the_process_they_are_announced_to() {
        assert_eq!(announced("7", "7", "2").unwrap(), Some(2));
        for (pid, count) in [("8", "2"), ("", "2"), ("7", ""), ("7", "0")] {
            assert_eq!(announced("7", pid, count).unwrap(), None, "{pid} {count}");
        }
        for count in ["-1", "many", "17", "99999999999999999999"] {
            assert!(announced("7", "7", count).is_err(), "{count}");
        }
    }

    #[test]
    fn of_several_the_name_decides() {
        assert_eq!(chosen("control", 1, "runlet-supervisor.socket").unwrap(), 0);
        assert_eq!(chosen("control", 2, "other:control").unwrap(), 1);
        let error = chosen("control", 2, "a:b:control").unwrap_err().to_string();
        assert!(error.contains("control") && error.contains("a:b"), "{error}");
    }
}
