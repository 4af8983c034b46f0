//! What both stores do with values, as JSON texts: they answer alike because it is done here.

use bytes::{BufMut, Bytes, BytesMut};
use runlet_proto::failure::Failure;
use serde_json::Number;

use crate::failure;
use crate::json;

/// Whether a text is one JSON document of a size that may be stored.
pub(crate) fn check(what: &str, text: &[u8], bytes_max: u64) -> Result<(), Failure> {
    if text.len() as u64 > bytes_max {
        return Err(failure::too_large(what, text.len(), bytes_max));
    }
    json::check(text).map_err(|error| failure::bad_value(format!("the {what} is not valid JSON: {error}")))
}

/// The sum of a stored number, 0 if there is none, and another. Integers stay integers; with a float it becomes one.
pub(crate) fn add(key: &str, stored: Option<&[u8]>, number: &[u8]) -> Result<Bytes, Failure> {
    let parse = |text: &[u8]| match text.trim_ascii() {
        // An integer by its looks, which the parser takes for a float.
        b"-0" => Ok(Number::from(0)),
        text => serde_json::from_slice::<Number>(text),
    };
    let number = parse(number).map_err(|_| failure::bad_value("only a number can be added"))?;
    let stored = match stored {
        Some(text) => parse(text).map_err(|_| failure::not_a_number(key))?,
        None => Number::from(0),
    };
    let sum = match (integer(&stored), integer(&number)) {
        (Some(a), Some(b)) => Number::from_i128(a + b),
        (_, _) => stored.as_f64().zip(number.as_f64()).and_then(|(a, b)| Number::from_f64(a + b)),
    };
    sum.map(|sum| Bytes::from(sum.to_string())).ok_or_else(|| failure::overflow(key))
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// A stored list, empty if there is none, with one element more at its end.
pub(crate) fn append(key: &str, stored: Option<&[u8]>, element: &[u8]) -> Result<Bytes, Failure> {
    let stored = stored.unwrap_or(b"[]").trim_ascii();
    let Some(elements) = stored.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return Err(failure::not_a_list(key));
    };
    let elements = elements.trim_ascii();
    let mut list = BytesMut::with_capacity(elements.len() + element.len() + 3);
    list.put_u8(b'[');
    list.put_slice(elements);
    if !elements.is_empty() {
        list.put_u8(b',');
    }
    list.put_slice(element.trim_ascii());
    list.put_u8(b']');
    Ok(list.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(stored: Option<&str>, number: &str) -> Result<String, String> {
        let sum = add("k", stored.map(str::as_bytes), number.as_bytes());
        sum.map(|text| String::from_utf8_lossy(&text).into_owned()).map_err(|failure| failure.code)
    }

    #[test]
    fn integers_stay_integers_and_what_does_not_fit_is_said() {
        assert_eq!(sum(None, "1"), Ok("1".to_owned()));
        assert_eq!(sum(Some("9007199254740993"), "1"), Ok("9007199254740994".to_owned()), "beyond 53 bits");
        assert_eq!(sum(Some("18446744073709551615"), "-1"), Ok("18446744073709551614".to_owned()));
        assert_eq!(sum(Some("18446744073709551615"), "1"), Err("overflow".to_owned()));
        assert_eq!(sum(Some("-9223372036854775808"), "-1"), Err("overflow".to_owned()));
        assert_eq!(sum(Some("1"), "0.5"), Ok("1.5".to_owned()));
        assert_eq!(sum(Some("-0"), "-0"), Ok("0".to_owned()));
        assert_eq!(sum(Some("1e308"), "1e308"), Err("overflow".to_owned()));
        assert_eq!(sum(Some("\"1\""), "1"), Err("not-a-number".to_owned()));
        assert_eq!(sum(Some("1"), "true"), Err("bad-value".to_owned()));
    }

    #[test]
    fn what_is_appended_comes_last_whatever_the_text_looks_like() {
        let list = |stored: Option<&str>, element: &str| {
            let list = append("k", stored.map(str::as_bytes), element.as_bytes());
            list.map(|text| String::from_utf8_lossy(&text).into_owned()).map_err(|failure| failure.code)
        };
        assert_eq!(list(None, "1"), Ok("[1]".to_owned()));
        assert_eq!(list(Some(" [ ] "), " {} "), Ok("[{}]".to_owned()));
        assert_eq!(list(Some("[\"]\", 2]"), "[3]"), Ok("[\"]\", 2,[3]]".to_owned()));
        assert_eq!(list(Some("{\"a\":[1]}"), "1"), Err("not-a-list".to_owned()));
        assert_eq!(list(Some("\"[]\""), "1"), Err("not-a-list".to_owned()));
    }
}
