//! From a call to a request that can be sent, and to the one that a redirect asks for.

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use runlet_proto::call::FetchCall;
use runlet_proto::failure::Failure;
use url::Url;

use crate::cause;
use crate::limits;

/// One request of a chain; the next one is made from it.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Without user, password and fragment.
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

impl Outgoing {
    /// Takes over method, URL, header fields and body of a call.
    ///
    /// # Errors
    /// Codes `request` and `url`: what another attempt would only repeat.
    pub(crate) fn new(call: &mut FetchCall) -> Result<Self, Failure> {
        let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| {
            Failure::workflow("request", format!("{:?} is not an HTTP method", call.method))
                .with_help("a method is one word, such as GET or POST")
        })?;
        // CONNECT asks for a tunnel, not for a resource; it has no place in a URL fetch.
        if method == Method::CONNECT {
            return Err(Failure::workflow("request", "the method CONNECT cannot be fetched"));
        }
        let mut url = parse_url(&call.url)?;
        let mut headers = header_map(std::mem::take(&mut call.headers), &method, &url)?;
        if let Some(credentials) = take_credentials(&mut url) {
            headers.entry(header::AUTHORIZATION).or_insert(credentials);
        }
        Ok(Self { method, url, headers, body: call.body.take() })
    }

    /// The request in reqwest's terms. What a redirect may need again is copied; bodies and field values are shared.
    pub(crate) fn to_reqwest(&self) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = self.body.clone().map(reqwest::Body::from);
        request
    }
}

/// Parses and checks an absolute URL; the fragment, which is never sent, is dropped.
fn parse_url(text: &str) -> Result<Url, Failure> {
    let refused = |why: String| {
        Failure::workflow("url", format!("{} cannot be fetched: {why}", cause::shown_text(text)))
            .with_help("write an absolute URL, such as https://example.org/path")
    };
    if text.len() > limits::URL_BYTES_MAX {
        return Err(refused(format!("the URL is longer than {} bytes", limits::URL_BYTES_MAX)));
    }
    let mut url = Url::parse(text).map_err(|error| refused(error.to_string()))?;
    check_scheme(&url).map_err(refused)?;
    url.set_fragment(None);
    Ok(url)
}

/// Only what an HTTP client can speak.
pub(crate) fn check_scheme(url: &Url) -> Result<(), String> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(format!("the scheme {other} is not http or https")),
    }
}

/// `user:password@` becomes a header field, so that it never shows in a message or a reply.
pub(crate) fn take_credentials(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain = percent_decoded(url.username());
    plain.push(b':');
    plain.extend(percent_decoded(url.password().unwrap_or_default()));
    url.set_username("").expect("an http URL has a host, so it may have a user");
    url.set_password(None).expect("an http URL has a host, so it may have a password");
    let mut value = HeaderValue::from_str(&format!("Basic {}", base64(&plain))).expect("Base64 is ASCII");
    value.set_sensitive(true);
    Some(value)
}

/// Fields that belong to the connection, not to the message (RFC 9110, section 7.6.1), or that frame the body. A definition
/// may pass on a hook's fields as they came; these stop here.
fn is_of_the_connection(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHORIZATION,
        header::EXPECT,
    ];
    NAMES.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

fn header_map(fields: Vec<(String, String)>, method: &Method, url: &Url) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 4);
    for (name, value) in fields {
        let refused = |what: &str| {
            let shown = cause::shown(method, url);
            Failure::workflow("request", format!("{shown}: the header field {name:?} cannot be sent: {what}"))
        };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("that is not a field name"))?;
        if is_of_the_connection(&parsed) {
            continue;
        }
        // Surrounding white space is not part of a value (RFC 9110, section 5.5); templates leave some.
        let value = match value.trim_matches([' ', '\t', '\r', '\n']) {
            trimmed if trimmed.len() == value.len() => HeaderValue::from_maybe_shared(Bytes::from(value)),
            trimmed => HeaderValue::from_str(trimmed),
        };
        let value = value.map_err(|_| refused("its value holds a line break or a control character"))?;
        headers.append(parsed, value);
    }
    // HTTP/2 keeps tables of what was sent; secrets stay out of them (RFC 7541, section 7.1).
    for name in [header::AUTHORIZATION, header::COOKIE] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
    Ok(headers)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match pair.and_then(|pair| std::str::from_utf8(pair).ok()).and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let sextet = (bits >> (18 - 6 * i)) & 63;
            out.push(if i <= group.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use runlet_proto::call::BodyAs;

    use super::*;

    fn call(method: &str, url: &str, headers: &[(&str, &str)]) -> FetchCall {
        FetchCall {
            method: method.to_owned(),
            url: url.to_owned(),
            literal_hosts: Vec::new(),
            headers: headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: None,
            timeout_ms: 1000,
            connect_timeout_ms: 1000,
            redirects_max: 0,
            body_bytes_max: 1000,
            tls_verify: true,
            ca_file: None,
            encoding: None,
            body_as: BodyAs::Auto,
        }
    }

    #[test]
    fn credentials_leave_the_url() {
        let out = Outgoing::new(&mut call("GET", "http://al%40ice:s%3Acret@example.org/a#top", &[])).unwrap();
        assert_eq!(out.url.as_str(), "http://example.org/a");
        // al@ice:s:cret
        assert_eq!(out.headers["authorization"], "Basic YWxAaWNlOnM6Y3JldA==");
        let own = [("Authorization", "Bearer x")];
        let out = Outgoing::new(&mut call("GET", "http://alice:secret@example.org/", &own)).unwrap();
        assert_eq!(out.headers["authorization"], "Bearer x");
    }

    #[test]
    fn fields_of_the_connection_are_dropped_and_values_trimmed() {
        let fields = [("Content-Length", "5"), ("Connection", "close"), ("X-A", " 1\n"), ("x-a", "2"), ("x-ü", "3")];
        let out = Outgoing::new(&mut call("POST", "http://example.org/", &fields[..4])).unwrap();
        assert_eq!(out.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(out.headers.len(), 2);
        let failure = Outgoing::new(&mut call("POST", "http://example.org/", &fields)).unwrap_err();
        assert!(failure.message.contains("\"x-ü\" cannot be sent"), "{failure}");
        let broken = [("x-a", "1\r\nhost: inside")];
        let failure = Outgoing::new(&mut call("GET", "http://example.org/", &broken)).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retryable), ("request", false));
    }

    #[test]
    fn what_cannot_be_fetched_is_refused() {
        for url in ["", "/path", "example.org", "ftp://example.org/", "file:///etc/passwd", "http://", "http://a b/"] {
            let failure = Outgoing::new(&mut call("GET", url, &[])).unwrap_err();
            assert_eq!((failure.code.as_str(), failure.retryable), ("url", false), "{url}");
        }
        for method in ["", "GE T", "CONNECT", "G\n"] {
            let failure = Outgoing::new(&mut call(method, "http://example.org/", &[])).unwrap_err();
            assert_eq!(failure.code, "request", "{method:?}");
        }
        let long = format!("http://example.org/{}", "a".repeat(limits::URL_BYTES_MAX));
        let failure = Outgoing::new(&mut call("GET", &long, &[])).unwrap_err();
        assert!(failure.message.len() < 600, "{failure}");
    }

    #[test]
    fn base64_pads() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
