//! One keep-alive HTTP/1.1 client connection that costs as little CPU as it can: the request is bytes made beforehand,
//! the response is parsed in place and compared by its caller.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADER_FIELDS_MAX};

/// Why an exchange did not come to a complete response.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection could not be made, or broke.
    #[error("connection to {address}: {cause}")]
    Io {
        /// The server.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The server closed before the response was whole.
    #[error("the server closed the connection after {received} bytes of a response")]
    Closed {
        /// How much had come.
        received: usize,
    },
    /// Not HTTP/1.1, or a head beyond the limits.
    #[error("response head: {0}")]
    Head(#[from] httparse::Error),
    /// A response this client does not read.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// A complete response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

/// A connection to one server.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    received: BytesMut,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`ExchangeError::Io`] if nobody listens there.
    pub async fn open(address: SocketAddr) -> Result<Self, ExchangeError> {
        let io = |cause| ExchangeError::Io { address, cause };
        let stream = TcpStream::connect(address).await.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        Ok(Self { address, stream, received: BytesMut::with_capacity(HEAD_BYTES_MAX) })
    }

    /// Sends `request` and reads the response to it. After an error the connection is of no more use.
    ///
    /// # Errors
    /// Any [`ExchangeError`]; a status other than 200 is none.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Response<'_>, ExchangeError> {
        let address = self.address;
        let io = |cause| ExchangeError::Io { address, cause };
        self.received.clear();
        self.stream.write_all(request).await.map_err(io)?;
        let head = loop {
            self.read().await?;
            if let Some(head) = Head::parse(&self.received)? {
                break head;
            }
            if self.received.len() >= HEAD_BYTES_MAX {
                return Err(ExchangeError::Unsupported("the response head is too long"));
            }
        };
        let whole = head.bytes + head.content_length;
        self.received.reserve(whole.saturating_sub(self.received.len()));
        while self.received.len() < whole {
            self.read().await?;
        }
        if self.received.len() > whole {
            return Err(ExchangeError::Unsupported("more bytes came than the response has"));
        }
        Ok(Response { status: head.status, body: &self.received[head.bytes..], keep_alive: head.keep_alive })
    }

    async fn read(&mut self) -> Result<(), ExchangeError> {
        let address = self.address;
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err(ExchangeError::Closed { received: self.received.len() }),
            Ok(_) => Ok(()),
            Err(cause) => Err(ExchangeError::Io { address, cause }),
        }
    }
}

/// The bytes of a GET request.
#[must_use]
pub fn get_request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: */*\r\n\r\n").into_bytes()
}

/// One GET on a connection of its own: status and body.
///
/// # Errors
/// Any [`ExchangeError`].
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), ExchangeError> {
    let mut connection = Connection::open(address).await?;
    let response = connection.exchange(&get_request(address, path)).await?;
    Ok((response.status, response.body.to_vec()))
}

/// Of a response's head, what is needed.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    content_length: usize,
    keep_alive: bool,
}

impl Head {
    /// `None` while the head is not whole.
    fn parse(received: &[u8]) -> Result<Option<Self>, ExchangeError> {
        let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(bytes) = response.parse(received)? else { return Ok(None) };
        let mut content_length = None;
        let mut keep_alive = response.version == Some(1);
        for field in response.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                content_length = std::str::from_utf8(field.value).ok().and_then(|text| text.parse::<usize>().ok());
            } else if field.name.eq_ignore_ascii_case("connection") {
                keep_alive &= !field.value.eq_ignore_ascii_case(b"close");
            }
        }
        let Some(content_length) = content_length else {
            return Err(ExchangeError::Unsupported("the response has no content-length"));
        };
        if content_length > BODY_BYTES_MAX {
            return Err(ExchangeError::Unsupported("the response body is too long"));
        }
        Ok(Some(Self { status: response.code.unwrap_or(0), bytes, content_length, keep_alive }))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use tokio::net::TcpListener;

    use super::*;

    async fn answering(parts: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = BytesMut::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            for part in parts {
                stream.write_all(part.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_response_in_pieces_is_put_together() {
        let address =
            answering(&["HTTP/1.1 200 OK\r\ncontent-", "length: 5\r\nconnection: close\r\n\r\nhe", "llo"]).await;
        let mut connection = Connection::open(address).await.unwrap();
        let response = connection.exchange(&get_request(address, "/hello")).await.unwrap();
        assert_eq!(response, Response { status: 200, body: b"hello", keep_alive: false });
    }

    #[tokio::test]
    async fn broken_responses_are_errors() {
        let cases: [(&'static [&'static str], &str); 5] = [
            (&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"], "closed the connection after 43 bytes"),
            (&["HTTP/1.1 200 OK\r\n\r\nbody"], "no content-length"),
            (&["HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"], "too long"),
            (&["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxy"], "more bytes"),
            (&["ICY 200 OK\r\n\r\n"], "response head"),
        ];
        for (parts, expected) in cases {
            let error = get(answering(parts).await, "/").await.unwrap_err().to_string();
            assert!(error.contains(expected), "{parts:?}: {error}");
        }
    }
}
