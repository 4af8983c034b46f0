//! The admin listener: numbers for Prometheus and two paths for whoever keeps the gateway alive, on an address of its own.
//!
//! It serves no hooks and shares nothing with the threads that do but their counters. It asks nobody who they are: it belongs
//! on loopback, or on a network of operators.

mod exposition;
mod scrape;

use std::convert::Infallible;
use std::net::TcpListener as StdTcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::counters::Counters;
use crate::limits::{ACCEPT_PAUSE, ADMIN_CONNECTION_TIMEOUT, ADMIN_CONNECTIONS_MAX, SCRAPE_TIMEOUT};
use crate::problem::{Kind, Problem};
use crate::thread::Stage;

type HttpResponse = Response<Full<Bytes>>;

/// What it serves from.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The supervisor's socket.
    pub(crate) socket: PathBuf,
    /// The numbers of each thread.
    pub(crate) threads: Vec<Arc<Counters>>,
    /// Whether the gateway serves.
    pub(crate) stage: watch::Receiver<Stage>,
    /// Held by who asks the supervisor: one at a time.
    pub(crate) asking: Mutex<()>,
}

/// Serves until it is dropped.
///
/// # Errors
/// When the socket cannot be used by this runtime.
pub(crate) async fn serve(listener: StdTcpListener, admin: Admin) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let admin = Arc::new(admin);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < ADMIN_CONNECTIONS_MAX => {
                    connections.spawn(connection(stream, Arc::clone(&admin)));
                }
                Ok(_) => warn!("a connection to the admin listener was closed: too many are open"),
                Err(error) => {
                    warn!(%error, "a connection to the admin listener could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// One request; whoever measures comes again in a while, and need not keep a connection for it.
async fn connection(stream: TcpStream, admin: Arc<Admin>) {
    let service = service_fn(move |request| answer(Arc::clone(&admin), request));
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    match timeout(ADMIN_CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to the admin listener ended in disorder"),
        Err(_) => debug!("a connection to the admin listener took too long"),
    }
}

async fn answer<B>(admin: Arc<Admin>, request: Request<B>) -> Result<HttpResponse, Infallible> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        let problem = Problem::new(Kind::UnknownPath, format!("nothing is served at {path}"));
        let help = "the admin listener serves /metrics, /healthz and /readyz; hooks are served by --listen";
        return Ok(problem.with_help(Some(help.to_owned())).at(path).into_response());
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text("only GET and HEAD are served here\n".into());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match path {
        "/metrics" => metrics(&admin).await,
        "/readyz" => readiness(&admin).await,
        _ => text("ok\n".into()),
    })
}

/// The numbers. Without a supervisor the gateway's own come all the same, and say so: a scrape that failed would tell less.
async fn metrics(admin: &Admin) -> HttpResponse {
    let Some(told) = ask(admin).await else { return busy() };
    let mut families = scrape::of_gateway(&admin.threads, told.is_ok());
    match told {
        Ok(supervisors) => families.extend(supervisors),
        Err(why) => debug!(why, "the supervisor does not tell its numbers"),
    }
    let Ok(body) = exposition::text(families) else {
        return Problem::new(Kind::Internal, "the numbers could not be written down").at("/metrics").into_response();
    };
    let mut response = text(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::MEDIA_TYPE));
    response
}

/// Whether hooks can be served: the gateway is not about to end, and the supervisor answers.
async fn readiness(admin: &Admin) -> HttpResponse {
    if *admin.stage.borrow() != Stage::Serving {
        return Problem::new(Kind::ShuttingDown, "the gateway is about to end").at("/readyz").into_response();
    }
    match ask(admin).await {
        None => busy(),
        Some(Ok(_)) => text("ready\n".into()),
        Some(Err(why)) => Problem::new(Kind::SupervisorAway, format!("the supervisor does not answer: {why}"))
            .with_help(Some("start it with `runlet supervisor`, or look at its log".to_owned()))
            .at("/readyz")
            .into_response(),
    }
}

/// What the supervisor says, or why it says nothing; `None` when others are asking it for too long.
async fn ask(admin: &Admin) -> Option<Result<Vec<runlet_proto::metrics::MetricFamily>, String>> {
    let _asking = timeout(SCRAPE_TIMEOUT, admin.asking.lock()).await.ok()?;
    let told = timeout(SCRAPE_TIMEOUT, scrape::of_supervisor(&admin.socket)).await;
    Some(told.unwrap_or_else(|_| Err(format!("it said nothing within {} s", SCRAPE_TIMEOUT.as_secs()))))
}

fn busy() -> HttpResponse {
    Problem::new(Kind::Overloaded, "others are asking for the numbers already").into_response()
}

fn text(body: String) -> HttpResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
