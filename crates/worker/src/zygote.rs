//! The zygote: a process with one thread that forks workers on demand and does nothing else.
//!
//! It exists because a process with threads cannot fork safely (its locks stay taken in the child for ever), and an exec for
//! each run would cost five times as much. Its children are made the supervisor's own (CLONE_PARENT), which waits for them
//! and sees how they ended. It ends with the supervisor: by the end of its socket, or by SIGKILL when its parent dies.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use runlet_ipc::handoff::Handoff;
use runlet_proto::worker::{Begin, Ended, Fork, Forked};

use crate::sys::{self, Side};
use crate::{confine, serve};

/// Why a zygote ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum ZygoteError {
    /// Its socket failed.
    #[error("the zygote's socket failed: {0}")]
    Socket(#[source] io::Error),
    /// What it depends on to end with its parent is refused.
    #[error("the zygote cannot be bound to the supervisor's end: {0}")]
    Bind(#[source] io::Error),
    /// It must have one thread and has not.
    #[error("the zygote has {0} threads: forking one of several is unsafe")]
    Threads(usize),
}

/// Forks a worker for each [`Fork`] that comes over stdin, until it ends. Must be called before the process has started a
/// thread. In a forked worker this does not return.
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
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| ZygoteError::Bind(errno.into()))?;
    let handoff = Handoff::from(sys::take_stdin());
    if getppid() != supervisor {
        return Ok(());
    }
    loop {
        let (Fork { worker }, socket) = match handoff.receive() {
            Ok(Some((fork, Some(socket)))) => (fork, socket),
            Ok(Some((Fork { .. }, None))) => continue,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ZygoteError::Socket(error)),
        };
        assert_single_threaded()?;
        let (answer, process) = match sys::fork_sibling() {
            Ok(Side::Child) => become_worker(handoff, socket, supervisor, intercept),
            Ok(Side::Parent(pid, process)) => (Forked::Worker { worker, pid }, Some(process)),
            Err(error) => (Forked::Failed { worker, errno: error.raw_os_error().unwrap_or(0) }, None),
        };
        let sent = handoff.send(&answer, process.as_ref().map(OwnedFd::as_fd));
        sent.map_err(ZygoteError::Socket)?;
    }
}

/// The rest of the life of a forked process.
fn become_worker(handoff: Handoff, socket: OwnedFd, supervisor: Pid, intercept: Interceptor) -> ! {
    // Its number is used for something else now.
    std::mem::forget(OwnedFd::from(handoff));
    let code = match confine::confine(socket, supervisor) {
        Ok((socket, confined)) => serve::serve(socket, &confined, intercept),
        Err(error) => error.exit_code(),
    };
    sys::exit_at_once(code)
}

fn assert_single_threaded() -> Result<(), ZygoteError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads == 1 { Ok(()) } else { Err(ZygoteError::Threads(threads)) }
}
