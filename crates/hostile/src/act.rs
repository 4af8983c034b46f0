//! The acts, by the name the input gives.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use runlet_proto::call::{BodyAs, Call, FetchCall};
use runlet_proto::codec::encode_frame;
use runlet_proto::control::LogLevel;
use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::worker::{Begin, Confinement, Ended, FromWorker, Payload};
use serde_json::{Map, Value, json};

use crate::sys::{self, SOCKET};

/// Takes over the attempts whose input names an act. Most acts do not return; what those that do have to tell is the output.
pub(crate) fn intercept(begin: &Begin) -> Option<Ended> {
    let Payload::Json(text) = &begin.input else { return None };
    let input: Value = serde_json::from_slice(text).ok()?;
    let act = input.get("hostile")?.as_str()?;
    if let Some(number) = fatal_call(act) {
        return Some(completed(&json!({ act: tried(sys::call(number, [0; 4])) })));
    }
    let supervisor = input.get("supervisor").and_then(Value::as_i64).unwrap_or_default();
    match act {
        "fork" => Some(completed(&fork_bomb())),
        "signals" => Some(completed(&signals(supervisor))),
        "signal-by-socket" => Some(completed(&signal_by_socket(supervisor))),
        "sockets" => Some(completed(&sockets())),
        "files" => Some(completed(&files())),
        "no-json" => Some(Ended::Completed(Payload::Json((&b"{"[..]).into()))),
        "deep-json" => Some(Ended::Completed(Payload::Json(vec![b'['; 1 << 20].into()))),
        _ => {
            end_badly(act, begin, input.get("url").and_then(Value::as_str).unwrap_or_default());
            None
        }
    }
}

/// What ends the worker, or makes the supervisor end it. Returns for a name that is none.
fn end_badly(act: &str, begin: &Begin, url: &str) {
    match act {
        "exit" => sys::exit(7),
        "abort" => std::process::abort(),
        "segv" => sys::read_nothing(),
        "overflow" => drop(overflow(1)),
        "memory" => grow(),
        "loop" => compute(),
        "loop-on" => {
            sys::ignore(libc::SIGXCPU);
            compute();
        }
        "close" => {
            sys::close(SOCKET);
            compute();
        }
        "garbage" => say_bytes(b"GET / HTTP/1.1\r\n\r\n"),
        "announce" => say_bytes(&u32::MAX.to_le_bytes()),
        "half" => {
            say_half(begin);
            sys::exit(0);
        }
        "half-and-wait" => say_half(begin),
        "flood" => loop {
            say(&log(begin, "x".repeat(60_000)));
        },
        // The next block gets more than the socket holds.
        "deaf" => say(&FromWorker::Finished {
            block: begin.block,
            attempt: begin.attempt,
            ended: completed(&json!("x".repeat(1 << 20))),
            began_ns: 0,
        }),
        "ready-twice" => say(&FromWorker::Ready(Confinement::default())),
        // A block that waits for nothing would never be looked at again.
        "waits-for-nothing" => say(&FromWorker::Waiting { block: begin.block, attempt: begin.attempt, calls: vec![] }),
        // As if it had begun when the machine was started, or were to begin long after it has ended.
        "began-early" | "began-late" => say(&FromWorker::Finished {
            block: begin.block,
            attempt: begin.attempt,
            ended: completed(&json!("hostile")),
            began_ns: if act == "began-early" { 0 } else { u64::MAX },
        }),
        "another-attempt" => say(&finished(begin.block, Attempt(begin.attempt.0 + 1))),
        "another-block" => say(&finished(BlockIndex(u16::MAX), begin.attempt)),
        "foreign-call" => say(&waiting(begin, METADATA, 0..1)),
        "too-many-calls" => say(&waiting(begin, METADATA, 0..1_000)),
        "calls-on-and-on" => {
            // As many as are allowed, and as many again when one of them has been answered.
            say(&waiting(begin, url, 0..256));
            sys::wait_readable(SOCKET);
            say(&waiting(begin, url, 256..512));
        }
        _ => return,
    }
    wait_for_ever();
}

/// System calls that nobody makes by accident; their arguments do not matter.
fn fatal_call(act: &str) -> Option<libc::c_long> {
    Some(match act {
        "ptrace" => libc::SYS_ptrace,
        "process-vm-writev" => libc::SYS_process_vm_writev,
        "io-uring" => libc::SYS_io_uring_setup,
        "execve" => libc::SYS_execve,
        "unshare" => libc::SYS_unshare,
        "setns" => libc::SYS_setns,
        "mount" => libc::SYS_mount,
        "bpf" => libc::SYS_bpf,
        "keyctl" => libc::SYS_keyctl,
        "userfaultfd" => libc::SYS_userfaultfd,
        _ => return None,
    })
}

/// Forks a thousand times, and so would its children.
fn fork_bomb() -> Value {
    let clone = libc::SIGCHLD as usize;
    let mut last = Value::Null;
    for _ in 0..1_000 {
        last = json!({
            "clone": tried(sys::call(libc::SYS_clone, [clone, 0, 0, 0])),
            "clone3": tried(sys::call(libc::SYS_clone3, [0, 0, 0, 0])),
        });
    }
    last
}

fn signals(supervisor: i64) -> Value {
    let (pid, kill) = (usize::try_from(supervisor).unwrap_or_default(), libc::SIGKILL as usize);
    json!({
        "kill": tried(sys::call(libc::SYS_kill, [pid, kill, 0, 0])),
        "tkill": tried(sys::call(libc::SYS_tkill, [pid, kill, 0, 0])),
        "tgkill": tried(sys::call(libc::SYS_tgkill, [pid, pid, kill, 0])),
        "rt_sigqueueinfo": tried(sys::call(libc::SYS_rt_sigqueueinfo, [pid, kill, 0, 0])),
        "pidfd_open": tried(sys::call(libc::SYS_pidfd_open, [pid, 0, 0, 0])),
        "prlimit64": tried(sys::call(libc::SYS_prlimit64, [pid, 0, 0, 0])),
    })
}

/// Tries to have the kernel kill the supervisor when something is sent to this worker (fcntl(2), F_SETOWN and F_SETSIG).
fn signal_by_socket(supervisor: i64) -> Value {
    let (socket, pid) = (SOCKET as usize, usize::try_from(supervisor).unwrap_or_default());
    let attempt =
        |command: libc::c_int, argument| tried(sys::call(libc::SYS_fcntl, [socket, command as usize, argument, 0]));
    json!({
        "F_SETOWN": attempt(libc::F_SETOWN, pid),
        "F_SETSIG": attempt(F_SETSIG, libc::SIGKILL as usize),
        "F_SETFL": attempt(libc::F_SETFL, (libc::O_RDWR | libc::O_ASYNC) as usize),
    })
}

/// F_SETSIG of fcntl(2), which the `libc` crate does not name.
const F_SETSIG: libc::c_int = 10;

fn sockets() -> Value {
    let families = [
        ("inet", libc::AF_INET, libc::SOCK_STREAM),
        ("inet-datagram", libc::AF_INET, libc::SOCK_DGRAM),
        ("inet6", libc::AF_INET6, libc::SOCK_STREAM),
        ("unix", libc::AF_UNIX, libc::SOCK_STREAM),
        ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
        ("packet", libc::AF_PACKET, libc::SOCK_RAW),
    ];
    let tries = families.map(|(name, family, kind)| {
        (name.to_owned(), tried(sys::call(libc::SYS_socket, [family as usize, kind as usize, 0, 0])))
    });
    Value::Object(Map::from_iter(tries))
}

fn files() -> Value {
    let passwd = c"/etc/passwd".as_ptr() as usize;
    let new = c"/tmp/runlet-hostile".as_ptr() as usize;
    let here = libc::AT_FDCWD as usize;
    json!({
        "openat": tried(sys::call(libc::SYS_openat, [here, passwd, libc::O_RDONLY as usize, 0])),
        "openat2": tried(sys::call(libc::SYS_openat2, [here, passwd, 0, 0])),
        "create": tried(sys::call(libc::SYS_openat, [here, new, (libc::O_CREAT | libc::O_WRONLY) as usize, 0o600])),
        "mkdirat": tried(sys::call(libc::SYS_mkdirat, [here, new, 0o700, 0])),
        "readlinkat": tried(sys::call(libc::SYS_readlinkat, [here, passwd, 0, 0])),
        "name_to_handle_at": tried(sys::call(libc::SYS_name_to_handle_at, [here, passwd, 0, 0])),
    })
}

/// What came of a system call: `done`, or the name of the error.
fn tried(result: Result<(), i32>) -> Value {
    match result {
        Ok(()) => json!("done"),
        Err(libc::EPERM) => json!("EPERM"),
        Err(libc::EACCES) => json!("EACCES"),
        Err(number) => json!(number),
    }
}

fn completed(output: &Value) -> Ended {
    Ended::Completed(Payload::Json(output.to_string().into()))
}

fn finished(block: BlockIndex, attempt: Attempt) -> FromWorker {
    FromWorker::Finished { block, attempt, ended: completed(&json!("hostile")), began_ns: 0 }
}

fn log(begin: &Begin, text: String) -> FromWorker {
    FromWorker::Log { block: begin.block, attempt: begin.attempt, level: LogLevel::Info, text }
}

/// Where a cloud keeps the credentials of a machine.
const METADATA: &str = "http://169.254.169.254/";

/// Calls that only a `fetch` makes.
fn waiting(begin: &Begin, url: &str, numbers: Range<u32>) -> FromWorker {
    let call = Call::Fetch(FetchCall {
        method: "GET".into(),
        url: url.into(),
        literal_hosts: vec!["169.254.169.254".into()],
        headers: Vec::new(),
        body: None,
        timeout_ms: 60_000,
        connect_timeout_ms: 60_000,
        redirects_max: 0,
        body_bytes_max: 1 << 20,
        tls_verify: false,
        ca_file: None,
        encoding: None,
        body_as: BodyAs::Auto,
    });
    let calls = numbers.map(|number| (number, call.clone())).collect();
    FromWorker::Waiting { block: begin.block, attempt: begin.attempt, calls }
}

fn frame(message: &FromWorker) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(message, &mut bytes).expect("it is smaller than a frame may be");
    bytes
}

fn say(message: &FromWorker) {
    say_bytes(&frame(message));
}

fn say_half(begin: &Begin) {
    let whole = frame(&finished(begin.block, begin.attempt));
    say_bytes(&whole[..whole.len() / 2]);
}

fn say_bytes(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Some(rest) = sys::write(SOCKET, bytes).and_then(|count| bytes.get(count..)) else { return };
        bytes = rest;
    }
}

fn compute() {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

fn grow() {
    loop {
        std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

fn wait_for_ever() {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Calls itself until the stack is used up; every call keeps some of it.
#[expect(unconditional_recursion, reason = "that is the act")]
fn overflow(depth: u64) -> u64 {
    let kept = std::hint::black_box([depth; 128]);
    overflow(depth + 1) + kept[0]
}
