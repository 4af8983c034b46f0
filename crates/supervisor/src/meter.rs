//! CPU time that an attempt uses on pool threads, against the light lane's budget.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::attempt::Control;
use crate::limits::LIGHT_CPU_BUDGET;

/// Measures one resumption on the thread it was started on.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    cpu: Duration,
    /// What earlier resumptions of the attempt left of the budget.
    left: Duration,
}

impl Meter {
    pub(crate) fn start(control: &Control) -> Self {
        let used = Duration::from_micros(control.cpu_us.load(Ordering::Relaxed));
        Self { started: Instant::now(), cpu: thread_cpu(), left: LIGHT_CPU_BUDGET.saturating_sub(used) }
    }

    /// Whether the budget is used up. Wall time is asked first, since that is no system call: a thread cannot use more CPU
    /// time than passes.
    pub(crate) fn is_over(&self) -> bool {
        self.started.elapsed() >= self.left && self.used() >= self.left
    }

    /// Adds what was used to the attempt's account.
    pub(crate) fn stop(self, control: &Control) {
        let used = u64::try_from(self.used().as_micros()).unwrap_or(u64::MAX);
        control.cpu_us.fetch_add(used, Ordering::Relaxed);
    }

    fn used(&self) -> Duration {
        thread_cpu().saturating_sub(self.cpu)
    }
}

/// CPU time of the calling thread (clock_gettime(2)); none where that clock is missing, so that nothing ever overruns.
fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_computes_uses_up_the_budget_and_resumptions_add_up() {
        let control = Control::default();
        let meter = Meter::start(&control);
        while thread_cpu().saturating_sub(meter.cpu) < LIGHT_CPU_BUDGET / 2 {}
        assert!(!meter.is_over());
        meter.stop(&control);
        let meter = Meter::start(&control);
        assert!(meter.left <= LIGHT_CPU_BUDGET / 2);
        while !meter.is_over() {}
        assert!(thread_cpu().saturating_sub(meter.cpu) >= meter.left);
    }
}
