//! Percent-decoding of hook paths, so that `/hook/caf%C3%A9` and `/hook/café` are one path.
//!
//! A path is decoded before it is matched, but for `%2F` and `%25`, which stay (in upper case): an encoded slash does not
//! separate segments, and an encoded percent sign does not make an escape out of what follows it. Both are decoded in the
//! parameters, after the match.

use std::borrow::Cow;

/// A path whose escapes are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// A percent sign without two hexadecimal digits behind it.
    #[error("a percent sign in the path is not followed by two hexadecimal digits")]
    Escape,
    /// The decoded bytes are not UTF-8.
    #[error("the path is not UTF-8 once its escapes are decoded")]
    NotText,
}

/// The form of a path in which it is matched.
pub(crate) fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    rewrite(path, |byte| matches!(byte, b'/' | b'%'))
}

/// A parameter's value, from a piece of a normalised path.
pub(crate) fn decode(piece: &str) -> Result<String, BadPath> {
    rewrite(piece, |_| false).map(Cow::into_owned)
}

/// Decodes every escape except those of bytes that are to stay escaped.
fn rewrite(text: &str, stays: impl Fn(u8) -> bool) -> Result<Cow<'_, str>, BadPath> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let ([high, low], after) = rest.split_first_chunk().ok_or(BadPath::Escape)?;
        rest = after;
        let byte = digit(*high)? << 4 | digit(*low)?;
        if stays(byte) {
            bytes.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BadPath::NotText)
}

fn digit(byte: u8) -> Result<u8, BadPath> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(BadPath::Escape),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn escapes_are_decoded_but_for_slash_and_percent() {
        assert!(matches!(normalise("/shop/7").unwrap(), Cow::Borrowed("/shop/7")));
        assert_eq!(normalise("/caf%C3%A9%20x").unwrap(), "/café x");
        assert_eq!(normalise("/a%2fb/%252F").unwrap(), "/a%2Fb/%252F");
        assert_eq!(decode("a%2Fb").unwrap(), "a/b");
        assert_eq!(decode("%252F").unwrap(), "%2F");
    }

    #[test]
    fn wrong_escapes_are_errors() {
        for path in ["%", "%4", "%zz", "a%+1", "%4g"] {
            assert_eq!(normalise(path), Err(BadPath::Escape), "{path}");
        }
        assert_eq!(normalise("%ff"), Err(BadPath::NotText));
        assert_eq!(normalise("%C3/%A9"), Err(BadPath::NotText));
    }
}
