//! `runlet up --demo`: what a person sees first must work.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use nix::sys::signal::Signal;
use runlet_tests::http::{self, Answer};
use runlet_tests::process::Exit;
use runlet_tests::runlet::{Installation, Port4000, code};
use runlet_tests::tidy::repository::root;
use runlet_tests::wait::wait_until;
use serde_json::Value;

/// Does what a printed `curl` line says.
fn curl(line: &str, address: SocketAddr) -> Answer {
    let words: Vec<&str> = line.split_whitespace().collect();
    let path = words.last().and_then(|url| url.strip_prefix(&format!("http://{address}")));
    let path = path.unwrap_or_else(|| panic!("not of http://{address}: {line}"));
    match words.as_slice() {
        ["curl", _] => http::get(address, path),
        ["curl", "-X", method, "--json", "'{}'", _] => {
            http::request(address, method, path, &[("content-type", "application/json")], b"{}")
        }
        _ => panic!("a curl line of another form: {line}"),
    }
}

/// Waits until `up -o json` has printed its announcement, and returns it.
fn announcement(up: &runlet_tests::process::Process) -> Value {
    up.wait_line("the announcement", |line| (line == "}").then_some(()));
    serde_json::from_str(&up.stdout()).expect("one JSON document on stdout")
}

#[test]
fn the_demo_serves_every_example() {
    let _port = Port4000::take();
    let installation = Installation::new();
    let up = installation.start(&["-o", "json", "up", "--demo", "--listen", "127.0.0.1:0", "--drain", "5s"]);
    let announced = announcement(&up);
    let address = announced["gateway"].as_str().and_then(|url| url.strip_prefix("http://")).expect("an address");
    let address: SocketAddr = address.parse().expect("an address");

    let workflows = announced["workflows"].as_array().expect("a list");
    let names: BTreeSet<&str> = workflows.iter().filter_map(|one| one["name"].as_str()).collect();
    let files = std::fs::read_dir(root().join("examples")).expect("the examples");
    let files = files.map(|file| file.expect("an entry").path()).filter(|path| path.is_file());
    let definitions = files.filter(|path| path.extension().is_some_and(|one| one == "json" || one == "jsonc"));
    assert!(definitions.count() == names.len() && names.len() >= 3, "an example is not served: {names:?}");

    for hook in workflows.iter().flat_map(|one| one["hooks"].as_array().expect("a list")) {
        let line = hook["curl"].as_str().expect("a line to paste");
        let answer = curl(line, address);
        assert!((200..300).contains(&answer.status), "{line}: {answer:?}");
        assert!(!answer.body.is_empty(), "{line}: {answer:?}");
    }
    let founding = http::get(address, "/hook/test").json();
    for heading in ["h1", "h2"] {
        assert!(founding[heading].as_array().is_some_and(|list| !list.is_empty()), "{founding}");
    }
    for workflow in workflows.iter().filter(|one| one["hooks"].as_array().is_some_and(Vec::is_empty)) {
        let name = workflow["name"].as_str().expect("a name");
        installation.cli(&["run", name]).expect_code(code::OK, name);
    }

    // What the first answer said has not changed since, which is what the watcher is for.
    assert_eq!(http::get(address, "/hook/price-watch/1").status, 204);
    let report = installation.json(&["run", "nightly"])["output"].to_string();
    assert!(report.contains(" products are sold out"), "{report}");
    // The packer that was run has packed the order that the hook took, and the next one waits for another.
    assert_eq!(installation.ok(&["memory", "get", "packed", "teapot"]).trim(), "1");
    let waiting = installation.json(&["ps", "-w", "packer"]);
    assert_eq!(waiting[0]["blockedOn"], "receive orders", "{waiting}");

    up.signal(Signal::SIGINT);
    assert_eq!(up.wait_exit(), Exit::Code(0));
    wait_until("the shop to be closed", || std::net::TcpListener::bind("127.0.0.1:4000").ok());
    // What needs the shop is not left to the next supervisor.
    let _supervisor = installation.supervisor();
    assert_eq!(installation.json(&["workflows"]), serde_json::json!([]));
}

#[test]
fn the_examples_are_valid_and_need_nothing_but_the_shop() {
    let installation = Installation::new();
    let examples = root().join("examples");
    installation.ok(&["check", examples.to_str().expect("text")]);
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_running() {
    let _port = Port4000::take();
    let holder = std::net::TcpListener::bind("127.0.0.1:4000").expect("the port is ours now");
    let installation = Installation::new();
    let finished = installation.cli(&["up", "--demo", "--listen", "127.0.0.1:0"]);
    assert_ne!(finished.exit, Exit::Code(0));
    assert!(finished.stderr.contains("4000"), "{finished:?}");
    installation.cli(&["status"]).expect_code(code::UNREACHABLE, "status after a failed start");
    drop(holder);
}

#[test]
fn a_killed_launcher_takes_both_children_with_it() {
    let installation = Installation::new();
    let (up, address) = installation.up(&[]);
    up.signal(Signal::SIGKILL);
    assert_eq!(up.wait_exit(), Exit::Signal(Signal::SIGKILL));
    wait_until("both to be gone", || {
        let supervisor = installation.cli(&["status"]).exit == Exit::Code(code::UNREACHABLE);
        (supervisor && std::net::TcpStream::connect(address).is_err()).then_some(())
    });
}
