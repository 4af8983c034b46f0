//! What is served: the hooks, and three fixed paths for operators.

use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;

use crate::body;
use crate::link::{Unsent, body_bytes_max};
use crate::message::HookMessage;
use crate::problem::{Kind, Problem};
use crate::reply;
use crate::table::Found;
use crate::thread::Thread;
use crate::wire::Wire;

type HttpResponse = Response<Full<Bytes>>;

/// Marks a connection busy; its drop is the end of the request, however it ended.
struct Busy<'a>(&'a Wire);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Answers one request. Dropped when the client goes away.
pub(crate) async fn serve(
    thread: Rc<Thread>,
    wire: Rc<Wire>,
    request: Request<Incoming>,
) -> Result<HttpResponse, Infallible> {
    wire.begin();
    let _busy = Busy(&wire);
    let (parts, body) = request.into_parts();
    wire.set_lingers(!body.is_end_stream());
    let version = parts.version;
    let mut response = match (malformed(&parts), parts.uri.path().strip_prefix("/hook")) {
        (Some(detail), _) => Problem::new(Kind::BadHead, detail).closing().into_response(),
        (None, Some(below)) if below.starts_with('/') => hook(&thread, &wire, parts, body).await,
        (None, Some(_) | None) => fixed(&thread, &parts),
    };
    thread.counters.responded(response.status());
    // hyper may close a connection with an unread body on it. Its client has to know, or its next request is lost.
    if wire.lingers() && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// What is wrong with a head that hyper lets pass: a request that two servers in a row could take for two different ones
/// (RFC 9112, section 3.2), and one for a tunnel, whose response would have no body.
fn malformed(parts: &Parts) -> Option<&'static str> {
    if parts.method == Method::CONNECT {
        return Some("CONNECT asks a proxy for a tunnel, and this is none");
    }
    if parts.version == Version::HTTP_11 && parts.headers.get_all(HOST).iter().take(2).count() != 1 {
        return Some("a request of HTTP/1.1 has exactly one host field");
    }
    None
}

async fn hook(thread: &Thread, wire: &Wire, parts: Parts, body: Incoming) -> HttpResponse {
    let uri = parts.uri.clone();
    match call(thread, wire, parts, body).await {
        Ok(response) => response,
        Err(problem) => problem.at(uri.path()).into_response(),
    }
}

async fn call(thread: &Thread, wire: &Wire, parts: Parts, body: Incoming) -> Result<HttpResponse, Problem> {
    let path = parts.uri.path();
    let table = thread.link.table().ok_or_else(away)?;
    let found = table.find(&parts.method, &path["/hook".len()..]);
    drop(table);
    let (hook, values) = match found.map_err(|error| Problem::new(Kind::BadPath, error.to_string()))? {
        Found::Hook(hook, values) => (hook, values),
        Found::Options(allow) => return Ok(options(allow)),
        Found::Method(allow) => return Err(method_not_allowed(&parts.method, &allow)),
        Found::Nothing(nearest) => return Err(unknown_hook(path, nearest)),
    };
    let bytes_max = hook.route.body_bytes_max.min(body_bytes_max(thread.config.head_bytes_max) as u64);
    let body = body::read(body, bytes_max, thread.config.body_timeout, &thread.bodies).await?;
    wire.set_lingers(false);
    let awaited = thread
        .link
        .request(&hook.route, |id| HookMessage { id, hook: &hook, values: &values, parts: &parts, body: &body })
        .map_err(|cause| unsent(cause, bytes_max))?;
    // While the run goes on, nothing of the request is kept.
    drop((parts, body, values));
    reply::response(awaited.await, &hook.route, &thread.untaken)
}

/// The paths that are no hooks.
fn fixed(thread: &Thread, parts: &Parts) -> HttpResponse {
    let path = parts.uri.path();
    let known = matches!(path, "/" | "/healthz" | "/readyz" | "*");
    if known && parts.method == Method::OPTIONS {
        return options(HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    if known && parts.method != Method::GET && parts.method != Method::HEAD {
        let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
        return method_not_allowed(&parts.method, &allow).at(path).into_response();
    }
    match path {
        "/healthz" => text("ok\n"),
        "/readyz" if thread.link.table().is_some() => text("ready\n"),
        "/readyz" => away().at(path).into_response(),
        "/" => index(thread),
        _ => Problem::new(Kind::UnknownPath, format!("nothing is served at {path}"))
            .with_help(Some("hooks are served below /hook/".to_owned()))
            .at(path)
            .into_response(),
    }
}

fn index(thread: &Thread) -> HttpResponse {
    let hooks = thread.link.table().map(|table| table.len());
    let body = serde_json::json!({
        "service": "runlet gateway",
        "version": env!("CARGO_PKG_VERSION"),
        "supervisor": if hooks.is_some() { "connected" } else { "away" },
        "hooks": hooks,
        "paths": ["/hook/", "/healthz", "/readyz"],
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(body: &'static str) -> HttpResponse {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn options(allow: HeaderValue) -> HttpResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, allow);
    response
}

fn away() -> Problem {
    Problem::new(Kind::SupervisorAway, "the gateway has no connection to its supervisor; it keeps trying")
        .with_help(Some("start it with `runlet supervisor`, or look at its log".to_owned()))
}

fn method_not_allowed(method: &Method, allow: &HeaderValue) -> Problem {
    let listed = allow.to_str().unwrap_or_default();
    Problem::new(Kind::MethodNotAllowed, format!("{method} is not allowed here; {listed} are"))
        .with_allow(allow.clone())
}

fn unknown_hook(path: &str, nearest: Option<String>) -> Problem {
    Problem::new(Kind::UnknownHook, format!("no deployed workflow has a hook at {path}"))
        .with_help(nearest.map(|nearest| format!("the nearest hook is /hook/{nearest}")))
}

fn unsent(cause: Unsent, bytes_max: u64) -> Problem {
    match cause {
        Unsent::Away => away(),
        Unsent::Full => Problem::new(Kind::Overloaded, "too many requests wait for the supervisor"),
        Unsent::TooLong => Problem::new(
            Kind::BodyTooLarge,
            format!("the request as a whole is too long to be passed on; this hook takes bodies of {bytes_max} bytes"),
        ),
    }
}
