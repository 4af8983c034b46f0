//! What a `content-type` says about a body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runlet_workflow::block::response::is_markup;
use serde_json::Value;

/// `encoding` of a body that is no text, in the JSON form of requests and responses.
pub(crate) const BASE64: &str = "base64";

/// A media type without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaType<'a>(&'a str);

impl<'a> MediaType<'a> {
    /// The media type of a `content-type` value: `text/html` of `text/html; charset=utf-8`.
    pub(crate) fn parse(content_type: &'a str) -> Self {
        Self(content_type.split(';').next().unwrap_or_default().trim())
    }

    pub(crate) fn is(self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }

    fn ends_with(self, suffix: &str) -> bool {
        let (own, suffix) = (self.0.as_bytes(), suffix.as_bytes());
        own.len() >= suffix.len() && own[own.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    }

    /// JSON (RFC 8259) or a format built on it (RFC 6839).
    pub(crate) fn is_json(self) -> bool {
        self.is("application/json") || self.is("text/json") || self.ends_with("+json")
    }

    /// Whether a `<` in it could begin an element.
    pub(crate) fn is_markup(self) -> bool {
        is_markup(&self.0.to_ascii_lowercase())
    }

    /// Whether it makes sense to look for elements in it: HTML, XML, any text, or nothing said.
    pub(crate) fn may_be_markup(self) -> bool {
        let is_text = self.0.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
        self.0.is_empty()
            || is_text && !self.is_json()
            || self.is("application/xhtml+xml")
            || self.is("application/xml")
            || self.ends_with("+xml")
    }
}

/// The `content-type` among header fields with names in lower case.
pub(crate) fn of_headers(headers: &[(String, String)]) -> Option<&str> {
    headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())
}

/// Bytes as Base64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A body as JSON: the value itself when it is JSON, else its text; Base64 and `true` when it is no text at all.
pub(crate) fn body_value(content_type: Option<&str>, body: &[u8]) -> (Value, bool) {
    let Ok(text) = std::str::from_utf8(body) else { return (Value::String(base64(body)), true) };
    let is_json = content_type.is_some_and(|text| MediaType::parse(text).is_json());
    let value = is_json.then(|| serde_json::from_str(text).ok()).flatten();
    (value.unwrap_or_else(|| Value::String(text.to_owned())), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_apart() {
        for text in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json", "text/json"] {
            assert!(MediaType::parse(text).is_json(), "{text}");
            assert!(!MediaType::parse(text).may_be_markup(), "{text}");
        }
        for text in ["text/html", "TEXT/HTML;charset=x", "application/xhtml+xml", "image/svg+xml", "text/plain", ""] {
            assert!(MediaType::parse(text).may_be_markup(), "{text}");
        }
        for text in ["image/png", "application/pdf", "application/octet-stream", "é/text/"] {
            assert!(!MediaType::parse(text).may_be_markup(), "{text}");
        }
    }

    #[test]
    fn bodies_become_values() {
        assert_eq!(body_value(Some("application/json"), b"[1]"), (serde_json::json!([1]), false));
        assert_eq!(body_value(Some("application/json"), b"[1"), (serde_json::json!("[1"), false));
        assert_eq!(body_value(None, b"[1]"), (serde_json::json!("[1]"), false));
        assert_eq!(body_value(None, &[0xff, 0]), (serde_json::json!("/wA="), true));
    }
}
