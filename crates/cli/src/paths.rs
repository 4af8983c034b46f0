//! Where a supervisor keeps its state, and where its control socket is, when nobody says.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// File name of the control socket inside the state directory.
pub(crate) const SOCKET_NAME: &str = "control.sock";

/// `$RUNLET_STATE`, else `$XDG_RUNTIME_DIR/runlet`, else `/tmp/runlet-<uid>`.
pub(crate) fn default_state() -> PathBuf {
    state_from(variable("RUNLET_STATE"), variable("XDG_RUNTIME_DIR"), nix::unistd::getuid().as_raw())
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

fn state_from(state: Option<OsString>, runtime: Option<OsString>, uid: u32) -> PathBuf {
    match (state, runtime) {
        (Some(state), _) => PathBuf::from(state),
        (None, Some(runtime)) => Path::new(&runtime).join("runlet"),
        (None, None) => PathBuf::from(format!("/tmp/runlet-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_wins() {
        let set = |text: &str| Some(OsString::from(text));
        assert_eq!(state_from(set("/s"), set("/r"), 7), Path::new("/s"));
        assert_eq!(state_from(None, set("/r"), 7), Path::new("/r/runlet"));
        assert_eq!(state_from(None, None, 7), Path::new("/tmp/runlet-7"));
        assert_eq!(socket_in(Path::new("/s")), Path::new("/s/control.sock"));
    }
}
