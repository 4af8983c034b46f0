//! What a run may put out, how many workers it may cost, and what is told of one that did not end well.

use nix::sys::signal::Signal;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

#[test]
fn a_run_that_costs_three_workers_is_quarantined() {
    let installation = Installation::new();
    let _running = installation.start_both();
    let definition = json!({ "limits": { "memory": "32MiB" }, "blocks": [{ "id": "grow", "type": "transform",
        "parameter": { "jq": "reduce range(infinite) as $i ([]; . + [$i])" },
        "retry": { "attempts": 10, "delay": "1ms" }, "on_error": "skip" }] });
    installation.deploy("grows", &definition);
    let run = installation.run_detached("grows");
    let failed = installation.wait_state(&run, "FAILED");
    assert_eq!(failed["attempt"], 3, "{failed}");
    let told = inspect(&installation, &run);
    assert_eq!((&told["error"]["code"], &told["error"]["block"]), (&json!("quarantined"), &json!("grow")), "{told}");
    let deaths = told["worker"]["deaths"].as_array().expect("a list");
    assert_eq!(deaths.len(), 3, "{told}");
    for death in deaths {
        assert!(death.as_str().is_some_and(|death| death.starts_with("out-of-memory")), "{told}");
        let message = told["error"]["message"].as_str().expect("a message");
        assert!(message.contains(death.as_str().expect("text")), "{message}");
    }
    assert_eq!(told["worker"]["ended"]["during"], json!({ "block": "grow", "attempt": 3 }), "{told}");
    assert!(told["log"].as_array().is_some(), "{told}");
}

#[test]
fn workers_that_died_are_counted_across_a_crash() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    // After the second death it waits for long enough to be killed meanwhile.
    let retry = json!({ "attempts": 10, "delay": "50ms", "backoff": 100, "max_delay": "5s", "jitter": false });
    let definition = json!({ "limits": { "memory": "32MiB" }, "blocks": [{ "id": "grow", "type": "transform",
        "parameter": { "jq": "reduce range(infinite) as $i ([]; . + [$i])" }, "retry": retry }] });
    installation.deploy("grows", &definition);
    let run = installation.run_detached("grows");
    wait_until("two workers to die", || {
        installation.summary(&run).filter(|line| line["attempt"] == 2 && line["state"] == "BLOCKED")
    });
    // All that it did so far is on disk: reading the journal waits for that.
    installation.ok(&["history"]);
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    let _next = installation.supervisor();
    let failed = installation.wait_state(&run, "FAILED");
    assert_eq!(failed["attempt"], 3, "{failed}");
    let told = inspect(&installation, &run);
    assert_eq!(told["error"]["code"], "quarantined", "{told}");
    assert_eq!(told["worker"]["deaths"].as_array().map(Vec::len), Some(3), "{told}");
}

#[test]
fn an_output_and_a_log_have_the_limits_that_the_workflow_names() {
    let installation = Installation::new();
    let _running = installation.start_both();
    let long = json!({ "limits": { "output": "1KiB" }, "blocks": [
        { "type": "transform", "parameter": { "jq": "[range(1000) | tostring]" } }] });
    installation.deploy("long", &long);
    // Each selector that matches nothing is worth a line.
    let rules: Vec<Value> =
        (0..40).map(|at| json!({ "name": format!("n{at}"), "selector": format!(".missing-{at}") })).collect();
    for (name, isolation) in [("talks", "auto"), ("talks-apart", "process")] {
        let talks = json!({ "isolation": isolation, "limits": { "log": "256B" }, "blocks": [
            { "type": "html-scraper", "input": "<p>x", "parameter": rules }] });
        installation.deploy(name, &talks);
    }
    for (workflow, code) in [("long", "output-limit"), ("talks", "log-limit"), ("talks-apart", "log-limit")] {
        let run = installation.run_detached(workflow);
        let failed = installation.wait_state(&run, "FAILED");
        assert_eq!(inspect(&installation, &run)["error"]["code"], code, "{failed}");
    }
}

#[test]
fn limits_are_named_in_the_schema() {
    let schema = Installation::new().ok(&["schema"]);
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let limits = &schema["oneOf"][1]["properties"]["limits"]["properties"];
    for name in ["memory", "cpu", "output", "log"] {
        assert!(limits[name]["description"].is_string(), "{name}: {limits}");
    }
}

#[test]
fn a_run_that_waits_for_more_than_its_turn_says_for_what() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor_with(&["--heavy-memory", "64MiB"]);
    let looping = |limits: Value| {
        json!({ "limits": limits, "concurrency": 2, "blocks": [
        { "type": "transform", "parameter": { "jq": "last(range(infinite))" } }] })
    };
    let too_much = installation.write("vast.json", &looping(json!({ "memory": "65MiB" })).to_string());
    let refused = installation.cli(&["deploy", too_much.to_str().expect("text")]);
    refused.expect_code(code::INVALID, "no run of it could ever be admitted");
    assert!(refused.stderr.contains("65 MiB") && refused.stderr.contains("--heavy-memory"), "{}", refused.stderr);
    installation.deploy("loops", &looping(json!({ "memory": "64MiB" })));
    let runs = [(); 3].map(|()| installation.run_detached("loops"));
    // It has its turn before it has its worker.
    wait_until("its worker", || installation.summary(&runs[0]).filter(|line| !line["pid"].is_null()));
    for (run, reason) in
        [(&runs[0], json!(null)), (&runs[1], json!("memory, 64 MiB")), (&runs[2], json!("concurrency 2"))]
    {
        let line = wait_until("each run to be where it stays", || {
            installation.summary(run).filter(|line| line["blockedOn"] == reason)
        });
        assert_eq!(line["state"], if reason.is_null() { "RUNNING" } else { "READY" }, "{line}");
    }
    let table = installation.ok(&["ps"]);
    assert!(table.contains("memory, 64 MiB") && table.contains("concurrency 2"), "{table}");
    installation.ok(&["stop", &runs[0]]);
    let _ = installation.wait_state(&runs[1], "RUNNING");
    let ended = wait_until("its worker to be gone", || {
        let ended = inspect(&installation, &runs[0])["worker"]["ended"].clone();
        (!ended.is_null()).then_some(ended)
    });
    assert_eq!(ended["killedFor"], "its run was over, or had given it up", "{ended}");
}
