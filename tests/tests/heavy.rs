//! The heavy lane: runs in processes of their own, that loop, grow, crash and are killed while everything else goes on.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runlet_tests::cgroup::is_held;
use runlet_tests::runlet::Installation;
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// A program that never ends and takes no memory.
const LOOP: &str = "last(range(infinite))";

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

/// The process of the run's worker, once it has one.
fn worker_of(installation: &Installation, run: &str) -> Pid {
    wait_until("the run to have a worker", || {
        let pid = installation.summary(run)?["pid"].as_i64()?;
        i32::try_from(pid).ok().map(Pid::from_raw)
    })
}

/// State of a process as proc_pid_stat(5) has it: `R`, `S`, `T`…; `None` when there is none, or one nobody has waited for.
fn process_state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    (!matches!(state, 'Z' | 'X')).then_some(state)
}

fn wait_gone(pid: Pid) {
    wait_until("a process to be gone", || process_state(pid).is_none().then_some(()));
}

fn program(name: &str, jq: &str) -> Value {
    json!({ "name": name, "blocks": [{ "id": "compute", "type": "transform", "parameter": { "jq": jq } }] })
}

#[test]
fn a_hook_is_answered_by_a_program_in_a_process_of_its_own() {
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([
        { "type": "hook", "path": "sum", "methods": ["GET"] },
        { "type": "transform", "parameter": { "jq": ".query.n | map(tonumber) | add" } },
        { "type": "response", "body": { "sum": "{{ input }}" } }
    ]);
    installation.deploy("sum", &definition);
    running.wait_route("/hook/sum?n=1&n=2");
    for _ in 0..10 {
        assert_eq!(running.get("/hook/sum?n=20&n=22").json(), json!({ "sum": 42 }));
    }
    let problem = running.get("/hook/sum?n=x&n=y");
    assert_eq!(problem.status, 500, "{problem:?}");
    assert!(problem.text().contains("the program failed"), "{}", problem.text());
}

#[test]
fn a_workflow_of_known_blocks_runs_in_a_process_when_it_asks_for_it() {
    let upstream = Upstream::http(|_| Page::html("<h1>One</h1><p>x<h1>Two</h1>").into());
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!({ "isolation": "process", "blocks": [
        { "type": "hook", "path": "apart", "methods": ["GET"] },
        { "type": "fetch", "parameter": { "url": upstream.url() } },
        { "type": "html-scraper", "parameter": [{ "tags": "h1" }] },
        { "type": "response" }
    ]});
    installation.deploy("apart", &definition);
    running.wait_route("/hook/apart");
    assert_eq!(running.get("/hook/apart").json(), json!({ "h1": ["One", "Two"] }));
    let runs = installation.json(&["ps", "-a", "-o", "json"]);
    assert_eq!((&runs[0]["lane"], &runs[0]["state"]), (&json!("heavy"), &json!("COMPLETED")), "{runs}");
}

#[test]
fn a_document_larger_than_any_message_reaches_its_worker() {
    let document = format!("[{}]", vec![format!("\"{}\"", "x".repeat(1 << 20)); 20].join(","));
    let upstream = Upstream::http(move |_| Page::json(document.clone()).into());
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let definition = json!({ "name": "large", "blocks": [
        { "type": "fetch", "parameter": { "url": upstream.url(), "max_body_size": "30MB" } },
        { "type": "transform", "parameter": { "jq": "[.json[] | length] | [length, add]" } }
    ]});
    installation.deploy("large", &definition);
    let told: Value = serde_json::from_str(&installation.ok(&["run", "large"])).expect("JSON");
    assert_eq!(told, json!([20, 20 << 20]));
}

#[test]
fn a_worker_has_nothing_but_its_socket() {
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("loop", &program("loop", LOOP));
    let run = installation.run_detached("loop");
    let worker = worker_of(&installation, &run);
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(field("Threads"), "1");
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2", "system calls are filtered");
    assert_eq!(field("CapEff"), "0000000000000000");
    let uid = field("Uid");
    let is_root = nix::unistd::geteuid().is_root();
    assert!(!is_root || uid.starts_with("65534"), "{uid}");
    let isolation = inspect(&installation, &run)["worker"]["isolation"].clone();
    assert_eq!((&isolation["seccomp"], &isolation["otherUser"]), (&json!(true), &json!(is_root)), "{isolation}");
    if is_root {
        // Its own /proc entry belongs to root, since it is not dumpable: only root may look.
        let descriptors = fs::read_dir(format!("/proc/{worker}/fd")).expect("it lives").count();
        assert_eq!(descriptors, 4, "its socket and the null device");
        let environment = fs::read_to_string(format!("/proc/{worker}/environ")).expect("it lives");
        assert!(!environment.contains("PATH="), "{environment}");
    }
}

#[test]
fn a_run_that_loops_for_ever_is_stopped_and_others_go_on() {
    let installation = Installation::new();
    let running = installation.start_both();
    installation.deploy("loop", &program("loop", LOOP));
    installation.deploy(
        "hello",
        &json!([{ "type": "hook", "path": "hello", "methods": ["GET"] }, { "type": "response", "body": "hi" }]),
    );
    running.wait_route("/hook/hello");
    let loops: Vec<_> = (0..4).map(|_| installation.run_detached("loop")).collect();
    let workers: Vec<_> = loops.iter().map(|run| worker_of(&installation, run)).collect();
    for _ in 0..20 {
        assert_eq!(running.get("/hook/hello").text(), "hi");
    }
    for run in &loops {
        installation.ok(&["stop", run]);
        let _ = installation.wait_state(run, "STOPPED");
    }
    for worker in workers {
        wait_gone(worker);
    }
}

#[test]
fn more_loops_than_cores_take_turns() {
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("loop", &program("loop", LOOP));
    let loops: Vec<_> = (0..6).map(|_| installation.run_detached("loop")).collect();
    let workers: Vec<_> = loops.iter().map(|run| worker_of(&installation, run)).collect();
    for worker in &workers {
        // Stopped at one time, computing at another.
        wait_until("a worker to be stopped", || is_held(worker.as_raw()).then_some(()));
        wait_until("a worker to go on", || (process_state(*worker) == Some('R')).then_some(()));
    }
    installation.deploy("short", &program("short", "1 + 1"));
    assert_eq!(installation.ok(&["run", "short"]).trim(), "2", "a short run has its turn among them");
}

#[test]
fn what_a_worker_died_of_is_told_exactly() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("")));
    let installation = Installation::new();
    let _running = installation.start_both();
    let definition = json!({ "isolation": "process", "blocks": [{ "id": "page", "type": "fetch", "parameter": { "url": upstream.url() } }] });
    installation.deploy("waits", &definition);
    for (count, signal) in [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGABRT].into_iter().enumerate() {
        let run = installation.run_detached("waits");
        upstream.wait_asked(count + 1);
        let worker = worker_of(&installation, &run);
        kill(worker, signal).expect("it lives");
        let failed = installation.wait_state(&run, "FAILED");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains(signal.as_str())), "{failed}");
        let told = inspect(&installation, &run);
        assert_eq!(told["error"]["code"], "worker-signal", "{told}");
        assert_eq!(told["worker"]["ended"]["how"]["signal"], signal.as_str(), "{told}");
        assert_eq!(told["worker"]["pid"], worker.as_raw(), "{told}");
    }
    gate.open();
}

#[test]
fn limits_end_a_run_and_name_themselves() {
    let installation = Installation::new();
    let _running = installation.start_both();
    let limited = |jq: &str, limits: Value| json!({ "limits": limits, "blocks": [{ "type": "transform", "parameter": { "jq": jq } }] });
    let grow = "reduce range(infinite) as $i ([]; . + [$i])";
    installation.deploy("grows", &limited(grow, json!({ "memory": "32MiB" })));
    installation.deploy("starves", &limited(grow, json!({ "memory": "1KiB" })));
    installation.deploy("burns", &limited(LOOP, json!({ "cpu": "1s" })));
    for (workflow, code, text) in
        [("grows", "out-of-memory", "32 MiB"), ("starves", "out-of-memory", "1 MiB"), ("burns", "cpu-limit", "1 s")]
    {
        let run = installation.run_detached(workflow);
        let failed = installation.wait_state(&run, "FAILED");
        assert!(failed["error"].as_str().is_some_and(|error| error.contains(text)), "{failed}");
        let told = inspect(&installation, &run);
        assert_eq!(told["error"]["code"], code, "{told}");
        assert!(told["worker"]["ended"]["cpuMs"].as_f64().is_some_and(|cpu_ms| cpu_ms > 0.0), "{told}");
    }
}

#[test]
fn a_program_that_recurses_too_deep_ends_itself_alone() {
    let installation = Installation::new();
    let _running = installation.start_both();
    installation.deploy("deep", &program("deep", "def f: 1 + f; f"));
    let run = installation.run_detached("deep");
    let failed = installation.wait_state(&run, "FAILED");
    let code = inspect(&installation, &run)["error"]["code"].clone();
    assert!(code == "worker-signal" || code == "out-of-memory", "{failed}");
    installation.deploy("short", &program("short", "1 + 1"));
    assert_eq!(installation.ok(&["run", "short"]).trim(), "2");
}

#[test]
fn a_timeout_of_a_block_kills_its_worker_and_the_next_attempt_has_another() {
    let installation = Installation::new();
    let _running = installation.start_both();
    let definition = json!({ "blocks": [{ "type": "transform", "parameter": { "jq": LOOP }, "timeout": "200ms",
        "retry": { "attempts": 2, "delay": "1ms" } }] });
    installation.deploy("late", &definition);
    let run = installation.run_detached("late");
    let failed = installation.wait_state(&run, "FAILED");
    assert_eq!(failed["attempt"], 2, "{failed}");
    assert_eq!(inspect(&installation, &run)["error"]["code"], "timeout");
}

#[test]
fn no_worker_outlives_the_supervisor_not_even_a_stopped_one() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("loop", &program("loop", LOOP));
    let loops: Vec<_> = (0..5).map(|_| installation.run_detached("loop")).collect();
    let workers: Vec<_> = loops.iter().map(|run| worker_of(&installation, run)).collect();
    wait_until("one of more workers than cores to be stopped", || {
        workers.iter().any(|worker| is_held(worker.as_raw())).then_some(())
    });
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    for worker in workers {
        wait_gone(worker);
    }
}

#[test]
fn a_dead_zygote_is_replaced_and_its_workers_live_on() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("loop", &program("loop", LOOP));
    installation.deploy("short", &program("short", "1 + 1"));
    let run = installation.run_detached("loop");
    let worker = worker_of(&installation, &run);
    let zygote = children(supervisor.id()).into_iter().find(|pid| is_zygote(*pid));
    kill(zygote.expect("a zygote"), Signal::SIGKILL).expect("it lives");
    for _ in 0..5 {
        assert_eq!(installation.ok(&["run", "short"]).trim(), "2");
    }
    assert!(process_state(worker).is_some(), "the worker of another run is unharmed");
    installation.ok(&["stop", &run]);
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<Pid> {
    let of = |pid: Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let entries = fs::read_dir("/proc").expect("there is /proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| of(*pid) == Some(parent)).collect()
}

/// Whether it is neither a worker, whose system calls are filtered, nor the first process of the workers' pid namespace, which
/// has a second process id in there (proc_pid_status(5)).
fn is_zygote(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    field("Seccomp:").is_some_and(|mode| mode.trim() == "0")
        && field("NSpid:").is_some_and(|ids| ids.split_whitespace().count() == 1)
}
