//! Samples of the numbers that are told for a scrape.

use runlet_proto::metrics::{MetricFamily, MetricKind, MetricSample, MetricUnit, MetricValue};

pub(super) fn family() -> MetricFamily {
    MetricFamily {
        name: "runlet_runs".into(),
        help: "Live runs".into(),
        unit: MetricUnit::None,
        kind: MetricKind::Gauge,
        samples: vec![MetricSample {
            labels: vec![("state".to_owned(), "READY".to_owned())],
            value: MetricValue::Number(1),
        }],
    }
}

pub(in super::super) fn metric_units() -> Vec<MetricUnit> {
    vec![MetricUnit::None, MetricUnit::Bytes, MetricUnit::Seconds]
}

pub(in super::super) fn metric_kinds() -> Vec<MetricKind> {
    vec![MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram]
}

pub(in super::super) fn metric_values() -> Vec<MetricValue> {
    vec![MetricValue::Number(7), MetricValue::Histogram { sum: 9, buckets: vec![(5, 1)], above: 2 }]
}
