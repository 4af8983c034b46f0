//! Numbers as text in the OpenMetrics format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use runlet_proto::metrics::{MetricFamily, MetricKind, MetricUnit, MetricValue};

/// Media type of the text.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text.
///
/// # Errors
/// [`fmt::Error`] is never met: a string takes everything.
pub(super) fn text(families: Vec<MetricFamily>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Told(families)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Families that somebody told.
#[derive(Debug)]
struct Told(Vec<MetricFamily>);

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let unit = match family.unit {
                MetricUnit::None => None,
                MetricUnit::Bytes => Some(Unit::Bytes),
                MetricUnit::Seconds => Some(Unit::Seconds),
            };
            let kind = match family.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                if sample.labels.is_empty() {
                    value(&mut metric, family, &sample.value)?;
                } else {
                    value(&mut metric.encode_family(&sample.labels)?, family, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn value(metric: &mut MetricEncoder<'_>, family: &MetricFamily, value: &MetricValue) -> fmt::Result {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let in_seconds = family.unit == MetricUnit::Seconds;
    match (value, family.kind) {
        (MetricValue::Number(number), MetricKind::Counter) if in_seconds => {
            metric.encode_counter::<NoLabelSet, _, f64>(&seconds(*number), None)
        }
        (MetricValue::Number(number), MetricKind::Counter) => metric.encode_counter::<NoLabelSet, _, f64>(number, None),
        (MetricValue::Number(number), MetricKind::Gauge) if in_seconds => metric.encode_gauge(&seconds(*number)),
        (MetricValue::Number(number), MetricKind::Gauge) => metric.encode_gauge(number),
        (MetricValue::Histogram { sum, buckets, above }, MetricKind::Histogram) => {
            let scaled = |number: u64| if in_seconds { seconds(number) } else { number as f64 };
            let count = buckets.iter().map(|(_, count)| count).sum::<u64>() + above;
            let buckets = buckets.iter().map(|(bound, count)| (scaled(*bound), *count));
            let buckets: Vec<_> = buckets.chain([(f64::INFINITY, *above)]).collect();
            metric.encode_histogram::<NoLabelSet>(scaled(*sum), count, &buckets, None)
        }
        // Whoever told it is of another release and says what makes no sense here: it is left out.
        (MetricValue::Number(_), MetricKind::Histogram)
        | (MetricValue::Histogram { .. }, MetricKind::Counter | MetricKind::Gauge) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_proto::metrics::MetricSample;

    use super::*;

    fn family(name: &str, kind: MetricKind, unit: MetricUnit, samples: Vec<MetricSample>) -> MetricFamily {
        MetricFamily { name: name.into(), help: "What it is".into(), unit, kind, samples }
    }

    #[test]
    fn the_text_is_that_of_the_format() {
        let labels = vec![("workflow".to_owned(), "a \"b\"\\\n".to_owned())];
        let histogram = MetricValue::Histogram { sum: 2_500_000_000, buckets: vec![(500_000_000, 1)], above: 2 };
        let plain = |value| MetricSample { labels: Vec::new(), value };
        let families = vec![
            family(
                "a",
                MetricKind::Counter,
                MetricUnit::None,
                vec![MetricSample { labels, value: MetricValue::Number(7) }],
            ),
            family("b", MetricKind::Gauge, MetricUnit::Bytes, vec![plain(MetricValue::Number(u64::MAX))]),
            family("c", MetricKind::Histogram, MetricUnit::Seconds, vec![plain(histogram.clone())]),
            family("d", MetricKind::Counter, MetricUnit::Seconds, vec![plain(MetricValue::Number(1_500_000_000))]),
            family("e", MetricKind::Gauge, MetricUnit::None, vec![plain(histogram)]),
        ];
        let expected = "# HELP a What it is\n# TYPE a counter\na_total{workflow=\"a \\\"b\\\"\\\\\\n\"} 7\n\
            # HELP b_bytes What it is\n# TYPE b_bytes gauge\n# UNIT b_bytes bytes\nb_bytes 18446744073709551615\n\
            # HELP c_seconds What it is\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\nc_seconds_sum 2.5\n\
            c_seconds_count 3\nc_seconds_bucket{le=\"0.5\"} 1\nc_seconds_bucket{le=\"+Inf\"} 3\n\
            # HELP d_seconds What it is\n# TYPE d_seconds counter\n# UNIT d_seconds seconds\nd_seconds_total 1.5\n\
            # HELP e What it is\n# TYPE e gauge\n# EOF\n";
        assert_eq!(text(families).unwrap(), expected);
    }
}
