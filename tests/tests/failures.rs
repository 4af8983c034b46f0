//! What becomes of runs that FAILED: another workflow hears of it, they are listed, and they can be made again.

use nix::sys::signal::Signal;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

/// Answers `/pay` with 500 until it is repaired.
fn shop() -> (Upstream, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let works = Arc::clone(&repaired);
    let upstream = Upstream::http(move |asked| -> Reply {
        match (asked.target.as_str(), works.load(Ordering::Relaxed)) {
            ("/pay", false) => Page::json("{}").with_status(500).into(),
            ("/pay", true) => Page::json(r#"{"paid":5}"#).into(),
            _ => Page::json(r#"{"price":5}"#).into(),
        }
    });
    (upstream, repaired)
}

fn order(upstream: &Upstream) -> Value {
    let url = upstream.url();
    json!({ "name": "order", "on_failure": "alarm", "blocks": [
        { "id": "price", "type": "fetch", "parameter": { "url": format!("{url}/price") } },
        { "id": "pay", "type": "fetch", "parameter": { "url": format!("{url}/pay"), "method": "POST", "json": "{{ input.json }}" } },
        { "id": "sum", "type": "transform", "parameter": { "jq": ".json" } },
    ] })
}

fn asked(upstream: &Upstream, target: &str) -> usize {
    upstream.asked().iter().filter(|asked| asked.target == target).count()
}

#[test]
fn a_failure_is_told_to_the_workflow_that_is_named_once() {
    let (upstream, _) = shop();
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("order", &order(&upstream));
    // It fails too, and names itself: nobody hears of that.
    installation.deploy("alarm", &json!({ "name": "alarm", "on_failure": "alarm", "blocks": [
        { "id": "tell", "type": "transform", "parameter": { "jq": "{run: .id, block: .error.block, code: .error.code}" } },
        { "id": "no", "type": "transform", "parameter": { "jq": "error(\"no\")" } },
    ] }));
    let run = installation.run_detached("order");
    let _ = installation.wait_state(&run, "FAILED");
    let heard = || {
        let runs = installation.json(&["history", "-w", "alarm"]);
        runs.as_array().expect("a list").clone()
    };
    let alarm = wait_until("the alarm to end", || heard().first().filter(|run| run["state"] == "FAILED").cloned());
    let told = inspect(&installation, alarm["id"].as_str().expect("text"));
    let expected = json!({ "run": run, "block": "pay", "code": "status" });
    assert_eq!(told["blocks"][0]["output"], expected, "{told}");
    // What failed and who heard of it were written down together.
    assert_eq!(heard().len(), 1);
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    let _next = installation.supervisor();
    assert_eq!(installation.json(&["ps"]), json!([]));
    assert_eq!(heard().len(), 1);
    assert_eq!(installation.json(&["dead"]).as_array().map(Vec::len), Some(2));
}

#[test]
fn a_dead_run_is_made_again_from_the_block_that_failed() {
    let (upstream, repaired) = shop();
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("order", &order(&upstream));
    let run = installation.run_detached("order");
    let _ = installation.wait_state(&run, "FAILED");
    supervisor.signal(Signal::SIGTERM);
    let _ = supervisor.wait_exit();
    let _supervisor = installation.supervisor();
    assert_eq!(installation.json(&["dead"])[0]["id"], json!(run));
    repaired.store(true, Ordering::Relaxed);
    let again = installation.ok(&["retry", &run]).trim().to_owned();
    let _ = installation.wait_state(&again, "COMPLETED");
    let told = inspect(&installation, &again);
    assert_eq!((&told["output"], &told["retryOf"]), (&json!({ "paid": 5 }), &json!(run)), "{told}");
    assert_eq!((asked(&upstream, "/price"), asked(&upstream, "/pay")), (1, 2), "what was done is not done again");
    assert_eq!(installation.json(&["dead"]), json!([]), "it is dead no more");

    // From another block, by another definition, and what cannot be.
    let from = installation.ok(&["retry", &again, "--from", "price"]).trim().to_owned();
    let _ = installation.wait_state(&from, "COMPLETED");
    assert_eq!((asked(&upstream, "/price"), asked(&upstream, "/pay")), (2, 3));
    let mut changed = order(&upstream);
    changed["blocks"][2]["parameter"]["jq"] = json!(".json.paid * 2");
    installation.deploy("order", &changed);
    let by = |arguments: &[&str]| {
        let run = installation.ok(&[&["retry", again.as_str(), "--from", "sum"], arguments].concat()).trim().to_owned();
        let _ = installation.wait_state(&run, "COMPLETED");
        inspect(&installation, &run)["output"].clone()
    };
    assert_eq!((by(&[]), by(&["--deployed"])), (json!({ "paid": 5 }), json!(10)));
    assert_eq!((asked(&upstream, "/price"), asked(&upstream, "/pay")), (2, 3));
    let refused = installation.cli(&["retry", &again]);
    refused.expect_code(code::NOT_FOUND, "nothing failed");
    assert!(refused.stderr.contains("--from BLOCK"), "{}", refused.stderr);
    let unknown = installation.cli(&["retry", &again, "--from", "prize"]);
    unknown.expect_code(code::NOT_FOUND, "no such block");
    assert!(unknown.stderr.contains("price, pay, sum"), "{}", unknown.stderr);
    installation.cli(&["retry", "0193"]).expect_code(code::NOT_FOUND, "no such run");
}

#[test]
fn who_hears_of_a_failure_is_still_nobody_elses_business_after_a_crash() {
    let (upstream, _) = shop();
    let gate = Gate::closed();
    let held = gate.clone();
    let slow = Upstream::http(move |_| Reply::Held(held.clone(), Page::json("1")));
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("order", &order(&upstream));
    // It fails too, once it has been taken up, and names itself.
    installation.deploy(
        "alarm",
        &json!({ "name": "alarm", "on_failure": "alarm", "blocks": [
        { "id": "look", "type": "fetch", "parameter": { "url": slow.url() } },
        { "id": "no", "type": "transform", "parameter": { "jq": "error(\"no\")" } },
    ] }),
    );
    let failed = installation.run_detached("order");
    slow.wait_asked(1);
    let alarm = installation.json(&["history", "-w", "alarm"])[0]["id"].as_str().expect("text").to_owned();
    assert_eq!(inspect(&installation, &alarm)["handles"], json!(failed));
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    let _next = installation.supervisor();
    slow.wait_asked(2);
    gate.open();
    let _ = installation.wait_state(&alarm, "FAILED");
    assert_eq!(inspect(&installation, &alarm)["handles"], json!(failed));
    // Whoever hears of a failure begins in the same moment.
    assert_eq!(installation.json(&["ps"]), json!([]));
    assert_eq!(installation.json(&["history", "-w", "alarm"]).as_array().map(Vec::len), Some(1));
}
