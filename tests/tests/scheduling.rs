//! Order, retries and many runs at once, as they show from outside.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use runlet_tests::http;
use runlet_tests::process::Exit;
use runlet_tests::runlet::Installation;
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

#[test]
fn independent_blocks_wait_side_by_side_and_their_outputs_come_together() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |asked| {
        let page = Page::json(format!(r#"{{"path":"{}"}}"#, asked.target));
        Reply::Held(held.clone(), page)
    });
    let fetch = |id: &str| json!({ "id": id, "type": "fetch", "dependencies": [], "parameter": { "url": format!("{}/{id}", upstream.url()) } });
    let definition = json!({ "blocks": [
        fetch("left"),
        fetch("right"),
        { "type": "response", "dependencies": ["left", "right"],
          "body": { "left": "{{ input.left.json.path }}", "right": "{{ blocks.right.output.json.path }}" } }
    ]});
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("both", &definition);
    let run = installation.run_detached("both");
    // Neither is answered yet, and both are asked.
    upstream.wait_asked(2);
    gate.open();
    let _ = installation.wait_state(&run, "COMPLETED");
    let block: Value = serde_json::from_str(&installation.ok(&["inspect", &run])).expect("JSON");
    let text = block["output"].to_string();
    assert!(text.contains("/left") && text.contains("/right"), "{block}");
}

#[test]
fn a_block_is_retried_as_its_policy_says() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::http(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Hangup,
        1 => Page::html("busy").with_status(503).into(),
        _ => Page::json(r#"{"ok":true}"#).into(),
    });
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = |attempts: u32| {
        json!([
            { "type": "hook", "path": "again", "methods": ["GET"] },
            { "id": "page", "type": "fetch", "parameter": { "url": upstream.url() },
              "retry": { "attempts": attempts, "delay": "1ms" } },
            { "type": "response", "body": "{{ input.status }}" }
        ])
    };
    installation.deploy("again", &definition(2));
    let answer = running.get("/hook/again");
    assert_eq!(answer.status, 502, "{answer:?}");
    let problem = answer.json();
    assert_eq!((&problem["block"], &problem["attempt"]), (&json!("page"), &json!(2)), "{problem}");

    installation.deploy("again", &definition(3));
    assert_eq!(running.get("/hook/again").text(), "200");
    assert_eq!(upstream.asked().len(), 3);
}

#[test]
fn a_failed_block_may_be_skipped() {
    let upstream = Upstream::http(|_| Page::html("gone").with_status(410).into());
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([
        { "type": "hook", "path": "skip" },
        { "id": "page", "type": "fetch", "parameter": { "url": upstream.url() }, "on_error": "skip" },
        { "type": "response", "body": "q={{ input.query.q }}" }
    ]);
    installation.deploy("skip", &definition);
    let answer = running.get("/hook/skip?q=kept");
    assert_eq!((answer.status, answer.text().as_str()), (200, "q=kept"));
}

#[test]
fn many_clients_at_once_each_get_their_own_answer() {
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 25;
    let upstream = Upstream::http(|asked| Page::html(format!("<h1>{}</h1>", &asked.target[1..])).into());
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([
        { "type": "hook", "path": "echo/:n", "methods": ["POST"] },
        { "type": "fetch", "parameter": { "url": format!("{}/{{{{ hook.params.n }}}}", upstream.url()) } },
        { "type": "html-scraper", "parameter": [{ "selector": "h1", "limit": 1, "multiple": false }] },
        { "type": "response", "body": "{{ input.h1 }} {{ hook.body.n }}" }
    ]);
    installation.deploy("echo", &definition);
    running.wait_route("/hook/echo/0");
    let address = running.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            thread::spawn(move || {
                for request in 0..REQUESTS {
                    let number = client * REQUESTS + request;
                    let answer = http::post_json(address, &format!("/hook/echo/{number}"), &json!({ "n": number }));
                    assert_eq!((answer.status, answer.text()), (200, format!("{number} {number}")));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every answer belongs to its request");
    }
    let asked: BTreeSet<String> = upstream.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked.len(), CLIENTS * REQUESTS);
    let status = installation.json(&["status"]);
    assert_eq!((&status["liveRuns"], &status["endedRuns"]["completed"]), (&json!(0), &json!(CLIENTS * REQUESTS)));
}

#[test]
fn a_workflow_runs_no_more_at_once_than_it_allows() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::json("{}")));
    let installation = Installation::new();
    let _running = installation.start_both();
    let definition =
        json!({ "concurrency": 2, "blocks": [{ "type": "fetch", "parameter": { "url": upstream.url() } }] });
    installation.deploy("narrow", &definition);
    let runs: Vec<String> = (0..5).map(|_| installation.run_detached("narrow")).collect();
    upstream.wait_asked(2);
    let states = |state: &str| {
        let lines = installation.json(&["ps"]);
        lines.as_array().expect("a list").iter().filter(|line| line["state"] == state).count()
    };
    wait_until("two runs to wait for the server, and three for their turn", || {
        (states("BLOCKED") == 2 && states("READY") == 3).then_some(())
    });
    assert_eq!(upstream.asked().len(), 2);
    gate.open();
    for run in &runs {
        let _ = installation.wait_state(run, "COMPLETED");
    }
}

#[test]
fn up_starts_a_killed_gateway_again_at_the_same_address() {
    let installation = Installation::new();
    let definition = json!([{ "type": "hook", "path": "a" }, { "type": "response", "body": "here" }]);
    let file = installation.write("a.json", &definition.to_string());
    let (up, address) = installation.up(&[file.to_str().expect("text")]);
    let gateway = children(up.id()).into_iter().find(|(_, line)| line.contains("gateway")).expect("a gateway").0;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(gateway), Signal::SIGKILL).expect("the gateway of this test");
    wait_until("another gateway", || {
        let other = children(up.id()).into_iter().any(|(id, line)| line.contains("gateway") && id != gateway);
        (other && std::net::TcpStream::connect(address).is_ok()).then_some(())
    });
    assert_eq!(http::get(address, "/hook/a").text(), "here");
    up.signal(Signal::SIGTERM);
    assert_eq!(up.wait_exit(), Exit::Code(0));
}

/// Process ids and command lines of a process's children.
fn children(parent: u32) -> Vec<(i32, String)> {
    let listed = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("a running process");
    let child = |id: &str| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        Some((id.parse().ok()?, String::from_utf8_lossy(&line).replace('\0', " ")))
    };
    listed.split_whitespace().filter_map(child).collect()
}
