//! What `/proc` says about process groups: memory, CPU time, context switches (see proc(5)).
//!
//! A system is measured by process group, so that a child it starts counts as its own.

use std::collections::BTreeMap;
use std::{fs, io};

/// CPU ticks in a second: `USER_HZ`, 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: u32 = 100;

/// Fields of `/proc/PID/stat` after the command's name, counted from 0 there (proc(5) counts from 1 and includes it).
const STAT_STATE: usize = 0;
const STAT_GROUP: usize = 2;
const STAT_CPU: std::ops::RangeInclusive<usize> = 11..=14;

/// Memory of a process group in bytes; pages shared by its processes count once for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub rss_bytes: u64,
    /// Most that was ever resident, added up over its processes.
    pub peak_bytes: u64,
}

/// Memory of a process group.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn memory(group: i32) -> io::Result<Memory> {
    let mut memory = Memory::default();
    for pid in members(group)? {
        // A process may end between the listing and the look at it; it then uses nothing.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        memory.rss_bytes += status_field(&status, "VmRSS:").unwrap_or(0) * 1024;
        memory.peak_bytes += status_field(&status, "VmHWM:").unwrap_or(0) * 1024;
    }
    Ok(memory)
}

/// CPU ticks that a process group has used so far, its ended and waited-for children included.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn cpu_ticks(group: i32) -> io::Result<u64> {
    Ok(stats()?.filter(|stat| stat.group == group).map(|stat| stat.cpu_ticks).sum())
}

/// CPU ticks that one process has used so far; `None` when there is no such process.
#[must_use]
pub fn cpu_ticks_of_process(pid: i32) -> Option<u64> {
    Some(parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?.cpu_ticks)
}

/// CPU time of each of several process groups, in ticks, by one pass over `/proc`.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn cpu_ticks_of(groups: &[(String, i32)]) -> io::Result<BTreeMap<String, u64>> {
    let mut ticks: BTreeMap<String, u64> = groups.iter().map(|(name, _)| (name.clone(), 0)).collect();
    for stat in stats()? {
        for (name, _) in groups.iter().filter(|(_, group)| *group == stat.group) {
            *ticks.entry(name.clone()).or_default() += stat.cpu_ticks;
        }
    }
    Ok(ticks)
}

/// CPU ticks that everything on the machine has used so far, work for other guests of the host included.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn cpu_ticks_of_machine() -> io::Result<u64> {
    Ok(parse_machine(&fs::read_to_string("/proc/stat")?))
}

/// Of the line `cpu user nice system idle iowait irq softirq steal guest guest_nice`, all but idleness; guests are in
/// `user` already.
fn parse_machine(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or("").split_ascii_whitespace().skip(1);
    let busy = fields.take(8).enumerate().filter(|(field, _)| !matches!(field, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

/// Ticks as seconds.
#[must_use]
pub fn seconds(ticks: u64) -> f64 {
    f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / f64::from(TICKS_PER_SECOND)
}

/// Voluntary context switches of each thread in a process group: one for every time it went to sleep, so the growth
/// while nothing is asked of the group is how often it woke up.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn voluntary_switches(group: i32) -> io::Result<BTreeMap<i32, u64>> {
    let mut switches = BTreeMap::new();
    for pid in members(group)? {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let Some(id) = thread.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
            switches.insert(id, status_field(&status, "voluntary_ctxt_switches:").unwrap_or(0));
        }
    }
    Ok(switches)
}

/// The processes of a group; one that has ended and is not waited for yet is none any more.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn members(group: i32) -> io::Result<Vec<i32>> {
    Ok(stats()?.filter(|stat| stat.group == group && !stat.ended).map(|stat| stat.pid).collect())
}

/// Of `/proc/PID/stat`, what is used here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    group: i32,
    ended: bool,
    cpu_ticks: u64,
}

fn stats() -> io::Result<impl Iterator<Item = Stat>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        parse_stat(pid, &fs::read_to_string(entry.path().join("stat")).ok()?)
    }))
}

/// The command's name, in parentheses, may hold spaces and parentheses: everything counts from the last one.
fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let cpu_ticks = fields.get(STAT_CPU)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    let ended = matches!(*fields.get(STAT_STATE)?, "Z" | "X");
    Some(Stat { pid, group: fields.get(STAT_GROUP)?.parse().ok()?, ended, cpu_ticks })
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_stat_line_with_an_odd_name_is_read() {
        let line = "7 (a) b) (c) S 1 42 7 0 -1 4194560 100 0 0 0 11 22 3 4 20 0 1 0 99";
        assert_eq!(parse_stat(7, line), Some(Stat { pid: 7, group: 42, ended: false, cpu_ticks: 40 }));
        assert_eq!(parse_stat(7, "7 (short) S 1"), None);
    }

    #[test]
    fn a_machine_is_busy_with_everything_but_idleness() {
        assert_eq!(parse_machine("cpu  1 2 4 1000 1000 8 16 32 1 1\ncpu0 9 9 9\n"), 63);
    }

    #[test]
    fn our_own_group_has_memory_and_threads() {
        let group = nix::unistd::getpgrp().as_raw();
        assert!(members(group).unwrap().contains(&i32::try_from(std::process::id()).unwrap()));
        let memory = memory(group).unwrap();
        assert!(memory.rss_bytes > 0 && memory.peak_bytes >= memory.rss_bytes);
        assert!(!voluntary_switches(group).unwrap().is_empty());
        assert!(cpu_ticks_of(&[("own".to_owned(), group)]).unwrap().contains_key("own"));
    }

    #[test]
    fn a_status_field_is_found_by_its_whole_name() {
        let status = "VmHWM:\t    20 kB\nVmRSS:\t    12 kB\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(status_field(status, "VmRSS:"), Some(12));
        assert_eq!(status_field(status, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(status_field(status, "VmSwap:"), None);
    }
}
