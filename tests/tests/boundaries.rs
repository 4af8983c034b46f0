//! What strangers, vandals and leavers can do at the two doors: the control socket and the gateway's port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use runlet_tests::http;
use runlet_tests::process::{Exit, Process};
use runlet_tests::runlet::Installation;
use runlet_tests::system::confined_children;
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::{PATIENCE, wait_until};
use serde_json::json;

/// Open descriptors of a process.
fn descriptors(process: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("a running process").count()
}

#[test]
fn the_state_directory_is_its_owners_alone() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let mode = std::fs::metadata(installation.state()).expect("the state directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
}

#[test]
fn bytes_that_are_no_messages_cost_their_sender_the_connection_and_nobody_else_anything() {
    let installation = Installation::new();
    let running = installation.start_both();
    let length_of_4_gib = [0xff_u8; 64];
    for junk in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &length_of_4_gib, &[0; 3], b"\x04\0\0\0RNLT\xff\xff\xff\xff"] {
        let mut stream = UnixStream::connect(installation.socket()).expect("the control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        stream.write_all(junk).expect("a few bytes fit into any buffer");
        stream.shutdown(std::net::Shutdown::Write).expect("an open connection");
        let mut rest = Vec::new();
        // Closed or reset: either way it is over, and before the patience is.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{junk:?}");
        }
        installation.ok(&["status"]);
    }
    assert!(running.supervisor.is_running() && running.gateway.is_running());
}

#[test]
fn bytes_that_are_no_http_are_answered_and_leavers_leave_nothing_open() {
    let installation = Installation::new();
    let running = installation.start_both();
    assert_eq!(http::get(running.address, "/healthz").status, 200);
    let before = descriptors(&running.gateway);
    for junk in ["\u{1}\u{2}\u{3}\r\n\r\n", "GET /hook/a\r\n", "GET / HTTP/1.1\r\nhost", ""] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(running.address).expect("the gateway");
            stream.write_all(junk.as_bytes()).expect("a few bytes fit into any buffer");
        }
    }
    let mut stream = TcpStream::connect(running.address).expect("the gateway");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    stream.write_all(b"NONSENSE\r\n\r\n").expect("a few bytes fit into any buffer");
    let mut answer = String::new();
    let _closed_or_reset = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    drop(stream);
    wait_until("the gateway to close what was left", || (descriptors(&running.gateway) <= before).then_some(()));
    assert_eq!(http::get(running.address, "/healthz").status, 200);
}

#[test]
fn commands_that_come_and_go_leave_nothing_open_in_the_supervisor() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("quick", &json!([{ "type": "response", "body": "x" }]));
    // The workers that wait for heavy runs have their descriptors too.
    wait_until("two idle workers", || (confined_children(supervisor.id()) == 2).then_some(()));
    installation.ok(&["run", "quick"]);
    let before = descriptors(&supervisor);
    for _ in 0..20 {
        installation.ok(&["run", "quick"]);
        let _ = installation.run_detached("quick");
    }
    wait_until("the supervisor to close what was left", || (descriptors(&supervisor) <= before).then_some(()));
    assert_eq!(installation.json(&["status"])["liveRuns"], 0);
}

#[test]
fn a_gateway_told_to_end_answers_what_is_under_way() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::html("x")));
    let installation = Installation::new();
    let running = installation.start_both();
    let definition = json!([
        { "type": "hook", "path": "g", "methods": ["GET"] },
        { "type": "fetch", "parameter": { "url": upstream.url() } },
        { "type": "response", "body": "answered" }
    ]);
    installation.deploy("g", &definition);
    running.wait_route("/hook/g");
    let address = running.address;
    let waiting = std::thread::spawn(move || http::get(address, "/hook/g"));
    upstream.wait_asked(1);
    running.gateway.signal(Signal::SIGTERM);
    wait_until("the port to be closed", || TcpStream::connect(address).is_err().then_some(()));
    gate.open();
    let answer = waiting.join().expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "answered"));
    assert_eq!(running.gateway.wait_exit(), Exit::Code(0));
    installation.ok(&["status"]);
}
