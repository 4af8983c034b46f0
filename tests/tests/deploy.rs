//! Definitions come and go while everything runs.

use runlet_tests::http;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use serde_json::{Value, json};

fn answering(path: &str, body: &str) -> Value {
    json!([{ "type": "hook", "path": path }, { "type": "response", "body": body }])
}

#[test]
fn an_invalid_definition_gets_every_diagnostic_and_deploys_nothing() {
    let installation = Installation::new();
    let running = installation.start_both();
    let good = installation.write("good.json", &answering("good", "yes").to_string());
    let bad = installation.write(
        "bad.json",
        r#"[
  { "type": "hook", "path": "bad" },
  { "type": "fetsh", "parameter": { "url": "https://example.org" } },
  { "type": "html-scraper", "parameter": [ { "selector": "h1[", "limit": 5 } ] },
  { "type": "fetch", "parameter": { "url": "https://example.org", "timeout": 5 } }
]"#,
    );
    let path = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let finished = installation.cli(&["deploy", &path(&good), &path(&bad)]);
    finished.expect_code(code::INVALID, "deploy");
    let said = format!("{}{}", finished.stdout, finished.stderr);
    for part in ["bad.json", "fetsh", "fetch", "h1[", "5s"] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    assert_eq!(installation.json(&["workflows"]), json!([]));
    assert_eq!(http::get(running.address, "/hook/good").status, 404);

    let finished = installation.cli(&["-o", "json", "check", &path(&bad)]);
    finished.expect_code(code::INVALID, "check");
    let found: Value = serde_json::from_str(&finished.stdout).expect("diagnostics as JSON");
    let lines: Vec<u64> = found.as_array().expect("a list").iter().filter_map(|one| one["line"].as_u64()).collect();
    assert_eq!(lines, [3, 4, 5], "{found}");
}

#[test]
fn a_deployed_definition_is_shown_as_it_was_written() {
    let installation = Installation::new();
    let _running = installation.start_both();
    let text = "// A comment, a\ttab, no line end:\n[{ \"type\": \"hook\", \"path\": \"x\" }, { \"type\": \"response\", \"body\": \"é\" },]";
    let file = installation.write("shown.jsonc", text);
    installation.ok(&["deploy", file.to_str().expect("text")]);
    assert_eq!(installation.ok(&["show", "shown"]), text);
    let document = installation.json(&["show", "shown"]);
    assert_eq!((&document["source"], &document["workflow"]["name"]), (&json!(text), &json!("shown")));
    let finished = installation.cli(&["show", "shwon"]);
    finished.expect_code(code::NOT_FOUND, "show of an unknown workflow");
    assert!(finished.stderr.contains("shown"), "{}", finished.stderr);
    installation.ok(&["remove", "shown"]);
    installation.cli(&["show", "shown"]).expect_code(code::NOT_FOUND, "show of what was removed");
}

#[test]
fn routes_follow_deploy_and_remove_without_a_restart() {
    let installation = Installation::new();
    let running = installation.start_both();
    assert_eq!(http::get(running.address, "/hook/a").status, 404);

    installation.deploy("a", &answering("a", "one"));
    wait_for(&running, "/hook/a", 200, "one");
    installation.deploy("a", &answering("a", "two"));
    wait_for(&running, "/hook/a", 200, "two");
    installation.ok(&["remove", "a"]);
    runlet_tests::wait::wait_until("the route to be gone", || {
        (http::get(running.address, "/hook/a").status == 404).then_some(())
    });
    installation.cli(&["remove", "a"]).expect_code(code::NOT_FOUND, "a second remove");
}

/// The route table follows a deploy in a moment, not in the same one.
fn wait_for(running: &runlet_tests::runlet::Running, path: &str, status: u16, text: &str) {
    runlet_tests::wait::wait_until(&format!("{path} to answer {status} {text}"), || {
        let answer = http::get(running.address, path);
        (answer.status == status && answer.text() == text).then_some(())
    });
}

#[test]
fn a_run_under_way_finishes_on_the_version_it_began_with() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("x")));
    let version = |body: &str| {
        json!([
            { "type": "hook", "path": "v", "methods": ["GET"] },
            { "type": "fetch", "parameter": { "url": upstream.url() } },
            { "type": "response", "body": body }
        ])
    };
    let installation = Installation::new();
    let running = installation.start_both();
    installation.deploy("v", &version("old"));
    running.wait_route("/hook/v");
    let address = running.address;
    let old = std::thread::spawn(move || http::get(address, "/hook/v"));
    upstream.wait_asked(1);
    installation.deploy("v", &answering("v", "new"));
    wait_for(&running, "/hook/v", 200, "new");
    installation.ok(&["remove", "v"]);
    gate.open();
    let answer = old.join().expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "old"));
}

#[test]
fn two_workflows_cannot_have_one_hook() {
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("first", &answering("same", "1"));
    let second = installation.write("second.json", &answering("same", "2").to_string());
    let finished = installation.cli(&["deploy", second.to_str().expect("text")]);
    finished.expect_code(code::INVALID, "deploy of a taken hook");
    assert!(finished.stderr.contains("first") || finished.stdout.contains("first"), "{finished:?}");
}
