//! Where a supervisor keeps its state, and where its control socket is, when nobody says.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// File name of the control socket inside the state directory.
pub(crate) const SOCKET_NAME: &str = "control.sock";

/// `$RUNLET_STATE`, else `$XDG_STATE_HOME/runlet`, else `~/.local/state/runlet` (XDG Base Directory Specification), else
/// `/tmp/runlet-<uid>`. What was accepted is to be there after a restart of the machine: nothing below `$XDG_RUNTIME_DIR` is.
pub(crate) fn default_state() -> PathBuf {
    let homes = (variable("XDG_STATE_HOME"), variable("HOME"));
    state_from(variable("RUNLET_STATE"), homes, nix::unistd::getuid().as_raw())
}

/// `$RUNLET_SOCKET`, else the socket in the default state directory.
pub(crate) fn default_socket() -> PathBuf {
    variable("RUNLET_SOCKET").map_or_else(|| socket_in(&default_state()), PathBuf::from)
}

/// The control socket of the supervisor whose state is in `state`.
pub(crate) fn socket_in(state: &Path) -> PathBuf {
    state.join(SOCKET_NAME)
}

/// An environment variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn state_from(state: Option<OsString>, homes: (Option<OsString>, Option<OsString>), uid: u32) -> PathBuf {
    match (state, homes) {
        (Some(state), _) => PathBuf::from(state),
        (None, (Some(states), _)) => Path::new(&states).join("runlet"),
        (None, (None, Some(home))) => Path::new(&home).join(".local/state/runlet"),
        (None, (None, None)) => PathBuf::from(format!("/tmp/runlet-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_wins() {
        let set = |text: &str| Some(OsString::from(text));
        assert_eq!(state_from(set("/s"), (set("/x"), set("/h")), 7), Path::new("/s"));
        assert_eq!(state_from(None, (set("/x"), set("/h")), 7), Path::new("/x/runlet"));
        assert_eq!(state_from(None, (None, set("/h")), 7), Path::new("/h/.local/state/runlet"));
        assert_eq!(state_from(None, (None, None), 7), Path::new("/tmp/runlet-7"));
        assert_eq!(socket_in(Path::new("/s")), Path::new("/s/control.sock"));
    }
}
