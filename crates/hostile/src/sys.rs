//! The system calls and memory accesses that nobody should make; all `unsafe` of this crate, and the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// The one descriptor a worker has: its socket.
pub(crate) const SOCKET: libc::c_int = 3;

#[global_allocator]
static ALLOCATOR: Telling = Telling;

/// The system's allocator, which tells the worker when there is no memory, as that of the real program does.
struct Telling;

// SAFETY: every call goes to the system's allocator with the caller's own arguments, whose result is returned unchanged.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are the same here.
        let pointer = unsafe { System.alloc(layout) };
        if pointer.is_null() {
            runlet_worker::memory::refused();
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Any system call; the errno(3) of one that is refused.
pub(crate) fn call(number: libc::c_long, arguments: [usize; 4]) -> Result<(), i32> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: none that is tried here writes to memory of this process when it is refused, and if one is not, the test has
    // found what it looked for and the process is of no further use.
    let result = unsafe { libc::syscall(number, first, second, third, fourth) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or_default()) }
}

/// How many of the bytes were written; `None` when nothing can be.
pub(crate) fn write(descriptor: libc::c_int, bytes: &[u8]) -> Option<usize> {
    // SAFETY: the pointer leads to as many bytes as are said.
    let count = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).ok()
}

/// Waits until there is something to be read, and leaves it there.
pub(crate) fn wait_readable(descriptor: libc::c_int) {
    let mut byte = 0_u8;
    // SAFETY: the pointer leads to the one byte that is asked for.
    unsafe { libc::recv(descriptor, (&raw mut byte).cast(), 1, libc::MSG_PEEK) };
}

/// Closes a descriptor that somebody else owns.
pub(crate) fn close(descriptor: libc::c_int) {
    // SAFETY: closing touches no memory, and its owner never runs again.
    unsafe { libc::close(descriptor) };
}

/// Ends the process at once.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Has a signal do nothing.
pub(crate) fn ignore(signal: libc::c_int) {
    // SAFETY: no code of this process runs when it comes.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Reads where nothing is.
pub(crate) fn read_nothing() {
    let nowhere = std::hint::black_box(8_usize) as *const u8;
    // SAFETY: it is not: the kernel ends the process, which is the act.
    let byte = unsafe { nowhere.read_volatile() };
    std::hint::black_box(byte);
}

/// Has the system calls that a filter names wait for an answer from whoever holds the descriptor, in this process and in all
/// that come of it (seccomp_unotify(2)).
pub(crate) fn watch(filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let length = libc::c_ushort::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: this prctl(2) takes numbers only.
    checked(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }))?;
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program leads to as many instructions as it says, and the kernel only reads them.
    let listener = checked(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) })?;
    let listener = libc::c_int::try_from(listener).map_err(io::Error::other)?;
    // SAFETY: the kernel made it just now, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// The next system call that waits for an answer; `None` if it was given up meanwhile.
pub(crate) fn waiting_call(listener: BorrowedFd<'_>) -> io::Result<Option<libc::seccomp_notif>> {
    // SAFETY: it consists of numbers, all of which may be zero; the kernel wants them to be.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to the structure that this ioctl(2) fills in.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    match checked(result.into()) {
        Ok(_) => Ok(Some(call)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers a system call: it goes on, or fails with an errno(3). One that was given up needs no answer.
pub(crate) fn answer(listener: BorrowedFd<'_>, call: u64, errno: Option<libc::c_int>) -> io::Result<()> {
    let goes_on = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).map_err(io::Error::other)?;
    let flags = if errno.is_none() { goes_on } else { 0 };
    let answer = libc::seccomp_notif_resp { id: call, val: 0, error: -errno.unwrap_or_default(), flags };
    // SAFETY: the pointer leads to the structure that this ioctl(2) reads.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    match checked(result.into()) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Waits until one of two descriptors can be read; which of them can.
pub(crate) fn wait_either(descriptors: [BorrowedFd<'_>; 2]) -> io::Result<[bool; 2]> {
    let mut polled =
        descriptors.map(|descriptor| libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: the pointer leads to two structures, as is said.
    checked(unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) }.into())?;
    Ok(polled.map(|polled| polled.revents != 0))
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
