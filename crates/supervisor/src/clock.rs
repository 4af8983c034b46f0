//! The supervisor's one clock: the only place that reads time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use runlet_kernel::Time;

/// Maps the kernel's time (microseconds since the start) to the monotonic clock and to the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    origin_unix_us: u64,
    /// The origin in nanoseconds of CLOCK_MONOTONIC, by which another process can tell what it did when.
    origin_monotonic_ns: u64,
}

impl Clock {
    /// A clock whose origin is now.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let origin_monotonic_ns = u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX);
        Self { origin: Instant::now(), origin_unix_us: micros(since_epoch), origin_monotonic_ns }
    }

    /// Now, in the kernel's terms.
    pub(crate) fn now(&self) -> Time {
        Time(micros(self.origin.elapsed()))
    }

    /// A kernel time as a point on the monotonic clock.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.0)
    }

    /// What another process of this host calls this many nanoseconds of CLOCK_MONOTONIC; what was before the origin is the
    /// origin.
    pub(crate) const fn of_monotonic_ns(&self, ns: u64) -> Time {
        Time(ns.saturating_sub(self.origin_monotonic_ns) / 1_000)
    }

    /// A kernel time in milliseconds since the Unix epoch. Follows the monotonic clock: a step of the system's clock
    /// after the start does not reorder what happened.
    pub(crate) fn unix_ms(&self, time: Time) -> u64 {
        (self.origin_unix_us + time.0) / 1_000
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
