//! The zygote: a process with one thread that forks workers on demand and does nothing else.
//!
//! It exists because a process with threads cannot fork safely (its locks stay taken in the child for ever), and an exec for
//! each run would cost five times as much. Its children are made the supervisor's own (CLONE_PARENT), which waits for them
//! and sees how they ended. It ends with the supervisor: by the end of its socket, or by SIGKILL when its parent dies.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getppid, setsid};
use runlet_ipc::handoff::Handoff;
use runlet_proto::worker::{Begin, Ended, Fork, Forked, Task, ZYGOTE_NICE, exit};

use crate::confine::{self, Birth};
use crate::filter::Filter;
use crate::fork::{Means, is_refused};
use crate::groups::Groups;
use crate::limits::SLICE;
use crate::namespaces::{Seen, Shared, Status};
use crate::sys::{self, Side};
use crate::{probe, serve, warm};

/// Why a zygote ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ZygoteError {
    /// Its socket failed.
    #[error("the zygote's socket failed: {0}")]
    Socket(#[source] io::Error),
    /// What it depends on to end with its parent is refused.
    #[error("the zygote cannot be bound to the supervisor's end: {0}")]
    Bind(#[source] io::Error),
    /// What it needs of the system is not there.
    #[error("the zygote needs /dev/null and /proc/self/status: {0}")]
    Process(#[source] io::Error),
    /// The pid namespace of its workers is of no use, since its first process is gone or never was (pid_namespaces(7)).
    #[error("the pid namespace of the workers has no first process: {0}")]
    Init(#[source] io::Error),
    /// It must have one thread and has not.
    #[error("the zygote has {0} threads: forking one of several is unsafe")]
    Threads(u64),
}

/// Forks a process for each [`Fork`] that comes over stdin, until it ends. Must be called before the process has started a
/// thread. In a forked process this does not return.
///
/// # Errors
/// [`ZygoteError`].
pub fn run() -> Result<(), ZygoteError> {
    run_with(|_| None)
}

/// What a worker does with an attempt before anything else: its end, if it is not to be executed.
#[doc(hidden)]
pub type Interceptor = fn(&Begin) -> Option<Ended>;

/// As [`run`], for the program with which the tests put hostile workers in front of the supervisor: `intercept` is called
/// in a worker, with all its confinement, and decides which attempts go their way.
///
/// # Errors
/// [`ZygoteError`].
#[doc(hidden)]
pub fn run_with(intercept: Interceptor) -> Result<(), ZygoteError> {
    let supervisor = getppid();
    let handoff = Handoff::from(sys::take_stdin());
    stand_back();
    // Workers are slower to begin without, and all else is the same.
    let _ = warm::up();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(ZygoteError::Process)?;
    let status = Status::open().map_err(ZygoteError::Process)?;
    let groups = Groups::of_environment();
    let shared = Shared::enter();
    // In these namespaces, whose privileges an ordinary user needs for one of processes.
    let means = Means::find();
    let filter = Filter::compile().ok();
    let null = null.into();
    let mut zygote = Zygote { handoff, status, null, means, groups, shared, entered: false, filter, intercept };
    // After the namespaces, since a change of privileges clears it (PR_SET_PDEATHSIG(2const)).
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| ZygoteError::Bind(errno.into()))?;
    if getppid() != supervisor {
        return Ok(());
    }
    zygote.serve()
}

/// A session for it and its workers, away from terminals and the signals they send; and the last place at the CPU. Where
/// that is refused, or not asked for, workers compete as equals, and all else is the same.
fn stand_back() {
    let nice = std::env::var(ZYGOTE_NICE).ok().and_then(|nice| nice.parse().ok()).unwrap_or(0);
    // Fails for the leader of a process group, which a program started by another is not.
    let _ = setsid();
    sys::set_nice(nice, SLICE);
    // Where the kernel groups processes by session, the group's weight is what counts against other sessions.
    let _ = std::fs::write("/proc/self/autogroup", nice.to_string());
}

struct Zygote {
    handoff: Handoff,
    status: Status,
    null: OwnedFd,
    means: Means,
    groups: Groups,
    shared: Shared,
    /// Whether it has asked for a pid namespace.
    entered: bool,
    /// Of the workers' system calls. Without it they say that they have none.
    filter: Option<Filter>,
    intercept: Interceptor,
}

impl Zygote {
    fn serve(&mut self) -> Result<(), ZygoteError> {
        loop {
            let (Fork { worker, task, group }, socket) = match self.handoff.receive() {
                Ok(Some((fork, Some(socket)))) => (fork, socket),
                Ok(Some((Fork { .. }, None))) => continue,
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ZygoteError::Socket(error)),
            };
            let seen = self.status.read().map_err(ZygoteError::Process)?;
            if seen.threads != 1 {
                return Err(ZygoteError::Threads(seen.threads));
            }
            let group = group.and_then(|group| self.groups.open(group));
            let group = group.as_ref().map(OwnedFd::as_fd);
            let with_programs = matches!(task, Task::ServePrograms(_));
            if !with_programs {
                self.enter_pid_namespace()?;
            }
            let first = with_programs && self.means.pid_namespace;
            let (answer, process) = match self.means.fork_worker(first, group) {
                Ok(Side::Child) => self.become_worker(socket, task, seen, first),
                Ok(Side::Parent(pid, process)) => (Forked::Worker { worker, pid }, Some(process)),
                // Without its first process a pid namespace takes no other (pid_namespaces(7)). A new zygote has a new one.
                Err(error) if self.shared.namespaces.pid && error.raw_os_error() == Some(libc::ENOMEM) => {
                    return Err(ZygoteError::Init(error));
                }
                // All there is left is what the supervisor could execute: this process.
                Err(error) if is_refused(&error) => {
                    self.handoff.send(&Forked::Itself { worker }, None).map_err(ZygoteError::Socket)?;
                    self.become_worker(socket, task, seen, false)
                }
                Err(error) => (Forked::Failed { worker, errno: error.raw_os_error().unwrap_or(0) }, None),
            };
            let sent = self.handoff.send(&answer, process.as_ref().map(OwnedFd::as_fd));
            sent.map_err(ZygoteError::Socket)?;
        }
    }

    /// Before the first worker without programs: such workers share a pid namespace. Those with programs have one each, which
    /// cannot be made any more from then on (unshare(2)), so nobody asks one zygote for both.
    fn enter_pid_namespace(&mut self) -> Result<(), ZygoteError> {
        if std::mem::replace(&mut self.entered, true) {
            return Ok(());
        }
        let init = self.shared.enter_pid_namespace(&self.means, &self.handoff).map_err(ZygoteError::Init)?;
        let Some((pid, process)) = init else { return Ok(()) };
        self.handoff.send(&Forked::Init { pid }, Some(process.as_fd())).map_err(ZygoteError::Socket)
    }

    /// The rest of the life of a forked process. What this owns is never dropped: its descriptors are something else then.
    fn become_worker(&self, socket: OwnedFd, task: Task, seen: Seen, first: bool) -> ! {
        if matches!(task, Task::Serve) {
            // While nobody waits for it: it then has pages of its own where it will write.
            let _ = warm::rehearse_briefly();
        }
        let code = self.null.try_clone().map_or(exit::DESCRIPTORS, |null| {
            let programs = match &task {
                Task::ServePrograms(programs) => Some(programs),
                Task::Serve | Task::Try { .. } => None,
            };
            let birth = Birth {
                shared: &self.shared,
                first,
                null,
                data_bytes: seen.data_bytes,
                filter: self.filter.as_ref().filter(|_| !matches!(task, Task::Try { filtered: false, .. })),
                programs,
            };
            match (confine::confine(socket, birth), task) {
                (Ok((socket, confined)), Task::Serve) => serve::serve(socket, &confined, None, self.intercept),
                (Ok((socket, confined)), Task::ServePrograms(programs)) => {
                    serve::serve(socket, &confined, Some(programs), self.intercept)
                }
                (Ok((socket, confined)), Task::Try { act, .. }) => probe::attempt(socket, &confined, act),
                (Err(error), _) => error.exit_code(),
            }
        });
        sys::exit_at_once(code)
    }
}
