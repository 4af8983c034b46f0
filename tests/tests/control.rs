//! A run seen and handled from the command line.

use runlet_tests::process::Finished;
use runlet_tests::runlet::{Installation, Running, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use serde_json::{Value, json};

/// A workflow `held` whose fetch is answered only when the gate opens, deployed and started.
struct Held {
    installation: Installation,
    _running: Running,
    upstream: Upstream,
    gate: Gate,
    run: String,
}

impl Held {
    fn start() -> Self {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::json(r#"{"n":1}"#)));
        let installation = Installation::new();
        let running = installation.start_both();
        let definition = json!({
            "name": "held",
            "blocks": [{ "id": "page", "type": "fetch", "parameter": { "url": upstream.url() } }]
        });
        installation.deploy("held", &definition);
        let run = installation.run_detached("held");
        upstream.wait_asked(1);
        let _ = installation.wait_state(&run, "BLOCKED");
        Self { installation, _running: running, upstream, gate, run }
    }

    fn cli(&self, arguments: &[&str]) -> Finished {
        self.installation.cli(arguments)
    }
}

#[test]
fn a_blocked_run_says_on_what() {
    let held = Held::start();
    let line = held.installation.wait_state(&held.run, "BLOCKED");
    let host = held.upstream.url().replace("http://", "fetch ");
    assert_eq!(line["blockedOn"], host);
    assert_eq!((&line["workflow"], &line["lane"], &line["priority"]), (&json!("held"), &json!("light"), &json!(5)));
    let table = held.installation.ok(&["ps"]);
    assert!(table.contains("BLOCKED") && table.contains(&host), "{table}");
    held.gate.open();
    let _ = held.installation.wait_state(&held.run, "COMPLETED");
    assert_eq!(held.installation.json(&["ps"]), json!([]));
}

#[test]
fn runs_are_found_by_workflow_and_state() {
    let held = Held::start();
    let runs = |arguments: &[&str]| {
        let runs = held.installation.json(arguments);
        runs.as_array()
            .expect("a list")
            .iter()
            .map(|run| run["id"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(runs(&["ps", "--workflow", "held", "--state", "blocked"]), [held.run.as_str()]);
    assert_eq!(runs(&["ps", "-w", "other"]), [""; 0]);
    assert_eq!(runs(&["ps", "-s", "READY", "-s", "PAUSED"]), [""; 0]);
    held.gate.open();
    let _ = held.installation.wait_state(&held.run, "COMPLETED");
    assert_eq!(runs(&["ps", "--state", "completed"]), [held.run.as_str()], "an ended state includes the ended runs");
    assert_eq!(runs(&["ps", "--all", "--state", "failed"]), [""; 0]);
    let finished = held.cli(&["ps", "--state", "complete"]);
    finished.expect_code(code::USAGE, "no such state");
    assert!(finished.stderr.contains("COMPLETED"), "{}", finished.stderr);
}

#[test]
fn inspect_prints_the_control_block_of_the_founding_document() {
    let held = Held::start();
    let block: Value = serde_json::from_str(&held.installation.ok(&["inspect", &held.run])).expect("JSON");
    let founding = [
        "id",
        "type",
        "state",
        "blocks",
        "input",
        "output",
        "currentBlockIndex",
        "dependencies",
        "priority",
        "createdAt",
        "updatedAt",
        "workflow",
        "version",
        "lane",
    ];
    for field in founding {
        assert!(block.get(field).is_some(), "`{field}` is not in {block}");
    }
    assert_eq!(block["state"], "BLOCKED");
    for field in ["id", "type", "input", "output", "status", "retries", "dependencies"] {
        assert!(block["blocks"][0].get(field).is_some(), "`{field}` is not in {}", block["blocks"][0]);
    }
    assert_eq!(block["blocks"][0]["status"], "RUNNING");
    held.gate.open();
    let _ = held.installation.wait_state(&held.run, "COMPLETED");
    let block: Value = serde_json::from_str(&held.installation.ok(&["inspect", &held.run[..30]])).expect("JSON");
    assert_eq!((&block["state"], &block["blocks"][0]["status"]), (&json!("COMPLETED"), &json!("COMPLETED")));
}

#[test]
fn a_stopped_run_hangs_up_on_its_server() {
    let held = Held::start();
    held.cli(&["stop", &held.run]).expect_code(code::OK, "stop");
    let _ = held.installation.wait_state(&held.run, "STOPPED");
    held.upstream.wait_given_up(1);
    held.cli(&["stop", &held.run]).expect_code(code::NOT_FOUND, "stop of an ended run");
}

#[test]
fn a_paused_run_stays_until_it_is_resumed() {
    let held = Held::start();
    held.cli(&["pause", &held.run]).expect_code(code::OK, "pause");
    let _ = held.installation.wait_state(&held.run, "PAUSED");
    held.gate.open();
    // The answer arrives, and still nothing more is dispatched.
    assert_eq!(held.installation.wait_state(&held.run, "PAUSED")["state"], "PAUSED");
    held.cli(&["resume", &held.run]).expect_code(code::OK, "resume");
    let _ = held.installation.wait_state(&held.run, "COMPLETED");
}

#[test]
fn renice_changes_a_live_run() {
    let held = Held::start();
    held.cli(&["renice", "9", &held.run]).expect_code(code::OK, "renice");
    assert_eq!(held.installation.wait_state(&held.run, "BLOCKED")["priority"], 9);
    held.cli(&["renice", "10", &held.run]).expect_code(code::USAGE, "renice above 9");
}

#[test]
fn a_followed_run_prints_its_output_and_ends_with_its_code() {
    let pages = Upstream::http(|asked| match asked.target.as_str() {
        "/ok" => Page::json(r#"{"n":1}"#).into(),
        _ => Page::json("{}").with_status(404).into(),
    });
    let installation = Installation::new();
    let _running = installation.start_both();
    let inline = |path: &str, further: &str| {
        let url = pages.url();
        let text = format!(
            r#"{{ "blocks": [ {{ "id": "page", "type": "fetch"{further}, "parameter": {{ "url": "{url}/{path}" }} }} ] }}"#
        );
        installation.write("inline.json", &text).to_str().expect("text").to_owned()
    };
    let finished = installation.cli(&["run", &inline("ok", "")]);
    finished.expect_code(code::OK, "run");
    let output: Value = serde_json::from_str(&finished.stdout).expect("the output on stdout, and nothing else");
    assert!(output.to_string().contains(r#""n":1"#), "{output}");
    assert!(finished.stderr.contains("page") && finished.stderr.contains("COMPLETED"), "{}", finished.stderr);

    let finished = installation.cli(&["run", &inline("missing", "")]);
    finished.expect_code(code::FAILED, "run");
    for part in ["page", "attempt 1", "404"] {
        assert!(finished.stderr.contains(part), "`{part}` is not in\n{}", finished.stderr);
    }
    assert_eq!(finished.stdout, "");
}

#[test]
fn a_run_that_is_stopped_or_too_late_says_so_by_its_code() {
    let held = Held::start();
    let follower = held.installation.start(&["run", "held"]);
    held.upstream.wait_asked(2);
    let runs = held.installation.json(&["ps"]);
    let second =
        runs.as_array().expect("a list").iter().find(|line| line["id"] != held.run.as_str()).expect("two runs");
    held.cli(&["stop", second["id"].as_str().expect("an id")]).expect_code(code::OK, "stop");
    follower.finish().expect_code(code::STOPPED, "the follower of a stopped run");

    let late = json!({
        "timeout": "200ms", "blocks": [{ "type": "fetch", "parameter": { "url": held.upstream.url() } }]
    });
    let late = held.installation.write("late.json", &late.to_string());
    let finished = held.cli(&["run", late.to_str().expect("text")]);
    finished.expect_code(code::TIMED_OUT, "a run beyond its timeout");
}

#[test]
fn logs_are_kept_and_can_be_followed() {
    let pages = Upstream::http(|_| Page::html("<p>no heading</p>").into());
    let installation = Installation::new();
    let _running = installation.start_both();
    let definition = json!([
        { "type": "fetch", "parameter": { "url": pages.url() } },
        { "type": "html-scraper", "parameter": [{ "selector": "h1" }] }
    ]);
    installation.deploy("headings", &definition);
    let run = installation.run_detached("headings");
    let followed = installation.cli(&["logs", "--follow", &run]);
    followed.expect_code(code::OK, "logs --follow");
    assert_eq!(followed.stdout, installation.ok(&["logs", &run]));
    assert!(followed.stdout.contains("h1"), "a selector that matched nothing is logged: {}", followed.stdout);
}

#[test]
fn input_comes_from_an_argument_a_file_or_stdin() {
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("echo", &json!([{ "type": "response", "body": "{{ input.n }}" }]));
    let _file = installation.write("input.json", r#"{"n": 2}"#);
    for (input, stdin, expected) in [(r#"{"n": 1}"#, "", "1"), ("@input.json", "", "2"), ("-", r#"{"n": 3}"#, "3")] {
        let finished = installation.cli_with_input(&["run", "echo", "--input", input], stdin.as_bytes());
        finished.expect_code(code::OK, input);
        assert!(finished.stdout.contains(expected), "{input}: {finished:?}");
    }
    installation.cli(&["run", "echo", "--input", "{nonsense"]).expect_code(code::USAGE, "input that is not JSON");
}

#[test]
fn what_is_not_there_is_named_with_its_neighbour() {
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("headlines", &json!([{ "type": "hook", "path": "h" }, { "type": "response", "body": "" }]));
    let finished = installation.cli(&["run", "headlnes"]);
    finished.expect_code(code::NOT_FOUND, "run of an unknown workflow");
    assert!(finished.stderr.contains("headlines"), "{}", finished.stderr);
    let finished = installation.cli(&["inspekt", "x"]);
    finished.expect_code(code::USAGE, "an unknown command");
    assert!(finished.stderr.contains("inspect"), "{}", finished.stderr);
    installation.cli(&["inspect", "0192"]).expect_code(code::NOT_FOUND, "inspect of an unknown run");
    installation.cli(&["deploy", "no-such-file.json"]).expect_code(code::USAGE, "a file that is not there");
}

#[test]
fn without_a_supervisor_every_client_says_how_to_start_one() {
    let installation = Installation::new();
    let socket = installation.socket().display().to_string();
    for arguments in [&["ps"][..], &["workflows"], &["run", "x"], &["inspect", "x"], &["stop", "x"], &["status"]] {
        let finished = installation.cli(arguments);
        finished.expect_code(code::UNREACHABLE, &arguments.join(" "));
        assert!(finished.stderr.contains(&socket) && finished.stderr.contains("runlet up"), "{}", finished.stderr);
    }
}
