//! The control group of one worker: its limits, its brakes, and what it has used.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runlet_proto::worker::group_name;

use super::files;
use crate::limits::{GROUP_MEMORY_SLACK_BYTES, HEAVY_RUN_MEMORY_BYTES_DEFAULT, WORKER_TASKS_MAX};

/// A group. It is used by one worker after the other.
#[derive(Debug)]
pub struct Group {
    number: u32,
    meter: Meter,
    limits: Limits,
    /// `cgroup.freeze`, kept open: a turn is one write.
    freeze: File,
    frozen: bool,
    was_killed: bool,
}

/// What a worker may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory beyond that of an idle worker, in bytes.
    pub(crate) memory_bytes_max: u64,
    /// Processes and threads, itself among them.
    pub(crate) tasks_max: u32,
}

/// Counts what is used in a group from a moment on.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    directory: Arc<Path>,
    has: Controllers,
    since: Counters,
}

/// What the kernel limits and counts in a group beside CPU time, which it always counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Controllers {
    memory: bool,
    pids: bool,
}

/// What a worker and those it started have used, by the kernel's account of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// How often somebody was killed for want of memory.
    pub(crate) oom_kills: u64,
    /// How often a process or thread was refused.
    pub(crate) tasks_refused: u64,
    /// Most memory at once, in bytes, where the kernel can tell it for this worker alone.
    pub(crate) memory_bytes_max: Option<u64>,
}

/// Numbers that only grow, since the group was made.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    cpu_us: u64,
    oom_kills: u64,
    tasks_refused: u64,
    memory_bytes_max: u64,
}

impl Group {
    /// Makes the group in `parent`, with limits that hold until a run brings its own.
    ///
    /// # Errors
    /// Whatever mkdir(2) and open(2) say.
    pub(super) fn make(parent: &Path, number: u32) -> io::Result<Self> {
        let directory = parent.join(group_name(number));
        fs::create_dir(&directory)?;
        // Without its files it is none, and would only be in the way.
        Self::open(directory.clone(), number).inspect_err(|_| drop(fs::remove_dir(&directory)))
    }

    fn open(directory: PathBuf, number: u32) -> io::Result<Self> {
        let freeze = OpenOptions::new().write(true).open(directory.join("cgroup.freeze"))?;
        let limits = Limits { memory_bytes_max: HEAVY_RUN_MEMORY_BYTES_DEFAULT, tasks_max: WORKER_TASKS_MAX };
        let there = |name: &str| directory.join(name).exists();
        let has = Controllers { memory: there("memory.max"), pids: there("pids.max") };
        // Where there is no swap there is no such file. All of a group goes at once: half a worker is of no use.
        let _ = files::write(&directory, "memory.swap.max", 0);
        let _ = files::write(&directory, "memory.oom.group", 1);
        let meter = Meter { directory: directory.into(), has, since: Counters::default() };
        let mut group = Self { number, meter, limits, freeze, frozen: false, was_killed: false };
        group.write(limits)?;
        Ok(group)
    }

    /// Its number among those of one supervisor.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.meter.directory
    }

    /// Whether the kernel limits both memory and processes in it.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.meter.has.memory && self.meter.has.pids
    }

    /// Whether a live process is in it.
    #[must_use]
    pub fn is_inhabited(&self) -> bool {
        files::keyed(self.directory(), "cgroup.events", "populated") == Some(1)
    }

    /// Whether anybody has been in it since it was taken: who is gone by now has used the CPU.
    pub(crate) fn has_been_used(&self) -> bool {
        self.is_inhabited() || self.meter.cpu().is_some_and(|cpu| !cpu.is_zero())
    }

    /// Whether this process, which may have ended but must not have been waited for, is in it.
    #[must_use]
    pub fn holds(&self, pid: i32) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let names = |path: &Path| path.iter().rev().take(2).map(ToOwned::to_owned).collect::<Vec<_>>();
        own.is_some_and(|own| names(Path::new(own)) == names(self.directory()))
    }

    /// Sets what the next run may have, unless it is what the last one had.
    ///
    /// # Errors
    /// Whatever write(2) says.
    pub(crate) fn limit(&mut self, limits: Limits) -> io::Result<()> {
        if self.limits == limits { Ok(()) } else { self.write(limits) }
    }

    fn write(&mut self, limits: Limits) -> io::Result<()> {
        if self.meter.has.memory {
            let most = limits.memory_bytes_max.saturating_add(GROUP_MEMORY_SLACK_BYTES);
            files::write(self.directory(), "memory.max", most)?;
        }
        if self.meter.has.pids {
            files::write(self.directory(), "pids.max", limits.tasks_max)?;
        }
        self.limits = limits;
        Ok(())
    }

    /// Processes and threads that may be in it at once.
    pub(crate) fn tasks_max(&self) -> u32 {
        self.limits.tasks_max
    }

    /// Takes the CPU from all that are in it, or gives it back.
    ///
    /// # Errors
    /// Whatever write(2) says.
    pub(crate) fn freeze(&mut self, frozen: bool) -> io::Result<()> {
        self.freeze.write_all_at(if frozen { b"1" } else { b"0" }, 0)?;
        self.frozen = frozen;
        Ok(())
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Ends all that are in it, frozen ones too. Before Linux 5.14 it cannot.
    pub(crate) fn kill(&mut self) {
        self.was_killed = true;
        if let Err(error) = files::write(self.directory(), "cgroup.kill", 1) {
            tracing::debug!(directory = %self.directory().display(), %error, "a control group could not be killed");
        }
    }

    /// Whether [`Group::kill`] was used. Nobody may be born in it any more: Linux (6.18, `cgroup_css_set_fork`) kills whom
    /// CLONE_INTO_CGROUP brings to a group in which that was done more often than in the one it comes from.
    pub(super) fn was_killed(&self) -> bool {
        self.was_killed
    }

    /// Begins to count for the worker that is born next.
    pub(super) fn begin(&mut self) {
        // Since Linux 6.12 the most memory can be counted anew; otherwise it is told only if it is more than before.
        if self.meter.has.memory {
            let _ = files::write(self.directory(), "memory.peak", 0);
        }
        self.meter.since = self.meter.count();
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Meter {
    /// What has been used by now.
    pub(crate) fn spent(&self) -> Spent {
        let (now, since) = (self.count(), self.since);
        Spent {
            cpu: Duration::from_micros(now.cpu_us.saturating_sub(since.cpu_us)),
            oom_kills: now.oom_kills.saturating_sub(since.oom_kills),
            tasks_refused: now.tasks_refused.saturating_sub(since.tasks_refused),
            memory_bytes_max: Some(now.memory_bytes_max).filter(|most| *most > since.memory_bytes_max),
        }
    }

    /// CPU time by now, of those that have ended too; `None` if the group is not there any more.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let now_us = files::keyed(&self.directory, "cpu.stat", "usage_usec")?;
        Some(Duration::from_micros(now_us.saturating_sub(self.since.cpu_us)))
    }

    /// Memory at the moment, in bytes, where the group counts it.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        files::number(&self.directory, "memory.current")
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is not counted is 0.
    fn count(&self) -> Counters {
        let Self { directory, has, .. } = self;
        let keyed = |there: bool, name, key| there.then(|| files::keyed(directory, name, key)).flatten().unwrap_or(0);
        Counters {
            cpu_us: keyed(true, "cpu.stat", "usage_usec"),
            oom_kills: keyed(has.memory, "memory.events", "oom_kill"),
            tasks_refused: keyed(has.pids, "pids.events", "max"),
            memory_bytes_max: has.memory.then(|| files::number(directory, "memory.peak")).flatten().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A directory with files as a group has them that has both controllers.
    fn group(folder: &Path) -> Group {
        let directory = folder.join("w3");
        fs::create_dir(&directory).unwrap();
        for (name, text) in [
            ("cgroup.freeze", "0"),
            ("cgroup.kill", ""),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.oom.group", "0\n"),
            ("memory.current", "8192\n"),
            ("memory.peak", "50000\n"),
            ("memory.events", "low 0\nmax 4\noom 2\noom_kill 2\n"),
            ("pids.max", "max\n"),
            ("pids.events", "max 5\n"),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        Group::open(directory, 3).unwrap()
    }

    #[test]
    fn limits_are_in_force_from_the_beginning_and_written_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut group = group(folder.path());
        assert!(group.is_limited() && group.is_inhabited());
        assert_eq!(group.tasks_max(), 1);
        let number = |name| files::number(&folder.path().join("w3"), name);
        assert_eq!(
            (number("pids.max"), number("memory.swap.max"), number("memory.oom.group")),
            (Some(1), Some(0), Some(1))
        );
        assert_eq!(number("memory.max"), Some(HEAVY_RUN_MEMORY_BYTES_DEFAULT + GROUP_MEMORY_SLACK_BYTES));
        group.limit(Limits { memory_bytes_max: 1 << 20, tasks_max: 9 }).unwrap();
        assert_eq!((number("memory.max"), number("pids.max")), (Some((1 << 20) + GROUP_MEMORY_SLACK_BYTES), Some(9)));
        assert_eq!(group.tasks_max(), 9);
        fs::remove_file(folder.path().join("w3/pids.max")).unwrap();
        assert!(group.limit(Limits { memory_bytes_max: 1 << 20, tasks_max: 9 }).is_ok(), "nothing is written twice");
        assert!(group.limit(Limits { memory_bytes_max: 1 << 20, tasks_max: 2 }).is_err());
    }

    #[test]
    fn without_controllers_there_are_no_limits_and_the_brakes_work() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cgroup.freeze", "cgroup.kill"] {
            fs::write(folder.path().join(name), "0").unwrap();
        }
        let mut group = Group::open(folder.path().to_owned(), 1).unwrap();
        assert!(!group.is_limited() && !group.is_inhabited());
        group.limit(Limits { memory_bytes_max: 1, tasks_max: 1 }).unwrap();
        group.freeze(true).unwrap();
        assert_eq!((files::number(folder.path(), "cgroup.freeze"), group.is_frozen()), (Some(1), true));
        group.freeze(false).unwrap();
        assert_eq!((files::number(folder.path(), "cgroup.freeze"), group.is_frozen()), (Some(0), false));
        group.kill();
        assert_eq!(files::number(folder.path(), "cgroup.kill"), Some(1));
        assert_eq!((group.meter().cpu(), group.meter().memory_bytes()), (None, None));
    }

    #[test]
    fn what_one_worker_used_is_not_the_next_ones() {
        let folder = tempfile::tempdir().unwrap();
        let mut group = group(folder.path());
        let directory = folder.path().join("w3");
        group.begin();
        assert_eq!(group.meter().cpu(), Some(Duration::ZERO));
        for (name, text) in [
            ("cpu.stat", "usage_usec 4000\n"),
            ("memory.events", "oom 3\noom_kill 3\n"),
            ("pids.events", "max 7\n"),
            ("memory.peak", "60000\n"),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        let spent = group.meter().spent();
        assert_eq!((spent.cpu, spent.oom_kills, spent.tasks_refused), (Duration::from_micros(2_500), 1, 2));
        assert_eq!((spent.memory_bytes_max, group.meter().memory_bytes()), (Some(60_000), Some(8_192)));
    }

    #[test]
    fn who_is_elsewhere_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!group(folder.path()).holds(own));
    }
}
