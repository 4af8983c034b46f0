//! The system calls and memory accesses that nobody should make; all `unsafe` of this crate, and the allocator.

use std::alloc::{GlobalAlloc, Layout, System};

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
    if result >= 0 { Ok(()) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or_default()) }
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
