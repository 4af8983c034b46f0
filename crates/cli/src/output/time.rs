//! Times for people: RFC 3339 in JSON, an age in tables.

use std::time::{SystemTime, UNIX_EPOCH};

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// A Unix time in milliseconds as RFC 3339 in UTC: `2026-11-22T20:18:23.500Z`. Always three digits behind the point, so
/// that the order of the texts is the order of the times.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    i64::try_from(unix_ms / 1_000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .and_then(|text| Some(format!("{}.{:03}Z", text.strip_suffix('Z')?, unix_ms % 1_000)))
        // Only a clock that is thousands of years off gets here; the number is still worth more than nothing.
        .unwrap_or_else(|| unix_ms.to_string())
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago that was, in its largest unit: `3s`, `12m`, `5h`, `2d`.
pub(crate) fn age(then_unix_ms: u64, now_unix_ms: u64) -> String {
    let seconds = now_unix_ms.saturating_sub(then_unix_ms) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long something took: `840 µs`, `12.3 ms`, `4.06 s`.
pub(crate) fn elapsed(elapsed_us: u64) -> String {
    match elapsed_us {
        0..1_000 => format!("{elapsed_us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", elapsed_us / 1_000, elapsed_us % 1_000 / 100),
        _ => format!("{}.{:02} s", elapsed_us / 1_000_000, elapsed_us % 1_000_000 / 10_000),
    }
}

/// CPU time as a column has it: `0.42s`, `12.3s`, `3m05s`, `2h07m`.
pub(crate) fn cpu_time(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        0..10 => format!("{seconds}.{:02}s", us % 1_000_000 / 10_000),
        10..60 => format!("{seconds}.{}s", us % 1_000_000 / 100_000),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// An amount of memory as a column has it, in the units of 1024: `512K`, `3.4M`, `120M`, `1.5G`.
pub(crate) fn memory(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => return format!("{}K", bytes.div_ceil(1 << 10)),
        0x10_0000..0x4000_0000 => (1_u64 << 20, 'M'),
        _ => (1 << 30, 'G'),
    };
    match bytes / unit {
        whole @ 0..10 => format!("{whole}.{}{name}", bytes % unit * 10 / unit),
        whole => format!("{whole}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_378_703_500), "2026-11-22T20:18:23.500Z");
        assert_eq!(rfc3339(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn ages_and_durations_have_one_unit() {
        assert_eq!(age(10_000, 9_000), "0s");
        assert_eq!(age(0, 59_999), "59s");
        assert_eq!(age(0, 7_200_000), "2h");
        assert_eq!(age(0, 86_400_000 * 3), "3d");
        assert_eq!(elapsed(840), "840 µs");
        assert_eq!(elapsed(12_345), "12.3 ms");
        assert_eq!(elapsed(4_060_000), "4.06 s");
        for (us, text) in [(420_000, "0.42s"), (12_345_678, "12.3s"), (185_000_000, "3m05s"), (7_620_000_000, "2h07m")]
        {
            assert_eq!(cpu_time(us), text);
        }
    }

    #[test]
    fn memory_is_told_in_three_digits() {
        for (bytes, text) in
            [(0, "0K"), (1, "1K"), (512 << 10, "512K"), (3_565_158, "3.3M"), (120 << 20, "120M"), (3 << 29, "1.5G")]
        {
            assert_eq!(memory(bytes), text);
        }
    }
}
