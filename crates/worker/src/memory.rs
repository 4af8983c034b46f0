//! What happens when a worker is refused memory: it ends with an exit code that says so.
//!
//! Rust aborts when an allocation fails, which looks like any other abort. The supervisor must tell what happened from the
//! kernel's own evidence, so the binary's global allocator is wrapped in [`Told`].

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Exit code of a worker that was refused memory. Not one a program of a user would choose by chance, since a worker
/// executes none.
pub const EXIT_OUT_OF_MEMORY: i32 = 112;

static IN_WORKER: AtomicBool = AtomicBool::new(false);

/// From now on this process ends with [`EXIT_OUT_OF_MEMORY`] when it is refused memory.
pub(crate) fn end_when_refused() {
    IN_WORKER.store(true, Ordering::Relaxed);
}

/// An allocator that lets a worker end by its own exit code when memory is refused. In any other process it changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<A>(pub A);

fn told(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() && IN_WORKER.load(Ordering::Relaxed) {
        sys::exit_at_once(EXIT_OUT_OF_MEMORY);
    }
    pointer
}

// SAFETY: every call goes to the wrapped allocator with the caller's own arguments, whose result is returned unchanged.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Told<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are the same here.
        told(unsafe { self.0.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { self.0.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { self.0.realloc(pointer, layout, bytes) })
    }
}
