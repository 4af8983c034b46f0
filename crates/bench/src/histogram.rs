//! A latency histogram with log-linear buckets: constant cost per value, an error of at most 1 in 128 (0.8 %).

use std::time::Duration;

/// Buckets per power of two, as a power of two itself.
const PRECISION_BITS: u32 = 7;
/// Values below this have a bucket each.
const LINEAR_MAX: u64 = 1 << PRECISION_BITS;
/// Largest value told apart, in nanoseconds: 2^40 ns, about 18 minutes; greater ones count as this one.
const VALUE_MAX: u64 = (1 << 40) - 1;

/// Counts of durations.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; bucket_of(VALUE_MAX) + 1], count: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let value = u64::try_from(duration.as_nanos()).unwrap_or(VALUE_MAX).min(VALUE_MAX);
        self.buckets[bucket_of(value)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(value);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest one, exactly; zero if there is none.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The duration that `fraction` (0 to 1) of all counted ones do not exceed; zero if there is none.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among far fewer than 2^52 values"
        )]
        let rank = ((self.count as f64 * fraction).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(value_of(bucket).min(self.max_ns));
            }
        }
        Duration::ZERO
    }
}

/// The bucket a value falls into: the value itself while small, then the leading bits below the highest one.
fn bucket_of(value: u64) -> usize {
    if value < LINEAR_MAX {
        return usize::try_from(value).expect("below 128");
    }
    let shift = value.ilog2() - PRECISION_BITS;
    let bucket = (u64::from(shift) << PRECISION_BITS) + (value >> shift);
    usize::try_from(bucket).expect("at most 34 × 128 buckets, since values are capped at 2^40")
}

/// The greatest value of a bucket.
fn value_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < LINEAR_MAX {
        return bucket;
    }
    let shift = (bucket >> PRECISION_BITS) - 1;
    let leading = bucket - (shift << PRECISION_BITS);
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_the_stated_error() {
        for value in (0..5_000).chain((12..40).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 12_345]))
        {
            let top = value_of(bucket_of(value));
            assert!(top >= value, "{value} is above its bucket's top {top}");
            assert!(top - value <= value / 128, "{value} is too far from {top}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.max(), Duration::from_micros(1000));
        for (fraction, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let micros = histogram.quantile(fraction).as_secs_f64() * 1e6;
            assert!((micros - expected).abs() <= expected / 100.0, "p{fraction}: {micros}");
        }
    }

    #[test]
    fn an_empty_histogram_and_a_huge_value_are_no_trouble() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        histogram.record(Duration::from_secs(1 << 40));
        assert_eq!(histogram.quantile(0.5), histogram.max());
    }
}
