//! Durations and sizes as they are written: `500ms`, `30s`, `10MiB`.

use std::time::Duration;

use super::report::Finding;
use crate::limits;

const DURATION_UNITS: [(&str, f64); 5] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

/// Reads a duration as definitions have them: `500ms`, `30s`, `5m`, `2h`, `1d`.
///
/// # Errors
/// What is wrong with it and what to write instead, in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(Finding::into_words)
}

/// Reads a size in bytes as definitions have them: `64KiB`, `10MiB`, `2GB`.
///
/// # Errors
/// What is wrong with it and what to write instead, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    size(text).map_err(Finding::into_words)
}

/// Reads a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, Finding> {
    let (digits, unit) = number_and_unit(text);
    let refused = |what: &str| Finding::new("invalid-duration", format!("`{}` is no duration: {what}", clipped(text)));
    let Ok(number) = digits.parse::<f64>() else {
        return Err(
            refused("it does not begin with a number").help("such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"1d\"")
        );
    };
    if unit.is_empty() {
        return Err(refused("it has no unit").help(duration_hint(digits)));
    }
    let Some((_, seconds)) = DURATION_UNITS.iter().find(|(known, _)| *known == unit) else {
        if unit.contains(|c: char| c.is_ascii_digit()) {
            return Err(
                refused("it has more than one number").help("one number and one unit: \"90m\" is an hour and a half")
            );
        }
        return Err(refused(&format!("there is no unit `{}`", clipped(unit))).help("units are ms, s, m, h and d"));
    };
    let total = number * seconds;
    if total > limits::DURATION_MAX.as_secs_f64() {
        return Err(refused("it is too long").help("at most \"365d\""));
    }
    Ok(Duration::from_secs_f64(total))
}

/// Reads a size in bytes.
pub(crate) fn size(text: &str) -> Result<u64, Finding> {
    let (digits, unit) = number_and_unit(text);
    let refused = |what: &str| Finding::new("invalid-size", format!("`{}` is no size: {what}", clipped(text)));
    let Ok(number) = digits.parse::<f64>() else {
        return Err(refused("it does not begin with a number").help("such as \"64KiB\" or \"10MiB\""));
    };
    if unit.is_empty() {
        return Err(refused("it has no unit").help(size_hint(digits)));
    }
    let lower = unit.to_ascii_lowercase();
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(known, _)| *known == lower) else {
        return Err(
            refused(&format!("there is no unit `{}`", clipped(unit))).help("units are B, kB, MB, GB, KiB, MiB and GiB")
        );
    };
    #[expect(clippy::cast_precision_loss, reason = "the factors are exact in a double")]
    let bytes = number * *factor as f64;
    if bytes > 1e15 {
        return Err(refused("it is too large"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and bounded above")]
    let bytes = bytes as u64;
    Ok(bytes)
}

/// What to write instead of a bare number.
pub(crate) fn duration_hint(digits: &str) -> String {
    format!("write \"{digits}s\" or \"{digits}ms\"")
}

/// What to write instead of a bare number.
pub(crate) fn size_hint(digits: &str) -> String {
    format!("write \"{digits}B\" or \"{digits}MiB\"")
}

/// A size as one would write it.
pub(crate) fn shown_size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

/// Digits with at most one point, and the rest without the white space between.
fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn clipped(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("1.5 s").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        assert_eq!(duration("365d").unwrap(), limits::DURATION_MAX);
        for bad in ["", "s", "30", "-1s", "1 fortnight", "1e9s", "366d", "1.2.3s", "９s", "NaNs", "infs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("1h30m").unwrap_err().help.unwrap().contains("90m"));
        assert_eq!(duration("30").unwrap_err().help.unwrap(), "write \"30s\" or \"30ms\"");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("10MiB").unwrap(), 10 << 20);
        assert_eq!(size("1.5kB").unwrap(), 1500);
        assert_eq!(size("0b").unwrap(), 0);
        for bad in ["", "MiB", "10", "1 TiB", "-1B", "99999999999999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(shown_size(10 << 20), "10MiB");
        assert_eq!(shown_size(1000), "1000B");
    }
}
