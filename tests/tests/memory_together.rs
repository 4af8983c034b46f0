//! Many calls to a Redis server at once, which go there together, while it is held, dies, or their run is stopped.

use nix::sys::signal::Signal;
use runlet_tests::redis_server::Server;
use runlet_tests::runlet::Installation;
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

fn server() -> Server {
    Server::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

fn blocked_on(installation: &Installation, workflow: &str) -> Value {
    installation.json(&["ps", "-w", workflow])[0]["blockedOn"].clone()
}

/// 500 calls, some of them at once.
fn many(id: &str, op: &str, parallel: usize) -> Value {
    json!({
        "id": id,
        "type": "memory",
        "for_each": "{{ range(500) | list }}",
        "parallel": parallel,
        "parameter": { "op": op, "key": "n", "value": 1 },
    })
}

#[test]
fn calls_on_their_way_to_a_server_that_dies_are_each_done_once() {
    let mut server = server();
    let installation = Installation::new();
    let _supervisor = installation.supervisor_with(&["--memory-url", &server.url()]);
    let gate = Gate::closed();
    let behind = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(behind.clone(), Page::json("1")));
    let held = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
    let blocks = json!([many("before", "add", 4), held, many("after", "add", 64)]);
    installation.deploy("adder", &json!({ "name": "adder", "memory": ["counts"], "blocks": blocks }));
    let run = installation.run_detached("adder");
    upstream.wait_asked(1);
    assert_eq!(installation.ok(&["memory", "get", "counts", "n"]).trim(), "500");
    // They reach a server that does nothing, and then is not there any more.
    server.signal(Signal::SIGSTOP);
    gate.open();
    wait_until("it to wait", || (blocked_on(&installation, "adder") == "memory counts").then_some(()));
    server.kill();
    wait_until("status to say so", || installation.ok(&["status"]).contains("away for").then_some(()));
    server.start_again();
    let _ = installation.wait_state(&run, "COMPLETED");
    assert_eq!(installation.ok(&["memory", "get", "counts", "n"]).trim(), "1000");
}

#[test]
fn a_run_is_stopped_while_its_calls_are_on_their_way() {
    let server = server();
    let installation = Installation::new();
    let _supervisor = installation.supervisor_with(&["--memory-url", &server.url()]);
    installation
        .deploy("setter", &json!({ "name": "setter", "memory": ["counts"], "blocks": [many("each", "set", 8)] }));
    let _ = installation.ok(&["run", "setter"]);
    server.signal(Signal::SIGSTOP);
    let run = installation.run_detached("setter");
    wait_until("it to wait", || (blocked_on(&installation, "setter") == "memory counts").then_some(()));
    let _ = installation.ok(&["stop", &run]);
    let _ = installation.wait_state(&run, "STOPPED");
    server.signal(Signal::SIGCONT);
    // What came too late for it is nobody else's.
    let _ = installation.ok(&["run", "setter"]);
    assert_eq!(installation.ok(&["memory", "get", "counts", "n"]).trim(), "1");
}

#[test]
fn a_worker_has_as_many_calls_at_once_and_each_is_answered() {
    let server = server();
    for url in [server.url(), "embedded:".to_owned()] {
        let installation = Installation::new();
        let _supervisor = installation.supervisor_with(&["--memory-url", &url]);
        let blocks = json!([many("first", "add", 1), many("second", "add", 64)]);
        let definition = json!({ "name": "adder", "memory": ["counts"], "isolation": "process", "blocks": blocks });
        installation.deploy("adder", &definition);
        let _ = installation.ok(&["run", "adder"]);
        assert_eq!(installation.ok(&["memory", "get", "counts", "n"]).trim(), "1000");
    }
}
