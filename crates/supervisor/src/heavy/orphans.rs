//! Children of this process that nobody knows. A zygote that is killed between forking a worker and telling of it leaves one: its
//! connection is gone, so that it ends by itself, but whoever is not waited for stays in the system's list, and keeps the pid
//! namespace that it was in.

use std::collections::HashSet;
use std::fs;

use nix::sys::signal::Signal;

use super::process::{self, Process};

/// Kills those that are not `known`, and has them waited for. Must be called within a tokio runtime.
pub(super) fn end(known: &HashSet<i32>) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id();
    for pid in pids.filter(|pid| !known.contains(pid) && parent_of(*pid) == Some(own)) {
        // A child has its number until it is waited for, which nobody else does.
        match process::open(pid).and_then(|descriptor| Process::new(pid, descriptor)) {
            Ok(process) => {
                tracing::warn!(pid, "a process that no zygote told of is killed");
                process.signal(Signal::SIGKILL);
                tokio::spawn(async move { process.wait().await });
            }
            Err(error) => tracing::error!(pid, %error, "a process that no zygote told of cannot be waited for"),
        }
    }
}

/// Field 4 of proc_pid_stat(5). The name in field 2 may hold anything, so counting begins behind its last bracket.
fn parent_of(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::process::Command;

    use super::*;

    fn sleeping() -> i32 {
        i32::try_from(Command::new("sleep").arg("1000").spawn().unwrap().id()).unwrap()
    }

    #[tokio::test]
    async fn who_is_not_known_is_ended_and_off_the_list_and_who_is_known_is_left() {
        let (known, unknown, ended) = (sleeping(), sleeping(), sleeping());
        let looking = Process::new(unknown, process::open(unknown).unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(ended), Signal::SIGKILL).unwrap();
        end(&HashSet::from([known]));
        looking.ended().await;
        while parent_of(unknown).is_some() || parent_of(ended).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(parent_of(known), Some(std::process::id()));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(known), Signal::SIGKILL).unwrap();
    }
}
