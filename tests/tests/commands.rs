//! Commands known from an operating system: `kill`, `trace`, `ps` with what runs use, and `top` without a terminal.

use runlet_tests::cgroup::is_held;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// A workflow whose program never ends and takes no memory.
fn endless() -> Value {
    json!({ "name": "loop", "blocks": [{ "id": "compute", "type": "transform", "parameter": { "jq": "last(range(infinite))" } }] })
}

/// A supervisor with a run of [`endless`], and the process of its worker.
fn looping(installation: &Installation) -> (String, i32) {
    installation.deploy("loop", &endless());
    let run = installation.run_detached("loop");
    let pid = wait_until("the run to have a worker", || installation.summary(&run)?["pid"].as_i64());
    (run, i32::try_from(pid).expect("a process id"))
}

/// State of a process as proc_pid_stat(5) has it.
fn process_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The documents of `-o jsonl`.
fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_worker_that_is_killed_is_told_of_with_the_signal_and_who_sent_it() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    for (arguments, signal) in
        [(&["kill"][..], "SIGTERM"), (&["kill", "-s", "usr1"], "SIGUSR1"), (&["kill", "-s", "9"], "SIGKILL")]
    {
        let (run, pid) = looping(&installation);
        let said = installation.ok(&[arguments, &[&run]].concat());
        assert_eq!(said, format!("{run} {signal} sent to process {pid}\n"));
        let failed = installation.wait_state(&run, "FAILED");
        let cause = format!("block `compute`, attempt 1: the worker was ended by {signal}, sent by `runlet kill`");
        assert_eq!(failed["error"], cause, "{failed}");
        let told: Value = serde_json::from_str(&installation.ok(&["inspect", &run])).expect("JSON");
        assert_eq!(told["error"]["code"], "worker-signal", "{told}");
        assert_eq!(told["worker"]["ended"]["how"]["signal"], signal, "{told}");
        let log = installation.ok(&["logs", &run]);
        assert!(log.contains(&format!("{signal} was sent to the worker, process {pid}, by `runlet kill`")), "{log}");
    }
}

#[test]
fn stop_and_cont_hold_a_run_and_let_it_go_on_with_the_scheduler_knowing() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let (run, pid) = looping(&installation);
    assert_eq!(installation.ok(&["kill", "-s", "STOP", &run]), format!("{run} PAUSED\n"));
    wait_until("the worker to be stopped", || is_held(pid).then_some(()));
    installation.ok(&["kill", "-s", "CONT", &run]);
    wait_until("the worker to go on", || (process_state(pid) == Some('R')).then_some(()));
    assert_eq!(installation.wait_state(&run, "RUNNING")["pid"], pid);
    installation.ok(&["stop", &run]);
}

#[test]
fn a_signal_that_cannot_be_sent_is_refused_with_the_way_out() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("")));
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let fetch = json!({ "blocks": [{ "id": "page", "type": "fetch", "parameter": { "url": upstream.url() } }] });
    installation.deploy("light", &fetch);
    let run = installation.run_detached("light");
    upstream.wait_asked(1);
    let refused = installation.cli(&["kill", &run]);
    refused.expect_code(code::NOT_FOUND, "a light run has no worker");
    assert!(refused.stderr.contains("light lane") && refused.stderr.contains("runlet stop"), "{}", refused.stderr);
    let unknown = installation.cli(&["kill", "-s", "TREM", &run]);
    unknown.expect_code(code::USAGE, "no such signal");
    assert!(unknown.stderr.contains("did you mean TERM?"), "{}", unknown.stderr);
    gate.open();
    let _ = installation.wait_state(&run, "COMPLETED");
    installation.cli(&["kill", &run]).expect_code(code::NOT_FOUND, "an ended run");
}

#[test]
fn a_trace_has_every_block_and_call_in_both_lanes_live_and_afterwards() {
    for isolation in ["thread", "process"] {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("<h1>One</h1>")));
        let host = upstream.url().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let installation = Installation::new();
        let _supervisor = installation.supervisor();
        let definition = json!({ "isolation": isolation, "blocks": [
            { "id": "page", "type": "fetch", "parameter": { "url": upstream.url() } },
            { "id": "titles", "type": "html-scraper", "parameter": [{ "tags": "h1" }] }
        ]});
        installation.deploy("traced", &definition);
        let run = installation.run_detached("traced");
        upstream.wait_asked(1);
        let live = wait_until("the call to be traced", || {
            let live = installation.json(&["trace", &run]);
            (live.as_array()?.len() == 2).then_some(live)
        });
        assert_eq!(
            (&live[0]["block"], &live[0]["outcome"], &live[0]["call"]),
            (&json!("page"), &json!(null), &json!(null))
        );
        assert_eq!(
            (&live[1]["call"], &live[1]["elapsedMs"]),
            (&json!(format!("fetch GET {host}")), &json!(null)),
            "{live}"
        );
        let follower = installation.start(&["trace", &run, "--follow"]);
        follower
            .wait_line("what goes on", |line| (line.contains("fetch GET") && line.contains("begins")).then_some(()));
        gate.open();
        let followed = follower.finish();
        followed.expect_code(code::OK, "the run's end is the end of its trace");
        assert_eq!(followed.stdout.lines().filter(|line| line.ends_with("begins")).count(), 3, "{}", followed.stdout);
        assert!(followed.stdout.contains("200, 12 bytes, took"), "{}", followed.stdout);
        let _ = installation.wait_state(&run, "COMPLETED");
        let ended = installation.json(&["trace", &run]);
        let seen: Vec<_> = ended.as_array().expect("a list").iter().map(|span| &span["outcome"]).collect();
        assert_eq!(seen, ["completed", "answered", "completed"], "{ended}");
        assert_eq!((&ended[1]["detail"], &ended[2]["block"]), (&json!("200, 12 bytes"), &json!("titles")), "{ended}");
        let ms = |at: usize, name: &str| ended[at][name].as_f64().unwrap_or(-1.0);
        assert!(ms(0, "elapsedMs") >= ms(1, "elapsedMs") && ms(1, "offsetMs") >= ms(0, "offsetMs"), "{ended}");
        // What a worker executed was handed over; no call is, and nothing in the supervisor itself.
        let handed_over = [0, 1, 2].map(|at| ended[at]["handoverMs"].is_number());
        assert_eq!(handed_over, [isolation == "process", false, isolation == "process"], "{ended}");
        assert!(ms(2, "handoverMs") <= ms(2, "elapsedMs"), "{ended}");
        let table = installation.ok(&["trace", &run]);
        assert_eq!(table.lines().count(), 4);
        assert_eq!(table.contains("COMPLETED by a worker that had it after"), isolation == "process", "{table}");
    }
}

#[test]
fn a_trace_tells_why_attempts_failed_and_what_was_given_up() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("")));
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let definition = json!({ "blocks": [{ "id": "page", "type": "fetch", "parameter": { "url": upstream.url() },
        "timeout": "50ms", "retry": { "attempts": 2, "delay": "1ms" } }] });
    installation.deploy("late", &definition);
    let run = installation.run_detached("late");
    let _ = installation.wait_state(&run, "FAILED");
    let spans = documents(&installation.ok(&["trace", &run, "-o", "jsonl"]));
    let seen: Vec<_> = spans.iter().map(|span| (&span["attempt"], &span["outcome"])).collect();
    let (one, two, failed, given_up) = (&json!(1), &json!(2), &json!("failed"), &json!("given-up"));
    assert_eq!(seen, [(one, failed), (one, given_up), (two, failed), (two, given_up)], "{spans:?}");
    assert!(spans[0]["detail"].as_str().is_some_and(|detail| detail.contains("50ms")), "{spans:?}");
    gate.open();

    let (run, _) = looping(&installation);
    installation.ok(&["stop", &run]);
    let stopped = &installation.json(&["trace", &run])[0];
    assert_eq!(
        (&stopped["outcome"], &stopped["detail"]),
        (&json!("stopped"), &json!("stopped by a user")),
        "{stopped}"
    );
    assert!(installation.ok(&["trace", &run]).contains("STOPPED: stopped by a user"));
    installation.cli(&["trace", "nothing"]).expect_code(code::NOT_FOUND, "no such run");
    installation.cli(&["trace", &run, "-f", "-o", "json"]).expect_code(code::USAGE, "an array cannot be followed");
}

#[test]
fn a_trace_is_bounded_and_says_what_is_gone() {
    let upstream = Upstream::http(|_| Page::json("1").into());
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let definition = json!({ "blocks": [{ "id": "many", "type": "fetch", "for_each": "{{ input }}", "parallel": 8,
        "parameter": { "url": upstream.url() } }] });
    installation.deploy("many", &definition);
    let input = json!((0..600).collect::<Vec<_>>()).to_string();
    let run = installation.ok(&["run", "many", "--detach", "-i", &input]).trim().to_owned();
    let _ = installation.wait_state(&run, "COMPLETED");
    let traced = installation.cli(&["trace", &run, "-o", "jsonl"]);
    let spans = documents(&traced.stdout);
    let first = spans[0]["sequence"].as_u64().expect("a number");
    assert!(first > 1 && first - 1 + spans.len() as u64 == 601, "{first}, {}", spans.len());
    assert!(traced.stderr.contains(&format!("the oldest {} are no longer remembered", first - 1)), "{}", traced.stderr);
    assert!(spans.iter().all(|span| span["outcome"] == "answered"));
}

#[test]
fn ps_shows_what_a_heavy_run_uses_while_it_lives_and_used_when_it_is_over() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let (run, _) = looping(&installation);
    let used = |run: &str| {
        let line = installation.summary(run)?;
        let (cpu_ms, resident) = (line["cpuMs"].as_f64()?, line["residentBytes"].as_u64()?);
        (cpu_ms > 0.0 && resident > 0).then_some(cpu_ms)
    };
    let live = wait_until("CPU time and memory of the run", || used(&run));
    let table = installation.ok(&["ps"]);
    assert!(table.lines().all(|line| line.len() <= 100), "{table}");
    let short = &run[run.len() - 12..];
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with(short)), "{table}");
    installation.ok(&["stop", short]);
    let ended = wait_until("the account of the worker that was killed", || {
        let _ = installation.wait_state(&run, "STOPPED");
        used(&run)
    });
    // What is read of a live process is rounded down to 10 ms by the system.
    assert!(ended + 10.0 >= live, "{ended} {live}");
}

#[test]
fn top_prints_listings_without_a_terminal() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let (run, pid) = looping(&installation);
    let listing = wait_until("a share of the CPU", || {
        let listings = documents(&installation.ok(&["top", "-b", "-n", "2", "-d", "0.2", "-o", "jsonl"]));
        assert_eq!(listings.len(), 2);
        let last = listings.last().cloned()?;
        (last["runs"][0]["cpuPercent"].as_f64()? > 0.0).then_some(last)
    });
    assert_eq!((&listing["runs"][0]["id"], &listing["runs"][0]["pid"]), (&json!(run), &json!(pid)), "{listing}");
    assert_eq!((&listing["status"]["live"]["running"], &listing["total"]), (&json!(1), &json!(1)), "{listing}");
    assert_eq!(listing["status"]["slotsTaken"], 1, "{listing}");
    let text = installation.ok(&["top", "--batch", "--count", "1"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("1 live runs, 0 ready, 1 running"), "{text}");
    assert!(lines[1].contains("1 workers") && lines[4].starts_with("RUN") && lines[4].contains("%CPU"), "{text}");
    assert!(lines[5].contains("RUNNING") && lines[5].contains(&pid.to_string()), "{text}");
    let refused = installation.cli(&["top"]);
    refused.expect_code(code::USAGE, "there is no terminal");
    assert!(refused.stderr.contains("--batch"), "{}", refused.stderr);
    installation.cli(&["top", "-b", "-o", "json"]).expect_code(code::USAGE, "an endless document");
    installation.ok(&["stop", &run]);
}
