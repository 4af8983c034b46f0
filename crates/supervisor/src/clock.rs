//! The supervisor's one clock: the only place that reads time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use runlet_kernel::Time;

/// Maps the kernel's time (microseconds since the start) to the monotonic clock and to the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    /// The kernel's time at the origin: runs that an earlier supervisor began have a place before it.
    at_origin: Time,
    origin_unix_us: u64,
    /// The origin in nanoseconds of CLOCK_MONOTONIC, by which another process can tell what it did when.
    origin_monotonic_ns: u64,
}

impl Clock {
    /// A clock that starts now, and reaches back to `oldest_ms` after the Unix epoch.
    pub(crate) fn start(oldest_ms: Option<u64>) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let origin_monotonic_ns = u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX);
        let now_us = micros(since_epoch);
        let at_origin = Time(oldest_ms.map_or(0, |oldest| now_us.saturating_sub(oldest.saturating_mul(1_000))));
        Self { origin: Instant::now(), at_origin, origin_unix_us: now_us - at_origin.0, origin_monotonic_ns }
    }

    /// Now, in the kernel's terms.
    pub(crate) fn now(&self) -> Time {
        Time(self.at_origin.0 + micros(self.origin.elapsed()))
    }

    /// A kernel time as a point on the monotonic clock.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.0.saturating_sub(self.at_origin.0))
    }

    /// What another process of this host calls this many nanoseconds of CLOCK_MONOTONIC; what was before the origin is the
    /// origin.
    pub(crate) const fn of_monotonic_ns(&self, ns: u64) -> Time {
        Time(self.at_origin.0 + ns.saturating_sub(self.origin_monotonic_ns) / 1_000)
    }

    /// A kernel time in milliseconds since the Unix epoch. Follows the monotonic clock: a step of the system's clock
    /// after the start does not reorder what happened.
    pub(crate) fn unix_ms(&self, time: Time) -> u64 {
        (self.origin_unix_us + time.0) / 1_000
    }

    /// A kernel time in nanoseconds since the Unix epoch, as precise as it is.
    #[cfg(feature = "otel")]
    pub(crate) const fn unix_ns(&self, time: Time) -> u64 {
        (self.origin_unix_us + time.0).saturating_mul(1_000)
    }

    /// The kernel's time at so many milliseconds since the Unix epoch; what is before its beginning is its beginning.
    pub(crate) const fn of_unix_ms(&self, unix_ms: u64) -> Time {
        Time(unix_ms.saturating_mul(1_000).saturating_sub(self.origin_unix_us))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reaches_back_to_what_began_before_it() {
        let now_ms = Clock::start(None).unix_ms(Clock::start(None).now());
        let clock = Clock::start(Some(now_ms - 60_000));
        let began = clock.of_unix_ms(now_ms - 60_000);
        assert!(began <= Time(1_000), "{began:?}");
        assert_eq!(clock.unix_ms(clock.of_unix_ms(now_ms - 30_000)), now_ms - 30_000);
        assert!((clock.now() - began).0 >= 60_000_000);
        assert!(clock.unix_ms(clock.now()) >= now_ms);
        // What was due before the start is due at once, and what is to come is as far away as it was.
        assert!(clock.instant(began) <= Instant::now());
        assert!(clock.instant(clock.now() + runlet_kernel::Span(1_000_000)) > Instant::now());
        assert_eq!(clock.of_unix_ms(0), Time(0));
    }
}
