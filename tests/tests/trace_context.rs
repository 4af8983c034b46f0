//! A caller's trace goes through a run to the servers that the run asks, as W3C Trace Context says.

use nix::sys::signal::Signal;
use runlet_tests::http;
use runlet_tests::runlet::{Installation, Running};
use runlet_tests::upstream::{Asked, Gate, Page, Reply, Upstream};
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn header<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    asked.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The span a server was told of, if it was told of one in the caller's trace.
fn span_of(asked: &Asked) -> Option<&str> {
    let span = header(asked, "traceparent")?.strip_prefix(&format!("00-{TRACE}-"))?.strip_suffix("-01")?;
    (span.len() == 16 && span != CALLER && span != "0000000000000000").then_some(span)
}

fn parent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

/// The newest run, as `inspect` tells it.
fn newest(installation: &Installation) -> Value {
    let runs = installation.json(&["ps", "-a"]);
    let id = runs[0]["id"].as_str().expect("a run").to_owned();
    serde_json::from_str(&installation.ok(&["inspect", &id])).expect("JSON")
}

fn get(running: &Running, path: &str, headers: &[(&str, &str)]) {
    running.wait_route(path);
    let answer = http::request(running.address, "GET", path, headers, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_fetch_tells_the_callers_trace_with_a_span_of_its_own() {
    let upstream = Upstream::http(|_| Page::html("x").into());
    let installation = Installation::new();
    let running = installation.start_both();
    let fetch = |path: &str| json!({ "id": path, "type": "fetch", "parameter": { "url": format!("{}/{path}", upstream.url()) } });
    let definition = json!([{ "type": "hook", "path": "t", "methods": ["GET"] }, fetch("a"), fetch("b"), { "type": "response", "body": "x" }]);
    installation.deploy("t", &definition);
    get(&running, "/hook/t", &[("traceparent", &parent()), ("tracestate", "one=1, two@x=2")]);
    let asked = upstream.asked();
    let spans: Vec<_> = asked.iter().filter_map(span_of).collect();
    assert!(spans.len() == 2 && spans[0] != spans[1], "{asked:?}");
    assert!(asked.iter().all(|asked| header(asked, "tracestate") == Some("one=1,two@x=2")), "{asked:?}");

    let told = newest(&installation);
    assert_eq!(told["traceId"], TRACE, "{told}");
    let trace = installation.json(&["trace", told["id"].as_str().expect("an id")]);
    let lines = trace.as_array().expect("an array");
    assert!(lines.iter().all(|line| line["traceId"] == TRACE), "{trace}");
    let calls = lines.iter().filter(|line| !line["call"].is_null());
    assert_eq!(calls.map(|line| line["spanId"].as_str().expect("a span")).collect::<Vec<_>>(), spans, "{trace}");
}

#[test]
fn without_a_valid_trace_none_is_told() {
    let upstream = Upstream::http(|_| Page::html("x").into());
    let installation = Installation::new();
    let running = installation.start_both();
    let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
    let definition =
        json!([{ "type": "hook", "path": "t", "methods": ["GET"] }, fetch, { "type": "response", "body": "x" }]);
    installation.deploy("t", &definition);
    let zero = format!("00-{}-{CALLER}-01", "0".repeat(32));
    for headers in [&[][..], &[("traceparent", zero.as_str()), ("tracestate", "a=1")], &[("tracestate", "a=1")]] {
        get(&running, "/hook/t", headers);
    }
    let asked = upstream.asked();
    let told = |asked: &Asked| header(asked, "traceparent").is_some() || header(asked, "tracestate").is_some();
    assert!(asked.len() == 3 && !asked.iter().any(told), "{asked:?}");
    assert_eq!(newest(&installation)["traceId"], Value::Null);
}

#[test]
fn what_the_definition_says_itself_stays() {
    let upstream = Upstream::http(|_| Page::html("x").into());
    let installation = Installation::new();
    let running = installation.start_both();
    let headers = json!({ "Traceparent": "mine" });
    let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url(), "headers": headers } });
    let definition =
        json!([{ "type": "hook", "path": "t", "methods": ["GET"] }, fetch, { "type": "response", "body": "x" }]);
    installation.deploy("t", &definition);
    get(&running, "/hook/t", &[("traceparent", &parent()), ("tracestate", "a=1")]);
    let asked = upstream.asked();
    assert_eq!((header(&asked[0], "traceparent"), header(&asked[0], "tracestate")), (Some("mine"), None), "{asked:?}");
}

#[test]
fn a_run_that_is_taken_up_is_still_part_of_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("x")));
    let installation = Installation::new();
    let running = installation.start_both();
    let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
    installation.deploy("t", &json!([{ "type": "hook", "path": "t", "methods": ["GET"] }, fetch]));
    running.wait_route("/hook/t");
    let headers = [("traceparent", parent()), ("tracestate", "a=1".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = http::request(running.address, "GET", "/hook/t", &headers, b"");
    assert_eq!(answer.status, 202, "{answer:?}");
    let run = answer.json()["run"].as_str().expect("an id").to_owned();
    upstream.wait_asked(1);
    running.supervisor.signal(Signal::SIGKILL);
    let _ = running.supervisor.wait_exit();
    let _next = installation.supervisor();
    upstream.wait_asked(2);
    gate.open();
    let _ = installation.wait_state(&run, "COMPLETED");
    let asked = upstream.asked();
    assert!(
        asked.iter().all(|asked| span_of(asked).is_some() && header(asked, "tracestate") == Some("a=1")),
        "{asked:?}"
    );
    assert_eq!(newest(&installation)["traceId"], TRACE);
}

#[test]
fn a_run_that_is_made_again_is_part_of_it_too() {
    let upstream = Upstream::http(|_| Page::html("x").with_status(500).into());
    let installation = Installation::new();
    let running = installation.start_both();
    let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
    installation.deploy("t", &json!([{ "type": "hook", "path": "t", "methods": ["GET"] }, fetch]));
    running.wait_route("/hook/t");
    let headers = [("traceparent", parent()), ("tracestate", "a=1".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = http::request(running.address, "GET", "/hook/t", &headers, b"");
    let first = answer.json()["run"].as_str().expect("an id").to_owned();
    let _ = installation.wait_state(&first, "FAILED");
    let again = installation.ok(&["retry", &first]).trim().to_owned();
    let _ = installation.wait_state(&again, "FAILED");
    let asked = upstream.asked();
    let spans: Vec<_> = asked.iter().map(|asked| span_of(asked).expect("the same trace")).collect();
    assert!(spans.len() == 2 && spans[0] != spans[1], "{spans:?}");
    assert_eq!(header(&asked[1], "tracestate"), Some("a=1"));
    let is_told = || {
        let told: Value = serde_json::from_str(&installation.ok(&["inspect", &again])).expect("JSON");
        assert_eq!((&told["traceId"], &told["retryOf"]), (&json!(TRACE), &json!(first)), "{told}");
    };
    is_told();
    running.supervisor.signal(Signal::SIGKILL);
    let _ = running.supervisor.wait_exit();
    let _next = installation.supervisor();
    is_told();
}
