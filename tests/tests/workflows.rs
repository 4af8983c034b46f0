//! Runs that other runs begin: `workflow` blocks.

use nix::sys::signal::Signal;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

/// One that begins another with its input.
fn calling(name: &str, called: &Value) -> Value {
    json!({ "name": name, "blocks": [{ "id": "call", "type": "workflow", "parameter": called }] })
}

#[test]
fn a_block_takes_the_output_of_another_workflow_and_its_failure() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("double", &json!([{ "type": "transform", "parameter": { "jq": ". * 2" } }]));
    installation.deploy("outer", &json!([
        { "id": "twice", "type": "workflow", "parameter": { "name": "double" } },
        { "id": "each", "type": "workflow", "for_each": "{{ [input, 5] }}", "parallel": 2, "parameter": { "name": "double" } },
    ]));
    assert_eq!(installation.json(&["run", "outer", "--input", "3"])["output"], json!([12, 10]));
    // What cannot be doubled fails the block that asked for it, and says where.
    let failed = installation.cli(&["run", "outer", "--input", r#"{"a":1}"#]);
    failed.expect_code(code::FAILED, "a failure of what was called");
    let said = failed.stderr;
    assert!(said.contains("of `double` is FAILED") && said.contains("runlet inspect"), "{said}");
    let unknown = calling("astray", &json!({ "name": "duoble" }));
    installation.deploy("astray", &unknown);
    let said = installation.cli(&["run", "astray"]).stderr;
    assert!(said.contains("duoble") && said.contains("double"), "{said}");
}

#[test]
fn a_run_that_is_not_waited_for_goes_on_alone() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("slow", &json!([{ "type": "transform", "parameter": { "jq": "last(range(3e6))" } }]));
    installation.deploy("outer", &calling("outer", &json!({ "name": "slow", "wait": false })));
    let begun = installation.json(&["run", "outer"]);
    let run = begun["output"]["run"].as_str().expect("a run");
    let _ = installation.wait_state(run, "COMPLETED");
}

#[test]
fn what_is_stopped_stops_what_it_waits_for_and_ps_says_what_that_is() {
    let (upstream, _gate) = held();
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("inner", &fetching(&upstream));
    installation.deploy("outer", &calling("outer", &json!({ "name": "inner" })));
    let outer = installation.run_detached("outer");
    let inner = wait_until("the inner run", || {
        let runs = installation.json(&["ps", "-w", "inner"]);
        runs[0]["id"].as_str().map(str::to_owned)
    });
    let line = wait_until("the outer run to wait", || {
        let runs = installation.json(&["ps", "-w", "outer"]);
        Some(runs[0].clone()).filter(|run| run["state"] == "BLOCKED")
    });
    assert_eq!(line["blockedOn"], "workflow inner", "{line}");
    let _ = installation.ok(&["stop", &outer]);
    let _ = installation.wait_state(&outer, "STOPPED");
    let _ = installation.wait_state(&inner, "STOPPED");
    let why = inspect(&installation, &inner)["error"]["message"].to_string();
    assert!(why.contains(&outer), "{why}");
}

#[test]
fn runs_that_wait_for_each_other_are_told_so() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let mut one = calling("one", &json!({ "name": "two" }));
    one["concurrency"] = json!(1);
    installation.deploy("one", &one);
    installation.deploy("two", &calling("two", &json!({ "name": "one" })));
    let said = installation.cli(&["run", "one"]).stderr;
    assert!(said.contains("deadlock") && said.contains("`one`") && said.contains("→"), "{said}");
    // Without a bound on how many there are, there is one on how many wait for each other.
    installation.deploy("endless", &calling("endless", &json!({ "name": "endless" })));
    let said = installation.cli(&["run", "endless"]).stderr;
    assert!(said.contains("already wait for each other"), "{said}");
    wait_until("all to end", || (installation.json(&["ps"]) == json!([])).then_some(()));
}

#[test]
fn a_deadlock_across_two_chains_is_found_when_its_ring_would_close() {
    let (upstream, gate) = held();
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    // Each holds the only place that the other wants, once it is let go on.
    for (name, other) in [("left", "right"), ("right", "left")] {
        let fetch = json!({ "type": "fetch", "parameter": { "url": format!("{}/{name}", upstream.url()) } });
        let call = json!({ "type": "workflow", "parameter": { "name": other } });
        installation.deploy(name, &json!({ "name": name, "concurrency": 1, "blocks": [fetch, call] }));
    }
    let (left, right) = (installation.run_detached("left"), installation.run_detached("right"));
    upstream.wait_asked(2);
    gate.open();
    for run in [&left, &right] {
        let _ = installation.wait_state(run, "FAILED");
    }
    let said = [&left, &right].map(|run| inspect(&installation, run)["error"]["message"].to_string()).concat();
    assert!(said.contains("deadlock: ") && said.contains(&left) && said.contains(&right), "{said}");
    wait_until("all to end", || (installation.json(&["ps"]) == json!([])).then_some(()));
}

#[test]
fn a_run_inherits_the_priority_of_the_one_that_waits_for_it_and_names_it() {
    let (upstream, gate) = held();
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("inner", &fetching(&upstream));
    installation.deploy("outer", &calling("outer", &json!({ "name": "inner" })));
    installation.deploy("loose", &calling("loose", &json!({ "name": "inner", "wait": false })));
    let outer = installation.ok(&["run", "outer", "--detach", "--priority", "8"]).trim().to_owned();
    let loose = installation.ok(&["run", "loose", "--detach", "--priority", "8"]).trim().to_owned();
    let _ = installation.wait_state(&loose, "COMPLETED");
    let inner = || installation.json(&["ps", "-w", "inner"]).as_array().expect("a list").clone();
    let priority_below = |parent: &str| {
        let runs = inner();
        let ids = runs.iter().map(|run| run["id"].as_str().expect("an id"));
        let told: Vec<Value> = ids.map(|id| inspect(&installation, id)).collect();
        told.iter().find(|told| told["parent"] == parent).map(|told| told["priority"].clone())
    };
    assert_eq!(priority_below(&outer), Some(json!(8)), "{:?}", inner());
    assert_eq!(priority_below(&loose), Some(json!(5)), "nobody waits for it");
    // It is told by the journal too.
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    let _next = installation.supervisor();
    assert_eq!(priority_below(&loose), Some(json!(5)));
    gate.open();
    wait_until("all to end", || (installation.json(&["ps"]) == json!([])).then_some(()));
    let begun: Vec<_> = installation.json(&["history", "-w", "inner"]).as_array().expect("a list").clone();
    assert_eq!(begun.len(), 2, "neither was begun twice: {begun:?}");
}

#[test]
fn when_one_element_fails_what_the_others_wait_for_is_stopped() {
    let (upstream, _gate) = held();
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy(
        "inner",
        &json!([
            { "type": "fetch", "when": "{{ input != 'bad' }}", "parameter": { "url": format!("{}/held", upstream.url()) } },
            { "type": "transform", "parameter": { "jq": "if type == \"object\" then . else error(\"no\") end" } },
        ]),
    );
    installation.deploy(
        "outer",
        &json!([{
            "type": "workflow", "for_each": "{{ ['good', 'bad'] }}", "parallel": 2, "parameter": { "name": "inner" },
        }]),
    );
    let said = installation.cli(&["run", "outer"]);
    said.expect_code(code::FAILED, "one of its elements");
    let states = || installation.json(&["history", "-w", "inner"]).as_array().expect("a list").clone();
    let states =
        wait_until("both to end", || Some(states()).filter(|runs| runs.iter().all(|run| run["state"] != Value::Null)));
    let with = |state: &str| states.iter().filter(|run| run["state"] == state).count();
    assert_eq!((with("FAILED"), with("STOPPED")), (1, 1), "{states:?}");
}

#[test]
fn after_a_crash_a_block_finds_the_runs_it_had_begun() {
    let (upstream, gate) = held();
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("inner", &fetching(&upstream));
    installation.deploy(
        "outer",
        &json!([{
            "type": "workflow", "for_each": "{{ ['free', 'held'] }}", "parallel": 2, "parameter": { "name": "inner" },
        }]),
    );
    let outer = installation.run_detached("outer");
    upstream.wait_asked(2);
    // One of them has ended, the other goes on; and whoever reads the journal waits for what is written.
    let ended = || installation.json(&["history", "-w", "inner", "-s", "COMPLETED"]).as_array().map(Vec::len);
    wait_until("the first to end", || (ended() == Some(1)).then_some(()));
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    gate.open();
    let _next = installation.supervisor();
    let _ = installation.wait_state(&outer, "COMPLETED");
    assert_eq!(inspect(&installation, &outer)["output"], json!(["/free", "/held"]));
    assert_eq!(ended(), Some(2));
    let free = upstream.asked().iter().filter(|asked| asked.target == "/free").count();
    assert_eq!(free, 1, "what had ended is not made again");
}

/// A server that says what it was asked for; all but `/free` once its gate is open.
fn held() -> (Upstream, Gate) {
    let gate = Gate::closed();
    let behind = gate.clone();
    let upstream = Upstream::http(move |asked| match Page::json(json!(asked.target).to_string()) {
        page if asked.target == "/free" => page.into(),
        page => Reply::Held(behind.clone(), page),
    });
    (upstream, gate)
}

fn fetching(upstream: &Upstream) -> Value {
    json!([
        { "type": "fetch", "timeout": "1m", "parameter": { "url": format!("{}/{{{{ input or 'held' }}}}", upstream.url()) } },
        { "type": "transform", "parameter": { "jq": ".json" } },
    ])
}

#[test]
fn a_run_whose_process_takes_the_memory_that_its_child_needs_is_told_so() {
    let installation = Installation::new();
    // For one process at a time.
    let _supervisor = installation.supervisor_with(&["--heavy-memory", "300MiB"]);
    let program = json!({ "id": "program", "type": "transform", "parameter": { "jq": "1" } });
    let child = json!({ "id": "child", "type": "workflow", "parameter": { "name": "inner" } });
    installation.deploy("inner", &json!([program]));
    installation.deploy("outer", &json!([program, child]));
    installation.deploy("light", &json!([child]));
    let failed = installation.cli(&["run", "outer"]);
    failed.expect_code(code::FAILED, "there is no memory for both");
    assert!(failed.stderr.contains("deadlock: `outer`") && failed.stderr.contains("256 MiB"), "{failed:?}");
    assert!(failed.stderr.contains("--heavy-memory"), "{failed:?}");
    // What holds none waits for its turn.
    assert_eq!(installation.json(&["run", "light"])["output"], 1);
}

#[test]
fn of_runs_that_hold_all_memory_and_wait_for_children_the_last_is_told_so_and_the_others_go_on() {
    let (upstream, gate) = held();
    let installation = Installation::new();
    // For two processes at a time.
    let _supervisor = installation.supervisor_with(&["--heavy-memory", "600MiB"]);
    let program = json!({ "id": "program", "type": "transform", "parameter": { "jq": "1" } });
    let fetch = json!({ "id": "page", "type": "fetch", "parameter": { "url": upstream.url() } });
    let child = json!({ "id": "child", "type": "workflow", "parameter": { "name": "inner" } });
    // It comes to its heavy block when the memory may all be taken.
    installation.deploy("inner", &json!([fetch, program]));
    installation.deploy("outer", &json!([program, fetch, child]));
    let runs = [installation.run_detached("outer"), installation.run_detached("outer")];
    upstream.wait_asked(2);
    gate.open();
    wait_until("all to end", || (installation.json(&["ps"]) == json!([])).then_some(()));
    let ends: Vec<Value> = runs.iter().map(|run| inspect(&installation, run)).collect();
    let failed: Vec<&Value> = ends.iter().filter(|end| end["state"] == "FAILED").collect();
    let completed = ends.iter().filter(|end| end["state"] == "COMPLETED").count();
    assert_eq!((failed.len(), completed), (1, 1), "{ends:?}");
    let why = failed[0]["error"]["message"].to_string();
    assert!(why.contains("deadlock: ") && runs.iter().all(|run| why.contains(run)), "{why}");
}
