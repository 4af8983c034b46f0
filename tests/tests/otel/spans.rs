//! What a run becomes: its spans, what hangs below what, what is told of each and what is not.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use runlet_tests::collector::{Collector, Exported};
use runlet_tests::http;
use runlet_tests::runlet::{Installation, Running, code};
use runlet_tests::upstream::{Asked, Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

use crate::{CALLER, TRACE, fetch, get, hook, parent, told, transform};

/// Stands in paths, queries, bodies and failures, and must not be exported.
const SECRET: &str = "hunter2";

fn named<'a>(spans: &'a [Exported], name: &str) -> Vec<&'a Exported> {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert!(!found.is_empty(), "no span {name}: {spans:#?}");
    found
}

fn is_server_of_secrets(asked: &Asked) -> Reply {
    match asked.target.split('?').next() {
        Some("/missing") => Page::html(SECRET).with_status(404).into(),
        _ => Page::json(format!("{{\"word\": \"{SECRET}\"}}")).into(),
    }
}

/// Whether anything that is secret was sent.
fn tells_secrets(collector: &Collector) -> bool {
    collector.asked().iter().any(|asked| asked.body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()))
}

/// A run of a shop, which its caller keeps the trace of.
struct Shop {
    upstream: Upstream,
    collector: Collector,
    installation: Installation,
    _running: Running,
    spans: Vec<Exported>,
}

impl Shop {
    fn visited() -> Self {
        let (upstream, collector) = (Upstream::http(is_server_of_secrets), Collector::start());
        let installation = Installation::new()
            .exporting_to(&collector.url())
            .with("OTEL_SERVICE_NAME", "shop")
            .with("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key");
        let running = installation.start_both();
        let url = format!("{}/page?key={SECRET}", upstream.url());
        let definition = json!([
            hook("shop/:id"),
            fetch("first", &url),
            fetch("second", &url),
            transform("compute", ".json.word"),
            { "id": "reply", "type": "response", "status": 201, "body": "{{ input }}" }
        ]);
        installation.deploy("shop", &definition);
        running.wait_route("/hook/shop/x");
        let (traceparent, path) = (parent("01"), format!("/hook/shop/{SECRET}?query={SECRET}"));
        let headers = [("traceparent", traceparent.as_str()), ("tracestate", "a=1")];
        let answer = http::request(running.address, "GET", &path, &headers, b"");
        assert_eq!((answer.status, answer.json()), (201, json!(SECRET)), "{answer:?}");
        let spans = collector.wait_run("shop");
        assert!(!tells_secrets(&collector), "{spans:#?}");
        Self { upstream, collector, installation, _running: running, spans }
    }
}

#[test]
fn a_run_is_a_span_in_its_callers_trace() {
    let Shop { collector, installation, spans, _running, .. } = Shop::visited();
    let root = &spans[0];
    let stands = (root.name.as_str(), root.kind, root.parent_id.as_str());
    assert_eq!(stands, ("GET /hook/shop/:id", SpanKind::Server, CALLER));
    assert!(spans.iter().all(|span| span.trace_id == TRACE && span.state == "a=1"), "{spans:#?}");
    assert!(spans.iter().all(|span| span.error.is_none()), "{spans:#?}");
    assert!(root.flags == 0x301 && spans[1..].iter().all(|span| span.flags == 0x101), "{spans:#?}");
    let run = &installation.json(&["ps", "-a"])[0];
    for (name, value) in [
        ("http.route", "/hook/shop/:id"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "201"),
        ("runlet.workflow.name", "shop"),
        ("runlet.run.id", run["id"].as_str().expect("an id")),
        ("runlet.run.state", "COMPLETED"),
        ("runlet.lane", "heavy"),
    ] {
        assert_eq!(root.attribute(name), value, "{name} of {root:#?}");
    }
    let version = run["version"].as_str().expect("a version");
    assert!(spans.iter().all(|span| span.attribute("runlet.workflow.version") == version), "{spans:#?}");
    let of_resource = ["service.name", "telemetry.sdk.name"].map(|name| root.resource[name].as_str());
    assert_eq!(of_resource, ["shop", "runlet"]);
    let sent = &collector.asked()[0];
    assert_eq!(sent.target, "/v1/traces");
    assert!(sent.headers.contains(&("authorization".to_owned(), "Bearer key".to_owned())), "{sent:?}");
}

#[test]
fn attempts_and_calls_hang_below_it_and_those_who_were_asked_below_the_calls() {
    let Shop { upstream, spans, .. } = Shop::visited();
    let root = &spans[0];
    let within = |inner: &Exported, outer: &Exported| {
        let ((began, ended), (first, last)) = (inner.time_ns, outer.time_ns);
        first <= began && began <= ended && ended <= last
    };
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!((ids.len(), spans.len()), (7, 7), "{spans:#?}");
    for (name, kind, lane) in [
        ("fetch first", "fetch", "light"),
        ("fetch second", "fetch", "light"),
        ("transform compute", "transform", "heavy"),
        ("response reply", "response", "light"),
    ] {
        let attempt = named(&spans, name)[0];
        assert_eq!((attempt.kind, &attempt.parent_id), (SpanKind::Internal, &root.span_id), "{name}");
        let known = ["runlet.block.type", "runlet.lane", "runlet.attempt", "runlet.outcome"];
        assert_eq!(known.map(|key| attempt.attribute(key)), [kind, lane, "1", "completed"], "{name}");
        assert!(within(attempt, root), "{attempt:#?} of {root:#?}");
    }
    assert_eq!(named(&spans, "transform compute")[0].events, ["runlet.worker.began"]);

    let (calls, asked) = (named(&spans, "GET"), upstream.asked());
    assert_eq!((calls.len(), asked.len()), (2, 2), "{spans:#?}");
    let port = upstream.url().rsplit(':').next().expect("a port").to_owned();
    for ((call, name), asked) in calls.iter().zip(["fetch first", "fetch second"]).zip(&asked) {
        let attempt = named(&spans, name)[0];
        assert_eq!((call.kind, &call.parent_id), (SpanKind::Client, &attempt.span_id), "{name}");
        assert!(within(call, attempt), "{call:#?} of {attempt:#?}");
        // What the server does hangs below this very span.
        assert_eq!(told(asked), [TRACE, &call.span_id, "01"]);
        let known = ["http.request.method", "server.address", "server.port", "http.response.status_code", "error.type"];
        assert_eq!(known.map(|key| call.attribute(key)), ["GET", "localhost", &port, "200", ""], "{call:#?}");
    }
}

#[test]
fn of_several_hooks_the_one_that_was_called_is_told() {
    let collector = Collector::start();
    let installation = Installation::new().exporting_to(&collector.url());
    let running = installation.start_both();
    let definition = json!([hook("a/:id"), hook("a/:id/b"), hook("c"), { "type": "response" }]);
    installation.deploy("many", &definition);
    for (path, route) in [("/hook/a/1/b", "/hook/a/:id/b"), ("/hook/a/1", "/hook/a/:id"), ("/hook/c", "/hook/c")] {
        assert_eq!(get(&running, path, None).status, 200);
        let is_it = || collector.spans().iter().any(|span| span.attribute("http.route") == route).then_some(());
        wait_until(&format!("a span of {route}"), is_it);
    }
}

#[test]
fn an_answer_that_something_is_wrong_is_an_error_of_the_hook() {
    let collector = Collector::start();
    let installation = Installation::new().exporting_to(&collector.url());
    let running = installation.start_both();
    for (name, status, error) in [("teapot", 418, None), ("closed", 503, Some("the hook answered 503"))] {
        installation.deploy(name, &json!([hook(name), { "type": "response", "status": status }]));
        assert_eq!(get(&running, &format!("/hook/{name}"), None).status, status);
        // What is wrong with a request is no error of who says so (semantic conventions of HTTP, "Status").
        let spans = collector.wait_run(name);
        assert_eq!(spans[0].error.as_deref(), error, "{spans:#?}");
        let told = ["error.type", "runlet.run.state"].map(|key| spans[0].attribute(key));
        assert_eq!(told, [if error.is_some() { "503" } else { "" }, "COMPLETED"]);
    }
}

#[test]
fn what_fails_is_told_by_its_code_and_never_in_its_words() {
    let (upstream, collector) = (Upstream::http(is_server_of_secrets), Collector::start());
    let installation = Installation::new().exporting_to(&collector.url());
    let running = installation.start_both();
    let mut missing = fetch("missing", &format!("{}/missing?key={SECRET}", upstream.url()));
    missing["retry"] = json!({ "attempts": 2, "delay": "1ms" });
    installation.deploy("missing", &json!([hook("missing"), missing, { "type": "response" }]));
    installation.deploy("bad", &json!([hook("bad"), transform("bad", &format!("error(\"{SECRET}\")"))]));
    installation.deploy("away", &json!([fetch("away", &format!("http://localhost:1/{SECRET}"))]));

    let answer = get(&running, "/hook/missing", None);
    assert!(answer.status == 502 && answer.text().contains(SECRET), "{answer:?}");
    let spans = collector.wait_run("missing");
    let root = &spans[0];
    let failed = |span: &Exported, code: &str, status: &str| {
        let told = ["error.type", "http.response.status_code"].map(|key| span.attribute(key));
        assert!(span.error.is_some() && told == [code, status], "{span:#?}");
    };
    failed(root, "status", "502");
    assert!(root.error.as_ref().is_some_and(|error| error.contains("`missing`") && error.contains("runlet inspect")));
    assert_eq!(root.attribute("runlet.run.state"), "FAILED");
    // Without a caller's trace it is one of the run's own, and those who were asked know of it.
    assert!(root.parent_id.is_empty() && root.trace_id.len() == 32 && root.trace_id != "0".repeat(32), "{root:#?}");
    let shown: Value =
        serde_json::from_str(&installation.ok(&["inspect", root.attribute("runlet.run.id")])).expect("JSON");
    assert_eq!(shown["traceId"], root.trace_id.as_str());
    let (attempts, calls) = (named(&spans, "fetch missing"), named(&spans, "GET"));
    // A 404 is final, whatever the retry policy says.
    assert_eq!((attempts.len(), calls.len()), (1, 1), "{spans:#?}");
    failed(attempts[0], "status", "");
    failed(calls[0], "404", "404");
    assert_eq!(told(&upstream.asked()[0]), [root.trace_id.as_str(), &calls[0].span_id, "01"]);

    running.wait_route("/hook/bad");
    let answer = get(&running, "/hook/bad", None);
    assert_eq!(answer.status, 202, "{answer:?}");
    let spans = collector.wait_run("bad");
    failed(&spans[0], "jq", "202");
    failed(named(&spans, "transform bad")[0], "jq", "");

    let _ = installation.cli(&["run", "away"]);
    let spans = collector.wait_run("away");
    assert_eq!((spans[0].name.as_str(), spans[0].kind), ("run away", SpanKind::Internal));
    failed(&spans[0], "connect", "");
    failed(named(&spans, "GET")[0], "connect", "");
    assert!(!tells_secrets(&collector), "{:#?}", collector.spans());
}

#[test]
fn each_attempt_of_a_block_is_a_span_with_its_own_calls() {
    let collector = Collector::start();
    let upstream = Upstream::http(|_| Page::html("busy").with_status(503).into());
    let installation = Installation::new().exporting_to(&collector.url());
    let _supervisor = installation.supervisor();
    let mut flaky = fetch("flaky", &format!("{}/flaky", upstream.url()));
    flaky["retry"] = json!({ "attempts": 3, "delay": "1ms" });
    installation.deploy("flaky", &json!([flaky]));
    installation.cli(&["run", "flaky"]).expect_code(code::FAILED, "a server that is always busy");
    let spans = collector.wait_run("flaky");
    let (attempts, calls) = (named(&spans, "fetch flaky"), named(&spans, "GET"));
    assert_eq!(attempts.iter().map(|span| span.attribute("runlet.attempt")).collect::<Vec<_>>(), ["1", "2", "3"]);
    for ((attempt, call), asked) in attempts.iter().zip(&calls).zip(&upstream.asked()) {
        assert_eq!(
            (&call.parent_id, call.attribute("runlet.attempt")),
            (&attempt.span_id, attempt.attribute("runlet.attempt"))
        );
        assert_eq!(told(asked)[1], call.span_id);
        assert!(attempt.error.is_some() && call.attribute("error.type") == "503", "{spans:#?}");
    }
    assert_eq!((attempts.len(), calls.len(), spans.len()), (3, 3, 7), "{spans:#?}");
}

#[test]
fn a_run_that_is_taken_up_goes_on_in_the_trace_it_began() {
    let (gate, collector) = (Gate::closed(), Collector::start());
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("x")));
    let installation = Installation::new().exporting_to(&collector.url());
    let supervisor = installation.supervisor();
    installation.deploy("held", &json!([fetch("page", &upstream.url())]));
    let run = installation.run_detached("held");
    upstream.wait_asked(1);
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    let _next = installation.supervisor();
    upstream.wait_asked(2);
    gate.open();
    let _ = installation.wait_state(&run, "COMPLETED");
    let spans = collector.wait_run("held");
    let asked = upstream.asked();
    let [before, after] = [&asked[0], &asked[1]].map(told);
    assert!(before[0] == after[0] && before[1] != after[1], "{asked:?}");
    assert_eq!((spans[0].trace_id.as_str(), spans[0].parent_id.as_str()), (before[0], ""), "{spans:#?}");
    assert_eq!(named(&spans, "GET")[0].span_id, after[1]);
}

#[test]
fn a_run_that_a_block_begins_hangs_below_its_call() {
    let collector = Collector::start();
    let installation = Installation::new().exporting_to(&collector.url());
    let _supervisor = installation.supervisor();
    installation.deploy("inner", &json!([transform("one", "1")]));
    installation.deploy("outer", &json!([{ "id": "call", "type": "workflow", "parameter": { "name": "inner" } }]));
    assert_eq!(installation.json(&["run", "outer"])["output"], json!(1));
    let (outer, inner) = (collector.wait_run("outer"), collector.wait_run("inner"));
    let both = named(&outer, "workflow call");
    let attempt = both.iter().find(|span| span.parent_id == outer[0].span_id).expect("the attempt");
    let call = both.iter().find(|span| span.parent_id == attempt.span_id).expect("the call");
    assert_eq!((inner[0].parent_id.as_str(), &inner[0].trace_id), (call.span_id.as_str(), &outer[0].trace_id));
    assert_eq!((both.len(), call.kind), (2, SpanKind::Internal));
}
