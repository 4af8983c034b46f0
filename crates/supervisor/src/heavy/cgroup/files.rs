//! The files of a control group, as the kernel documents them (Documentation/admin-guide/cgroup-v2.rst).

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// What a file says.
pub(super) fn read(group: &Path, name: &str) -> io::Result<String> {
    fs::read_to_string(group.join(name))
}

/// Writes to a file that is there: a group has the files it has, and no others are made.
pub(super) fn write(group: &Path, name: &str, value: impl Display) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(group.join(name))?;
    file.write_all(value.to_string().as_bytes())
}

/// The one number that a file holds; `None` for a file that is not there, and for `max`.
pub(super) fn number(group: &Path, name: &str) -> Option<u64> {
    read(group, name).ok()?.trim().parse().ok()
}

/// The number behind a key in a file that has one on each line.
pub(super) fn keyed(group: &Path, name: &str, key: &str) -> Option<u64> {
    value_of(&read(group, name).ok()?, key)
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Whether a list of words has this one.
pub(super) fn lists(group: &Path, name: &str, word: &str) -> bool {
    read(group, name).is_ok_and(|text| text.split_whitespace().any(|listed| listed == word))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_is_a_whole_word() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!((value_of(events, "oom"), value_of(events, "oom_kill")), (Some(3), Some(2)));
        assert_eq!((value_of(events, "kill"), value_of("usage_usec\n", "usage_usec")), (None, None));
    }

    #[test]
    fn what_a_group_does_not_have_is_neither_read_nor_made() {
        let group = tempfile::tempdir().unwrap();
        assert!(write(group.path(), "memory.max", 1).is_err());
        assert_eq!((number(group.path(), "memory.max"), group.path().join("memory.max").exists()), (None, false));
        fs::write(group.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(number(group.path(), "memory.max"), None);
        write(group.path(), "memory.max", 4096).unwrap();
        assert_eq!(number(group.path(), "memory.max"), Some(4096));
        fs::write(group.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        assert!(lists(group.path(), "cgroup.controllers", "cpu") && !lists(group.path(), "cgroup.controllers", "mem"));
    }
}
