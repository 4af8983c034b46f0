//! Traces of runs are exported to a collector of OpenTelemetry: whole, with the ids that others were told, and with nothing
//! that is secret. The binary is the one with the feature `otel`, which scripts/test builds.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use runlet_tests::collector::{Collector, Exported, refusal};
use runlet_tests::exposition::Exposition;
use runlet_tests::http::{self, Answer};
use runlet_tests::process::Exit;
use runlet_tests::runlet::{Installation, Running, code};
use runlet_tests::upstream::{Asked, Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Stands in paths, queries, bodies and failures, and must not be exported.
const SECRET: &str = "hunter2";

fn hook(path: &str) -> Value {
    json!({ "type": "hook", "path": path, "methods": ["GET"] })
}

fn fetch(id: &str, url: &str) -> Value {
    json!({ "id": id, "type": "fetch", "parameter": { "url": url } })
}

fn transform(id: &str, jq: &str) -> Value {
    json!({ "id": id, "type": "transform", "parameter": { "jq": jq } })
}

fn get(running: &Running, path: &str, traceparent: Option<&str>) -> Answer {
    running.wait_route(path);
    let headers: Vec<_> = traceparent.map(|parent| ("traceparent", parent)).into_iter().collect();
    http::request(running.address, "GET", path, &headers, b"")
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Trace, span and flags that a server was told.
fn told(asked: &Asked) -> [&str; 3] {
    let header = asked.headers.iter().find(|(name, _)| name == "traceparent");
    let (_, value) = header.unwrap_or_else(|| panic!("no traceparent: {asked:?}"));
    let [_, trace, span, flags] = value.split('-').collect::<Vec<_>>()[..] else { panic!("{value}") };
    [trace, span, flags]
}

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

#[test]
fn a_run_is_exported_in_its_callers_trace_with_attempts_and_calls_below_it() {
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
    let headers = [("traceparent", parent("01")), ("tracestate", "a=1".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let path = format!("/hook/shop/{SECRET}?query={SECRET}");
    let answer = http::request(running.address, "GET", &path, &headers, b"");
    assert_eq!((answer.status, answer.json()), (201, json!(SECRET)), "{answer:?}");

    let spans = collector.wait_run("shop");
    let root = &spans[0];
    assert_eq!(
        (root.name.as_str(), root.kind, root.parent_id.as_str()),
        ("GET /hook/shop/:id", SpanKind::Server, CALLER)
    );
    assert!(
        spans.iter().all(|span| span.trace_id == TRACE && span.state == "a=1" && span.error.is_none()),
        "{spans:#?}"
    );
    assert!(root.flags == 0x301 && spans[1..].iter().all(|span| span.flags == 0x101), "{spans:#?}");
    for (name, value) in [
        ("http.route", "/hook/shop/:id"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "201"),
        ("runlet.workflow.name", "shop"),
        ("runlet.run.state", "COMPLETED"),
        ("runlet.lane", "heavy"),
    ] {
        assert_eq!(root.attribute(name), value, "{name} of {root:#?}");
    }
    let run = &installation.json(&["ps", "-a"])[0];
    assert_eq!(root.attribute("runlet.run.id"), run["id"].as_str().expect("an id"));
    assert_eq!(root.attribute("runlet.workflow.version"), run["version"].as_str().expect("a version"));

    let (within, ids) = (
        |inner: &Exported, outer: &Exported| {
            outer.time_ns.0 <= inner.time_ns.0
                && inner.time_ns.0 <= inner.time_ns.1
                && inner.time_ns.1 <= outer.time_ns.1
        },
        spans.iter().map(|span| &span.span_id).collect::<std::collections::BTreeSet<_>>(),
    );
    assert_eq!(ids.len(), spans.len(), "{spans:#?}");
    for (name, kind, lane) in [
        ("fetch first", "fetch", "light"),
        ("fetch second", "fetch", "light"),
        ("transform compute", "transform", "heavy"),
        ("response reply", "response", "light"),
    ] {
        let attempt = named(&spans, name)[0];
        assert_eq!((attempt.kind, &attempt.parent_id), (SpanKind::Internal, &root.span_id), "{name}");
        let told =
            ["runlet.block.type", "runlet.lane", "runlet.attempt", "runlet.outcome"].map(|key| attempt.attribute(key));
        assert_eq!(told, [kind, lane, "1", "completed"], "{name}");
        assert!(within(attempt, root), "{attempt:#?} of {root:#?}");
    }
    assert_eq!(named(&spans, "transform compute")[0].events, ["runlet.worker.began"]);

    let calls = named(&spans, "GET");
    let asked = upstream.asked();
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
    assert_eq!((calls.len(), asked.len(), spans.len()), (2, 2, 7), "{spans:#?}");
    assert_eq!(
        (root.resource["service.name"].as_str(), root.resource["telemetry.sdk.name"].as_str()),
        ("shop", "runlet")
    );
    let sent = &collector.asked()[0];
    assert!(
        sent.target == "/v1/traces" && sent.headers.contains(&("authorization".to_owned(), "Bearer key".to_owned())),
        "{sent:?}"
    );
    assert!(!tells_secrets(&collector), "{spans:#?}");
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
fn a_trace_that_nobody_keeps_is_not_exported_and_those_who_are_asked_know() {
    let (upstream, collector) = (Upstream::http(|_| Page::html("x").into()), Collector::start());
    let installation = Installation::new().exporting_to(&collector.url());
    let running = installation.start_both();
    let definition = |path: &str| json!([hook(path), fetch("page", &upstream.url()), { "type": "response" }]);
    installation.deploy("not", &definition("not"));
    installation.deploy("kept", &definition("kept"));
    assert_eq!(get(&running, "/hook/not", Some(&parent("00"))).status, 200);
    assert_eq!(get(&running, "/hook/kept", Some(&parent("01"))).status, 200);
    // Whatever was given before it would be there, too.
    let kept = collector.wait_run("kept");
    assert_eq!(collector.spans().len(), kept.len(), "{:#?}", collector.spans());
    let flags: Vec<_> = upstream.asked().iter().map(|asked| told(asked)[2].to_owned()).collect();
    assert_eq!(flags, ["00", "01"]);
}

#[test]
fn the_sampler_that_is_named_decides() {
    let (upstream, collector) = (Upstream::http(|_| Page::html("x").into()), Collector::start());
    let installation =
        Installation::new().exporting_to(&collector.url()).with("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    let running = installation.start_both();
    let definition = |path: &str| json!([hook(path), fetch("page", &upstream.url()), { "type": "response" }]);
    installation.deploy("own", &definition("own"));
    installation.deploy("callers", &definition("callers"));
    assert_eq!(get(&running, "/hook/own", None).status, 200);
    assert_eq!(get(&running, "/hook/callers", Some(&parent("01"))).status, 200);
    let spans = collector.wait_run("callers");
    assert_eq!(collector.spans().len(), spans.len(), "{:#?}", collector.spans());
    let flags: Vec<_> = upstream.asked().iter().map(|asked| told(asked)[2].to_owned()).collect();
    assert_eq!(flags, ["00", "01"]);
}

/// The numbers of the supervisor.
fn scrape(admin: SocketAddr) -> Exposition {
    Exposition::parse(&http::get(admin, "/metrics").text()).expect("numbers")
}

fn dropped(admin: SocketAddr, reason: &str) -> f64 {
    scrape(admin).value("runlet_otel_spans_dropped_total", &[("reason", reason)]).expect("a number")
}

#[test]
fn a_collector_that_is_away_harms_no_run() {
    let collector = Collector::answering(vec![Reply::Hangup; 1_000]);
    let installation = Installation::new().exporting_to(&collector.url()).with("OTEL_BSP_MAX_QUEUE_SIZE", "4");
    let supervisor = installation.supervisor();
    let (_gateway, address, admin) = installation.gateway_with_admin();
    installation.deploy("hello", &json!([hook("hello"), { "type": "response", "body": "hello" }]));
    wait_until("a route", || (http::get(address, "/hook/hello").status == 200).then_some(()));
    for _ in 0..20 {
        assert_eq!(http::get(address, "/hook/hello").text(), "hello");
    }
    // The first are being tried again, four wait, the others are gone.
    wait_until("spans to be dropped", || (dropped(admin, "queue-full") >= 20.0).then_some(()));
    supervisor.wait_line("a line about it", |line| line.contains("collector cannot be reached").then_some(()));
    assert_eq!(scrape(admin).value("runlet_otel_spans_exported_total", &[]), Some(0.0));
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.wait_exit(), Exit::Code(0));
    assert!(collector.spans().is_empty());
}

#[test]
fn a_collector_that_wants_to_be_left_alone_gets_the_same_later() {
    let busy = || refusal(503).with_header("retry-after", "1").into();
    let collector = Collector::answering([busy(), refusal(429).into()]);
    let installation = Installation::new().exporting_to(&collector.url());
    let _supervisor = installation.supervisor();
    let (_gateway, _, admin) = installation.gateway_with_admin();
    installation.deploy("sum", &json!([transform("sum", "[1, 2] | add")]));
    installation.ok(&["run", "sum"]);
    assert_eq!(collector.wait_run("sum").len(), 2);
    let bodies: Vec<_> = collector.asked().into_iter().map(|asked| asked.body).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    wait_until("it to be counted", || {
        scrape(admin).value("runlet_otel_spans_exported_total", &[]).filter(|count| *count == 2.0)
    });
    assert_eq!(["queue-full", "refused", "unreachable", "too-many"].map(|reason| dropped(admin, reason)), [0.0; 4]);
}

#[test]
fn what_waits_is_sent_before_the_supervisor_ends() {
    let collector = Collector::start();
    let installation = Installation::new()
        .of_feature_otel()
        .with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{}/own", collector.url()))
        .with("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let supervisor = installation.supervisor();
    installation.deploy("sum", &json!([transform("sum", "[1, 2] | add")]));
    installation.ok(&["run", "sum"]);
    assert!(collector.asked().is_empty());
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.wait_exit(), Exit::Code(0));
    assert_eq!(collector.wait_run("sum").len(), 2);
    assert_eq!(collector.asked()[0].target, "/own");
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
fn a_wrong_variable_is_refused_at_the_start_whoever_starts_it() {
    for arguments in [&["supervisor"][..], &["up", "--listen", "127.0.0.1:0"]] {
        let installation =
            Installation::new().exporting_to("http://localhost:1").with("OTEL_EXPORTER_OTLP_TIMEOUT", "10s");
        let finished = installation.cli(arguments);
        finished.expect_code(code::USAGE, "a time with a unit");
        let said = &finished.stderr;
        assert!(said.contains("OTEL_EXPORTER_OTLP_TIMEOUT is `10s`") && said.contains("milliseconds"), "{said}");
    }
}

#[test]
fn without_an_endpoint_there_is_no_export() {
    let upstream = Upstream::http(|_| Page::html("x").into());
    let installation = Installation::new().of_feature_otel().with("OTEL_SERVICE_NAME", "shop");
    let _supervisor = installation.supervisor();
    installation.deploy("page", &json!([fetch("page", &upstream.url())]));
    installation.ok(&["run", "page"]);
    assert!(!upstream.asked()[0].headers.iter().any(|(name, _)| name == "traceparent"));
}

#[test]
fn a_binary_without_the_feature_says_so_once() {
    let collector = Collector::start();
    let installation = Installation::new().with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
    let supervisor = installation.supervisor();
    installation.deploy("sum", &json!([transform("sum", "[1, 2] | add")]));
    installation.ok(&["run", "sum"]);
    supervisor.signal(Signal::SIGTERM);
    let said = supervisor.finish().stderr;
    assert_eq!(said.matches("OTEL_EXPORTER_OTLP_ENDPOINT is set").count(), 1, "{said}");
    assert!(said.contains("--features otel") && collector.asked().is_empty(), "{said}");
}
