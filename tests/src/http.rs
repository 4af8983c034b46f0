//! The smallest HTTP client a scenario needs: one request, one connection, everything visible. Blocking, so that a
//! scenario reads from top to bottom.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::wait::PATIENCE;

/// An answer, read whole.
#[derive(Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, .. } = self;
        write!(f, "{status} {headers:?}\n{}", self.text())
    }
}

impl Answer {
    /// A header field's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A GET.
///
/// # Panics
/// When no answer arrives.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[], b"")
}

/// A POST of JSON.
///
/// # Panics
/// When no answer arrives.
#[must_use]
pub fn post_json(address: SocketAddr, path: &str, body: &Value) -> Answer {
    request(address, "POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
}

/// Any request.
///
/// # Panics
/// When no answer arrives.
#[must_use]
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (stream, _) = send(address, method, path, headers, body);
    receive(stream).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// Any request, to a server that may be gone.
///
/// # Errors
/// Why there is no answer.
pub fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, String> {
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    receive(sent(stream, address, method, path, headers, body).0)
}

/// Sends a request and hands over the connection. The server may answer and close before it has read the body; how much
/// of it could be written comes along.
///
/// # Panics
/// When the server does not accept the connection.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (TcpStream, Result<(), std::io::Error>) {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    sent(stream, address, method, path, headers, body)
}

fn sent(
    stream: TcpStream,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (TcpStream, Result<(), std::io::Error>) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero");
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has_length = headers.iter().any(|(name, _)| ["content-length", "transfer-encoding"].contains(name));
    if !body.is_empty() && !has_length {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut writer = &stream;
    let written = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body));
    (stream, written)
}

/// Reads an answer to the end of the connection.
///
/// # Errors
/// When the connection breaks before the answer is whole, or it is not HTTP/1.1.
pub fn receive(mut stream: TcpStream) -> Result<Answer, String> {
    let mut bytes = Vec::new();
    // A reset after a whole answer is no loss; a cut answer is found below.
    let broken = stream.read_to_end(&mut bytes).err();
    parse(&bytes).ok_or_else(|| format!("no whole answer ({broken:?}): {:?}", String::from_utf8_lossy(&bytes)))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..head_end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let mut answer = Answer { status, headers: lines.filter_map(field).collect(), body: Vec::new() };
    let rest = &bytes[head_end + 4..];
    if status == 100 {
        return parse(rest);
    }
    answer.body = if answer.header("transfer-encoding") == Some("chunked") {
        dechunk(rest)?
    } else if let Some(length) = answer.header("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    Some(answer)
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..line_end]).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line_end + 2..line_end + 2 + length)?);
        rest = rest.get(line_end + 4 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths_and_chunks_and_refuses_half_answers() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let answer = parse(whole).expect("a whole answer");
        assert_eq!((answer.status, answer.text()), (200, "{}".to_owned()));
        assert!(parse(&whole[..whole.len() - 1]).is_none());
        let chunked = b"HTTP/1.1 502 Bad\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).expect("a whole answer").text(), "abc");
        assert!(parse(&chunked[..chunked.len() - 6]).is_none());
    }
}
