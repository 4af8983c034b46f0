//! Processes that die or are told to end, and what the others do then.

use nix::sys::signal::Signal;
use runlet_tests::http;
use runlet_tests::process::Exit;
use runlet_tests::runlet::{Installation, code, wait_ready};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::json;

#[test]
fn the_gateway_outlives_a_killed_supervisor() {
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([{ "type": "hook", "path": "a" }, { "type": "response", "body": "here" }]);
    installation.deploy("a", &definition);
    assert_eq!(running.get("/hook/a").status, 200);

    running.supervisor.signal(Signal::SIGKILL);
    assert_eq!(running.supervisor.wait_exit(), Exit::Signal(Signal::SIGKILL));
    let answer = wait_until("the gateway to notice", || {
        Some(http::get(running.address, "/hook/a")).filter(|answer| answer.status == 503)
    });
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{answer:?}");
    assert_eq!(http::get(running.address, "/healthz").status, 200, "the gateway itself is well");
    assert_eq!(http::get(running.address, "/readyz").status, 503);
    installation.cli(&["ps"]).expect_code(code::UNREACHABLE, "ps without a supervisor");

    let _supervisor = installation.supervisor();
    wait_ready(running.address);
    installation.deploy("a", &definition);
    assert_eq!(running.get("/hook/a").status, 200);
    assert!(running.gateway.is_running());
}

#[test]
fn a_client_that_waits_is_told_when_the_supervisor_dies() {
    let gate = Gate::closed();
    let upstream = Upstream::http(move |_| Reply::Held(gate.clone(), Page::html("x")));
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([
        { "type": "hook", "path": "w", "methods": ["GET"] },
        { "type": "fetch", "parameter": { "url": upstream.url() } },
        { "type": "response", "body": "x" }
    ]);
    installation.deploy("w", &definition);
    running.wait_route("/hook/w");
    let address = running.address;
    let waiting = std::thread::spawn(move || http::get(address, "/hook/w"));
    upstream.wait_asked(1);
    running.supervisor.signal(Signal::SIGKILL);
    let answer = waiting.join().expect("an answer");
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
}

#[test]
fn a_supervisor_told_to_end_finishes_what_runs() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("x")));
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([
        { "type": "hook", "path": "d", "methods": ["GET"] },
        { "type": "fetch", "parameter": { "url": upstream.url() } },
        { "type": "response", "body": "drained" }
    ]);
    installation.deploy("d", &definition);
    running.wait_route("/hook/d");
    let address = running.address;
    let waiting = std::thread::spawn(move || http::get(address, "/hook/d"));
    upstream.wait_asked(1);
    running.supervisor.signal(Signal::SIGTERM);
    wait_until("new runs to be refused", || {
        (installation.cli(&["run", "d", "--detach"]).exit != Exit::Code(code::OK)).then_some(())
    });
    assert!(running.supervisor.is_running(), "it waits for the live run");
    gate.open();
    let answer = waiting.join().expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "drained"));
    assert_eq!(running.supervisor.wait_exit(), Exit::Code(0));
    assert!(!installation.socket().exists(), "the socket is taken away");
}

#[test]
fn what_is_not_finished_by_the_deadline_is_said() {
    let gate = Gate::closed();
    let upstream = Upstream::http(move |_| Reply::Held(gate.clone(), Page::html("x")));
    let installation = Installation::new();
    let supervisor = installation.start(&["supervisor", "--drain", "100ms"]);
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    installation.deploy("stuck", &json!([{ "type": "fetch", "parameter": { "url": upstream.url() } }]));
    let run = installation.run_detached("stuck");
    upstream.wait_asked(1);
    supervisor.signal(Signal::SIGTERM);
    let finished = supervisor.finish();
    assert_eq!(finished.exit, Exit::Code(0), "{finished:?}");
    assert!(finished.stderr.contains(&run) || finished.stderr.contains("stuck"), "{finished:?}");
    upstream.wait_given_up(1);
}

#[test]
fn a_second_supervisor_does_not_take_the_place_of_the_first() {
    let installation = Installation::new();
    let first = installation.supervisor();
    let second = installation.cli(&["supervisor"]);
    assert_ne!(second.exit, Exit::Code(0), "{second:?}");
    assert!(second.stderr.contains("runlet status"), "{second:?}");
    assert!(first.is_running());
    installation.ok(&["status"]);
}

#[test]
fn up_starts_a_killed_supervisor_again_with_what_was_deployed() {
    let installation = Installation::new();
    let definition = json!([{ "type": "hook", "path": "again" }, { "type": "response", "body": "here" }]);
    let file = installation.write("again.json", &definition.to_string());
    let (up, address) = installation.up(&[file.to_str().expect("text")]);
    assert_eq!(http::get(address, "/hook/again").text(), "here");
    // What was deployed and removed since is not undone.
    let newer = json!([{ "type": "hook", "path": "again" }, { "type": "response", "body": "newer" }]);
    installation.deploy("again", &newer);
    assert_eq!(http::get(address, "/hook/again").text(), "newer");
    let pid = installation.json(&["status"])["pid"].as_i64().expect("a process id");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("it fits"));
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("the supervisor of this test");
    wait_until("the hook to be served again", || {
        // Another supervisor than the killed one, and the route with it.
        let status = installation.cli(&["-o", "json", "status"]);
        let other = status.exit == Exit::Code(0) && !status.stdout.contains(&format!("\"pid\": {pid},"));
        (other && http::get(address, "/hook/again").status == 200).then_some(())
    });
    assert_eq!(http::get(address, "/hook/again").text(), "newer");
    up.signal(Signal::SIGINT);
    assert_eq!(up.wait_exit(), Exit::Code(0));
    installation.cli(&["ps"]).expect_code(code::UNREACHABLE, "ps after the end");
}
