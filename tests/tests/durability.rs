//! What was accepted is not lost: killed supervisors, and what the next one makes of what they left.

use nix::sys::signal::Signal;
use runlet_tests::http;
use runlet_tests::process::{Exit, Process};
use runlet_tests::runlet::{Installation, code, wait_ready};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// Kills it once all that it did so far is on disk: reading the journal waits for that.
fn kill_written(installation: &Installation, supervisor: &Process) {
    installation.ok(&["history"]);
    kill(supervisor);
}

fn kill(supervisor: &Process) {
    supervisor.signal(Signal::SIGKILL);
    assert_eq!(supervisor.wait_exit(), Exit::Signal(Signal::SIGKILL));
}

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

/// Answers `/first` at once and everything else when the gate opens.
fn upstream(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::http(move |asked| match asked.target.as_str() {
        "/first" => Page::json(r#"{"first":1}"#).into(),
        _ => Reply::Held(gate.clone(), Page::json(r#"{"second":2}"#)),
    })
}

fn count(upstream: &Upstream, method: &str, path: &str) -> usize {
    upstream.asked().iter().filter(|asked| asked.method == method && asked.target == path).count()
}

#[test]
fn an_accepted_run_goes_on_from_its_last_completed_block() {
    let gate = Gate::closed();
    let upstream = upstream(&gate);
    let installation = Installation::new();
    let running = installation.start_both();
    let url = upstream.url();
    let definition = json!({ "priority": 7, "blocks": [
        { "type": "hook", "path": "order", "methods": ["POST"] },
        { "id": "first", "type": "fetch", "parameter": { "url": format!("{url}/first") } },
        { "id": "second", "type": "fetch", "parameter": { "url": format!("{url}/second") } },
        { "id": "sum", "type": "transform", "input": "{{ [blocks.first.output.json, input.json, hook.body] }}",
          "parameter": { "jq": "add" } },
    ] });
    installation.deploy("order", &definition);
    running.wait_route("/hook/order");
    let answer = http::post_json(running.address, "/hook/order", &json!({ "third": 3 }));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let run = answer.json()["run"].as_str().expect("an id").to_owned();
    upstream.wait_asked(2);
    kill_written(&installation, &running.supervisor);

    let _next = installation.supervisor();
    let line = installation.summary(&run).expect("it lives");
    assert_eq!((&line["workflow"], &line["priority"]), (&json!("order"), &json!(7)), "{line}");
    upstream.wait_asked(3);
    gate.open();
    let _ = installation.wait_state(&run, "COMPLETED");
    let told = inspect(&installation, &run);
    assert_eq!(told["output"], json!({ "first": 1, "second": 2, "third": 3 }), "{told}");
    assert_eq!((count(&upstream, "GET", "/first"), count(&upstream, "GET", "/second")), (1, 2));
    // The gateway serves the hook again, and nothing was deployed again.
    wait_ready(running.address);
    assert_eq!(http::post_json(running.address, "/hook/order", &json!({})).status, 202);
}

#[test]
fn what_may_have_had_its_effect_is_not_done_twice_unless_its_author_says_so() {
    for (on_unknown, state, asked) in [("fail", "FAILED", 1), ("retry", "COMPLETED", 2), ("skip", "COMPLETED", 1)] {
        let gate = Gate::closed();
        let upstream = upstream(&gate);
        let installation = Installation::new();
        let supervisor = installation.supervisor();
        installation.deploy(
            "pay",
            &json!({ "blocks": [
            { "id": "pay", "type": "fetch", "on_unknown": on_unknown, "parameter":
                { "url": format!("{}/pay", upstream.url()), "method": "POST", "json": { "sum": 5 } } },
            { "id": "after", "type": "transform", "parameter": { "jq": "1" } },
        ] }),
        );
        let run = installation.run_detached("pay");
        upstream.wait_asked(1);
        kill(&supervisor);
        gate.open();
        let next = installation.supervisor();
        let _ = installation.wait_state(&run, state);
        let told = inspect(&installation, &run);
        assert_eq!(count(&upstream, "POST", "/pay"), asked, "{on_unknown}: {told}");
        let blocks = (&told["blocks"][0]["status"], &told["blocks"][1]["status"]);
        match on_unknown {
            "fail" => {
                assert_eq!(
                    (&told["error"]["code"], &told["error"]["block"]),
                    (&json!("outcome-unknown"), &json!("pay"))
                );
                assert_eq!(blocks, (&json!("FAILED"), &json!("PENDING")), "{told}");
            }
            "retry" => assert_eq!(blocks, (&json!("COMPLETED"), &json!("COMPLETED")), "{told}"),
            _ => assert_eq!(blocks, (&json!("SKIPPED"), &json!("COMPLETED")), "{told}"),
        }
        // The end is written once: the next one finds nothing to do.
        kill_written(&installation, &next);
        let _last = installation.supervisor();
        assert_eq!(installation.json(&["ps"]), json!([]));
        assert_eq!(inspect(&installation, &run)["state"], state);
        assert_eq!(count(&upstream, "POST", "/pay"), asked);
    }
}

#[test]
fn what_waits_and_what_is_held_stays_so() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy(
        "later",
        &json!({ "blocks": [{ "type": "fetch", "parameter": { "url": "http://127.0.0.1:1/" },
        "retry": { "attempts": 5, "delay": "1h", "jitter": false } }] }),
    );
    let (waits, held) = (installation.run_detached("later"), installation.run_detached("later"));
    for run in [&waits, &held] {
        let _ = installation.wait_state(run, "BLOCKED");
    }
    installation.ok(&["pause", &held]);
    installation.ok(&["renice", "9", &waits]);
    kill_written(&installation, &supervisor);
    let supervisor = installation.supervisor();
    let line = installation.summary(&waits).expect("it lives");
    assert_eq!(
        (&line["state"], &line["priority"], &line["attempt"]),
        (&json!("BLOCKED"), &json!(9), &json!(1)),
        "{line}"
    );
    let on = line["blockedOn"].as_str().expect("on what").to_owned();
    assert!(on.starts_with("retry in 35"), "{on}");
    assert_eq!(installation.summary(&held).expect("it lives")["state"], "PAUSED");
    let log = installation.ok(&["logs", &waits]);
    assert!(log.contains("attempt 1 failed"), "{log}");
    // An orderly end leaves them too, and is not kept waiting.
    supervisor.signal(Signal::SIGTERM);
    let ended = supervisor.finish();
    assert_eq!(ended.exit, Exit::Code(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("left for the next supervisor"), "{}", ended.stderr);
    let _next = installation.supervisor();
    assert_eq!(installation.summary(&waits).expect("it lives")["state"], "BLOCKED");
    installation.ok(&["resume", &held]);
    installation.ok(&["stop", &waits, &held]);
    assert_eq!(inspect(&installation, &waits)["state"], "STOPPED");
}

#[test]
fn who_waits_for_a_reply_is_gone_with_the_supervisor_and_the_run_with_him() {
    let gate = Gate::closed();
    let upstream = upstream(&gate);
    let installation = Installation::new();
    let running = installation.start_both();
    let url = upstream.url();
    installation.deploy("ask", &json!([
        { "type": "hook", "path": "ask", "methods": ["GET"] }, { "type": "fetch", "parameter": { "url": format!("{url}/a") } }, { "type": "response" }
    ]));
    installation.deploy(
        "tell",
        &json!([
            { "type": "hook", "path": "tell", "methods": ["GET"] },
            { "type": "fetch", "parameter": { "url": format!("{url}/b"), "method": "POST" } },
            { "type": "response" }
        ]),
    );
    for path in ["/hook/ask", "/hook/tell"] {
        running.wait_route(path);
    }
    let address = running.address;
    let clients = ["/hook/ask", "/hook/tell"].map(|path| std::thread::spawn(move || http::get(address, path)));
    upstream.wait_asked(2);
    let runs = installation.json(&["ps"]);
    let id = |workflow: &str| {
        let line = runs.as_array().and_then(|runs| runs.iter().find(|run| run["workflow"] == workflow));
        line.expect("it lives")["id"].as_str().expect("text").to_owned()
    };
    kill(&running.supervisor);
    for client in clients {
        let status = client.join().expect("an answer").status;
        assert!(matches!(status, 502 | 503), "{status}");
    }
    gate.open();
    let _next = installation.supervisor();
    // One had done nothing that must not be done twice, and was not written down; the other may have told somebody.
    installation.cli(&["inspect", &id("ask")]).expect_code(code::NOT_FOUND, "nobody was told of it");
    let told = inspect(&installation, &id("tell"));
    assert_eq!((&told["state"], &told["error"]["code"]), (&json!("STOPPED"), &json!("stopped")), "{told}");
    assert_eq!(count(&upstream, "POST", "/b"), 1);
}

#[test]
fn a_run_that_goes_on_without_its_client_is_kept() {
    let gate = Gate::closed();
    let upstream = upstream(&gate);
    let installation = Installation::new();
    let running = installation.start_both();
    let later = json!({ "id": "later", "type": "fetch", "parameter": { "url": format!("{}/later", upstream.url()) } });
    installation.deploy(
        "tail",
        &json!([
        { "type": "hook", "path": "tail", "methods": ["GET"] }, { "type": "response", "body": "accepted" }, later ]),
    );
    installation.deploy("left", &json!([
        { "type": "hook", "path": "left", "methods": ["GET"], "on_disconnect": "continue" }, later, { "type": "response" } ]));
    for path in ["/hook/tail", "/hook/left"] {
        running.wait_route(path);
    }
    assert_eq!(running.get("/hook/tail").text(), "accepted");
    upstream.wait_asked(1);
    let (client, _) = http::send(running.address, "GET", "/hook/left", &[], b"");
    upstream.wait_asked(2);
    drop(client);
    let runs = installation.json(&["ps"]);
    let runs: Vec<_> = runs.as_array().expect("a list").iter().map(|run| run["id"].as_str().expect("text")).collect();
    assert_eq!(runs.len(), 2);
    kill_written(&installation, &running.supervisor);
    let _next = installation.supervisor();
    upstream.wait_asked(4);
    gate.open();
    for run in runs {
        let _ = installation.wait_state(run, "COMPLETED");
    }
}

#[test]
fn durability_says_what_is_written() {
    let installation = Installation::new();
    let running = installation.start_both();
    for durability in ["strict", "relaxed", "none", "auto"] {
        installation.deploy(durability, &json!({ "durability": durability, "blocks": [
            { "type": "hook", "path": durability, "methods": ["GET"] }, { "type": "response", "body": { "said": "{{ hook.query.q }}" } } ] }));
        let path = format!("/hook/{durability}");
        running.wait_route(&path);
        let answer = running.get(&format!("{path}?q={durability}"));
        assert_eq!((answer.status, answer.json()), (200, json!({ "said": durability })));
        installation.ok(&["run", durability, "--detach", "-i", r#"{"query":{"q":"x"}}"#]);
    }
    wait_until("all to end", || installation.json(&["ps"]).as_array().filter(|runs| runs.is_empty()).map(|_| ()));
    kill_written(&installation, &running.supervisor);
    let _next = installation.supervisor();
    let history = installation.json(&["history"]);
    let of =
        |name: &str| history.as_array().map_or(0, |runs| runs.iter().filter(|run| run["workflow"] == name).count());
    let found = ["strict", "relaxed", "auto", "none"].map(of);
    assert_eq!(found, [2, 2, 2, 0], "{history}");
}

#[test]
fn a_request_that_comes_again_gets_the_first_ones_answer() {
    let installation = Installation::new();
    let running = installation.start_both();
    let upstream = Upstream::http(|_| Page::json("1").into());
    let effect = json!({ "type": "fetch", "parameter": { "url": upstream.url(), "method": "POST" } });
    installation.deploy(
        "later",
        &json!([
        { "type": "hook", "path": "later", "methods": ["POST"], "idempotency_key": "Idempotency-Key" }, effect ]),
    );
    installation.deploy(
        "now",
        &json!([
        { "type": "hook", "path": "now", "methods": ["POST"], "idempotency_key": "{{ hook.body.order }}" }, effect,
        { "type": "response", "status": 201, "body": { "run": "{{ run.id }}" } } ]),
    );
    for path in ["/hook/later", "/hook/now"] {
        running.wait_route(path);
    }
    let post = |path: &str, key: &str, order: u32| {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        let body = json!({ "order": order }).to_string();
        let answer = http::request(running.address, "POST", path, &headers, body.as_bytes());
        (answer.status, answer.json()["run"].as_str().expect("an id").to_owned())
    };
    let (first, reply) = (post("/hook/later", "a", 1), post("/hook/now", "", 7));
    assert_eq!((first.0, reply.0), (202, 201));
    assert_eq!((post("/hook/later", "a", 2), post("/hook/now", "", 7)), (first.clone(), reply.clone()));
    assert_ne!(post("/hook/later", "b", 1), first);
    assert_ne!(post("/hook/now", "", 8), reply);
    assert_ne!(post("/hook/later", "", 1).1, post("/hook/later", "", 1).1, "no key is like no other");
    wait_until("all to end", || installation.json(&["ps"]).as_array().filter(|runs| runs.is_empty()).map(|_| ()));
    let asked = upstream.asked().len();
    assert_eq!(asked, 6);
    kill_written(&installation, &running.supervisor);
    let _next = installation.supervisor();
    wait_ready(running.address);
    assert_eq!((post("/hook/later", "a", 3), post("/hook/now", "", 7)), (first, reply), "after a crash too");
    let bad = http::request(running.address, "POST", "/hook/now", &[], b"no order");
    assert_eq!(bad.status, 400, "{}", bad.text());
}

#[test]
fn the_past_can_be_looked_at_when_it_is_forgotten() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("sum", &json!([{ "type": "transform", "parameter": { "jq": "add" } }]));
    installation.deploy("fails", &json!([{ "id": "no", "type": "transform", "parameter": { "jq": "error(\"no\")" } }]));
    installation.ok(&["run", "sum", "--quiet", "-i", "[1,2]"]);
    installation.cli(&["run", "fails", "--quiet"]).expect_code(code::FAILED, "it fails");
    // An orderly end writes everything down.
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.wait_exit(), Exit::Code(0));
    let supervisor = installation.supervisor();
    assert_eq!(installation.json(&["ps", "-a"]), json!([]));
    let history = installation.json(&["history"]);
    assert_eq!(
        (&history[0]["workflow"], &history[1]["workflow"]),
        (&json!("fails"), &json!("sum")),
        "newest first: {history}"
    );
    let only = |arguments: &[&str]| installation.json(&[&["history"], arguments].concat());
    assert!(history[1]["lane"] == "heavy" && history[1]["pid"].is_u64(), "where it was executed: {history}");
    assert_eq!(only(&["-s", "completed"])[0]["id"], history[1]["id"]);
    assert_eq!(only(&["-w", "fails"]), json!([history[0]]));
    assert_eq!(only(&["-n", "1"]), json!([history[0]]));
    let newest = history[0]["id"].as_str().expect("text");
    assert_eq!(only(&["--before", newest]), json!([history[1]]));
    assert_eq!(only(&["--since", "1h"]), history);
    assert_eq!(installation.json(&["dead"]), json!([history[0]]));
    let run = history[1]["id"].as_str().expect("text");
    let told = inspect(&installation, &run[run.len() - 12..]);
    assert_eq!(
        (&told["state"], &told["output"], &told["input"], &told["lane"], &told["worker"]["pid"]),
        (&json!("COMPLETED"), &json!(3), &json!([1, 2]), &json!("heavy"), &history[1]["pid"]),
        "{told}"
    );
    let told = inspect(&installation, newest);
    assert_eq!((&told["error"]["block"], &told["blocks"][0]["id"]), (&json!("no"), &json!("no")), "{told}");
    assert!(installation.ok(&["logs", newest]).contains("failed"), "its log is kept");
    assert_eq!(installation.json(&["trace", newest])[0]["outcome"], "failed");
    assert!(installation.ok(&["gc"]).contains("removed 0 runs"));
    for beside in [true, false] {
        if !beside {
            supervisor.signal(Signal::SIGTERM);
            assert_eq!(supervisor.wait_exit(), Exit::Code(0));
        }
        let state = installation.state();
        let report = installation.ok(&["journal", "check", "--state", state.to_str().expect("text")]);
        assert!(report.contains("2 ended runs") && report.contains("nothing is wrong"), "{report}");
    }
}
