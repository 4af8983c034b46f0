//! What happens when a worker is refused memory: it ends with an exit code that says so.
//!
//! Rust aborts when an allocation fails, which looks like any other abort. The supervisor must tell what happened from the
//! kernel's own evidence, so the binary's global allocator tells here when it has nothing to give.

use std::sync::atomic::{AtomicBool, Ordering};

use runlet_proto::worker::exit;

use crate::sys;

static IN_WORKER: AtomicBool = AtomicBool::new(false);

/// From now on this process ends with [`exit::OUT_OF_MEMORY`] when it is refused memory.
pub(crate) fn end_when_refused() {
    IN_WORKER.store(true, Ordering::Relaxed);
}

/// To be called by the global allocator when it was refused memory. Ends the process if it is a worker; does nothing in any
/// other. Allocates nothing.
pub fn refused() {
    if IN_WORKER.load(Ordering::Relaxed) {
        sys::exit_at_once(exit::OUT_OF_MEMORY);
    }
}
