//! The probe behind `runlet doctor`: workers are forked as a supervisor has them forked, and try what none may do.

pub(crate) mod groups;
pub(crate) mod host;

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use runlet_ipc::blocking::Connection;
use runlet_ipc::handoff::Handoff;
use runlet_proto::probe::{Act, Tried};
use runlet_proto::worker::{
    Confinement, Fork, Forked, FromWorker, Programs, Task, ZYGOTE_ENVIRONMENT, ZYGOTE_GROUPS, exit,
};
use runlet_supervisor::cgroup::Group;

use self::groups::Found;
use crate::limits::ACT_TIMEOUT;

/// What came of one act.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) act: Act,
    /// Whether system calls were filtered.
    pub(crate) filtered: bool,
    pub(crate) confinement: Confinement,
    pub(crate) outcome: Outcome,
}

/// How an act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Happened,
    /// The system refused, with an errno(3).
    Refused(i32),
    /// The worker was ended for it by a signal.
    Killed(Signal),
    /// The worker ended for it, with this exit code.
    Ended(i32),
}

impl Outcome {
    /// What prevented the act, in a word; `None` if nothing did.
    pub(crate) fn prevented_by(self) -> Option<String> {
        match self {
            Self::Happened => None,
            Self::Refused(number) => {
                // `EACCES: Permission denied`: its name is enough.
                let text = Errno::from_raw(number).to_string();
                Some(text.split(':').next().unwrap_or_default().to_owned())
            }
            Self::Killed(signal) => Some(signal.to_string()),
            Self::Ended(exit::OUT_OF_MEMORY) => Some("no memory".to_owned()),
            Self::Ended(code) => Some(format!("exit code {code}")),
        }
    }
}

/// Tries every act: with all that confines a worker, and those that other layers than the filter prevent once more without it.
/// Workers are born in control groups if some were found.
///
/// # Errors
/// When workers cannot be made at all.
pub(crate) fn probe(found: &mut Found) -> io::Result<Vec<Trial>> {
    // Somebody to be connected to: an act must be able to succeed, or it tells nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let _receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let mut zygote = Zygote::start(found.take())?;
    let acts = Act::all(port, own).into_iter();
    let twice = acts.flat_map(|act| [(act, true), (act, false)]);
    let promised = twice.filter(|(act, filtered)| act.prevented_from(*filtered).is_some());
    let trials = promised.map(|(act, filtered)| zygote.attempt(act, filtered)).collect();
    found.inhabited = zygote.group.as_ref().map(|_| zygote.inhabited);
    trials
}

/// How a worker with programs is confined.
///
/// # Errors
/// When none can be made.
pub(crate) fn probe_programs() -> io::Result<Confinement> {
    let (ours, theirs) = UnixStream::pair()?;
    let programs = Programs { allowed: Vec::new(), processes_max: 1 };
    // Another than that of the trials: one zygote makes one kind of worker.
    let mut zygote = Zygote::start(None)?;
    // It ends by itself with its connection, told nothing.
    let _process = zygote.fork(Task::ServePrograms(programs), theirs)?;
    let mut connection = Connection::over(ours);
    connection.set_deadline(Some(Instant::now() + ACT_TIMEOUT));
    match connection.receive::<FromWorker>() {
        Ok(Some(FromWorker::Ready(confinement))) => Ok(confinement),
        other => Err(io::Error::other(format!("a worker with programs did not say how it is confined: {other:?}"))),
    }
}

/// The level that was achieved: what the workers report, as far as no act says otherwise. `None` if not even the lowest was.
pub(crate) fn level(trials: &[Trial]) -> Option<u8> {
    let reported = trials.iter().filter(|trial| trial.filtered).map(|trial| trial.confinement.level()).min()?;
    let happened = trials.iter().filter(|trial| trial.outcome == Outcome::Happened);
    match happened.filter_map(|trial| trial.act.prevented_from(trial.filtered)).min() {
        Some(broken) => broken.checked_sub(1).map(|below| below.min(reported)),
        None => Some(reported),
    }
}

/// A zygote of our own.
struct Zygote {
    /// Of the control groups of its workers.
    directory: Option<PathBuf>,
    handoff: Handoff,
    process: Child,
    /// Whether it has become a worker itself, so that the next takes another.
    became_worker: bool,
    workers: u64,
    /// For one worker after the other.
    group: Option<Group>,
    /// Whether the last worker was born in it.
    inhabited: bool,
}

impl Zygote {
    fn start(group: Option<(PathBuf, Group)>) -> io::Result<Self> {
        let (directory, group) = group.unzip();
        let (handoff, process) = Self::execute(directory.as_deref())?;
        Ok(Self { directory, handoff, process, became_worker: false, workers: 0, group, inhabited: false })
    }

    fn execute(directory: Option<&Path>) -> io::Result<(Handoff, Child)> {
        let (ours, theirs) = Handoff::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("zygote")
            .env_clear()
            .envs(ZYGOTE_ENVIRONMENT)
            .envs(directory.map(|directory| (ZYGOTE_GROUPS, directory)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null());
        Ok((ours, command.spawn()?))
    }

    /// Has a worker forked that has this end of its connection, which is a child of this process. Its process id.
    fn fork(&mut self, task: Task, theirs: UnixStream) -> io::Result<Pid> {
        if std::mem::take(&mut self.became_worker) {
            (self.handoff, self.process) = Self::execute(self.directory.as_deref())?;
        }
        self.workers += 1;
        let group = self.group.as_ref().map(Group::number);
        self.handoff.send(&Fork { worker: self.workers, task, group }, Some(theirs.as_fd()))?;
        drop(theirs);
        self.forked()
    }

    fn attempt(&mut self, act: Act, filtered: bool) -> io::Result<Trial> {
        let (ours, theirs) = UnixStream::pair()?;
        let pid = self.fork(Task::Try { act, filtered }, theirs)?;
        let mut connection = Connection::over(ours);
        connection.set_deadline(Some(Instant::now() + ACT_TIMEOUT));
        let told = (connection.receive::<Tried>(), connection.receive::<Tried>());
        // It has ended by now, or never will.
        let _ = kill(pid, Signal::SIGKILL);
        self.inhabited = self.group.as_ref().is_some_and(|group| group.holds(pid.as_raw()));
        let ended = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::__WALL)?;
        let (confinement, outcome) = match told {
            (Ok(Some(Tried::Confined(confinement))), Ok(Some(Tried::Happened))) => (confinement, Outcome::Happened),
            (Ok(Some(Tried::Confined(confinement))), Ok(Some(Tried::Prevented { errno }))) => {
                (confinement, Outcome::Refused(errno))
            }
            (Ok(Some(Tried::Confined(confinement))), Ok(None)) => (confinement, end_of(ended)?),
            _ => return Err(io::Error::other(format!("a worker did not say what it did: it ended as {ended:?}"))),
        };
        // A worker cannot see that itself.
        let cgroup_limits = self.inhabited && self.group.as_ref().is_some_and(Group::is_limited);
        Ok(Trial { act, filtered, confinement: Confinement { cgroup_limits, ..confinement }, outcome })
    }

    fn forked(&mut self) -> io::Result<Pid> {
        loop {
            return match self.handoff.receive()? {
                Some((Forked::Worker { pid, .. }, _)) => Ok(Pid::from_raw(pid)),
                Some((Forked::Failed { errno, .. }, _)) => Err(io::Error::from_raw_os_error(errno)),
                // It ends with this process.
                Some((Forked::Init { .. }, _)) => continue,
                Some((Forked::Itself { .. }, _)) => {
                    self.became_worker = true;
                    i32::try_from(self.process.id()).map(Pid::from_raw).map_err(io::Error::other)
                }
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

fn end_of(status: WaitStatus) -> io::Result<Outcome> {
    if let WaitStatus::Signaled(_, signal, _) = status {
        return Ok(Outcome::Killed(signal));
    }
    let WaitStatus::Exited(_, code) = status else {
        return Err(io::Error::other(format!("a worker ended in an unknown way: {status:?}")));
    };
    Ok(Outcome::Ended(code))
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It may be gone already, as a worker that was waited for is; nothing is lost with it.
        if !self.became_worker {
            let _ = (self.process.kill(), self.process.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use runlet_proto::worker::Namespaces;

    use super::*;

    fn trial(act: Act, filtered: bool, outcome: Outcome) -> Trial {
        let namespaces = Namespaces { pid: true, mount: true, ipc: true, net: true, ..Namespaces::default() };
        let confinement = Confinement {
            seccomp: filtered,
            landlock_abi: 6,
            namespaces,
            cgroup_limits: true,
            ..Confinement::default()
        };
        Trial { act, filtered, confinement, outcome }
    }

    #[test]
    fn what_happened_lowers_the_level() {
        let refused = Outcome::Refused(libc_eperm());
        let all = [trial(Act::ReadFile, true, refused), trial(Act::ReadFile, false, refused)];
        assert_eq!(level(&all), Some(4));
        for (act, filtered, expected) in [
            (Act::Allocate, true, None),
            (Act::Ptrace, true, Some(0)),
            (Act::ReadFile, true, Some(0)),
            (Act::ReadFile, false, Some(1)),
            (Act::SignalSupervisor { pid: 1 }, false, Some(2)),
            (Act::SendUdp { port: 9 }, false, Some(3)),
        ] {
            let trials = [all[0], trial(act, filtered, Outcome::Happened)];
            assert_eq!(level(&trials), expected, "{act:?} {filtered}");
        }
        assert_eq!(level(&[]), None);
    }

    fn libc_eperm() -> i32 {
        Errno::EPERM as i32
    }

    #[test]
    fn what_prevented_it_is_named() {
        assert_eq!(Outcome::Refused(libc_eperm()).prevented_by().as_deref(), Some("EPERM"));
        assert_eq!(Outcome::Killed(Signal::SIGSYS).prevented_by().as_deref(), Some("SIGSYS"));
        assert_eq!(Outcome::Ended(exit::OUT_OF_MEMORY).prevented_by().as_deref(), Some("no memory"));
        assert_eq!(Outcome::Happened.prevented_by(), None);
    }
}
