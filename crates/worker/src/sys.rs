//! The system calls for which there is no safe wrapper; all `unsafe` of this crate.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The two sides of a fork.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The caller, with the process id of the child and a descriptor of it.
    Parent(i32, OwnedFd),
}

/// Forks a process that is a child of the caller's parent (clone(2), CLONE_PARENT), so that the parent can wait for it.
///
/// # Errors
/// Whatever clone3(2) says.
///
/// # Panics
/// Never, if the caller has a single thread: the child of a process with several could find locks taken for ever.
pub(crate) fn fork_sibling() -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    // The signal at its end is that of the caller's own end (clone(2)), and must be 0 here.
    let arguments = libc::clone_args {
        flags: (libc::CLONE_PARENT | libc::CLONE_PIDFD) as u64,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: without CLONE_VM the child has a copy of everything; the arguments are as long as is said and outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(Side::Child),
        1.. => {
            let pid = i32::try_from(pid).map_err(io::Error::other)?;
            // SAFETY: the kernel has just made this descriptor for us (CLONE_PIDFD), and nobody else knows it.
            Ok(Side::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The number of the one descriptor that is kept, beside the standard three.
const KEPT: RawFd = 3;

/// Closes every descriptor of the process but `kept`; 0, 1 and 2 become `null`. For a process that is about to own nothing:
/// whatever else believes to own a descriptor must never be dropped.
///
/// # Errors
/// Whatever dup2(2), fcntl(2) and close_range(2) say. The process is of no use then.
pub(crate) fn keep_only(kept: OwnedFd, null: OwnedFd) -> io::Result<OwnedFd> {
    // Two steps: either may stand where the other is to come.
    let (lifted, lifted_null) = (lift(&kept)?, lift(&null)?);
    place(lifted, KEPT)?;
    for number in 0..KEPT {
        place(lifted_null, number)?;
    }
    // Their numbers mean something else now, or nothing in a moment.
    std::mem::forget((kept, null));
    // SAFETY: closing a descriptor touches no memory; the caller gave up everything that owns one.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, KEPT + 1, u32::MAX, 0) };
    if closed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `place` has just made it, and nothing owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(KEPT) })
}

/// A copy of the descriptor with a number beyond those that are given out here.
fn lift(descriptor: &OwnedFd) -> io::Result<RawFd> {
    Ok(nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(KEPT + 1))?)
}

/// Makes the descriptor number `at` a copy of `of`, whatever it was before.
fn place(of: RawFd, at: RawFd) -> io::Result<()> {
    // SAFETY: duplicating a descriptor touches no memory; the caller gave up what had the number.
    let result = unsafe { libc::dup2(of, at) };
    if result == at { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Standard input as what it is: a socket that the process was started with.
///
/// # Panics
/// The second time.
pub(crate) fn take_stdin() -> OwnedFd {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    assert!(!TAKEN.swap(true, Ordering::Relaxed), "stdin is taken once");
    // SAFETY: number 0 is what the process was started with, and this is its one owner.
    unsafe { OwnedFd::from_raw_fd(0) }
}

/// Lets every signal do what it does by itself. The standard library watches for stack overflows, to say so on stderr before
/// it aborts; a worker has nobody there, and its end is to be the signal's own.
pub(crate) fn forget_signal_handlers() {
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGPIPE] {
        // SAFETY: the default action runs no code of this process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ends the process without running anything more of it.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(code) }
}
