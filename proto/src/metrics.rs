//! Numbers of the supervisor, in the terms of OpenMetrics: families of samples with labels.
//!
//! Names, labels and meaning are the supervisor's; who writes them down for a scrape needs to know none of them. Everything is
//! a whole number, so that it can be compared: times are nanoseconds here and become seconds when they are written down.

use serde::{Deserialize, Serialize};

/// Samples that measure one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricFamily {
    /// Name, without its unit and without `_total`.
    pub name: String,
    /// What is measured, one sentence without a full stop.
    pub help: String,
    /// What it is measured in.
    pub unit: MetricUnit,
    /// How its numbers behave.
    pub kind: MetricKind,
    /// The samples, no two of which have the same labels.
    pub samples: Vec<MetricSample>,
}

/// One number, or one histogram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricSample {
    /// Names and values of its labels.
    pub labels: Vec<(String, String)>,
    /// What was measured.
    pub value: MetricValue,
}

/// What a number is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricUnit {
    /// It is counted.
    None,
    /// Bytes.
    Bytes,
    /// Seconds; in messages nanoseconds.
    Seconds,
}

/// How the numbers of a family behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricKind {
    /// It grows for as long as its process lives.
    Counter,
    /// It is what it is at the moment.
    Gauge,
    /// It tells how often something took how long.
    Histogram,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricValue {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Histogram {
        /// The sum of everything that was observed.
        sum: u64,
        /// Upper bounds, growing, each with how many observations lie between the one before and it.
        buckets: Vec<(u64, u64)>,
        /// How many lie above the last bound.
        above: u64,
    },
}
