//! Bounds: of heads, bodies, times and connections, and what a client beyond them is told.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use runlet_gateway::limits::HEAD_BYTES_MIN;
use support::{Gateway, both, both_with, route};

/// For limits that are to be met.
const SHORT: Duration = Duration::from_millis(50);

/// For limits that are to be met after something was done within them, on however busy a machine.
const ENOUGH: Duration = Duration::from_millis(700);

#[tokio::test]
async fn an_announced_body_over_the_limit_is_refused_unread() {
    let (gateway, _supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    let answer = client
        .request("POST /hook/x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000001\r\n\r\n")
        .await;
    assert_eq!(answer.status, 413, "and not 100: the body is not wanted");
    assert!(answer.problem()["detail"].as_str().unwrap().contains("1000000 bytes"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.hung_up().await);
}

#[tokio::test]
async fn a_refused_body_that_is_sent_nevertheless_does_not_cost_the_client_its_answer() {
    let (gateway, _supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    let body = "x".repeat(900_000);
    client.send(&format!("POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_is_refused_before_its_end() {
    let mut small = route("x", &[]);
    small.body_bytes_max = 10;
    let (gateway, mut supervisor) = both(vec![small]).await;
    let mut client = gateway.connect().await;
    client.send("POST /hook/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n").await;
    client.send("6\r\nghijkl\r\n").await; // No last chunk: the answer does not wait for it.
    assert_eq!(client.answer().await.problem()["type"], "urn:runlet:problem:body-too-large");

    let mut client = gateway.connect().await;
    client.send("POST /hook/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n").await;
    client.send("6\r\nefghij\r\n0\r\n\r\n").await;
    let (id, request) = supervisor.hook().await;
    assert_eq!(request.body, "abcdefghij");
    supervisor.ok(id, "fits").await;
    assert_eq!(client.answer().await.text(), "fits");
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let (gateway, _supervisor) = both_with(vec![route("x", &[])], |config| config.body_timeout = SHORT).await;
    let mut client = gateway.connect().await;
    let answer = client.request("POST /hook/x HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert_eq!(answer.status, 408);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("body"));
    assert!(client.hung_up().await);
}

#[tokio::test]
async fn a_slow_head_is_given_up() {
    let gateway = Gateway::start_with(|config| config.head_timeout = SHORT).await;
    let mut client = gateway.connect().await;
    let answer = client.request("GET /healthz HTTP/1.1\r\nhost:").await;
    assert_eq!(answer.status, 408);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("head"));
    assert!(client.hung_up().await);
}

#[tokio::test]
async fn a_second_head_is_as_bounded_as_the_first() {
    let gateway = Gateway::start_with(|config| config.head_timeout = ENOUGH).await;
    let mut client = gateway.connect().await;
    assert_eq!(client.request("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
    assert_eq!(client.request("GET /heal").await.status, 408);
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let gateway = Gateway::start_with(|config| {
        config.head_timeout = ENOUGH;
        config.idle_timeout = SHORT;
    })
    .await;
    let mut silent = gateway.connect().await;
    assert!(silent.hung_up().await);
    let mut idle = gateway.connect().await;
    assert_eq!(idle.request("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
    assert!(idle.hung_up().await);
}

#[tokio::test]
async fn a_run_may_take_longer_than_any_limit_of_the_connection() {
    let (gateway, mut supervisor) = both_with(vec![route("x", &[])], |config| {
        config.head_timeout = ENOUGH;
        config.idle_timeout = SHORT;
        config.write_timeout = SHORT;
    })
    .await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    // Another connection goes through all its limits meanwhile.
    assert!(gateway.connect().await.hung_up().await);
    assert!(gateway.connect().await.hung_up().await);
    supervisor.ok(id, "late but welcome").await;
    assert_eq!(client.answer().await.text(), "late but welcome");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_response_is_left() {
    let (mut gateway, mut supervisor) = both_with(vec![route("x", &[])], |config| {
        config.write_timeout = SHORT;
        config.drain_timeout = Duration::from_secs(3_600);
    })
    .await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    // More than all buffers between the two hold.
    supervisor.ok(id, &"x".repeat(15_000_000)).await;
    // Once the gateway has let go, the shutdown has nothing to wait for.
    gateway.stop();
    assert!(gateway.ended().await.is_ok());
}

#[tokio::test]
async fn heads_that_are_too_large_or_no_http_get_a_problem() {
    let gateway = Gateway::start_with(|config| {
        config.head_bytes_max = HEAD_BYTES_MIN;
        config.headers_max = 20;
    })
    .await;
    let long = "x".repeat(HEAD_BYTES_MIN);
    let many = "a: b\r\n".repeat(30);
    for (head, status, kind) in [
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"), 431, "head-too-large"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431, "head-too-large"),
        ("NONSENSE\r\n\r\n".to_owned(), 400, "bad-request"),
        ("GET / HTTP/1.1\r\nhost x\r\n\r\n".to_owned(), 400, "bad-request"),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: two\r\n\r\n".to_owned(), 400, "bad-request"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "bad-request"),
        ("GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n".to_owned(), 400, "bad-request"),
        ("CONNECT /hook/x HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400, "bad-request"),
    ] {
        let mut client = gateway.connect().await;
        let answer = client.request(&head).await;
        assert_eq!(answer.status, status, "{kind}");
        assert_eq!(answer.problem()["type"], format!("urn:runlet:problem:{kind}"));
        assert!(client.hung_up().await);
    }
}

#[tokio::test]
async fn a_uri_that_is_too_long_gets_a_problem() {
    let gateway = Gateway::start_with(|config| config.head_bytes_max = 256 * 1024).await;
    let answer = gateway.get(&format!("/{}", "x".repeat(70_000))).await;
    assert_eq!(answer.status, 414);
    assert_eq!(answer.problem()["type"], "urn:runlet:problem:uri-too-long");
}

#[tokio::test]
async fn connections_over_the_limit_are_told_so() {
    let gateway = Gateway::start_with(|config| config.connections_max = 2).await;
    let mut first = gateway.connect().await;
    let mut second = gateway.connect().await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.request("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
    }
    let answer = gateway.get("/healthz").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.problem()["type"], "urn:runlet:problem:overloaded");
    // A place that becomes free is taken again.
    drop(first);
    support::within(async { while gateway.get("/healthz").await.status != 200 {} }).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (gateway, mut supervisor) = both(vec![route("x/:n", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x/1 HTTP/1.1\r\nhost: x\r\n\r\nGET /hook/x/2 HTTP/1.1\r\nhost: x\r\n\r\n").await;
    for n in ["1", "2"] {
        let (id, request) = supervisor.hook().await;
        assert_eq!(request.params[0].1, n);
        supervisor.ok(id, n).await;
        assert_eq!(client.answer().await.text(), n);
    }
}
