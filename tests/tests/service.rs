//! Life as a service: what a service manager is told, the sockets it passes, and the configuration that is read again. The
//! manager's side of each protocol is played by the test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use nix::sys::signal::Signal;
use runlet_tests::http;
use runlet_tests::process::{Exit, Process};
use runlet_tests::runlet::{Installation, code};
use runlet_tests::service::{Notified, start_passing};
use runlet_tests::wait::{PATIENCE, wait_until};
use serde_json::json;

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

fn ready(process: &Process) -> String {
    process.wait_line("ready", |line| line.strip_prefix("ready ").map(str::to_owned))
}

#[test]
fn a_supervisor_tells_its_manager_how_it_is() {
    let installation = Installation::new();
    let file = installation.write("runlet.toml", "[supervisor]\ndrain = '1s'\n");
    let manager = Notified::new(&installation);
    let watchdog = [("WATCHDOG_USEC", "100000")];
    let supervisor = manager.start(&installation, &["--config", text(&file), "supervisor"], &watchdog);
    assert_eq!(manager.next(), format!("READY=1\nSTATUS=serves {}\n", installation.socket().display()));
    assert_eq!((manager.next().as_str(), manager.next().as_str()), ("WATCHDOG=1\n", "WATCHDOG=1\n"));

    // What can change while runs live is taken over; what cannot is named.
    let _ = installation.write("runlet.toml", "[supervisor]\ndrain = '5s'\nworker-nice = 3\n");
    supervisor.signal(Signal::SIGHUP);
    assert!(manager.next_news().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let taken = manager.next_news();
    assert!(
        taken.starts_with("READY=1\nSTATUS=") && taken.ends_with("restart is needed for: worker-nice\n"),
        "{taken}"
    );

    // What is broken changes nothing, and is told with its place.
    let _ = installation.write("runlet.toml", "[supervisor]\ndrain = '9s'\n\ndrian = 1\n");
    supervisor.signal(Signal::SIGHUP);
    assert!(manager.next_news().starts_with("RELOADING=1\n"));
    let refused = manager.next_news();
    assert!(refused.starts_with("READY=1\n") && refused.contains("stays as it was"), "{refused}");
    supervisor.wait_line("the mistake", |line| line.contains("runlet.toml:4:1: ").then_some(()));

    supervisor.signal(Signal::SIGTERM);
    // The drain of the file before, and what it allows for the rest.
    let stopping = manager.next_news();
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\n"), "{stopping}");
    assert_eq!(supervisor.wait_exit(), Exit::Code(code::OK));
}

#[test]
fn a_gateway_tells_its_manager_how_it_is() {
    let installation = Installation::new();
    let file = installation.write("runlet.toml", "[gateway]\nlisten = '127.0.0.1:0'\nthreads = 2\n");
    let arguments = ["--config", text(&file), "gateway"];
    let manager = Notified::new(&installation);
    let gateway = manager.start(&installation, &arguments, &[("WATCHDOG_USEC", "100000")]);
    let address = ready(&gateway);
    assert_eq!(manager.next(), format!("READY=1\nSTATUS=serves hooks at {address}\n"));
    assert_eq!((manager.next().as_str(), manager.next().as_str()), ("WATCHDOG=1\n", "WATCHDOG=1\n"));

    let _ = installation.write("runlet.toml", "[gateway]\nlisten = '127.0.0.1:0'\nthreads = 3\nlog-level = 'debug'\n");
    gateway.signal(Signal::SIGHUP);
    assert!(manager.next_news().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(manager.next_news().ends_with("restart is needed for: threads\n"));
    // Without a supervisor it looks for one again and again, and says so at this level only.
    gateway.wait_line("a line of the new level", |line| line.contains("still away").then_some(()));
    gateway.signal(Signal::SIGTERM);
    assert!(manager.next_news().starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC="));
    assert_eq!(gateway.wait_exit(), Exit::Code(code::OK));

    // Where nobody waits for signs of life there are none: what is said first and what is said last is all.
    let gateway = manager.start(&installation, &arguments, &[]);
    let _ = ready(&gateway);
    assert!(
        wait_until("the news of the second", || Some(manager.next()).filter(|one| one != "WATCHDOG=1\n"))
            .starts_with("READY")
    );
    gateway.signal(Signal::SIGTERM);
    assert!(manager.next().starts_with("STOPPING=1\n"));
    assert_eq!(gateway.wait_exit(), Exit::Code(code::OK));
}

/// A connection to a socket that nobody may be serving; what is said over it is nothing that a supervisor knows.
fn queue(socket: &std::path::Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("the socket takes connections, whoever serves it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket that is open");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("there is room for this");
    stream
}

/// Waits until a supervisor has heard that it is spoken to by a stranger, and has hung up.
fn wait_served(mut stream: UnixStream) {
    // A connection that is closed with something unread is reset: that is an end, too. One that nobody takes has none.
    let end = stream.read_to_end(&mut Vec::new());
    let waited =
        end.is_err_and(|error| matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
    assert!(!waited, "nobody served the connection");
}

#[test]
fn control_connections_wait_for_the_next_supervisor() {
    let installation = Installation::new();
    let path = installation.folder().join("passed.sock");
    let passed = UnixListener::bind(&path).expect("a socket in the test's own folder");
    let pass = || OwnedFd::from(passed.try_clone().expect("a descriptor"));
    for _ in 0..2 {
        let waiting = queue(&path);
        let supervisor = start_passing(&installation, &["supervisor"], pass(), 1);
        assert_eq!(ready(&supervisor), text(&path));
        wait_served(waiting);
        installation.ok(&["--socket", text(&path), "status"]);
        assert!(!installation.socket().exists(), "it made no socket of its own");
        // The state directory is one supervisor's, whichever socket it serves.
        let second = installation.cli(&["supervisor"]);
        assert_eq!(second.exit, Exit::Code(code::FAILED));
        assert!(second.stderr.contains("lock") && second.stderr.contains(text(&installation.state())), "{second:?}");
        supervisor.signal(Signal::SIGTERM);
        assert_eq!(supervisor.wait_exit(), Exit::Code(code::OK));
        assert!(path.exists(), "a socket that was passed is its manager's to take away");
    }
}

#[test]
fn requests_wait_for_the_next_gateway() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    installation.deploy("w", &json!([{ "type": "hook", "path": "w" }, { "type": "response", "body": "served" }]));
    let passed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = passed.local_addr().expect("it listens");
    for _ in 0..2 {
        // The connection is made, and its request sent, before there is anybody to take it.
        let mut waiting = std::net::TcpStream::connect(address).expect("the socket takes connections");
        waiting.set_read_timeout(Some(PATIENCE)).expect("a socket that is open");
        waiting.write_all(b"GET /hook/w HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("there is room");
        let descriptor = passed.try_clone().expect("a descriptor").into();
        // What it is told to listen at is not what it listens at.
        let gateway = start_passing(&installation, &["gateway", "--listen", "127.0.0.1:1"], descriptor, 1);
        assert_eq!(ready(&gateway), address.to_string());
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"), "{answer}");
        assert_eq!(http::get(address, "/healthz").status, 200);
        gateway.signal(Signal::SIGTERM);
        assert_eq!(gateway.wait_exit(), Exit::Code(code::OK));
    }
}

#[test]
fn only_sockets_of_the_right_kind_are_served() {
    let installation = Installation::new();
    let unix = || UnixListener::bind(installation.folder().join("u.sock"));
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let refused = |arguments: &[&str], descriptor: OwnedFd, count: usize, told: &str| {
        let finished = start_passing(&installation, arguments, descriptor, count).finish();
        assert!(matches!(finished.exit, Exit::Code(code::FAILED | code::USAGE)), "{finished:?}");
        assert!(finished.stderr.contains(told) && finished.stderr.contains("help: "), "{told}: {finished:?}");
    };
    refused(&["supervisor"], tcp(), 1, "one of TCP");
    refused(&["gateway"], unix().expect("a socket").into(), 1, "a Unix socket");
    refused(&["gateway"], File::open("/dev/null").expect("the null device").into(), 1, "no socket");
    let (one, _other) = UnixStream::pair().expect("a pair");
    refused(&["supervisor"], one.into(), 1, "does not listen");
    refused(&["gateway"], tcp(), 2, "LISTEN_FDS=2");
    refused(&["gateway"], tcp(), 99, "LISTEN_FDS is `99`");
}

#[test]
fn what_is_for_the_launcher_is_for_none_of_its_children() {
    let installation = Installation::new();
    let mut command = installation.command(["up", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", "@nobody").env("WATCHDOG_USEC", "1000000").env("LISTEN_FDS", "1");
    let up = Process::start("runlet up", &mut command, b"");
    up.wait_line("its last line", |line| line.contains("Ctrl-C").then_some(()));
    let pid = installation.json(&["status"])["pid"].clone();
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("the supervisor's");
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("RUNLET_LAUNCHER="), "{environment:?}");
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"] {
        assert!(!environment.contains(variable), "{environment:?}");
    }
}

#[test]
fn lines_have_the_form_that_was_asked_for() {
    let installation = Installation::new();
    let supervisor = installation.start(&["supervisor", "--log-format", "json"]);
    let line = supervisor.wait_line("a line of JSON", |line| line.contains("is ready").then(|| line.to_owned()));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!((line["level"].as_str(), line["socket"].as_str()), (Some("INFO"), installation.socket().to_str()));
    drop(supervisor);

    // Where stderr is the journal, it takes the level from before the line, and knows the time itself.
    let program = installation.command(["supervisor"]);
    let mut command = std::process::Command::new("sh");
    let script = "JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let supervisor = Process::start("runlet supervisor", &mut command, b"");
    supervisor.wait_line("a line of the journal", |line| {
        (line.starts_with("<6> INFO") && line.contains("the supervisor is ready")).then_some(())
    });
}

#[test]
fn a_request_in_flight_is_answered_before_a_gateway_ends() {
    let installation = Installation::new();
    let running = installation.start_both();
    let gate = runlet_tests::upstream::Gate::closed();
    let held = gate.clone();
    let upstream = runlet_tests::upstream::Upstream::http(move |_| {
        runlet_tests::upstream::Reply::Held(held.clone(), runlet_tests::upstream::Page::html("x"))
    });
    let definition = json!([
        { "type": "hook", "path": "d", "methods": ["GET"] },
        { "type": "fetch", "parameter": { "url": upstream.url() } },
        { "type": "response", "body": "drained" }
    ]);
    installation.deploy("d", &definition);
    running.wait_route("/hook/d");
    let address = running.address;
    let waiting = thread::spawn(move || http::get(address, "/hook/d"));
    upstream.wait_asked(1);
    running.gateway.signal(Signal::SIGHUP);
    running.supervisor.signal(Signal::SIGHUP);
    running.gateway.wait_line("the reload", |line| line.contains("read again").then_some(()));
    running.supervisor.wait_line("the reload", |line| line.contains("read again").then_some(()));
    running.gateway.signal(Signal::SIGTERM);
    gate.open();
    assert_eq!(waiting.join().expect("an answer").text(), "drained");
    assert_eq!(running.gateway.wait_exit(), Exit::Code(code::OK));
}
