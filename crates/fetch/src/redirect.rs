//! The next request of a chain of redirects, as RFC 9110 section 15.4 and the fetch standard have it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use crate::limits;
use crate::request::{self, Outgoing};

/// Where a response points to; `None` if it is no redirect, or one without `location`, which is then the answer itself.
pub(crate) fn location(status: StatusCode, headers: &HeaderMap) -> Option<&HeaderValue> {
    match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => headers.get(header::LOCATION),
        _ => None,
    }
}

/// The request that follows a redirect; an error is a sentence about the location.
pub(crate) fn follow(from: &Outgoing, status: StatusCode, location: &HeaderValue) -> Result<Outgoing, String> {
    let text = text_of(location);
    if text.len() > limits::URL_BYTES_MAX {
        return Err(format!("its location is longer than {} bytes", limits::URL_BYTES_MAX));
    }
    let mut url = from.url.join(&text).map_err(|error| format!("its location {text:?} is not a URL: {error}"))?;
    request::check_scheme(&url).map_err(|why| format!("its location {text:?} cannot be followed: {why}"))?;
    let credentials = request::take_credentials(&mut url);
    url.set_fragment(None);
    let mut next = Outgoing { url, ..from.clone() };
    if becomes_get(status, &next.method) {
        next.method = Method::GET;
        next.body = None;
        for name in OF_THE_BODY {
            next.headers.remove(name);
        }
    }
    if !same_origin(&from.url, &next.url) {
        for name in OF_THE_ORIGIN {
            next.headers.remove(name);
        }
        // Not among the names that the http crate knows.
        next.headers.remove("cookie2");
    }
    if let Some(credentials) = credentials {
        next.headers.insert(header::AUTHORIZATION, credentials);
    }
    Ok(next)
}

/// Whether a host that stands in the definition counts as chosen by its author at this URL's port, too: at the port that was
/// asked first, and at those of plain HTTP and HTTPS. What else listens on that machine is not for a server to point at.
pub(crate) fn stays_literal(url: &Url, first_port: Option<u16>) -> bool {
    let port = url.port_or_known_default();
    port == first_port || matches!(port, Some(80 | 443))
}

/// Fields that describe a body which is no longer sent.
const OF_THE_BODY: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION];

/// Fields meant for one server only.
const OF_THE_ORIGIN: [HeaderName; 4] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::HOST];

/// 303 asks for a GET of something else; 301 and 302 after a POST are treated the same way by every browser.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => method != Method::HEAD && method != Method::GET,
        301 | 302 => method == Method::POST,
        _ => false,
    }
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// Servers send locations in UTF-8 or, the older ones, in Latin-1.
fn text_of(location: &HeaderValue) -> String {
    match std::str::from_utf8(location.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => location.as_bytes().iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use bytes::Bytes;

    use super::*;

    fn from(method: Method) -> Outgoing {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "cookie2", "host", "content-type", "x-own"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("v"));
        }
        let url = Url::parse("https://example.org/a/b?c").unwrap();
        Outgoing { method, url, headers, body: Some(Bytes::from_static(b"body")) }
    }

    fn next(method: Method, status: u16, location: &str) -> Outgoing {
        follow(&from(method), StatusCode::from_u16(status).unwrap(), &HeaderValue::from_str(location).unwrap()).unwrap()
    }

    #[test]
    fn a_literal_host_counts_at_its_own_port_and_those_of_http() {
        for (url, first, literal) in [
            ("http://localhost:4000/x", 4000, true),
            ("https://localhost:4000/", 4000, true),
            ("https://localhost/", 4000, true),
            ("http://localhost/", 4000, true),
            ("http://localhost:6379/", 4000, false),
            ("http://localhost:4000/", 80, false),
        ] {
            assert_eq!(stays_literal(&Url::parse(url).unwrap(), Some(first)), literal, "{url} after {first}");
        }
    }

    #[test]
    fn methods_change_as_browsers_change_them() {
        for (status, before, after) in [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
        ] {
            let next = next(before.clone(), status, "/x");
            assert_eq!(next.method, after, "{status} {before}");
            let kept = before == after;
            assert_eq!(next.body.is_some(), kept, "{status} {before}");
            assert_eq!(next.headers.contains_key("content-type"), kept, "{status} {before}");
        }
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        for (location, same) in [
            ("/x", true),
            ("https://example.org:443/x", true),
            ("//example.org/x", true),
            ("http://example.org/x", false),
            ("https://example.org:444/x", false),
            ("https://www.example.org/x", false),
        ] {
            let next = next(Method::GET, 302, location);
            for name in ["authorization", "cookie", "cookie2", "host"] {
                assert_eq!(next.headers.contains_key(name), same, "{location} {name}");
            }
            assert!(next.headers.contains_key("x-own"));
        }
    }

    #[test]
    fn locations_are_resolved() {
        for (location, url) in [
            ("x", "https://example.org/a/x"),
            ("?d", "https://example.org/a/b?d"),
            ("../x#part", "https://example.org/x"),
            ("", "https://example.org/a/b?c"),
            ("http://u:p@other.example/", "http://other.example/"),
        ] {
            assert_eq!(next(Method::GET, 302, location).url.as_str(), url, "{location}");
        }
        let latin1 = HeaderValue::from_bytes(b"/caf\xe9").unwrap();
        let utf8 = HeaderValue::from_bytes("/café".as_bytes()).unwrap();
        for location in [latin1, utf8] {
            let next = follow(&from(Method::GET), StatusCode::FOUND, &location).unwrap();
            assert_eq!(next.url.as_str(), "https://example.org/caf%C3%A9");
        }
        for location in ["file:///etc/passwd", "javascript:1", "http://[", "data:,x"] {
            let location = HeaderValue::from_str(location).unwrap();
            assert!(follow(&from(Method::GET), StatusCode::FOUND, &location).is_err());
        }
    }

    #[test]
    fn only_redirects_with_a_location_redirect() {
        let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("/x"))]);
        for status in [200, 201, 300, 304, 305, 400] {
            assert_eq!(location(StatusCode::from_u16(status).unwrap(), &headers), None, "{status}");
        }
        assert_eq!(location(StatusCode::FOUND, &HeaderMap::new()), None);
        assert!(location(StatusCode::FOUND, &headers).is_some());
    }
}
