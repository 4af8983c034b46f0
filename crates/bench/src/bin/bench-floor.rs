//! The floor: what somebody would write by hand instead of running an engine. One hyper server, one shared reqwest
//! client, `scraper` for the whole page, on tokio's default runtime; the allocator and the release profile are those of
//! `runlet`, so that a ratio compares programs and nothing else.
//!
//! Prints `listening on http://ADDRESS/` when it is ready.

use std::convert::Infallible;
use std::error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use clap::Parser;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use runlet_bench::workload::{HELLO_BODY, Headings, Workload};
use scraper::{ElementRef, Html, Selector};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static H1: LazyLock<Selector> = LazyLock::new(|| Selector::parse("h1").expect("a type selector is valid"));
static H2: LazyLock<Selector> = LazyLock::new(|| Selector::parse("h2").expect("a type selector is valid"));

/// Answers the bench's workloads without an engine.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// The page server.
    #[arg(long, value_name = "ADDRESS")]
    pages: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let options = Options::parse();
    let floor = Arc::new(Floor { client: reqwest::Client::builder().no_proxy().build()?, pages: options.pages });
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = Arc::clone(&floor);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let floor = Arc::clone(&floor);
                async move { Ok::<_, Infallible>(floor.answer(&request).await) }
            });
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            // A client that goes away in the middle of a response ends its own connection.
            let _: hyper::Result<()> = connection.await;
        });
    }
}

struct Floor {
    client: reqwest::Client,
    pages: SocketAddr,
}

impl Floor {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let workload = request.uri().path().strip_prefix('/');
        let workload = Workload::ALL.into_iter().find(|candidate| Some(candidate.name()) == workload);
        let Some(workload) = workload else {
            return response(StatusCode::NOT_FOUND, Bytes::from_static(b"{}"));
        };
        match self.scrape(workload).await {
            Ok(body) => response(StatusCode::OK, body),
            Err(cause) => response(StatusCode::BAD_GATEWAY, format!("{:?}", cause.to_string()).into()),
        }
    }

    async fn scrape(&self, workload: Workload) -> Result<Bytes, Box<dyn error::Error + Send + Sync>> {
        let Some(page) = workload.page() else { return Ok(Bytes::from_static(HELLO_BODY.as_bytes())) };
        let url = format!("http://{}{}", self.pages, page.path());
        let html = self.client.get(url).send().await?.error_for_status()?.text().await?;
        let headings = headings(&html, workload.limit().unwrap_or(usize::MAX));
        Ok(serde_json::to_vec(&headings)?.into())
    }
}

fn headings(html: &str, limit: usize) -> Headings {
    let document = Html::parse_document(html);
    let texts = |selector| document.select(selector).take(limit).map(text).collect();
    Headings { h1: texts(&H1), h2: texts(&H2) }
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().trim().to_owned()
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
