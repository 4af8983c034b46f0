//! Gives freed memory back to the system, so that an idle daemon is a small one.

use runlet_worker::memory::Told;

// Short-lived buffers of many sizes are the whole load.
#[global_allocator]
static ALLOCATOR: Told<mimalloc::MiMalloc> = Told(mimalloc::MiMalloc);

/// Returns pages that hold nothing any more. Takes milliseconds at most: for a daemon that has nothing else to do.
pub(crate) fn release() {
    // SAFETY: mi_collect takes no pointer, may be called from any thread at any time, and is what the allocator offers
    // for this purpose (mimalloc's documentation, "Extended API").
    unsafe { libmimalloc_sys::mi_collect(true) }
}
