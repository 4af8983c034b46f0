//! Workers that do what none must (`crates/hostile`): why each ended is told exactly, nobody else notices, and no process is
//! left behind. As root and as an ordinary user, for the confinement of a worker differs.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use runlet_tests::process::Exit;
use runlet_tests::runlet::{Installation, Running, built};
use runlet_tests::system::{processes_called, wait_none_called};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// A user that owns nothing (`nobody` of most systems).
const NOBODY: u32 = 65_534;

/// How acts end that make the supervisor kill their worker, or the kernel: act, code and message of the run's error.
const ENDS: &[(&str, &str, &str)] = &[
    ("exit", "worker-exit", "the worker ended with exit code 7 before its block was done"),
    ("half", "worker-exit", "the worker ended with exit code 0 before its block was done"),
    ("abort", "worker-signal", "the worker was ended by SIGABRT"),
    ("segv", "worker-signal", "the worker was ended by SIGSEGV"),
    ("overflow", "worker-signal", "the worker was ended by SIGSEGV"),
    ("memory", "out-of-memory", "the worker was refused memory: the run may have 32 MiB"),
    ("loop", "cpu-limit", "the worker used up its CPU time: the run may have 1 s"),
    ("loop-on", "cpu-limit", "the worker used up its CPU time: the run may have 1 s"),
    ("close", "worker-protocol", "the worker was killed: it closed its connection and went on"),
    (
        "garbage",
        "worker-protocol",
        "the worker was killed: it sent what is no message: a frame of 542393671 bytes was announced; the limit is 16777216",
    ),
    (
        "announce",
        "worker-protocol",
        "the worker was killed: it sent what is no message: a frame of 4294967295 bytes was announced; the limit is 16777216",
    ),
    ("ready-twice", "worker-protocol", "the worker was killed: it said twice that it is ready"),
    ("another-attempt", "worker-protocol", "the worker was killed: it spoke of an attempt that is not its own"),
    ("another-block", "worker-protocol", "the worker was killed: it spoke of an attempt that is not its own"),
    ("foreign-call", "worker-protocol", "the worker was killed: it made a call that its block does not make"),
    ("waits-for-nothing", "worker-protocol", "the worker was killed: it waits for nothing"),
    ("too-many-calls", "worker-protocol", "the worker was killed: it made 1000 calls at once"),
    ("ptrace", "seccomp", FORBIDDEN),
    ("process-vm-writev", "seccomp", FORBIDDEN),
    ("io-uring", "seccomp", FORBIDDEN),
    ("execve", "seccomp", FORBIDDEN),
    ("unshare", "seccomp", FORBIDDEN),
    ("setns", "seccomp", FORBIDDEN),
    ("mount", "seccomp", FORBIDDEN),
    ("bpf", "seccomp", FORBIDDEN),
    ("keyctl", "seccomp", FORBIDDEN),
    ("userfaultfd", "seccomp", FORBIDDEN),
];

const FORBIDDEN: &str = "the worker was killed: it made a system call that is forbidden to it";

/// A supervisor with hostile workers, and runs that must not notice.
struct Arena {
    installation: Installation,
    running: Running,
    /// What the processes of the zygote and its workers are called (proc_pid_comm(5)), and no others.
    name: String,
    /// Holds the page that `witness` waits for.
    gate: Gate,
    _upstream: Upstream,
    /// A heavy run that lives from before the first attack until after the last.
    witness: String,
}

impl Arena {
    fn new(installation: Installation) -> Self {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("<h1>Unharmed</h1>")));
        let name = installation.folder().to_string_lossy().rsplit('-').next().map_or_else(String::new, str::to_owned);
        let name = format!("hx-{name}");
        let zygote = installation.folder().join(&name);
        symlink(built("runlet-hostile"), &zygote).expect("a link in the test's own folder");
        let running = installation.start_both_with(&["--zygote", zygote.to_str().expect("text")]);
        let attack = |limits: Value, first: &str, second: &str| {
            json!({ "limits": limits, "blocks": [
                { "id": "first", "type": "transform", "parameter": { "jq": "." }, "timeout": first },
                { "id": "second", "type": "transform", "parameter": { "jq": "." }, "timeout": second },
            ]})
        };
        installation.deploy("attack", &attack(json!({ "memory": "32MiB", "cpu": "1s" }), "60s", "60s"));
        installation.deploy("slow-attack", &attack(json!({}), "300ms", "300ms"));
        // Its first block is to come to its end, however busy the machine is.
        installation.deploy("slow-second", &attack(json!({}), "60s", "300ms"));
        installation.deploy("short", &json!({ "blocks": [{ "type": "transform", "parameter": { "jq": "1 + 1" } }] }));
        let hello =
            json!([{ "type": "hook", "path": "hello", "methods": ["GET"] }, { "type": "response", "body": "hi" }]);
        installation.deploy("hello", &hello);
        running.wait_route("/hook/hello");
        let witness = json!({ "isolation": "process", "blocks": [
            { "type": "fetch", "parameter": { "url": upstream.url(), "timeout": "10m" } },
            { "type": "html-scraper", "parameter": [{ "tags": "h1" }] },
        ]});
        installation.deploy("witness", &witness);
        let witness = installation.run_detached("witness");
        upstream.wait_asked(1);
        Self { installation, running, name, gate, _upstream: upstream, witness }
    }

    /// Has a worker of `workflow` perform an act, while the others are asked, and returns the ended run.
    fn attack(&self, workflow: &str, act: &str) -> Value {
        self.attack_at(workflow, act, "")
    }

    /// The same, for acts that need a URL.
    fn attack_at(&self, workflow: &str, act: &str, url: &str) -> Value {
        let input = json!({ "hostile": act, "supervisor": self.running.supervisor.id(), "url": url }).to_string();
        let run = self.installation.ok(&["run", workflow, "--detach", "--input", &input]).trim().to_owned();
        self.others_are_unharmed();
        let told = wait_until(&format!("the run of {act} to end"), || {
            let told: Value = serde_json::from_str(&self.installation.ok(&["inspect", &run])).expect("JSON");
            let ended = matches!(told["state"].as_str(), Some("COMPLETED" | "FAILED" | "STOPPED"));
            (ended && !told["worker"]["ended"].is_null()).then_some(told)
        });
        self.others_are_unharmed();
        told
    }

    fn others_are_unharmed(&self) {
        assert_eq!(self.running.get("/hook/hello").text(), "hi");
        assert_eq!(self.installation.ok(&["run", "--quiet", "short"]).trim(), "2");
        let witness = self.installation.summary(&self.witness).expect("it lives");
        assert_eq!(witness["state"], "BLOCKED", "{witness}");
    }

    /// Ends everything, and finds nothing left.
    fn end(self) {
        self.gate.open();
        let _ = self.installation.wait_state(&self.witness, "COMPLETED");
        let told: Value = serde_json::from_str(&self.installation.ok(&["inspect", &self.witness])).expect("JSON");
        assert_eq!(told["output"], json!({ "h1": ["Unharmed"] }), "{told}");
        assert!(!processes_called(&self.name).is_empty(), "there were processes to be looked for");
        self.running.supervisor.signal(Signal::SIGTERM);
        assert_eq!(self.running.supervisor.wait_exit(), Exit::Code(0));
        wait_none_called(&self.name);
    }
}

/// Runs a scenario as the user of the test, and if that is root as another as well.
fn as_root_and_as_nobody(scenario: fn(&Arena)) {
    let arena = Arena::new(Installation::new());
    scenario(&arena);
    arena.end();
    if nix::unistd::geteuid().is_root() {
        let arena = Arena::new(Installation::new().of_user(NOBODY));
        scenario(&arena);
        arena.end();
    }
}

#[test]
fn what_a_worker_does_to_itself_or_says_is_told_exactly_and_harms_nobody() {
    as_root_and_as_nobody(|arena| {
        for (act, code, message) in ENDS {
            let told = arena.attack("attack", act);
            assert_eq!(
                (&told["error"]["code"], &told["error"]["message"]),
                (&json!(code), &json!(message)),
                "{act}: {told}"
            );
        }
    });
}

#[test]
fn a_worker_that_never_comes_to_an_end_is_ended_by_the_time_its_block_has() {
    as_root_and_as_nobody(|arena| {
        for (workflow, act, block) in [
            ("slow-attack", "loop", "first"),
            ("slow-attack", "half-and-wait", "first"),
            ("slow-attack", "flood", "first"),
            ("slow-second", "deaf", "second"),
        ] {
            let told = arena.attack(workflow, act);
            assert_eq!(told["error"]["code"], "timeout", "{act}: {told}");
            assert_eq!(told["error"]["block"], block, "{act}: {told}");
        }
        // A flood is cut down to its last lines: the run that wrote it, and those before it, are still remembered.
        let flooded = arena.attack("slow-attack", "flood");
        assert!(flooded["log"].as_array().is_some_and(|lines| lines.len() > 1), "{flooded}");
        let remembered = arena.installation.json(&["ps", "-a", "-w", "slow-attack"]);
        assert_eq!(remembered.as_array().map(Vec::len), Some(4), "{remembered}");
    });
}

#[test]
fn what_a_worker_is_not_allowed_is_refused_and_it_goes_on() {
    as_root_and_as_nobody(|arena| {
        for act in ["fork", "signals", "signal-by-socket", "sockets", "files"] {
            let told = arena.attack("attack", act);
            assert_eq!(told["state"], "COMPLETED", "{act}: {told}");
            let tries = told["blocks"][0]["output"].as_object().expect("what came of each try");
            for (call, came_of_it) in tries {
                assert_eq!(came_of_it, "EPERM", "{act}: {call}");
            }
        }
        assert!(arena.running.supervisor.is_running());
    });
}

#[test]
fn calls_under_way_are_bounded() {
    let held = Gate::closed();
    let first = AtomicBool::new(true);
    let upstream = Upstream::http(move |_| match first.swap(false, Ordering::Relaxed) {
        true => Page::html("").into(),
        false => Reply::Held(held.clone(), Page::html("")),
    });
    let arena = Arena::new(Installation::new());
    let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() }, "timeout": "60s" });
    arena.installation.deploy("fetch", &json!({ "isolation": "process", "blocks": [fetch] }));
    let told = arena.attack_at("fetch", "calls-on-and-on", &upstream.url());
    let message = told["error"]["message"].as_str().expect("it failed");
    let calls = message
        .strip_prefix("the worker was killed: it has ")
        .and_then(|it| it.strip_suffix(" calls under way at once"));
    assert!(calls.is_some_and(|calls| (257..512).contains(&calls.parse().expect("a number"))), "{told}");
    arena.end();
}

#[test]
fn when_a_worker_says_it_began_is_believed_within_the_life_of_its_attempt() {
    let arena = Arena::new(Installation::new());
    arena.installation.deploy("once", &json!([{ "type": "transform", "parameter": { "jq": "." } }]));
    for (act, whole) in [("began-early", false), ("began-late", true)] {
        let told = arena.attack("once", act);
        assert_eq!(told["state"], "COMPLETED", "{act}: {told}");
        let spans = arena.installation.json(&["trace", told["id"].as_str().expect("text")]);
        let expected = if whole { &spans[0]["elapsedMs"] } else { &json!(0.0) };
        let said = spans[0]["handoverMs"].as_f64().expect("a number");
        assert!(said <= spans[0]["elapsedMs"].as_f64().expect("a number"), "{spans}");
        assert!(whole && said > 0.0 || spans[0]["handoverMs"] == *expected, "{spans}");
    }
    arena.end();
}

#[test]
fn an_output_that_is_none_fails_its_block() {
    as_root_and_as_nobody(|arena| {
        for act in ["no-json", "deep-json"] {
            let told = arena.attack("attack", act);
            assert_eq!(told["error"]["code"], "worker-protocol", "{act}: {told}");
            assert!(told["error"]["message"].as_str().is_some_and(|it| it.contains("no JSON")), "{act}: {told}");
        }
    });
}
