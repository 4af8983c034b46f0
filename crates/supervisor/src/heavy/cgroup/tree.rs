//! The groups of one supervisor as a whole: made at its start, removed at its end, and by the next one if it had none.
//!
//! In what was delegated the rules of the kernel hold (cgroup-v2.rst, "No Internal Process Constraint"): a group that lets
//! those below it have controllers has no processes itself, so whoever is in it, the supervisor first of all, is moved
//! aside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::files;
use super::place::{LEAF, NoGroups, Place, Title};
use crate::limits::{GROUPS_REMOVED_WITHIN, LOOK_AGAIN_AFTER};

/// What is to be limited, by the controllers' names.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// How often those who are in a delegated group are moved aside: whoever is forked meanwhile is found the next time.
const ROUNDS_MAX: usize = 8;

/// A controller that groups of workers do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub controller: &'static str,
    /// Why.
    pub why: String,
}

/// The directory for the groups of the workers of one supervisor, empty, and the controllers they will not have. `id` names the
/// supervisor among others that share the place.
///
/// # Errors
/// [`NoGroups::Refused`].
pub(super) fn prepare(place: &Place, id: &str) -> Result<(PathBuf, Vec<Missing>), NoGroups> {
    let at = &place.directory;
    if place.inhabited {
        move_aside(at).map_err(refused(format!("moving the supervisor from {} into `{LEAF}`", at.display())))?;
    }
    let of = if place.title == Title::Root { "runlet" } else { "workers" };
    let directory = at.join(format!("{of}-{id}"));
    if directory.exists() {
        let removed = remove(&directory);
        tracing::warn!(directory = %directory.display(), removed, "an earlier supervisor left control groups behind");
    }
    make(&directory).map_err(refused(format!("making {}", directory.display())))?;
    let missing = CONTROLLERS.into_iter().filter_map(|controller| {
        let why = enable(at, &directory, controller).err()?;
        Some(Missing { controller, why })
    });
    let missing = missing.collect();
    Ok((directory, missing))
}

fn refused(step: String) -> impl FnOnce(io::Error) -> NoGroups {
    move |source| NoGroups::Refused { step, source }
}

/// Makes a group that may be there already.
fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Moves everybody who is in a group that was left to us into one below it: this process, and the launcher that started it.
fn move_aside(from: &Path) -> io::Result<()> {
    let leaf = from.join(LEAF);
    make(&leaf)?;
    for _ in 0..ROUNDS_MAX {
        let all = files::read(from, "cgroup.procs")?;
        // 0 is a process that cannot be named from here; written, it would mean the writer.
        let mut named = all.split_whitespace().filter(|pid| *pid != "0").peekable();
        if named.peek().is_none() {
            break;
        }
        for pid in named {
            match files::write(&leaf, "cgroup.procs", pid) {
                // It has ended.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved?,
            }
        }
    }
    // Whoever is left is named by what the kernel refuses next.
    Ok(())
}

/// Lets the groups in `directory`, which is in `at`, have a controller.
fn enable(at: &Path, directory: &Path, controller: &str) -> Result<(), String> {
    if !files::lists(at, "cgroup.controllers", controller) {
        return Err(format!("{} does not have it", at.display()));
    }
    let switch = format!("+{controller}");
    for group in [at, directory] {
        if files::lists(group, "cgroup.subtree_control", controller) {
            continue;
        }
        files::write(group, "cgroup.subtree_control", &switch).map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => format!("there are processes in {}", group.display()),
            _ => format!("{}: {error}", group.join("cgroup.subtree_control").display()),
        })?;
    }
    Ok(())
}

/// Ends whoever is in the groups in a directory, and removes them and it. Waits for the processes, but not for ever; whether it is gone.
pub(super) fn remove(directory: &Path) -> bool {
    let deadline = Instant::now() + GROUPS_REMOVED_WITHIN;
    // Reaches those that are frozen too. Before Linux 5.14 there is no such file: then they end with their supervisor only.
    let _ = files::write(directory, "cgroup.kill", 1);
    loop {
        match remove_empty(directory) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(error) if Instant::now() >= deadline => {
                tracing::warn!(directory = %directory.display(), %error, "control groups could not be removed");
                return false;
            }
            Err(_) => std::thread::sleep(LOOK_AGAIN_AFTER),
        }
    }
}

fn remove_empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A directory with the files of a group, none of which does anything.
    fn group(parent: &Path, name: &str, controllers: &str) -> PathBuf {
        let group = parent.join(name);
        fs::create_dir(&group).unwrap();
        for (file, text) in [("cgroup.procs", ""), ("cgroup.controllers", controllers), ("cgroup.subtree_control", "")]
        {
            fs::write(group.join(file), text).unwrap();
        }
        group
    }

    #[test]
    fn a_controller_is_enabled_at_both_levels_or_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let at = group(folder.path(), "at", "cpu memory\n");
        let below = group(&at, "workers-1", "");
        enable(&at, &below, "memory").unwrap();
        for group in [&at, &below] {
            assert_eq!(files::read(group, "cgroup.subtree_control").unwrap(), "+memory");
        }
        assert!(enable(&at, &below, "pids").unwrap_err().contains("does not have it"));
        fs::remove_file(below.join("cgroup.subtree_control")).unwrap();
        assert!(enable(&at, &below, "memory").unwrap_err().contains("workers-1/cgroup.subtree_control"));
    }

    #[test]
    fn everybody_is_moved_but_whom_cannot_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = group(folder.path(), "at", "");
        group(&at, LEAF, "");
        fs::write(at.join("cgroup.procs"), "0\n41\n").unwrap();
        move_aside(&at).unwrap();
        assert_eq!(files::read(&at.join(LEAF), "cgroup.procs").unwrap(), "41");
    }

    #[test]
    fn what_is_removed_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let groups = folder.path().join("workers-1");
        fs::create_dir_all(groups.join("w1")).unwrap();
        assert!(remove(&groups) && !groups.exists());
        assert!(remove(&groups));
    }
}
