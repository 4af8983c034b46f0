//! The system calls for which there is no safe wrapper; all `unsafe` of this crate.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use memmap2::MmapOptions;
use nix::sys::signal::SigSet;
use nix::time::{ClockId, clock_gettime};
use runlet_proto::worker::exit;

/// The two sides of a fork.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The caller, with the process id of the child and a descriptor of it.
    Parent(i32, OwnedFd),
}

/// How a process is to be forked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forking {
    /// By clone3(2), else by clone(2), which is older: a container's filter may refuse the first alone, since it cannot see
    /// its flags.
    pub(crate) clone3: bool,
    /// As a child of the caller's parent (CLONE_PARENT), so that the parent can wait for it. A child of the caller's own
    /// would be no substitute: nobody but the caller could wait for it or learn how it ended.
    pub(crate) sibling: bool,
    /// As the first process of a pid namespace.
    pub(crate) pid_namespace: bool,
}

/// Forks a process. The signal at its end is that of the caller's own end, or none: it is waited for by its descriptor, with
/// `__WALL` (waitid(2)).
///
/// # Errors
/// Whatever clone3(2) says.
///
/// # Panics
/// Never, if the caller has a single thread: the child of a process with several could find locks taken for ever.
pub(crate) fn fork(how: &Forking) -> io::Result<Side> {
    let flags = flags_of(how);
    let mut pidfd: RawFd = -1;
    let pid = if how.clone3 {
        clone3(flags, &mut pidfd, None)
    } else {
        // SAFETY: without CLONE_VM the child has a copy of everything and goes on on the copy of this stack; the kernel
        // writes one descriptor, to a place that outlives the call. The third argument is the same on every architecture
        // that the filter knows.
        unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) }
    };
    side_of(pid, pidfd)
}

/// As [`fork`] by clone3(2), into a control group: the process is in it from its first moment.
///
/// # Errors
/// Whatever clone3(2) says.
///
/// # Panics
/// As [`fork`].
pub(crate) fn fork_into(how: &Forking, group: BorrowedFd<'_>) -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    let pid = clone3(flags_of(how), &mut pidfd, Some(group));
    side_of(pid, pidfd)
}

fn flags_of(how: &Forking) -> u64 {
    let mut flags = libc::CLONE_PIDFD as u64;
    for (wanted, flag) in [(how.sibling, libc::CLONE_PARENT), (how.pid_namespace, libc::CLONE_NEWPID)] {
        flags |= if wanted { flag as u64 } else { 0 };
    }
    flags
}

fn side_of(pid: libc::c_long, pidfd: RawFd) -> io::Result<Side> {
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

fn clone3(flags: u64, pidfd: &mut RawFd, group: Option<BorrowedFd<'_>>) -> libc::c_long {
    /// `CLONE_INTO_CGROUP` of linux/sched.h, which is wider than the type libc gives it.
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let arguments = libc::clone_args {
        flags: flags | if group.is_some() { INTO_CGROUP } else { 0 },
        pidfd: (&raw mut *pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT it must be 0 (clone(2)).
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
    };
    // SAFETY: without CLONE_VM the child has a copy of everything; the arguments are as long as is said and outlive the call.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) }
}

/// The `length` bytes of a file in memory that the supervisor has sealed. They are not copied.
///
/// # Errors
/// Whatever mmap(2) says.
pub(crate) fn map(file: &OwnedFd, length: usize) -> io::Result<Bytes> {
    // SAFETY: nobody can change or shorten the file any more (memfd_create(2), F_SEAL_WRITE and F_SEAL_SHRINK), and it is as
    // long as the supervisor says, which decides what happens here in any case.
    Ok(Bytes::from_owner(unsafe { MmapOptions::new().len(length).map(file) }?))
}

/// Forgets which pages of a mapping are in memory; they are found again when they are used. The mapping must be of a file and
/// as it stands there: what was changed would be lost.
///
/// # Errors
/// Whatever madvise(2) says.
pub(crate) fn forget_pages(start: u64, length: usize) -> io::Result<()> {
    // SAFETY: the pages of a private mapping of a file that nothing has changed are read from it again, the same.
    let result = unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the nice value of this process, and how long it computes at a stretch while others wait. A lower nice value than it
/// has takes privileges, and is refused without.
pub(crate) fn set_nice(nice: i32, slice: Duration) {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        // Before Linux 6.12 it means nothing for this policy.
        sched_runtime: slice.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads as many bytes as the attributes say that they have.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// The nice value of this process.
pub(crate) fn nice() -> i32 {
    // SAFETY: takes no pointer. It cannot fail for the caller itself (getpriority(2)).
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Now, in nanoseconds of CLOCK_MONOTONIC. Most systems answer without a system call (vdso(7)).
pub(crate) fn monotonic_ns() -> u64 {
    // There is no system without this clock; 0 is long ago.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives up every capability (capabilities(7)).
///
/// # Errors
/// Whatever capset(2) says.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h, and this process.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted and inheritable, 64 bits of each.
    let none = [0_u32; 6];
    // SAFETY: both are as long as this version has them, and are only read.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), none.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// Lets every signal that ends a process end this one, by an exit code that names the signal. For the first process of a pid
/// namespace, which signals without a handler do not reach (pid_namespaces(7)); faults do, and end it as they end any.
pub(crate) fn end_by_signals() {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGUSR1,
        libc::SIGSEGV,
        libc::SIGUSR2,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
    ] {
        // SAFETY: the handler makes one system call and does not return.
        unsafe { libc::signal(signal, end_signalled as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

extern "C" fn end_signalled(signal: libc::c_int) {
    exit_at_once(exit::SIGNALLED + signal);
}

/// Whether the other end of a socket is closed, whatever is still to be read.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one entry, as is said, which outlives the call; it does not wait.
    let told = unsafe { libc::poll(&raw mut asked, 1, 0) };
    told == 1 && asked.revents & libc::POLLHUP != 0
}

/// Gives up every descriptor and does nothing until a signal ends it.
pub(crate) fn idle_for_ever() -> ! {
    // SAFETY: closing descriptors touches no memory, and nothing is dropped any more.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    loop {
        // SAFETY: waits.
        unsafe { libc::pause() };
    }
}

/// Lets these signals interrupt what waits, and nothing else. Not by ignoring them, which a program that is executed would
/// inherit (execve(2)).
pub(crate) fn only_interrupt(signals: &[libc::c_int]) {
    for &signal in signals {
        // SAFETY: the handler runs no code.
        unsafe { libc::signal(signal, do_nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

extern "C" fn do_nothing(_signal: libc::c_int) {}

/// Waits until something can be done with a descriptor, or a signal comes that is not in `blocked`.
///
/// # Errors
/// Whatever ppoll(2) says, but for the signal.
pub(crate) fn wait_for(descriptors: &mut [libc::pollfd], blocked: &SigSet) -> io::Result<()> {
    let count = libc::nfds_t::try_from(descriptors.len()).map_err(io::Error::other)?;
    let mask: &libc::sigset_t = blocked.as_ref();
    // SAFETY: the descriptors are as many as is said, and they and the set outlive the call; without a time it waits.
    let result = unsafe { libc::ppoll(descriptors.as_mut_ptr(), count, std::ptr::null(), std::ptr::from_ref(mask)) };
    match io::Error::last_os_error() {
        error if result < 0 && error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// A child that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) pid: i32,
    /// As wait(2) has it.
    pub(crate) status: i32,
    /// CPU time, user and system, of it and of those it waited for itself.
    pub(crate) cpu: Duration,
}

/// Takes a child that has ended off the system's list; of a process that is first in its namespace, any orphan too. `None`
/// when there is none, or, unless it is to `wait` for that, when none has ended.
pub(crate) fn reap(wait: bool) -> Option<Reaped> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let options = libc::__WALL | if wait { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both places are of the size the kernel writes, and outlive the call.
        let pid = unsafe { libc::wait4(-1, &raw mut status, options, usage.as_mut_ptr()) };
        if pid > 0 {
            // SAFETY: all bytes were zero, which is valid for this type, and the kernel has written it.
            let usage = unsafe { usage.assume_init() };
            return Some(Reaped { pid, status, cpu: time(usage.ru_utime) + time(usage.ru_stime) });
        }
        if pid == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

fn time(value: libc::timeval) -> Duration {
    let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec).unwrap_or(0))
}

/// Tries to have memory that it could share with others.
///
/// # Errors
/// Whatever mmap(2) says.
#[cfg(test)]
pub(crate) fn share_memory() -> io::Result<()> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place of the system's choice, which nothing uses.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0) };
    if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tries to become traceable by its parent.
///
/// # Errors
/// Whatever ptrace(2) says.
pub(crate) fn try_ptrace() -> io::Result<()> {
    // SAFETY: PTRACE_TRACEME takes no argument.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tries to make a ring.
///
/// # Errors
/// Whatever io_uring_setup(2) says.
pub(crate) fn try_io_uring() -> io::Result<()> {
    // `struct io_uring_params`: 120 bytes of which none need be set.
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel reads and writes what is as long as it takes it to be.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the process without running anything more of it.
pub(crate) fn exit_at_once(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(code) }
}
