//! Every bound of the export.

use std::time::Duration;

/// Spans that may wait for the exporter, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise. More than the specification's 2,048:
/// a supervisor ends thousands of runs in a second.
pub const QUEUE_SPANS_DEFAULT: usize = 16_384;

/// The most that `OTEL_BSP_MAX_QUEUE_SIZE` may say: some hundred MiB.
pub const QUEUE_SPANS_MAX: usize = 1 << 20;

/// Spans in one request, unless `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says otherwise.
pub const BATCH_SPANS_DEFAULT: usize = 512;

/// The most that `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` may say.
pub const BATCH_SPANS_MAX: usize = 8_192;

/// Bytes of spans in one request before compression; collectors take 4 MiB and more.
pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long a batch waits for more spans, unless `OTEL_BSP_SCHEDULE_DELAY` says otherwise.
pub const BATCH_DELAY_DEFAULT: Duration = Duration::from_secs(5);

/// How long one request may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Longest time that a variable may name.
pub const DURATION_MAX: Duration = Duration::from_hours(1);

/// Bytes of one text of a span; the rest is cut off.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Bytes of a certificate file.
pub const CERTIFICATE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a collector's answer that are read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How long the exporter waits before it tries again for the first time; twice as long from time to time.
pub const RETRY_DELAY_MIN: Duration = Duration::from_secs(1);

/// Longest time between two attempts to send the same batch.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// Longest `Retry-After` that is followed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// After how long a batch that could not be sent is dropped for good.
pub const RETRY_FOR: Duration = Duration::from_mins(2);

/// How long what waits may take to be sent when the exporter is closed.
pub const FLUSH_WITHIN: Duration = Duration::from_secs(3);
