//! The system calls for which there is no safe wrapper; all `unsafe` of this crate but the allocator's.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

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

/// Closes every descriptor from `first` on. For a process that is about to own nothing: what else believes to own one of
/// them must never be dropped.
///
/// # Errors
/// Whatever close_range(2) says.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: closing a descriptor touches no memory; the caller gave up everything that owns one.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the descriptor number `at` a copy of `of`, whatever it was before.
///
/// # Errors
/// Whatever dup2(2) says.
pub(crate) fn place(of: BorrowedFd<'_>, at: RawFd) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: duplicating a descriptor touches no memory; the caller gave up what had the number.
    let result = unsafe { libc::dup2(of.as_raw_fd(), at) };
    if result == at { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The descriptor with this number.
///
/// # Safety
/// Nothing else owns it.
pub(crate) unsafe fn own(number: RawFd) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(number) }
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
