//! Control groups (cgroups(7), version 2) for tests: one of a test's own, removed with whoever is in it, and what groups say.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::wait::found_in_time;

/// A group that nobody else knows. Dropped, it is removed with all below it.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
}

impl Group {
    /// Makes one.
    ///
    /// # Errors
    /// Why this host or user has none.
    pub fn make(name: &str) -> Result<Self, String> {
        let directory = mounted().ok_or("no cgroup2 file system is mounted")?.join(name);
        match fs::create_dir(&directory) {
            Ok(()) => Ok(Self { directory }),
            Err(error) => Err(format!("{} cannot be made: {error}", directory.display())),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The groups in it.
    #[must_use]
    pub fn children(&self) -> Vec<PathBuf> {
        below(&self.directory)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Those in it may take a moment to end; if they do not, the host keeps an empty directory.
        let _ = write(&self.directory, "cgroup.kill", "1");
        let _ = found_in_time(|| remove(&self.directory).ok());
    }
}

/// The groups in the one with this directory, by name.
#[must_use]
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn remove(directory: &Path) -> io::Result<()> {
    below(directory).iter().try_for_each(|child| remove(child))?;
    fs::remove_dir(directory)
}

/// Where cgroup2 is mounted.
fn mounted() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| point.into())
    })
}

/// The directory of the group a process is in.
#[must_use]
pub fn of_process(pid: i32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mounted()?.join(own))
}

/// What a file of a group says.
#[must_use]
pub fn read(group: &Path, name: &str) -> String {
    fs::read_to_string(group.join(name)).unwrap_or_default()
}

/// Writes to a file of a group.
///
/// # Errors
/// Whatever open(2) and write(2) say.
pub fn write(group: &Path, name: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(group.join(name))?.write_all(text.as_bytes())
}

/// Says of a group what the service manager says of those it keeps its hands off.
///
/// # Errors
/// Whatever setxattr(2) says.
pub fn delegate(group: &Path) -> io::Result<()> {
    Ok(rustix::fs::setxattr(group, "user.delegate", b"1", rustix::fs::XattrFlags::empty())?)
}

/// Whether all processes of a group are frozen.
#[must_use]
pub fn is_frozen(group: &Path) -> bool {
    read(group, "cgroup.events").lines().any(|line| line == "frozen 1")
}

/// Whether its CPU has been taken from a process: by a signal, or with all of its group.
#[must_use]
pub fn is_held(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_stopped = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
    is_stopped || of_process(pid).is_some_and(|group| is_frozen(&group))
}
