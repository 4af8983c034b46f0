//! What an earlier supervisor of the same state directory may have left behind: its zygote and its workers.
//!
//! They die with it (PR_SET_PDEATHSIG, the end of their sockets). This is for the day they did not: a worker that computes for
//! nobody would hold memory and a core for ever. They are known by their command line, which a forked worker has in common
//! with its zygote, and which names the state directory; and the control socket's lock says that nobody else serves it now.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::signal::Signal;

use super::process::{self, Process};
use crate::limits::LEFTOVERS_END_WITHIN;

/// Name of a state directory in a zygote's command line: the same for the same directory, however it is written.
pub(crate) fn id_of(state: &Path) -> String {
    /// Offset and prime of FNV-1a, 64 bits.
    const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);
    let path = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let bytes = path.as_os_str().as_bytes();
    let hash = bytes.iter().fold(FNV.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV.1));
    format!("{hash:016x}")
}

/// Kills them and waits for their end. To be called before a zygote of our own is started.
pub(crate) async fn end(id: &str) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let found: Vec<_> = pids.filter(|pid| is_ours(*pid, id)).filter_map(|pid| kill(pid, id)).collect();
    if found.is_empty() {
        return;
    }
    let pids: Vec<_> = found.iter().map(Process::pid).collect();
    let all_ended = async {
        for process in &found {
            process.ended().await;
        }
    };
    let ended = tokio::time::timeout(LEFTOVERS_END_WITHIN, all_ended).await.is_ok();
    tracing::warn!(?pids, ended, "an earlier supervisor left processes behind; they were killed");
}

fn is_ours(pid: i32, id: &str) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = command.split(|byte| *byte == 0).skip(1);
    [&b"zygote"[..], b"--of", id.as_bytes()].into_iter().all(|word| words.next() == Some(word))
}

fn kill(pid: i32, id: &str) -> Option<Process> {
    let process = process::open(pid).and_then(|descriptor| Process::new(pid, descriptor)).ok()?;
    // Only now can the number not come to mean another process.
    is_ours(pid, id).then(|| {
        process.signal(Signal::SIGKILL);
        process
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use super::*;

    #[test]
    fn a_directory_has_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let name = id_of(folder.path());
        assert_eq!(id_of(&folder.path().join(".")), name);
        assert_ne!(id_of(&folder.path().join("other")), name);
        assert_eq!(name.len(), 16);
    }

    #[tokio::test]
    async fn only_what_has_the_name_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, others) = (id_of(folder.path()), id_of(Path::new("/nowhere")));
        // A shell that waits for the end of its input, with the command line of a zygote.
        let start = |id: &str| {
            let mut command = Command::new("sh");
            command.arg0("sh").args(["-c", "read line", "zygote", "--of", id]).stdin(std::process::Stdio::piped());
            command
        };
        // The words stand where a shell has them; what is looked for has them first.
        let mut misplaced = start(&ours).spawn().unwrap();
        let script = folder.path().join("zygote");
        fs::write(&script, "read line\n").unwrap();
        let zygote = |id: &str| {
            let mut command = Command::new("sh");
            command.args(["zygote", "--of", id]).current_dir(folder.path()).stdin(std::process::Stdio::piped());
            command
        };
        let mut left = zygote(&ours).spawn().unwrap();
        let mut other = zygote(&others).spawn().unwrap();
        let is_there = |pid: u32, id: &str| is_ours(i32::try_from(pid).unwrap(), id);
        // A process that has just been started has no command line for a moment (execve(2)).
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !(is_there(left.id(), &ours) && is_there(other.id(), &others)) {
            assert!(std::time::Instant::now() < deadline, "they have no command line");
            std::thread::yield_now();
        }
        assert!(!is_there(misplaced.id(), &ours));
        end(&ours).await;
        assert_eq!(left.wait().unwrap().signal(), Some(libc::SIGKILL));
        for child in [&mut misplaced, &mut other] {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
