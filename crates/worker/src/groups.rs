//! The control groups that workers are born in (cgroups(7)), as the zygote sees them: directories that the supervisor makes,
//! opened before the zygote has a root directory of its own.

use std::env;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use runlet_proto::worker::{ZYGOTE_GROUPS, group_name};

/// The directory with all of them, if the supervisor has any.
#[derive(Debug)]
pub(crate) struct Groups(Option<OwnedFd>);

impl Groups {
    /// What the environment names.
    pub(crate) fn of_environment() -> Self {
        Self(env::var_os(ZYGOTE_GROUPS).and_then(|directory| open(Path::new(&directory), FLAGS, Mode::empty()).ok()))
    }

    /// The one with this number, if it is there.
    pub(crate) fn open(&self, group: u32) -> Option<OwnedFd> {
        openat(self.0.as_ref()?, &*group_name(group), FLAGS, Mode::empty()).ok()
    }
}

/// A name is all that clone3(2) needs.
const FLAGS: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_group_is_found_below_its_directory_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("w7")).unwrap();
        std::fs::write(folder.path().join("w8"), "no directory").unwrap();
        let groups = Groups(open(folder.path(), FLAGS, Mode::empty()).ok());
        assert!(groups.open(7).is_some());
        assert!(groups.open(8).is_none() && groups.open(9).is_none());
        assert!(Groups(None).open(7).is_none());
    }
}
