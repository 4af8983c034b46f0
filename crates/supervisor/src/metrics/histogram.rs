//! How often something took how long: fixed buckets, so that an observation is a few comparisons and two additions.

use runlet_kernel::Span;
use runlet_proto::metrics::MetricValue;

/// Upper bounds of the buckets in microseconds: from a hook that is answered in place to a run that waits for half an hour.
const BOUNDS_US: [u64; 20] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
];

/// Durations that were observed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: [u64; BOUNDS_US.len()],
    above: u64,
    sum_us: u64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn observe(&mut self, took: Span) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took.0);
        *self.counts.get_mut(bucket).unwrap_or(&mut self.above) += 1;
        self.sum_us = self.sum_us.saturating_add(took.0);
    }

    /// Whether nothing was observed.
    pub(crate) fn is_empty(&self) -> bool {
        self.above == 0 && self.counts.iter().all(|count| *count == 0)
    }

    /// As it is told: in nanoseconds.
    pub(crate) fn value(&self) -> MetricValue {
        let ns = |us: u64| us.saturating_mul(1_000);
        MetricValue::Histogram {
            sum: ns(self.sum_us),
            buckets: BOUNDS_US.iter().zip(self.counts).map(|(bound, count)| (ns(*bound), count)).collect(),
            above: self.above,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_above_all_is_counted_too() {
        let mut histogram = Histogram::default();
        assert!(histogram.is_empty());
        for us in [0, 100, 101, 1_800_000_000, 1_800_000_001, u64::MAX] {
            histogram.observe(Span(us));
        }
        let MetricValue::Histogram { sum, buckets, above } = histogram.value() else { panic!("a histogram") };
        assert_eq!((buckets[0], buckets[1], buckets[19]), ((100_000, 2), (250_000, 1), (1_800_000_000_000, 1)));
        assert_eq!((above, sum), (2, u64::MAX));
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 4);
    }
}
