//! The page server: sends pages from memory, with as little CPU as it can, because it shares the cores with what is
//! measured. `GET /served` tells how many it has sent, so that an answer made without fetching is found out.
//!
//! Prints `listening on http://ADDRESS/` when it is ready. For the shape of the pages see `page.rs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{error, io};

use bytes::{Buf, Bytes, BytesMut};
use clap::Parser;
use runlet_bench::limits::{HEADER_FIELDS_MAX, REQUEST_BYTES_MAX};
use runlet_bench::page::{Page, PageKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves the pages that the bench scrapes.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let options = Options::parse();
    let site = Arc::new(Site::new());
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            // A client that goes away or sends nonsense ends its own connection.
            let _: io::Result<()> = serve(stream, &site).await;
        });
    }
}

/// The responses, head and body in one piece each.
struct Site {
    pages: Vec<(&'static str, Bytes)>,
    served: AtomicU64,
}

impl Site {
    fn new() -> Self {
        let page =
            |kind: PageKind| (kind.path(), response("200 OK", "text/html; charset=utf-8", &Page::generate(kind).html));
        Self { pages: PageKind::ALL.into_iter().map(page).collect(), served: AtomicU64::new(0) }
    }

    fn answer(&self, path: &str) -> Bytes {
        if let Some((_, page)) = self.pages.iter().find(|(at, _)| *at == path) {
            self.served.fetch_add(1, Ordering::Relaxed);
            return page.clone();
        }
        if path == "/served" {
            return response("200 OK", "text/plain", &self.served.load(Ordering::Relaxed).to_string());
        }
        response("404 Not Found", "text/plain", "no such page\n")
    }
}

fn response(status: &str, content_type: &str, body: &str) -> Bytes {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
}

/// Serves one connection until its client is done with it.
async fn serve(mut stream: TcpStream, site: &Site) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = BytesMut::with_capacity(REQUEST_BYTES_MAX);
    loop {
        let request = match parse(&received) {
            Ok(Some(request)) => request,
            Ok(None) if received.len() < REQUEST_BYTES_MAX => {
                if stream.read_buf(&mut received).await? == 0 {
                    return Ok(());
                }
                continue;
            }
            Ok(None) | Err(_) => return stream.write_all(&response("400 Bad Request", "text/plain", "")).await,
        };
        stream.write_all(&site.answer(&request.path)).await?;
        if request.close {
            return stream.shutdown().await;
        }
        received.advance(request.bytes);
    }
}

struct Request {
    path: String,
    bytes: usize,
    close: bool,
}

/// `None` while the head is not whole. Bodies are not expected: every request is a GET.
fn parse(received: &[u8]) -> Result<Option<Request>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(bytes) = request.parse(received)? else { return Ok(None) };
    let close = |field: &httparse::Header<'_>| {
        field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"close")
    };
    let close = request.headers.iter().any(close);
    Ok(Some(Request { path: request.path.unwrap_or("/").to_owned(), bytes, close }))
}
