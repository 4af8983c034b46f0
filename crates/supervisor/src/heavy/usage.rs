//! What a live worker uses at the moment, from /proc; read only when somebody asks.

use std::fs;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time, user and system, of the process and of its children that it has waited for.
    pub(crate) cpu: Duration,
    /// Memory that is resident, in bytes.
    pub(crate) resident_bytes: u64,
}

/// Reads it. `None` when there is no such process, or the system shows nothing of it.
pub(crate) fn of_process(pid: i32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let ticks_per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    let page_bytes = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    Some(Usage {
        cpu: cpu(&stat, ticks_per_second)?,
        resident_bytes: resident_pages(&statm)?.saturating_mul(page_bytes),
    })
}

/// Whether a process is on its way out, by its flags (field 9 of proc_pid_stat(5)): it has closed its descriptors then, and
/// ends when all there is in its pid namespace has.
pub(crate) fn is_exiting(pid: i32) -> bool {
    /// `PF_EXITING` of linux/sched.h.
    const EXITING: u64 = 0x4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    flags(&stat).is_some_and(|flags| flags & EXITING != 0)
}

fn flags(stat: &str) -> Option<u64> {
    stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse().ok()
}

/// Fields 14 to 17 of proc_pid_stat(5). The name in field 2 may hold anything, so counting begins behind its last bracket.
fn cpu(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let after_name = stat.rsplit_once(") ")?.1;
    let fields: Vec<u64> = after_name.split(' ').skip(11).take(4).map(str::parse).collect::<Result<_, _>>().ok()?;
    let ticks: u64 = (fields.len() == 4).then(|| fields.iter().sum())?;
    Some(Duration::from_micros(ticks.saturating_mul(1_000_000) / ticks_per_second.max(1)))
}

/// Field 2 of proc_pid_statm(5).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_the_manuals_whatever_the_name_is() {
        let stat = "12 (a) R 1) S 1 12 12 0 -1 4194560 99 0 0 0 150 50 20 30 20 0 1 0 7 8 9";
        assert_eq!(cpu(stat, 100), Some(Duration::from_millis(2_500)));
        assert_eq!(cpu("12 (a) S 1 12", 100), None);
        assert_eq!((flags(stat), flags("12 (a) S 1 12")), (Some(4_194_560), None));
        assert_eq!(resident_pages("1000 250 30 4 0 60 0\n"), Some(250));
        assert_eq!(resident_pages(""), None);
    }

    #[test]
    fn this_process_is_resident_and_one_that_is_not_there_uses_nothing() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        assert!(of_process(own).is_some_and(|usage| usage.resident_bytes > 0));
        assert_eq!(of_process(i32::MAX), None);
        assert!(!is_exiting(own) && !is_exiting(i32::MAX));
    }
}
