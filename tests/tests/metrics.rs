//! Numbers for operators: they are served where they are to be, in the format they are to have, and they are true.

use std::net::SocketAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runlet_tests::exposition::Exposition;
use runlet_tests::http;
use runlet_tests::process::{Exit, Process};
use runlet_tests::runlet::{Installation, wait_ready};
use runlet_tests::tidy::repository::root;
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::json;

/// Everything that serves numbers.
struct Measured {
    installation: Installation,
    supervisor: Process,
    _gateway: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Measured {
    fn start() -> Self {
        let installation = Installation::new();
        let supervisor = installation.supervisor();
        let (gateway, address, admin) = installation.gateway_with_admin();
        wait_ready(address);
        Self { installation, supervisor, _gateway: gateway, address, admin }
    }

    fn scrape(&self) -> Exposition {
        let answer = http::get(self.admin, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.header("content-type"), Some(media_type));
        Exposition::parse(&answer.text()).unwrap_or_else(|what| panic!("{what}\n{}", answer.text()))
    }

    /// A number that has to be there.
    fn number(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.scrape().value(name, labels).unwrap_or_else(|| panic!("no sample {name} {labels:?}"))
    }

    fn wait_number(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        wait_until(&format!("{name} {labels:?} to be {wanted}"), || {
            self.scrape().value(name, labels).filter(|value| *value == wanted)
        });
    }

    fn wait_hook(&self, path: &str) {
        wait_until(&format!("a route for {path}"), || {
            (http::request(self.address, "OPTIONS", path, &[], b"").status == 204).then_some(())
        });
    }
}

fn ended<'a>(workflow: &'a str, state: &'a str) -> [(&'a str, &'a str); 2] {
    [("state", state), ("workflow", workflow)]
}

#[test]
fn runs_move_the_numbers() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |asked| match asked.target.as_str() {
        "/hangup" => Reply::Hangup,
        _ => Reply::Held(held.clone(), Page::html("x")),
    });
    let measured = Measured::start();
    let installation = &measured.installation;
    let hook = |path: &str| json!({ "type": "hook", "path": path, "methods": ["GET"] });
    let fetch = |path: &str| json!({ "type": "fetch", "parameter": { "url": format!("{}{path}", upstream.url()) } });
    installation.deploy("hello", &json!([hook("hello"), { "type": "response", "body": "hello" }]));
    installation.deploy("bad", &json!([hook("bad"), fetch("/hangup"), { "type": "response", "body": "never" }]));
    installation.deploy("sum", &json!([{ "type": "transform", "parameter": { "jq": "[1, 2] | add" } }]));
    installation.deploy("waits", &json!([fetch("/held")]));
    for path in ["/hook/hello", "/hook/bad"] {
        measured.wait_hook(path);
    }
    let before = measured.scrape();
    assert_eq!(before.value("runlet_supervisor_up", &[]), Some(1.0));
    assert_eq!(before.value("runlet_run_duration_seconds_count", &[]), Some(0.0));

    for _ in 0..3 {
        assert_eq!(http::get(measured.address, "/hook/hello").status, 200);
    }
    assert_eq!(http::get(measured.address, "/hook/bad").status, 502);
    installation.ok(&["run", "sum"]);
    let waits = installation.run_detached("waits");
    upstream.wait_asked(2);
    measured.wait_number("runlet_runs", &[("state", "BLOCKED")], 1.0);
    installation.ok(&["stop", &waits]);
    let _ = installation.wait_state(&waits, "STOPPED");
    measured.wait_number("runlet_worker_ends_total", &[("cause", "cancelled")], 1.0);
    gate.open();

    let after = measured.scrape();
    let value = |name: &str, labels: &[(&str, &str)]| after.value(name, labels);
    assert_eq!(value("runlet_runs_ended_total", &ended("hello", "COMPLETED")), Some(3.0));
    assert_eq!(value("runlet_runs_ended_total", &ended("bad", "FAILED")), Some(1.0));
    assert_eq!(value("runlet_runs_ended_total", &ended("sum", "COMPLETED")), Some(1.0));
    assert_eq!(value("runlet_runs_ended_total", &ended("waits", "STOPPED")), Some(1.0));
    assert_eq!(value("runlet_runs_ended_total", &ended("other", "COMPLETED")), Some(0.0));
    assert_eq!(value("runlet_run_duration_seconds_count", &[]), Some(6.0));
    assert_eq!(value("runlet_queue_wait_seconds_count", &[]), Some(6.0));
    assert_eq!(value("runlet_heavy_handover_seconds_count", &[]), Some(1.0));
    let blocks = |kind, lane| value("runlet_block_duration_seconds_count", &[("kind", kind), ("lane", lane)]);
    assert_eq!(blocks("response", "light"), Some(3.0));
    assert_eq!(blocks("fetch", "light"), Some(2.0));
    assert_eq!(blocks("transform", "heavy"), Some(1.0));
    assert_eq!(value("runlet_runs", &[("state", "BLOCKED")]), Some(0.0));
    let answered = |class| value("runlet_gateway_responses_total", &[("status", class)]).expect("a class of status");
    assert!(answered("2xx") >= 5.0 && answered("5xx") == 1.0, "{after:?}");
    for (name, least) in [
        ("runlet_journal_commits_total", 1.0),
        ("runlet_journal_entries_total", 5.0),
        ("runlet_journal_kept_bytes", 1.0),
        ("runlet_slots", 1.0),
        ("runlet_supervisor_resident_memory_bytes", 1e6),
        ("runlet_supervisor_open_fds", 5.0),
        ("runlet_supervisor_start_time_seconds", 1.6e9),
    ] {
        assert!(value(name, &[]).is_some_and(|value| value >= least), "{name}: {:?}", value(name, &[]));
    }
}

#[test]
fn a_worker_that_is_killed_is_counted_by_its_cause() {
    let measured = Measured::start();
    let installation = &measured.installation;
    installation.deploy("loops", &json!([{ "type": "transform", "parameter": { "jq": "last(range(infinite))" } }]));
    let run = installation.run_detached("loops");
    let worker = wait_until("the run to have a worker", || {
        let pid = installation.summary(&run)?["pid"].as_i64()?;
        i32::try_from(pid).ok().map(Pid::from_raw)
    });
    assert_eq!(measured.number("runlet_workers", &[("state", "busy")]), 1.0);
    kill(worker, Signal::SIGKILL).expect("it lives");
    let _ = installation.wait_state(&run, "FAILED");
    let scraped = measured.scrape();
    assert_eq!(scraped.value("runlet_worker_ends_total", &[("cause", "worker-signal")]), Some(1.0));
    assert_eq!(scraped.value("runlet_worker_ends_total", &[("cause", "cancelled")]), Some(0.0));
    assert_eq!(scraped.value("runlet_runs_ended_total", &ended("loops", "FAILED")), Some(1.0));
    assert_eq!(scraped.value("runlet_workers", &[("state", "busy")]), Some(0.0));
}

#[test]
fn without_a_supervisor_the_gateways_own_numbers_come_all_the_same() {
    let measured = Measured::start();
    assert_eq!(http::get(measured.admin, "/readyz").status, 200);
    measured.supervisor.signal(Signal::SIGKILL);
    assert_eq!(measured.supervisor.wait_exit(), Exit::Signal(Signal::SIGKILL));
    let scraped = measured.scrape();
    assert_eq!(scraped.value("runlet_supervisor_up", &[]), Some(0.0));
    assert!(scraped.value("runlet_gateway_connections", &[]).is_some());
    assert!(!scraped.families.contains_key("runlet_runs"));
    let answer = http::get(measured.admin, "/readyz");
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/problem+json")), "{answer:?}");
    assert_eq!(http::get(measured.admin, "/healthz").status, 200);
    let _next = measured.installation.supervisor();
    assert_eq!(measured.number("runlet_supervisor_up", &[]), 1.0);
    assert_eq!(http::get(measured.admin, "/readyz").status, 200);
}

#[test]
fn nothing_else_is_served_there_and_nothing_of_it_elsewhere() {
    let measured = Measured::start();
    assert_eq!(http::get(measured.address, "/metrics").status, 404);
    assert_eq!(http::get(measured.admin, "/hook/x").status, 404);
    assert_eq!(http::get(measured.admin, "/").status, 404);
    let answer = http::request(measured.admin, "POST", "/metrics", &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{answer:?}");
}

#[test]
fn up_serves_them_too_where_it_is_told_to() {
    let installation = Installation::new();
    let (up, _) = installation.up(&["--admin", "127.0.0.1:0"]);
    let admin: SocketAddr = up.wait_line("the admin listener", |line| {
        let (_, after) = line.split_once("the admin listener serves")?;
        after.split_once("address=")?.1.trim().parse().ok()
    });
    let read = Exposition::parse(&http::get(admin, "/metrics").text()).expect("numbers");
    assert_eq!(read.value("runlet_supervisor_up", &[]), Some(1.0));
}

#[test]
fn the_readme_lists_what_is_served() {
    let measured = Measured::start();
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, section) = readme.split_once("## Metrics and traces").expect("a section on metrics");
    let section = section.split("\n## ").next().unwrap_or(section);
    let listed = section.lines().filter_map(|line| line.strip_prefix("| `runlet_")?.split_once('`'));
    let mut listed: Vec<_> =
        listed.map(|(name, _)| format!("runlet_{}", name.split('{').next().unwrap_or(name))).collect();
    let suffix = |kind: &str| if kind == "counter" { "_total" } else { "" };
    let served = measured.scrape().families;
    let served: Vec<_> = served.iter().map(|(name, family)| format!("{name}{}", suffix(&family.kind))).collect();
    listed.sort_unstable();
    assert_eq!(listed, served, "the list in the README is not what is served");
}
