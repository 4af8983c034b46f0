//! What a hook's client sees: replies, refusals, problems.

use std::net::{Shutdown, TcpListener};

use runlet_tests::http::{self, Answer};
use runlet_tests::runlet::{Installation, Running};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use serde_json::{Value, json};

fn deployed(definitions: &[(&str, Value)]) -> (Installation, Running) {
    let installation = Installation::new();
    let running = installation.start_both();
    for (name, definition) in definitions {
        installation.deploy(name, definition);
        running.wait_route(&format!("/hook/{name}"));
    }
    (installation, running)
}

/// Hook `name` → fetch of `url`, further members in `fetch` → response.
fn fetching(name: &str, url: &str, further: &Value) -> Value {
    let mut parameter = json!({ "url": url });
    for (key, value) in further.as_object().expect("an object") {
        parameter[key] = value.clone();
    }
    json!([
        { "type": "hook", "path": name, "methods": ["GET"] },
        { "type": "fetch", "id": "page", "parameter": parameter },
        { "type": "response", "body": "done" }
    ])
}

/// Checks an RFC 9457 problem and returns it.
fn problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    problem
}

/// Checks that a problem says which run, block and attempt failed, and `cause`.
fn says_where(problem: &Value, cause: &str) {
    let text = problem.to_string();
    for part in ["run", "page", "attempt", cause] {
        assert!(text.contains(part), "`{part}` is not in {problem}");
    }
}

#[test]
fn a_reply_has_the_status_headers_and_body_of_its_response_block() {
    let definition = json!([
        { "type": "hook", "path": "greet/:name", "methods": ["POST", "PUT"] },
        { "type": "response", "status": 201, "header": { "content-type": "text", "x-from": "runlet" },
          "body": "{{ hook.method }} {{ hook.params.name }} {{ hook.query.q }} {{ hook.body.n }}" }
    ]);
    let (_installation, running) = deployed(&[("greet/x", definition)]);
    let answer = http::post_json(running.address, "/hook/greet/J%C3%BCrgen?q=a%20b", &json!({ "n": 7 }));
    assert_eq!((answer.status, answer.text().as_str()), (201, "POST Jürgen a b 7"));
    assert!(answer.header("content-type").is_some_and(|value| value.starts_with("text/plain")), "{answer:?}");
    assert_eq!(answer.header("x-from"), Some("runlet"));
}

#[test]
fn values_are_escaped_even_if_only_the_run_knows_that_the_reply_is_markup() {
    let late = |path: &str, body: &str| {
        json!([
            { "type": "hook", "path": path, "methods": ["GET"] },
            { "type": "response", "header": { "content-type": "{{ hook.query.type }}" }, "body": body }
        ])
    };
    let (_installation, running) =
        deployed(&[("text", late("text", "<b>{{ hook.query.q }}</b>")), ("one", late("one", "{{ hook.query.q }}"))]);
    let get = |path: &str, media_type: &str| {
        http::get(running.address, &format!("/hook/{path}?type={media_type}&q=%3Ci%3E")).text()
    };
    assert_eq!(get("text", "text/html"), "<b>&lt;i&gt;</b>");
    assert_eq!(get("text", "image/svg%2Bxml"), "<b>&lt;i&gt;</b>");
    assert_eq!(get("text", "text/plain"), "<b><i></b>");
    assert_eq!(get("one", "text/html;charset=utf-8"), "&lt;i&gt;");
    assert_eq!(get("one", "application/json"), r#""<i>""#);
    assert_eq!(get("one", "text/plain"), "<i>");
}

#[test]
fn a_workflow_without_a_response_block_is_accepted_at_once() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::json("{}")));
    let definition = json!([
        { "type": "hook", "path": "later", "methods": ["GET"] },
        { "type": "fetch", "parameter": { "url": upstream.url() } }
    ]);
    let (installation, running) = deployed(&[("later", definition)]);
    // Answered while the fetch is still held back: the client does not wait for it.
    let answer = http::get(running.address, "/hook/later");
    assert_eq!(answer.status, 202, "{answer:?}");
    let run = answer.json()["run"].as_str().expect("the run's id").to_owned();
    let _ = installation.wait_state(&run, "BLOCKED");
    gate.open();
    let _ = installation.wait_state(&run, "COMPLETED");
}

#[test]
fn unknown_paths_and_methods_are_named() {
    let definition = json!([{ "type": "hook", "path": "a", "methods": ["POST"] }, { "type": "response", "body": "" }]);
    let (_installation, running) = deployed(&[("a", definition)]);
    problem(&http::get(running.address, "/hook/nothing-here"), 404);
    problem(&http::get(running.address, "/elsewhere"), 404);
    let answer = http::get(running.address, "/hook/a");
    problem(&answer, 405);
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("POST")), "{answer:?}");
    assert_eq!(http::get(running.address, "/healthz").status, 200);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read_whole() {
    let definition = json!([
        { "type": "hook", "path": "small", "methods": ["POST"], "max_body_size": "1KiB" },
        { "type": "response", "body": "taken" }
    ]);
    let (_installation, running) = deployed(&[("small", definition)]);
    let taken = http::request(running.address, "POST", "/hook/small", &[], &[b'x'; 1024]);
    assert_eq!((taken.status, taken.text().as_str()), (200, "taken"));

    // Announced: refused by its length alone; not a byte of the body is ever sent.
    let length = [("content-length", "1073741824")];
    let (stream, written) = http::send(running.address, "POST", "/hook/small", &length, b"");
    written.expect("the head fits into any buffer");
    problem(&http::receive(stream).expect("an answer"), 413);

    // Not announced: refused once the limit is passed, though the body has no end.
    let chunked = [("transfer-encoding", "chunked")];
    let chunk = [b"800\r\n".as_slice(), &[b'x'; 2048], b"\r\n"].concat();
    let (stream, written) = http::send(running.address, "POST", "/hook/small", &chunked, &chunk);
    written.expect("two kilobytes fit into any buffer");
    problem(&http::receive(stream).expect("an answer"), 413);
}

#[test]
fn an_upstream_that_refuses_hangs_up_or_errs_is_a_502() {
    let unused = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    let refusing = format!("http://localhost:{}", unused.port());
    let hanging = Upstream::http(|_| Reply::Hangup);
    let erring = Upstream::http(|_| Page::html("no").with_status(500).into());
    let huge = Upstream::http(|_| Page::html(vec![b'x'; 3_000_000]).into());
    let (_installation, running) = deployed(&[
        ("refused", fetching("refused", &refusing, &json!({}))),
        ("hangup", fetching("hangup", &hanging.url(), &json!({}))),
        ("status", fetching("status", &erring.url(), &json!({}))),
        ("huge", fetching("huge", &huge.url(), &json!({ "max_body_size": "1MiB" }))),
    ]);
    for (path, cause) in [("refused", "refused"), ("hangup", "localhost"), ("status", "500"), ("huge", "1048576")] {
        let answer = http::get(running.address, &format!("/hook/{path}"));
        says_where(&problem(&answer, 502), cause);
    }
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_a_504() {
    let gate = Gate::closed();
    let upstream = Upstream::http(move |_| Reply::Held(gate.clone(), Page::json("{}")));
    let definition = fetching("slow", &upstream.url(), &json!({ "timeout": "200ms" }));
    let (_installation, running) = deployed(&[("slow", definition)]);
    says_where(&problem(&http::get(running.address, "/hook/slow"), 504), "200");
    upstream.wait_given_up(1);
}

#[test]
fn a_run_that_gives_no_reply_in_time_is_a_504_that_says_what_it_is_doing() {
    let gate = Gate::closed();
    let upstream = Upstream::http(move |_| Reply::Held(gate.clone(), Page::json("{}")));
    let mut definition = fetching("late", &upstream.url(), &json!({}));
    definition[0]["timeout"] = json!("200ms");
    let (_installation, running) = deployed(&[("late", definition)]);
    let answer = problem(&http::get(running.address, "/hook/late"), 504);
    says_where(&answer, "no reply within 200 ms; it is BLOCKED on fetch localhost");
    upstream.wait_given_up(1);
}

#[test]
fn a_client_that_leaves_stops_its_run() {
    let gate = Gate::closed();
    let upstream = Upstream::http(move |_| Reply::Held(gate.clone(), Page::json("{}")));
    let (installation, running) = deployed(&[("left", fetching("left", &upstream.url(), &json!({})))]);
    let (stream, written) = http::send(running.address, "GET", "/hook/left", &[], b"");
    written.expect("a small head");
    upstream.wait_asked(1);
    let runs = installation.json(&["ps"]);
    let run = runs[0]["id"].as_str().expect("one live run").to_owned();
    stream.shutdown(Shutdown::Both).expect("an open connection");
    drop(stream);
    let _ = installation.wait_state(&run, "STOPPED");
    upstream.wait_given_up(1);
}

#[test]
fn a_caller_cannot_aim_a_fetch_inside() {
    let inside = Upstream::http(|_| Page::html("secret").into());
    let definition = fetching("aim", "{{ hook.query.url }}", &json!({}));
    let (_installation, running) = deployed(&[("aim", definition)]);
    for url in
        [inside.url(), inside.url().replace("localhost", "127.0.0.1"), inside.url().replace("localhost", "[::1]")]
    {
        let answer =
            http::get(running.address, &format!("/hook/aim?url={}", url.replace(':', "%3A").replace('/', "%2F")));
        assert!(matches!(answer.status, 500 | 502), "{answer:?}");
        assert!(!answer.text().contains("secret"));
    }
    assert!(inside.asked().is_empty(), "{:?}", inside.asked());
}
