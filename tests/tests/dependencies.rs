//! `dependencies` on workflows: who waits for whom, what starts by itself, and what becomes of it when it fails.

use nix::sys::signal::Signal;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

fn runs_of(installation: &Installation, workflow: &str) -> usize {
    installation.json(&["history", "-w", workflow]).as_array().map_or(0, Vec::len)
}

/// One that asks a server which lets it wait.
fn asking(upstream: &Upstream) -> Value {
    json!([{ "type": "fetch", "parameter": { "url": upstream.url() } }])
}

fn after(name: &str, dependencies: &Value) -> Value {
    let block = json!({ "id": "go", "type": "transform", "parameter": { "jq": "\"done\"" } });
    json!({ "name": name, "dependencies": dependencies, "blocks": [block] })
}

fn upstream() -> (Upstream, Gate) {
    let gate = Gate::closed();
    let held = gate.clone();
    (Upstream::http(move |_| Reply::Held(held.clone(), Page::json("1"))), gate)
}

#[test]
fn what_it_depends_on_is_started_once_and_not_again_while_it_is_young() {
    let (upstream, gate) = upstream();
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("rates", &asking(&upstream));
    installation.deploy("report", &after("report", &json!(["workflow:rates"])));
    let (one, two) = (installation.run_detached("report"), installation.run_detached("report"));
    upstream.wait_asked(1);
    let blocked = |run: &str| {
        let runs = installation.json(&["ps", "-w", "report"]);
        let mut lines = runs.as_array().expect("a list").iter();
        lines.any(|line| line["id"] == run && line["blockedOn"] == "dependency workflow:rates")
    };
    wait_until("both to wait", || (blocked(&one) && blocked(&two)).then_some(()));
    assert_eq!(runs_of(&installation, "rates"), 1, "one run is enough for both");
    // A crash changes nothing about it.
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    let _next = installation.supervisor();
    upstream.wait_asked(2);
    wait_until("both to wait again", || (blocked(&one) && blocked(&two)).then_some(()));
    gate.open();
    for run in [&one, &two] {
        let _ = installation.wait_state(run, "COMPLETED");
    }
    assert_eq!(installation.json(&["run", "report"])["output"], "done");
    assert_eq!(runs_of(&installation, "rates"), 1);
    // The next supervisor knows how young it is.
    let _ = installation.ok(&["history", "-w", "rates"]);
}

#[test]
fn one_that_is_too_old_is_made_again_and_one_that_may_not_be_started_is_waited_for() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("rates", &json!([{ "type": "transform", "parameter": { "jq": "1" } }]));
    installation.deploy("fresh", &after("fresh", &json!([{ "workflow": "rates", "max_age": "1ms" }])));
    installation.deploy("idle", &after("idle", &json!([{ "workflow": "rates", "max_age": "1ms", "start": false }])));
    assert_eq!(installation.json(&["run", "fresh"])["output"], "done");
    let before = runs_of(&installation, "rates");
    let idle = installation.run_detached("idle");
    wait_until("it to wait", || {
        let runs = installation.json(&["ps", "-w", "idle"]);
        (runs[0]["state"] == "BLOCKED").then_some(())
    });
    assert_eq!(runs_of(&installation, "rates"), before, "it may not start one");
    let _ = installation.ok(&["run", "rates"]);
    let _ = installation.wait_state(&idle, "COMPLETED");
    assert_eq!(installation.json(&["run", "fresh"])["output"], "done");
    assert_eq!(runs_of(&installation, "rates"), before + 2, "the last one was too old");
}

#[test]
fn its_failure_is_the_failure_of_what_depends_on_it_unless_that_goes_on() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("rates", &json!([{ "type": "transform", "parameter": { "jq": "error(\"no rates\")" } }]));
    installation.deploy("report", &after("report", &json!(["workflow:rates"])));
    installation.deploy("lenient", &after("lenient", &json!([{ "workflow": "rates", "on_failure": "continue" }])));
    let failed = installation.cli(&["run", "report"]);
    failed.expect_code(code::FAILED, "a dependency that failed");
    let said = &failed.stderr;
    assert!(said.contains("depends on workflow `rates`") && said.contains("no rates"), "{said}");
    assert_eq!(installation.json(&["run", "lenient"])["output"], "done");
    installation.deploy("astray", &after("astray", &json!(["workflow:raets"])));
    let said = installation.cli(&["run", "astray"]).stderr;
    assert!(said.contains("raets") && said.contains("rates"), "{said}");
}

#[test]
fn a_block_alone_may_depend_on_a_workflow_and_still_takes_the_output_before_it() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("rates", &json!([{ "type": "transform", "parameter": { "jq": "1" } }]));
    installation.deploy(
        "report",
        &json!([
            { "id": "first", "type": "transform", "parameter": { "jq": "20" } },
            { "id": "second", "type": "transform", "dependencies": ["workflow:rates"], "parameter": { "jq": ". + 1" } },
        ]),
    );
    assert_eq!(installation.json(&["run", "report"])["output"], 21);
    assert_eq!(runs_of(&installation, "rates"), 1);
}

#[test]
fn workflows_that_depend_on_each_other_are_told_so() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("chicken", &after("chicken", &json!(["workflow:egg"])));
    installation.deploy("egg", &after("egg", &json!(["workflow:chicken"])));
    let failed = installation.cli(&["run", "chicken"]);
    failed.expect_code(code::FAILED, "a ring of dependencies");
    let said = &failed.stderr;
    assert!(said.contains("deadlock: ") && said.contains("`chicken`") && said.contains("`egg`"), "{said}");
    let all = installation.json(&["ps"]);
    assert_eq!(all, json!([]), "nothing waits any more");
    let first = installation.json(&["history", "-w", "egg"])[0]["id"].as_str().expect("an id").to_owned();
    assert!(inspect(&installation, &first)["error"]["message"].to_string().contains("deadlock"));
}

#[test]
fn who_waits_for_a_workflow_leaves_it_the_memory_for_its_process() {
    let installation = Installation::new();
    // For one process at a time.
    let _supervisor = installation.supervisor_with(&["--heavy-memory", "300MiB"]);
    installation.deploy("rates", &json!([{ "type": "transform", "parameter": { "jq": "42" } }]));
    installation.deploy("report", &after("report", &json!(["workflow:rates"])));
    let runs = [installation.run_detached("report"), installation.run_detached("report")];
    for run in &runs {
        let _ = installation.wait_state(run, "COMPLETED");
        assert_eq!(inspect(&installation, run)["lane"], "heavy");
    }
    assert_eq!(runs_of(&installation, "rates"), 1);
    // One that has the memory already cannot.
    let blocks = json!([
        { "id": "first", "type": "transform", "parameter": { "jq": "1" } },
        { "id": "then", "type": "transform", "dependencies": ["first", "workflow:prices"], "parameter": { "jq": "2" } },
    ]);
    installation.deploy("prices", &json!([{ "type": "transform", "parameter": { "jq": "42" } }]));
    installation.deploy("late", &blocks);
    let failed = installation.cli(&["run", "late"]);
    failed.expect_code(code::FAILED, "the workflow would have no memory");
    assert!(failed.stderr.contains("deadlock: `late`") && failed.stderr.contains("`prices`"), "{failed:?}");
}
