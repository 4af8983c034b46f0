//! From bytes to text: whether a body is text at all, which encoding it is in, and the decoding.
//!
//! The order is that of browsers (HTML standard, section 13.2.3): a byte order mark is believed first, then the call's own
//! `encoding`, then `content-type`, then what the document declares in itself, then the bytes.

use bytes::Bytes;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8};
use runlet_proto::call::{Body, BodyAs};
use url::Url;

use crate::limits;
use crate::prescan;

/// What a media type says about a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// HTML or XML: may declare its encoding in itself.
    Markup,
    /// JSON: UTF-8, whatever parameter it carries (RFC 8259, section 8.1).
    Json,
    /// Other text.
    Text,
    /// Not text.
    Binary,
    /// No media type, or one that is not known here: text if it reads as UTF-8.
    Unknown,
}

/// Delivers a body as the call asks.
pub(crate) fn deliver(
    bytes: Vec<u8>,
    content_type: Option<&str>,
    url: &Url,
    encoding: Option<&'static Encoding>,
    deliver_as: BodyAs,
) -> Body {
    let kind = content_type.map_or(Kind::Unknown, kind_of);
    match (deliver_as, kind) {
        (BodyAs::Bytes, _) | (BodyAs::Auto, Kind::Binary) => Body::Bytes(bytes.into()),
        (BodyAs::Auto, Kind::Unknown) if encoding.is_none() && Encoding::for_bom(&bytes).is_none() => {
            match String::from_utf8(bytes) {
                // Text has no NUL; formats that are not text soon have one.
                Ok(text) if !text.as_bytes().contains(&0) => Body::Text { text, encoding: UTF_8.name().to_owned() },
                Ok(text) => Body::Bytes(Bytes::from(text)),
                Err(error) => Body::Bytes(error.into_bytes().into()),
            }
        }
        (BodyAs::Auto | BodyAs::Text, kind) => {
            let declared = encoding.or_else(|| declared(&bytes, kind, content_type));
            decode(bytes, declared, url)
        }
    }
}

/// The encoding that the response declares, in its header or in itself.
fn declared(bytes: &[u8], kind: Kind, content_type: Option<&str>) -> Option<&'static Encoding> {
    match kind {
        Kind::Json => Some(UTF_8),
        Kind::Text | Kind::Binary => from_header(content_type),
        Kind::Markup | Kind::Unknown => from_header(content_type).or_else(|| prescan::declared(bytes)),
    }
}

/// The `charset` parameter, if its label is known.
fn from_header(content_type: Option<&str>) -> Option<&'static Encoding> {
    content_type?.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        name.trim().eq_ignore_ascii_case("charset").then(|| Encoding::for_label(value.as_bytes()))?
    })
}

fn kind_of(content_type: &str) -> Kind {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((top, sub)) = essence.split_once('/') else { return Kind::Unknown };
    if sub == "json" || sub.ends_with("+json") {
        return Kind::Json;
    }
    if sub == "html" || sub == "xml" || sub.ends_with("+xml") {
        return Kind::Markup;
    }
    match (top, sub) {
        ("text" | "message", _) => Kind::Text,
        ("application", sub) => match sub {
            "x-www-form-urlencoded"
            | "javascript"
            | "x-javascript"
            | "ecmascript"
            | "x-ndjson"
            | "ndjson"
            | "jsonl"
            | "jsonlines"
            | "yaml"
            | "x-yaml"
            | "toml"
            | "sql"
            | "graphql"
            | "csv"
            | "rtf"
            | "xml-dtd" => Kind::Text,
            "octet-stream" | "pdf" | "zip" | "gzip" | "x-gzip" | "x-tar" | "x-bzip2" | "x-xz" | "zstd" | "wasm"
            | "msgpack" | "x-msgpack" | "cbor" | "protobuf" | "x-protobuf" => Kind::Binary,
            _ => Kind::Unknown,
        },
        ("multipart", "form-data") => Kind::Unknown,
        ("image" | "audio" | "video" | "font" | "model", _) => Kind::Binary,
        (_, _) => Kind::Unknown,
    }
}

/// Decodes; malformed bytes become U+FFFD. Bytes that are valid UTF-8, or ASCII in an encoding that contains it, become the
/// text without being copied.
fn decode(mut bytes: Vec<u8>, declared: Option<&'static Encoding>, url: &Url) -> Body {
    let declared = match Encoding::for_bom(&bytes) {
        Some((encoding, mark)) => {
            bytes.drain(..mark);
            Some(encoding)
        }
        None => declared,
    };
    let text = |text: String, encoding: &'static Encoding| Body::Text { text, encoding: encoding.name().to_owned() };
    if let Some(encoding) = declared.filter(|&encoding| encoding != UTF_8) {
        if !(encoding.is_ascii_compatible() && bytes.is_ascii()) {
            return text(encoding.decode_without_bom_handling(&bytes).0.into_owned(), encoding);
        }
        if let Ok(plain) = String::from_utf8(bytes) {
            return text(plain, encoding);
        }
        unreachable!("ASCII is UTF-8");
    }
    match String::from_utf8(bytes) {
        // ISO-2022-JP hides in ASCII, behind escapes.
        Ok(plain) if declared.is_some() || !plain.as_bytes().contains(&0x1b) => text(plain, UTF_8),
        Ok(plain) => {
            let encoding = guess(plain.as_bytes(), url);
            text(encoding.decode_without_bom_handling(plain.as_bytes()).0.into_owned(), encoding)
        }
        Err(error) => {
            let encoding = declared.unwrap_or_else(|| guess(error.as_bytes(), url));
            text(encoding.decode_without_bom_handling(error.as_bytes()).0.into_owned(), encoding)
        }
    }
}

/// The most likely encoding of bytes that say nothing about it; the country in the host's name helps.
fn guess(bytes: &[u8], url: &Url) -> &'static Encoding {
    let head = &bytes[..bytes.len().min(limits::GUESS_BYTES_MAX)];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(head, head.len() == bytes.len());
    let country = url.domain().and_then(|domain| domain.rsplit('.').find(|label| !label.is_empty()));
    // A label that chardetng does not expect is no help, and it insists on lower-case ASCII.
    let country = country.filter(|label| label.bytes().all(|byte| byte.is_ascii_lowercase()));
    detector.guess(country.map(str::as_bytes), Utf8Detection::Allow)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    fn auto(bytes: &[u8], content_type: Option<&str>) -> Body {
        as_asked(bytes, content_type, None, BodyAs::Auto)
    }

    fn as_asked(bytes: &[u8], content_type: Option<&str>, encoding: Option<&str>, deliver_as: BodyAs) -> Body {
        from_host("shop.example", bytes, content_type, encoding, deliver_as)
    }

    fn from_host(
        host: &str,
        bytes: &[u8],
        content_type: Option<&str>,
        encoding: Option<&str>,
        deliver_as: BodyAs,
    ) -> Body {
        let url = Url::parse(&format!("http://{host}/")).unwrap();
        let encoding = encoding.map(|label| Encoding::for_label(label.as_bytes()).unwrap());
        deliver(bytes.to_vec(), content_type, &url, encoding, deliver_as)
    }

    fn text(text: &str, encoding: &str) -> Body {
        Body::Text { text: text.to_owned(), encoding: encoding.to_owned() }
    }

    const LATIN1: &[u8] = b"<meta charset=koi8-r>caf\xe9";

    #[test]
    fn the_order_of_belief() {
        let html = Some("text/html");
        let with_charset = Some("text/html; charset=\"ISO-8859-1\"");
        // The document's own declaration, the header over it, the call over that, the byte order mark over all.
        assert_eq!(auto(LATIN1, html), text("<meta charset=koi8-r>cafИ", "KOI8-R"));
        assert_eq!(auto(LATIN1, with_charset), text("<meta charset=koi8-r>café", "windows-1252"));
        let asked = as_asked(LATIN1, with_charset, Some("windows-1251"), BodyAs::Auto);
        assert_eq!(asked, text("<meta charset=koi8-r>cafй", "windows-1251"));
        let marked = as_asked("\u{feff}café".as_bytes(), with_charset, Some("windows-1251"), BodyAs::Auto);
        assert_eq!(marked, text("café", "UTF-8"));
        assert_eq!(auto(b"\xff\xfea\0b\0", with_charset), text("ab", "UTF-16LE"));
        assert_eq!(auto(b"\xfe\xff\0a\0b", None), text("ab", "UTF-16BE"));
        // An unknown label in the header is no label.
        assert_eq!(auto(LATIN1, Some("text/html; charset=klingon")), text("<meta charset=koi8-r>cafИ", "KOI8-R"));
        // Plain text has no meta elements.
        assert_eq!(auto(b"<meta charset=koi8-r>cafe", Some("text/plain")), text("<meta charset=koi8-r>cafe", "UTF-8"));
    }

    #[test]
    fn undeclared_text_is_utf8_or_guessed() {
        let html = Some("text/html");
        assert_eq!(auto("žluťoučký".as_bytes(), html), text("žluťoučký", "UTF-8"));
        let russian = "Привет, как дела? Это обычный русский текст.";
        let (coded, ..) = encoding_rs::WINDOWS_1251.encode(russian);
        assert_eq!(auto(&coded, html), text(russian, "windows-1251"));
        let japanese = "こんにちは、世界。これは日本語の文章です。";
        for encoding in [encoding_rs::SHIFT_JIS, encoding_rs::EUC_JP, encoding_rs::ISO_2022_JP] {
            let (coded, ..) = encoding.encode(japanese);
            let body = from_host("shop.example.jp", &coded, html, None, BodyAs::Auto);
            assert_eq!(body, text(japanese, encoding.name()));
        }
        assert_eq!(auto(b"a\x1b[1mb", html), text("a\u{1b}[1mb", "UTF-8"));
    }

    #[test]
    fn malformed_bytes_are_replaced() {
        assert_eq!(auto(b"a\xffb", Some("text/html; charset=utf-8")), text("a\u{fffd}b", "UTF-8"));
        assert_eq!(auto(b"{\"a\":\"\xff\"}", Some("application/json")), text("{\"a\":\"\u{fffd}\"}", "UTF-8"));
    }

    #[test]
    fn json_is_utf8_whatever_its_header_says() {
        let body = "{\"é\":1}".as_bytes();
        for content_type in ["application/json; charset=iso-8859-1", "application/problem+json", "text/json"] {
            assert_eq!(auto(body, Some(content_type)), text("{\"é\":1}", "UTF-8"), "{content_type}");
        }
    }

    #[test]
    fn auto_tells_text_from_bytes() {
        for content_type in ["text/css", "application/xhtml+xml", "image/svg+xml", "application/x-www-form-urlencoded"]
        {
            assert!(matches!(auto(b"a", Some(content_type)), Body::Text { .. }), "{content_type}");
        }
        for content_type in ["image/png", "application/octet-stream", "application/pdf", "font/woff2", "Audio/Ogg"] {
            assert_eq!(auto(b"a", Some(content_type)), Body::Bytes(Bytes::from_static(b"a")), "{content_type}");
        }
        for content_type in [None, Some("application/vnd.own"), Some("nonsense"), Some("")] {
            assert_eq!(auto("é".as_bytes(), content_type), text("é", "UTF-8"), "{content_type:?}");
            for bytes in [&b"\xe9"[..], b"a\0b"] {
                assert_eq!(auto(bytes, content_type), Body::Bytes(bytes.to_vec().into()), "{content_type:?}");
            }
        }
    }

    #[test]
    fn the_call_decides_over_the_media_type() {
        let bytes = as_asked(b"a", Some("text/html"), None, BodyAs::Bytes);
        assert_eq!(bytes, Body::Bytes(Bytes::from_static(b"a")));
        assert_eq!(as_asked(b"a\0", Some("image/png"), None, BodyAs::Text), text("a\0", "UTF-8"));
        assert_eq!(as_asked(b"\xe9", None, Some("latin1"), BodyAs::Auto), text("é", "windows-1252"));
    }

    #[test]
    fn text_that_needs_no_change_is_not_copied() {
        for (content_type, encoding) in [("text/html", "UTF-8"), ("text/html; charset=latin1", "windows-1252")] {
            let bytes = b"plain".to_vec();
            let at = bytes.as_ptr();
            let url = Url::parse("http://example.org/").unwrap();
            let Body::Text { text, encoding: found } = deliver(bytes, Some(content_type), &url, None, BodyAs::Auto)
            else {
                panic!("HTML is text");
            };
            assert_eq!((text.as_ptr(), found.as_str()), (at, encoding));
        }
    }
}
