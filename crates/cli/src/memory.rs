//! The allocator: one for many short-lived buffers of many sizes, which is the whole load. It gives freed memory back to the
//! system, so that an idle daemon is a small one, and lets a worker that is refused memory say so.

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// [`MiMalloc`], and a word to the worker this process may be when there is no memory.
struct Allocator;

fn told(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() {
        runlet_worker::memory::refused();
    }
    pointer
}

// SAFETY: every call goes to the wrapped allocator with the caller's own arguments, whose result is returned unchanged.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are the same here.
        told(unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { MiMalloc.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { MiMalloc.realloc(pointer, layout, bytes) })
    }
}

/// Returns pages that hold nothing any more. Takes milliseconds at most: for a daemon that has nothing else to do.
pub(crate) fn release() {
    // SAFETY: mi_collect takes no pointer, may be called from any thread at any time, and is what the allocator offers
    // for this purpose (mimalloc's documentation, "Extended API").
    unsafe { libmimalloc_sys::mi_collect(true) }
}
