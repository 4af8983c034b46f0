//! `Retry-After` (RFC 9110, section 10.2.3): how long a server wants to be left alone.

use std::time::Duration;

/// The wait in milliseconds that a response asks for. A date counts from the server's own `Date`, so that no clock but the
/// server's matters; without one, or if either cannot be read, the field says nothing.
pub(super) fn retry_after_ms(headers: &[(String, String)]) -> Option<u64> {
    let field = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.trim());
    let value = field("retry-after")?;
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let (then, now) = (httpdate::parse_http_date(value).ok()?, httpdate::parse_http_date(field("date")?).ok()?);
    let wait = then.duration_since(now).unwrap_or(Duration::ZERO);
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Option<u64> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        retry_after_ms(&fields)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, expected) in [
            ("120", Some(120_000)),
            (" 0 ", Some(0)),
            ("99999999999999999999", None),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30_000)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(of(&[date, ("retry-after", value)]), expected, "{value}");
        }
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]), None, "a date needs one to count from");
        assert_eq!(of(&[date]), None);
    }
}
