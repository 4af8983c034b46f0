//! Coming and going: of the supervisor, of the gateway; HTTP/2; the paths for operators.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runlet_gateway::{Config, GatewayError, run_until};
use runlet_proto::control::RefusalKind;
use support::{Gateway, Supervisor, both, both_with, route, within};
use tokio::net::TcpStream;

#[tokio::test]
async fn without_a_supervisor_hooks_are_answered_503() {
    let gateway = Gateway::start().await;
    for path in ["/hook/x", "/readyz"] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}");
        assert_eq!(answer.problem()["type"], "urn:runlet:problem:supervisor-away");
        assert_eq!(answer.problem()["instance"], path);
    }
    assert_eq!(gateway.get("/healthz").await.text(), "ok\n");
    let index: serde_json::Value = serde_json::from_slice(&gateway.get("/").await.body).unwrap();
    assert_eq!(index["supervisor"], "away");
}

#[tokio::test]
async fn the_paths_for_operators() {
    let (gateway, _supervisor) = both(vec![route("x", &[])]).await;
    let index: serde_json::Value = serde_json::from_slice(&gateway.get("/").await.body).unwrap();
    assert_eq!((&index["supervisor"], &index["hooks"]), (&"connected".into(), &1.into()));
    let mut client = gateway.connect().await;
    let answer = client.request("DELETE /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    for request in ["OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", "OPTIONS /readyz HTTP/1.1\r\nhost: x\r\n\r\n"] {
        assert_eq!(client.request(request).await.status, 204);
    }
    assert_eq!(client.request("HEAD /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn a_supervisor_that_goes_away_is_found_again() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    supervisor.hook().await;
    let mut supervisor = supervisor.reconnected().await;
    // Who waited learns that nobody knows; who comes before the routes are told is asked to come again.
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.problem()["type"], "urn:runlet:problem:supervisor-lost");
    assert_eq!(gateway.get("/hook/x").await.problem()["type"], "urn:runlet:problem:supervisor-away");
    supervisor.routes(1, vec![route("x", &[])]).await;
    gateway.ready().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    supervisor.ok(id, "back").await;
    assert_eq!(client.answer().await.text(), "back");
}

#[tokio::test]
async fn a_supervisor_whose_socket_vanished_is_found_again() {
    let (gateway, supervisor) = both(vec![route("x", &[])]).await;
    drop(supervisor);
    gateway.until("/readyz", 503).await;
    let _supervisor = Supervisor::start(&gateway.socket, vec![route("x", &[])]).await;
    gateway.ready().await;
}

#[tokio::test]
async fn a_supervisor_that_does_not_tell_its_routes_is_asked_again() {
    let gateway = Gateway::start().await;
    let mut supervisor = Supervisor::start(&gateway.socket, vec![]).await;
    supervisor.refuse(0, RefusalKind::ShuttingDown).await;
    let mut supervisor = supervisor.reconnected().await;
    supervisor.routes(1, vec![]).await;
    gateway.ready().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_in_flight_and_closes_idle_connections() {
    let (mut gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut idle = gateway.connect().await;
    assert_eq!(idle.request("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
    let mut busy = gateway.connect().await;
    busy.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    gateway.stop();
    assert!(idle.hung_up().await);
    supervisor.ok(id, "still answered").await;
    let answer = busy.answer().await;
    assert_eq!((answer.text(), answer.header("connection")), ("still answered", Some("close")));
    assert!(gateway.ended().await.is_ok());
    assert!(supervisor.hung_up().await);
    assert!(TcpStream::connect(gateway.address).await.is_err());
}

#[tokio::test]
async fn a_shutdown_ends_at_its_deadline_and_gives_up_what_is_in_flight() {
    let (mut gateway, mut supervisor) =
        both_with(vec![route("x", &[])], |config| config.drain_timeout = std::time::Duration::from_millis(20)).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    gateway.stop();
    assert_eq!(supervisor.abandoned().await, id);
    assert!(supervisor.hung_up().await);
    assert!(gateway.ended().await.is_ok());
    assert!(client.hung_up().await);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let gateway = Gateway::start().await;
    let config = Config::new(gateway.address, &gateway.socket);
    let start = move || run_until(config, |_| {}, std::future::ready(()));
    let error = within(tokio::task::spawn_blocking(start)).await.unwrap().unwrap_err();
    assert!(matches!(error, GatewayError::Listen { .. }));
    assert!(error.to_string().contains(&gateway.address.to_string()), "{error}");
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let (gateway, mut supervisor) = both(vec![route("x/:n", &[])]).await;
    let stream = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (mut client, connection) =
        within(hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        |path: &str| http::Request::get(format!("http://x{path}")).body(Empty::<bytes::Bytes>::new()).unwrap();
    // Two at once on one connection, answered in the other order.
    let mut other = client.clone();
    let first = tokio::spawn(other.send_request(request("/hook/x/1")));
    let (first_id, _) = supervisor.hook().await;
    let second = tokio::spawn(client.send_request(request("/hook/x/2")));
    let (second_id, seen) = supervisor.hook().await;
    assert_eq!(seen.params[0].1, "2");
    supervisor.ok(second_id, "two").await;
    let response = within(second).await.unwrap().unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "two");
    // A stream that is reset is a client that goes away.
    first.abort();
    let _ = first.await;
    assert_eq!(supervisor.abandoned().await, first_id);
    assert_eq!(within(client.send_request(request("/nowhere"))).await.unwrap().status(), 404);
    drop((client, other));
    within(connection).await.unwrap().unwrap();
}
