//! Which traces are exported, whether the collector takes them or not, and when there is no export.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use runlet_tests::collector::{Collector, refusal};
use runlet_tests::exposition::Exposition;
use runlet_tests::http;
use runlet_tests::process::Exit;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::json;

use crate::{fetch, get, hook, parent, told, transform};

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
fn a_file_of_certificates_without_any_is_refused_at_the_start() {
    let installation = Installation::new().exporting_to("https://localhost:1");
    // Valid as PEM; what it says is no certificate.
    let pem = "-----BEGIN CERTIFICATE-----\naGVsbG8gd29ybGQ=\n-----END CERTIFICATE-----\n";
    let file = installation.write("authorities.pem", pem).display().to_string();
    let installation = installation.with("OTEL_EXPORTER_OTLP_CERTIFICATE", &file);
    let finished = installation.cli(&["supervisor"]);
    finished.expect_code(code::USAGE, "a certificate that is none");
    let said = &finished.stderr;
    assert!(said.contains("OTEL_EXPORTER_OTLP_CERTIFICATE names") && said.contains(&file), "{said}");
}

#[test]
fn a_system_without_certificates_exports_without_tls_and_says_what_is_amiss_with_it() {
    let collector = Collector::start();
    let bare = |url: &str| {
        let installation = Installation::new().exporting_to(url);
        let nowhere = installation.folder().join("nowhere").display().to_string();
        installation.with("SSL_CERT_FILE", "/dev/null").with("SSL_CERT_DIR", &nowhere)
    };
    let installation = bare(&collector.url());
    let _supervisor = installation.supervisor();
    installation.deploy("sum", &json!([transform("sum", "[1, 2] | add")]));
    installation.ok(&["run", "sum"]);
    assert_eq!(collector.wait_run("sum").len(), 2);

    let finished = bare("https://localhost:1").cli(&["supervisor"]);
    finished.expect_code(code::USAGE, "nothing to trust");
    let said = &finished.stderr;
    assert!(said.contains("No CA certificates") && said.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{said}");
}

#[test]
fn spans_that_wait_hold_nothing_of_the_requests_that_began_their_runs() {
    const BODY_BYTES: usize = 1_000_000;
    const REQUESTS: usize = 150;
    let gate = Gate::closed();
    let collector = Collector::answering([Reply::Held(gate.clone(), refusal(429))]);
    let installation = Installation::new().exporting_to(&collector.url());
    let supervisor = installation.supervisor();
    let (_gateway, address, admin) = installation.gateway_with_admin();
    let take = json!({ "type": "hook", "path": "take", "methods": ["POST"] });
    // Not written to the journal, where they would wait, too.
    let blocks = json!([take, { "type": "response", "body": "taken" }]);
    installation.deploy("take", &json!({ "durability": "none", "blocks": blocks }));
    let asks = || http::request(address, "OPTIONS", "/hook/take", &[], b"").status;
    wait_until("a route", || (asks() == 204).then_some(()));
    let resident = || scrape(admin).value("runlet_supervisor_resident_memory_bytes", &[]).expect("a number");
    let give = |times: usize| {
        for _ in 0..times {
            let answer = http::request(address, "POST", "/hook/take", &[], &vec![b'x'; BODY_BYTES]);
            assert_eq!(answer.text(), "taken");
        }
    };
    give(20);
    collector.wait_asked(1);
    let before = resident();
    // They wait behind what the collector has not answered.
    give(REQUESTS);
    let (more, given) = (resident() - before, (REQUESTS * BODY_BYTES) as f64);
    assert!(more < given / 2.0, "{more} bytes more for {given} bytes of requests");
    gate.open();
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.wait_exit(), Exit::Code(0));
    // Of each the run and its `response`.
    assert_eq!(collector.spans().len(), (20 + REQUESTS) * 2);
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
