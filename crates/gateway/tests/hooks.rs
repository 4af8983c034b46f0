//! Hooks: what the supervisor is sent, and what the client gets back.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use runlet_proto::control::RefusalKind;
use runlet_proto::failure::FailureClass;
use runlet_proto::hook::{HookAnswer, HookFailure, HttpReply, OnDisconnect, Respond};
use runlet_proto::ids::RunId;
use support::{Gateway, both, both_with, route, within};

const RUN: RunId = RunId::from_u128(0x0193_2c07_1f3e_7abc_8def_0123_4567_89ab);

#[tokio::test]
async fn the_supervisor_gets_the_whole_request() {
    let (gateway, mut supervisor) = both(vec![route("shop/:name/:id", &["POST"])]).await;
    let mut client = gateway.connect().await;
    client
        .send(
            "POST /hook/shop/a%20b/c%2Fd?x=1&y=%20 HTTP/1.1\r\nhost: localhost\r\nX-Twice: one\r\nx-twice: two\r\n\
             content-length: 5\r\n\r\nhello",
        )
        .await;
    let (id, request) = supervisor.hook().await;
    assert_eq!(request.workflow, "shop");
    assert_eq!(request.respond, Respond::WhenDone);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/hook/shop/a%20b/c%2Fd");
    assert_eq!(request.params, [("name".into(), "a b".into()), ("id".into(), "c/d".into())]);
    assert_eq!(request.query, "x=1&y=%20");
    let header =
        |name: &str| request.headers.iter().filter(|(key, _)| key == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(header("host"), ["localhost"]);
    assert_eq!(header("x-twice"), ["one", "two"]);
    assert_eq!(request.body, "hello");
    supervisor.ok(id, r#"{"h1":["x"]}"#).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"h1":["x"]}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn replies_come_back_as_they_are() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let body: Bytes = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    for (status, body) in [(201, body), (204, Bytes::new()), (404, Bytes::from_static(b"mine")), (599, Bytes::new())] {
        client.send("PURGE /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let (id, request) = supervisor.hook().await;
        assert_eq!(request.method, "PURGE");
        let headers = vec![pair("set-cookie", "a=1"), pair("set-cookie", "b=2"), pair("x-own", "café")];
        supervisor.answer(id, HookAnswer::Reply(Arc::new(HttpReply { status, headers, body: body.clone() }))).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.body, body);
        assert_eq!(answer.head.matches("set-cookie: ").count(), 2);
        assert_eq!(answer.header("x-own"), Some("café"));
    }
}

#[tokio::test]
async fn a_run_that_goes_on_is_answered_with_its_id() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("POST /hook/x HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    supervisor.answer(id, HookAnswer::Accepted(RUN)).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.text(), format!(r#"{{"run":"{RUN}"}}"#));
    assert_eq!(answer.header("runlet-run"), Some(RUN.to_string().as_str()));
}

#[tokio::test]
async fn failures_are_problems_that_name_run_block_and_attempt() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    for (class, status) in [
        (FailureClass::Workflow, 500),
        (FailureClass::Upstream, 502),
        (FailureClass::Stopped, 503),
        (FailureClass::Timeout, 504),
    ] {
        client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let (id, _) = supervisor.hook().await;
        let message = "connection refused".to_owned();
        let failure =
            HookFailure { run: RUN, class, block: Some("page".into()), attempt: 2, code: "connect".into(), message };
        supervisor.answer(id, HookAnswer::Failed(failure)).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        let problem = answer.problem();
        assert_eq!(problem["detail"], "connection refused");
        assert_eq!(problem["run"], RUN.to_string());
        assert_eq!(problem["block"], "page");
        assert_eq!(problem["attempt"], 2);
        assert_eq!(problem["instance"], format!("urn:uuid:{RUN}"));
    }
}

#[tokio::test]
async fn refusals_are_problems_with_a_way_out() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    for (kind, status, retry) in [
        (RefusalKind::NotFound, 404, false),
        (RefusalKind::Overloaded, 429, true),
        (RefusalKind::ShuttingDown, 503, true),
        (RefusalKind::Conflict, 409, false),
        (RefusalKind::Invalid, 400, false),
        (RefusalKind::Protocol, 500, false),
    ] {
        client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let (id, _) = supervisor.hook().await;
        supervisor.refuse(id, kind).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after").is_some(), retry);
        let problem = answer.problem();
        assert_eq!((&problem["detail"], &problem["help"]), (&"because".into(), &"do that".into()));
        assert_eq!(problem["instance"], "/hook/x");
    }
}

#[tokio::test]
async fn a_reply_that_is_not_http_is_named() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    let headers = vec![("x-bad".into(), "a\r\nb: c".into())];
    supervisor.answer(id, HookAnswer::Reply(Arc::new(HttpReply { status: 200, headers, body: Bytes::new() }))).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 500);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("x-bad"));
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let (gateway, mut supervisor) = both(vec![route("x/:n", &[])]).await;
    let mut clients = Vec::new();
    for n in 0..50 {
        let mut client = gateway.connect().await;
        client.send(&format!("GET /hook/x/{n} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        clients.push(client);
    }
    let mut requests = Vec::new();
    for _ in 0..50 {
        requests.push(supervisor.hook().await);
    }
    for (id, request) in requests.iter().rev() {
        supervisor.ok(*id, &request.params[0].1).await;
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer().await.text(), n.to_string());
    }
}

#[tokio::test]
async fn a_hook_for_get_answers_head_without_its_body() {
    let (gateway, mut supervisor) = both(vec![route("x", &["GET"])]).await;
    let mut client = gateway.connect().await;
    let ask = async {
        // The second answer follows the first at once, which proves that no body was sent.
        let head = client.request("HEAD /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        (head, client.request("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await)
    };
    let serve = async {
        let (id, request) = supervisor.hook().await;
        assert_eq!(request.method, "HEAD");
        supervisor.ok(id, "[1]").await;
    };
    let ((head, next), ()) = tokio::join!(ask, serve);
    assert_eq!((head.status, head.header("content-length")), (200, Some("3")));
    assert_eq!(next.text(), "ok\n");
}

#[tokio::test]
async fn options_and_other_methods_name_what_is_allowed() {
    let (gateway, mut supervisor) = both(vec![route("x", &["GET"]), route("x", &["PUT"]), route("any", &[])]).await;
    let mut client = gateway.connect().await;
    let answer = client.request("OPTIONS /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, OPTIONS, PUT")));
    let answer = client.request("DELETE /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS, PUT")));
    assert!(answer.problem()["detail"].as_str().unwrap().contains("DELETE"));
    client.send("OPTIONS /hook/any HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(supervisor.hook().await.1.method, "OPTIONS");
}

#[tokio::test]
async fn unknown_hooks_and_paths_are_named() {
    let (gateway, _supervisor) = both(vec![route("prices/today", &[])]).await;
    let answer = gateway.get("/hook/prices/todya").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.problem()["help"], "the nearest hook is /hook/prices/today");
    assert_eq!(answer.problem()["instance"], "/hook/prices/todya");
    assert_eq!(gateway.get("/hook").await.problem()["type"], "urn:runlet:problem:unknown-path");
    assert_eq!(gateway.get("/hooks/x").await.status, 404);
    assert_eq!(gateway.get("/hook/%zz").await.problem()["type"], "urn:runlet:problem:bad-path");
}

#[tokio::test]
async fn routes_change_while_requests_are_in_flight() {
    let (gateway, mut supervisor) = both(vec![route("old", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/old HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    supervisor.routes(2, vec![route("new", &[])]).await;
    gateway.until("/hook/old", 404).await;
    supervisor.ok(id, "old").await;
    assert_eq!(client.answer().await.text(), "old");
    client.send("GET /hook/new HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    supervisor.ok(id, "new").await;
    assert_eq!(client.answer().await.text(), "new");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_its_run() {
    let (gateway, mut supervisor) = both(vec![route("x", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    drop(client);
    assert_eq!(supervisor.abandoned().await, id);
    // A late answer is for nobody, and harms nobody.
    supervisor.ok(id, "late").await;
    gateway.ready().await;
}

#[tokio::test]
async fn a_run_that_is_to_go_on_is_not_stopped() {
    let mut goes_on = route("x", &[]);
    goes_on.on_disconnect = OnDisconnect::Continue;
    let (gateway, mut supervisor) = both(vec![goes_on, route("y", &[])]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    supervisor.hook().await;
    drop(client);
    let mut other = gateway.connect().await;
    other.send("GET /hook/y HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, request) = supervisor.hook().await;
    assert_eq!(request.path, "/hook/y");
    drop(other);
    // The next message is about the second request: nothing was said about the first.
    assert_eq!(supervisor.abandoned().await, id);
}

#[tokio::test]
async fn a_run_without_a_reply_in_time_is_given_up() {
    let mut slow = route("x", &[]);
    slow.timeout_ms = 20;
    let (gateway, mut supervisor) = both(vec![slow]).await;
    let mut client = gateway.connect().await;
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    assert_eq!(supervisor.overdue().await, (id, 20));
    let message = "the run gave no reply within 20 ms; it is BLOCKED on fetch x".to_owned();
    let (class, block) = (FailureClass::Timeout, Some("page".to_owned()));
    supervisor
        .answer(
            id,
            HookAnswer::Failed(HookFailure { run: RUN, class, block, attempt: 1, code: "connect".into(), message }),
        )
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &answer.problem()["run"]), (504, &RUN.to_string().into()));
    // A supervisor that does not answer this either is not waited for.
    client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    assert_eq!(supervisor.overdue().await, (id, 20));
    assert_eq!(supervisor.abandoned().await, id);
    let answer = client.answer().await;
    assert_eq!(answer.status, 504);
    assert!(answer.problem()["detail"].as_str().unwrap().contains("within 20 ms"));
    // The connection is still of use.
    assert_eq!(client.request("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn limits_of_different_hooks_keep_out_of_each_others_way() {
    let (mut patient, mut hasty) = (route("patient", &[]), route("hasty", &[]));
    patient.timeout_ms = u64::MAX;
    hasty.timeout_ms = 20;
    hasty.on_disconnect = OnDisconnect::Continue;
    let (gateway, mut supervisor) = both(vec![patient, hasty]).await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET /hook/patient HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (id, _) = supervisor.hook().await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/hook/hasty").await.status, 504);
        let (id, request) = supervisor.hook().await;
        assert_eq!(request.path, "/hook/hasty");
        assert_eq!(supervisor.overdue().await, (id, 20));
    }
    supervisor.ok(id, "at last").await;
    assert_eq!(waiting.answer().await.text(), "at last");
}

#[tokio::test]
async fn too_many_requests_in_flight_are_refused() {
    let (gateway, mut supervisor) = both_with(vec![route("x", &[])], |config| config.in_flight_max = 2).await;
    let mut clients = [gateway.connect().await, gateway.connect().await];
    let mut ids = Vec::new();
    for client in &mut clients {
        client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        ids.push(supervisor.hook().await.0);
    }
    let answer = gateway.get("/hook/x").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.problem()["type"], "urn:runlet:problem:overloaded");
    for id in ids {
        supervisor.ok(id, "done").await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_second_thread_takes_connections_only_when_the_first_has_many() {
    let gateway = Gateway::start_with(|config| config.threads = 2).await;
    let (mut one, mut other) = support::Supervisor::start_two(&gateway.socket, vec![route("x", &[])]).await;
    gateway.ready().await;
    let mut clients = Vec::new();
    let mut seen = [0, 0];
    for _ in 0..8 {
        let mut client = gateway.connect().await;
        client.send("GET /hook/x HTTP/1.1\r\nhost: x\r\n\r\n").await;
        clients.push(client);
        tokio::select! {
            _ = one.hook() => seen[0] += 1,
            _ = other.hook() => seen[1] += 1,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 8], "a few connections are served by one thread");
}

#[tokio::test]
async fn several_threads_serve_with_a_connection_each() {
    let gateway = Gateway::start_with(|config| config.threads = 3).await;
    let listener = runlet_ipc::Listener::bind(&gateway.socket).unwrap();
    for _ in 0..3 {
        let incoming = within(listener.accept()).await.unwrap();
        let handshake = incoming.handshake(runlet_proto::hello::Role::Supervisor, support::PATIENCE);
        assert_eq!(within(handshake).await.unwrap().0, runlet_proto::hello::Role::Gateway);
    }
}
