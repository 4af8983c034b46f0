//! What workflows share: memory, locks and channels, on the embedded store and on Redis, with real processes.

use nix::sys::signal::Signal;
use runlet_tests::process::Process;
use runlet_tests::redis_server::Server;
use runlet_tests::runlet::{Installation, code};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// A supervisor with one of the stores.
struct Place {
    installation: Installation,
    supervisor: Process,
    url: String,
}

impl Place {
    fn at(url: &str) -> Self {
        let installation = Installation::new();
        let supervisor = installation.supervisor_with(&["--memory-url", url]);
        Self { installation, supervisor, url: url.to_owned() }
    }

    /// As after a crash.
    fn kill_and_start_again(&mut self) {
        self.supervisor.signal(Signal::SIGKILL);
        let _ = self.supervisor.wait_exit();
        self.supervisor = self.installation.supervisor_with(&["--memory-url", &self.url]);
    }

    fn output(&self, arguments: &[&str]) -> Value {
        self.installation.json(arguments)["output"].clone()
    }

    fn blocked_on(&self, workflow: &str) -> Value {
        self.installation.json(&["ps", "-w", workflow])[0]["blockedOn"].clone()
    }

    fn all_end(&self) {
        wait_until("all to end", || (self.installation.json(&["ps"]) == json!([])).then_some(()));
    }
}

/// Does the same on both stores.
fn on_both(scenario: impl Fn(&mut Place)) {
    scenario(&mut Place::at("embedded:"));
    let server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    scenario(&mut Place::at(&server.url()));
}

fn memory(name: &str, namespaces: &Value, blocks: &Value) -> Value {
    json!({ "name": name, "memory": namespaces, "blocks": blocks })
}

fn op(parameter: &Value) -> Value {
    json!({ "type": "memory", "parameter": parameter })
}

/// A server that answers once its gate is open.
fn held() -> (Upstream, Gate) {
    let gate = Gate::closed();
    let behind = gate.clone();
    (Upstream::http(move |_| Reply::Held(behind.clone(), Page::json("1"))), gate)
}

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

#[test]
fn two_workflows_exchange_data_and_it_survives_a_crash() {
    on_both(|place| {
        let installation = &place.installation;
        installation.deploy(
            "writer",
            &memory(
                "writer",
                &json!(["prices"]),
                &json!([
                    op(&json!({ "op": "set", "key": "{{ input.id }}", "value": { "cents": "{{ input.cents }}" } })),
                    op(&json!({ "op": "append", "key": "log", "value": "{{ blocks.memory.output.cents }}" })),
                ]),
            ),
        );
        installation.deploy(
            "reader",
            &memory(
                "reader",
                &json!(["prices:read"]),
                &json!([
                    { "id": "one", "type": "memory", "parameter": { "op": "get", "key": "7", "detail": true } },
                    { "id": "log", "type": "memory", "parameter": { "op": "get", "key": "log" } },
                    { "id": "all", "type": "memory", "parameter": { "op": "list" } },
                    { "id": "none", "type": "memory", "parameter": { "op": "get", "key": "x", "default": "nothing" } },
                    { "type": "transform", "dependencies": ["one", "log", "all", "none"], "parameter": { "jq": "." } },
                ]),
            ),
        );
        for (id, cents) in [("7", 999), ("8", 1_299), ("7", 899)] {
            let input = json!({ "id": id, "cents": cents }).to_string();
            let _ = installation.ok(&["run", "writer", "--input", &input]);
        }
        let read = place.output(&["run", "reader"]);
        assert_eq!((&read["one"]["value"], &read["none"]), (&json!({ "cents": 899 }), &json!("nothing")), "{read}");
        assert_eq!(read["log"], json!([999, 1_299, 899]));
        let keys: Vec<&Value> = read["all"].as_array().expect("a list").iter().map(|item| &item["key"]).collect();
        assert_eq!(keys, ["7", "8", "log"]);
        place.kill_and_start_again();
        assert_eq!(place.output(&["run", "reader"]), read);
    });
}

#[test]
fn what_a_workflow_does_not_declare_it_cannot_use() {
    let installation = Installation::new();
    let set = op(&json!({ "op": "set", "namespace": "prices", "key": "a", "value": 1 }));
    for (namespaces, expected) in [
        (json!(["price"]), "did you mean `price`?"),
        (json!(["prices:read"]), "declared for reading only"),
        (json!([]), "does not declare the namespace `prices`"),
        (json!(["prices:admin"]), "`:admin` is no way to use a namespace"),
    ] {
        let file = installation.write("w.json", &memory("w", &namespaces, &json!([set])).to_string());
        let said = installation.cli(&["check", file.to_str().expect("text")]);
        said.expect_code(code::INVALID, "a namespace that is not declared");
        assert!(said.stderr.contains(expected) || said.stdout.contains(expected), "{expected}: {said:?}");
    }
}

#[test]
fn what_a_run_did_before_a_crash_is_there_and_not_done_again() {
    on_both(|place| {
        let (upstream, gate) = held();
        let asked = upstream.asked().len();
        let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
        let blocks = json!([op(&json!({ "op": "add", "key": "n" })), fetch, op(&json!({ "op": "add", "key": "n" }))]);
        place.installation.deploy("counter", &memory("counter", &json!(["counts"]), &blocks));
        let run = place.installation.run_detached("counter");
        upstream.wait_asked(asked + 1);
        place.kill_and_start_again();
        upstream.wait_asked(asked + 2);
        assert_eq!(place.installation.ok(&["memory", "get", "counts", "n"]).trim(), "1");
        gate.open();
        let _ = place.installation.wait_state(&run, "COMPLETED");
        assert_eq!(place.installation.ok(&["memory", "get", "counts", "n"]).trim(), "2");
    });
}

#[test]
fn a_lock_is_seen_in_ps_and_is_free_when_its_run_ends_in_any_way() {
    let (upstream, _gate) = held();
    on_both(|place| {
        let asked = upstream.asked().len();
        let locked = |id: &str| {
            let parameter = json!({ "op": "get", "key": "a", "lock": { "ttl": "30m", "timeout": "1m" } });
            json!({ "id": id, "type": "memory", "parameter": parameter })
        };
        let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
        place.installation.deploy("holder", &memory("holder", &json!(["jobs"]), &json!([locked("l"), fetch])));
        place.installation.deploy("waiter", &memory("waiter", &json!(["jobs"]), &json!([locked("l")])));
        let holder = place.installation.run_detached("holder");
        upstream.wait_asked(asked + 1);
        let waiter = place.installation.run_detached("waiter");
        let on = wait_until("it to wait", || Some(place.blocked_on("waiter")).filter(Value::is_string));
        assert!(on.as_str().is_some_and(|on| on.starts_with("lock jobs")), "{on}");
        assert_eq!(place.installation.json(&["memory", "ls"])[0]["lockedBy"], json!(holder));
        // Stopped while it has it.
        let _ = place.installation.ok(&["stop", &holder]);
        let _ = place.installation.wait_state(&waiter, "COMPLETED");
        place.all_end();
        assert_eq!(place.installation.json(&["memory", "ls"]), json!([]), "nobody has it, and nothing is there");
        // And across a crash: the run goes on and has it still.
        let holder = place.installation.run_detached("holder");
        upstream.wait_asked(asked + 2);
        place.kill_and_start_again();
        upstream.wait_asked(asked + 3);
        assert_eq!(place.installation.json(&["memory", "ls"])[0]["lockedBy"], json!(holder));
        let _ = place.installation.ok(&["stop", &holder]);
        place.all_end();
    });
}

#[test]
fn a_producer_and_three_consumers_share_the_work_and_poison_ends_among_the_dead() {
    on_both(|place| {
        let installation = &place.installation;
        installation.deploy("producer", &json!([
            { "type": "send", "for_each": "{{ range(12) | list }}", "parameter": { "channel": "orders", "message": { "number": "{{ item }}" } } },
        ]));
        // What is not a small number fails the run, which gives its message back.
        installation.deploy("consumer", &memory("consumer", &json!(["done"]), &json!([
            { "id": "order", "type": "receive", "parameter": { "channel": "orders", "timeout": "5s", "default": null, "acknowledge": "run", "deliveries": 2 } },
            { "id": "again", "type": "workflow", "when": "{{ blocks.order.output }}", "parameter": { "name": "consumer", "wait": false } },
            { "id": "good", "type": "memory", "when": "{{ blocks.order.output }}", "parameter": { "op": "append", "key": "all", "value": "{{ blocks.order.output.number if blocks.order.output.number < 11 else blocks.order.output.nothing.here }}" } },
        ])));
        for _ in 0..3 {
            let _ = installation.run_detached("consumer");
        }
        wait_until("three to wait", || {
            (installation.json(&["channel", "ls"])[0]["receivers"] == 3 || place.url != "embedded:").then_some(())
        });
        let _ = installation.ok(&["run", "producer"]);
        let dead = wait_until("one to be dead", || {
            let dead = installation.json(&["dead", "messages"]);
            (dead.as_array().map(Vec::len) == Some(1)).then_some(dead)
        });
        assert_eq!((&dead[0]["message"], &dead[0]["deliveries"]), (&json!({ "number": 11 }), &json!(2)), "{dead}");
        let all = wait_until("the others to be done", || {
            let all: Value = serde_json::from_str(&installation.ok(&["memory", "get", "done", "all"])).ok()?;
            (all.as_array().map(Vec::len) == Some(11)).then_some(all)
        });
        let mut all: Vec<u64> = all.as_array().expect("a list").iter().filter_map(Value::as_u64).collect();
        all.sort_unstable();
        assert_eq!(all, (0..11).collect::<Vec<_>>(), "each once");
        let id = dead[0]["id"].to_string();
        let _ = installation.ok(&["dead", "rm", "orders", &id]);
        installation.cli(&["dead", "revive", "orders", &id]).expect_code(code::NOT_FOUND, "a message that is gone");
        place.all_end();
        assert_eq!(installation.json(&["channel", "ls"]), json!([]));
    });
}

#[test]
fn a_message_is_not_lost_with_the_supervisor_of_the_run_that_has_it() {
    on_both(|place| {
        let (upstream, gate) = held();
        let asked = upstream.asked().len();
        place.installation.deploy("consumer", &json!([
            { "id": "order", "type": "receive", "parameter": { "channel": "orders", "acknowledge": "run", "detail": true } },
            { "type": "fetch", "parameter": { "url": upstream.url() } },
        ]));
        let waiting = place.installation.run_detached("consumer");
        wait_until("it to wait", || (place.blocked_on("consumer") == "receive orders").then_some(()));
        assert_eq!(place.installation.ok(&["channel", "send", "orders", r#"{"id":1}"#]).trim(), "1");
        upstream.wait_asked(asked + 1);
        place.kill_and_start_again();
        upstream.wait_asked(asked + 2);
        assert_eq!(place.installation.json(&["channel", "ls"])[0]["delivered"], 1);
        gate.open();
        let _ = place.installation.wait_state(&waiting, "COMPLETED");
        let told = inspect(&place.installation, &waiting);
        assert_eq!(told["blocks"][0]["output"]["message"], json!({ "id": 1 }), "{told}");
        wait_until("it to be done with", || (place.installation.json(&["channel", "ls"]) == json!([])).then_some(()));
    });
}

#[test]
fn commands_show_and_change_what_is_shared() {
    on_both(|place| {
        let installation = &place.installation;
        let _ = installation.ok(&["memory", "set", "prices", "a", r#"{"x":[1,2]}"#, "--ttl", "1h"]);
        let _ = installation.ok(&["memory", "set", "prices", "b", "-5", "--if-version", "0"]);
        installation
            .cli(&["memory", "set", "prices", "b", "1", "--if-version", "0"])
            .expect_code(code::NOT_FOUND, "another version");
        let listed = installation.json(&["memory", "ls", "prices"]);
        assert_eq!((&listed[0]["value"], &listed[1]["value"]), (&json!({ "x": [1, 2] }), &json!(-5)), "{listed}");
        assert!(listed[0]["expiresAt"].is_string() && listed[1]["expiresAt"].is_null(), "{listed}");
        let told = installation.json(&["memory", "ls"]);
        assert_eq!((&told[0]["name"], &told[0]["keys"]), (&json!("prices"), &json!(2)), "{told}");
        assert_eq!(installation.ok(&["memory", "get", "prices", "b"]).trim(), "-5");
        installation.cli(&["memory", "get", "prices", "x"]).expect_code(code::NOT_FOUND, "no such key");
        let said = installation.cli(&["memory", "set", "prices", "c", "text"]);
        said.expect_code(code::USAGE, "no JSON");
        assert!(said.stderr.contains("written with quotes"), "{said:?}");
        let watch = installation.start(&["memory", "watch", "prices", "-o", "jsonl"]);
        // It says nothing before something happens: changes until it does.
        let told = wait_until("a change to be told", || {
            let _ = installation.ok(&["memory", "set", "prices", "w", "1"]);
            watch.stdout().lines().next().map(str::to_owned)
        });
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((&told["key"], &told["value"]), (&json!("w"), &json!(1)), "{told}");
        let _ = installation.ok(&["memory", "rm", "prices", "a", "b", "w"]);
        assert_eq!(installation.json(&["memory", "ls", "prices"]), json!([]));
        let _ = installation.ok(&["channel", "send", "mail", r#""first""#]);
        let _ = installation.ok(&["channel", "send", "mail", "2"]);
        let peeked = installation.json(&["channel", "peek", "mail"]);
        assert_eq!((&peeked[0]["message"], &peeked[1]["id"]), (&json!("first"), &json!(2)), "{peeked}");
        assert_eq!(installation.json(&["channel", "ls"])[0]["ready"], 2);
        let status = installation.ok(&["status"]);
        let expected = if place.url == "embedded:" { "embedded" } else { "redis at " };
        assert!(status.contains(expected), "{status}");
    });
}

#[test]
fn a_worker_shares_too_and_only_what_its_definition_says() {
    on_both(|place| {
        let mut definition = memory(
            "heavy",
            &json!(["prices"]),
            &json!([
                { "id": "number", "type": "transform", "parameter": { "jq": ". + 1" } },
                { "id": "kept", "type": "memory", "parameter": { "op": "append", "key": "{{ 'l' ~ 'ist' }}" } },
                { "id": "sent", "type": "send", "parameter": { "channel": "{{ 'mail' }}" } },
                { "id": "got", "type": "receive", "parameter": { "channel": "{{ 'mail' }}" } },
            ]),
        );
        definition["isolation"] = json!("process");
        place.installation.deploy("heavy", &definition);
        assert_eq!(place.output(&["run", "heavy", "--input", "1"]), json!([2]));
        assert_eq!(place.output(&["run", "heavy", "--input", "2"]), json!([2, 3]));
    });
}

#[test]
fn a_store_that_is_away_blocks_only_who_needs_it() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let place = Place::at(&server.url());
    place
        .installation
        .deploy("counter", &memory("counter", &json!(["counts"]), &json!([op(&json!({ "op": "add", "key": "n" }))])));
    place.installation.deploy("other", &json!([{ "type": "transform", "parameter": { "jq": "7" } }]));
    assert_eq!(place.output(&["run", "counter"]), 1);
    server.kill();
    let waiting = place.installation.run_detached("counter");
    wait_until("it to wait", || (place.blocked_on("counter") == "memory counts").then_some(()));
    wait_until("status to say so", || place.installation.ok(&["status"]).contains("away for").then_some(()));
    assert_eq!(place.output(&["run", "other"]), 7);
    server.start_again();
    let _ = place.installation.wait_state(&waiting, "COMPLETED");
    assert_eq!(inspect(&place.installation, &waiting)["output"], 2);
    assert!(!place.installation.ok(&["status"]).contains("away for"));
}

#[test]
fn two_supervisors_on_one_redis_share_memory_messages_and_locks() {
    let server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (upstream, gate) = held();
    let (mut one, two) = (Place::at(&server.url()), Place::at(&server.url()));
    for place in [&one, &two] {
        let locked = json!({ "op": "add", "key": "n", "lock": { "ttl": "3s", "timeout": "1m" } });
        let fetch = json!({ "type": "fetch", "parameter": { "url": upstream.url() } });
        place.installation.deploy("locked", &memory("locked", &json!(["jobs"]), &json!([op(&locked), fetch])));
        place.installation.deploy(
            "consumer",
            &memory(
                "consumer",
                &json!(["done"]),
                &json!([
                    { "id": "order", "type": "receive", "parameter": { "channel": "orders" } },
                    { "type": "memory", "parameter": { "op": "append", "key": "all" } },
                ]),
            ),
        );
    }
    // Each message goes to one receiver of either.
    let runs: Vec<_> = (0..10)
        .map(|at| if at % 2 == 0 { &one } else { &two })
        .map(|place| (place, place.installation.run_detached("consumer")))
        .collect();
    for number in 0..10 {
        let _ = one.installation.ok(&["channel", "send", "orders", &number.to_string()]);
    }
    for (place, run) in &runs {
        let _ = place.installation.wait_state(run, "COMPLETED");
    }
    let mut all: Vec<u64> =
        serde_json::from_str(&two.installation.ok(&["memory", "get", "done", "all"])).expect("numbers");
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    // A lock excludes runs of both; that of a supervisor that was killed ends with its time.
    let holder = one.installation.run_detached("locked");
    upstream.wait_asked(1);
    let waiter = two.installation.run_detached("locked");
    wait_until("the other to wait", || {
        two.blocked_on("locked").as_str().filter(|on| on.starts_with("lock jobs")).map(drop)
    });
    one.supervisor.signal(Signal::SIGKILL);
    let _ = one.supervisor.wait_exit();
    upstream.wait_asked(2);
    gate.open();
    let _ = two.installation.wait_state(&waiter, "COMPLETED");
    assert_eq!(two.installation.ok(&["memory", "get", "jobs", "n"]).trim(), "2");
    one.supervisor = one.installation.supervisor_with(&["--memory-url", &one.url]);
    let _ = one.installation.wait_state(&holder, "COMPLETED");
    assert_eq!(two.installation.ok(&["memory", "get", "jobs", "n"]).trim(), "2", "what was done is not done again");
}

#[test]
fn the_address_of_the_store_is_checked_and_its_password_is_not_shown() {
    let installation = Installation::new();
    let refused = installation.cli(&["supervisor", "--memory-url", "mysql://x"]);
    refused.expect_code(code::USAGE, "a store of another kind");
    assert!(refused.stderr.contains("redis://") && refused.stderr.contains("embedded:"), "{refused:?}");
    let file = installation.write("runlet.toml", "[memory]\nurl = \"redis://me:secret@127.0.0.1:1\"\nkeys = 7\n");
    let file = file.to_str().expect("text");
    let shown = installation.ok(&["--config", file, "config", "show", "--origin"]);
    assert!(shown.contains("redis://me:***@127.0.0.1:1") && !shown.contains("secret"), "{shown}");
    assert!(shown.contains("memory-keys = 7"), "{shown}");
    let wrong = installation.write("wrong.toml", "[memory]\nurl = \"nonsense\"\nkeyz = 7\n");
    let said = installation.cli(&["--config", wrong.to_str().expect("text"), "status"]);
    said.expect_code(code::USAGE, "mistakes");
    assert!(said.stderr.contains("wrong.toml:2:") && said.stderr.contains("wrong.toml:3:"), "{said:?}");
}
