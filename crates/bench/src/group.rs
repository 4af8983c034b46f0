//! Child processes in process groups of their own, with their output in a log file, and no way to outlive the bench
//! unless it is killed itself.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{iter, thread};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::limits::{LOG_TAIL_BYTES, POLL_INTERVAL, START_TIMEOUT, STOP_TIMEOUT};
use crate::proc;

/// Why a child is not of use.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// It could not be started.
    #[error("cannot start {program}: {cause}")]
    Start {
        /// What was started.
        program: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It ended before it was ready.
    #[error("{program} ended with {status} before it was ready; its last words:\n{log}")]
    Ended {
        /// What was started.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        log: String,
    },
    /// It was not ready in time.
    #[error("{program} was not ready after {} s; its last words:\n{log}", START_TIMEOUT.as_secs())]
    Late {
        /// What was started.
        program: String,
        /// The end of its output.
        log: String,
    },
    /// Its log could not be made or read.
    #[error("log of {program}: {cause}")]
    Log {
        /// What was started.
        program: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// A process group; dropping it ends all its processes.
#[derive(Debug)]
pub struct Group {
    program: String,
    child: Child,
    log: PathBuf,
}

impl Group {
    /// Starts a command as the leader of a new group, its output in `log`.
    ///
    /// # Errors
    /// If the log cannot be made or the program not started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, GroupError> {
        let program = iter::once(command.get_program()).chain(command.get_args().take(1));
        let program = program.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let log_error = |cause| GroupError::Log { program: program.clone(), cause };
        let output = File::create(log).map_err(log_error)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(log_error)?).stderr(output).process_group(0);
        match command.spawn() {
            Ok(child) => Ok(Self { program, child, log: log.to_owned() }),
            Err(cause) => Err(GroupError::Start { program, cause }),
        }
    }

    /// The group's id, as `/proc` knows it.
    #[must_use]
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("Linux process ids fit in 22 bits")
    }

    /// Waits until `look` finds what it looks for in the log.
    ///
    /// # Errors
    /// If the process ends first or the time is over.
    pub async fn await_log<T>(&mut self, look: impl Fn(&str) -> Option<T>) -> Result<T, GroupError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let log = fs::read(&self.log).map_err(|cause| GroupError::Log { program: self.program.clone(), cause })?;
            if let Some(found) = look(&String::from_utf8_lossy(&log)) {
                return Ok(found);
            }
            self.wait_a_moment(deadline).await?;
        }
    }

    /// One step of waiting for readiness: sleeps a poll interval.
    ///
    /// # Errors
    /// If the process has ended or `deadline` has passed.
    pub async fn wait_a_moment(&mut self, deadline: Instant) -> Result<(), GroupError> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(GroupError::Ended {
                program: self.program.clone(),
                status: status.to_string(),
                log: self.log_tail(),
            });
        }
        if Instant::now() >= deadline {
            return Err(GroupError::Late { program: self.program.clone(), log: self.log_tail() });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        Ok(())
    }

    /// The end of what it printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let mut tail = Vec::new();
        // Shown beside another error: one that cannot be read shows nothing.
        if let Ok(mut log) = File::open(&self.log) {
            let bytes = log.metadata().map_or(0, |metadata| metadata.len());
            let _: io::Result<u64> = log.seek(SeekFrom::Start(bytes.saturating_sub(LOG_TAIL_BYTES)));
            let _: io::Result<usize> = log.read_to_end(&mut tail);
        }
        String::from_utf8_lossy(&tail).into_owned()
    }

    fn signal(&self, signal: Signal) {
        // The group may be gone already, which is what is wanted.
        let _: nix::Result<()> = killpg(Pid::from_raw(self.id()), signal);
    }

    fn is_gone(&mut self) -> bool {
        let leader_gone = !matches!(self.child.try_wait(), Ok(None));
        leader_gone && proc::members(self.id()).is_ok_and(|members| members.is_empty())
    }
}

impl Group {
    /// Kills all of it at once.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _: io::Result<std::process::ExitStatus> = self.child.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.is_gone() && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        // Also when the leader is gone: a child it left behind is in the group still.
        self.signal(Signal::SIGKILL);
        let _: io::Result<std::process::ExitStatus> = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_group_is_awaited_and_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & echo ready on 4711; wait";
        let mut group = Group::start(shell(script), &dir.path().join("log")).unwrap();
        let port = group.await_log(|log| log.split_once("ready on ")?.1.trim().parse::<u16>().ok()).await.unwrap();
        assert_eq!(port, 4711);
        let id = group.id();
        assert!(proc::members(id).unwrap().len() >= 2);
        drop(group);
        // A killed child whose parent is gone stays listed until init has waited for it; it holds nothing any more.
        assert!(proc::memory(id).unwrap().rss_bytes == 0);
    }

    #[tokio::test]
    async fn one_that_ends_early_tells_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut group = Group::start(shell("echo no such thing >&2; exit 3"), &dir.path().join("log")).unwrap();
        let error = group.await_log(|_| None::<()>).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such thing"), "{error}");
        let missing = Command::new("/no/such/program");
        assert!(matches!(Group::start(missing, &dir.path().join("log")), Err(GroupError::Start { .. })));
    }
}
