//! How soon processes of Runlet that answer others get the CPU beside those that compute.

use crate::limits::SLICE;
use crate::sys;

/// Makes this process one that computes for a short time and then waits: when it is woken, it gets the CPU before those that
/// would keep it for longer, and need not wait for the next tick of the clock (sched_setattr(2); since Linux 6.12, before which
/// it changes nothing). For the supervisor and the gateway, before they have threads: these inherit it.
pub fn take_short_ones() {
    sys::set_nice(sys::nice(), SLICE);
}
