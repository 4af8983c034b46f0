//! How far workers are confined: what `runlet doctor` finds is what a supervisor's workers have, as root and as nobody.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chown, geteuid};
use runlet_tests::host::hostile;
use runlet_tests::process::Process;
use runlet_tests::runlet::{Installation, binary, code};
use runlet_tests::system::tool;
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// A user that owns nothing but what it is given here.
const NOBODY: u32 = 65_534;

fn program(name: &str, jq: &str) -> Value {
    json!({ "name": name, "blocks": [{ "id": "compute", "type": "transform", "parameter": { "jq": jq } }] })
}

/// What `runlet doctor` found, after checking that it is sound.
fn examined(text: &str) -> Value {
    let report: Value = serde_json::from_str(text).expect("JSON");
    let acts = report["acts"].as_array().expect("a list");
    // Nothing of what the filter of system calls forbids happens on a host that has one.
    assert_eq!(report["layers"]["seccomp"], true, "{report}");
    let filtered: Vec<_> = acts.iter().filter(|act| act["filtered"] == true).collect();
    assert_eq!(filtered.len(), 12, "{report}");
    for act in filtered {
        assert_eq!(act["prevented"], true, "{report}");
    }
    let by = |name: &str| acts.iter().find(|act| act["act"] == name).map(|act| act["by"].clone());
    assert_eq!(by("trace a process"), Some(json!("SIGSYS")), "{report}");
    assert_eq!(by("exceed its memory"), Some(json!("no memory")), "{report}");
    let level = report["level"].as_u64().expect("a level");
    assert!(level >= 1, "{report}");
    assert_eq!(report["advice"].as_array().expect("a list").is_empty(), level == 4, "{report}");
    report
}

#[test]
fn the_doctor_finds_what_the_workers_of_a_supervisor_have() {
    let installation = Installation::new();
    let finished = installation.cli(&["doctor", "-o", "json"]);
    let report = examined(&finished.stdout);
    let enough = report["level"].as_u64() >= report["levelRequired"].as_u64();
    assert!(report["missingForPrograms"].is_array(), "{report}");
    finished.expect_code(if enough { code::OK } else { code::FAILED }, "doctor");
    assert!(installation.cli(&["doctor"]).stdout.contains("prevented"));

    // Whatever the level is, a supervisor that requires none executes the run.
    let supervisor = installation.start(&["supervisor", "--require-isolation", "0"]);
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    installation.deploy("one", &program("one", "1"));
    let run = installation.run_detached("one");
    let _ = installation.wait_state(&run, "COMPLETED");
    let isolation = installation.json(&["inspect", &run])["worker"]["isolation"].clone();
    assert_eq!(isolation["landlockAbi"], report["layers"]["landlockAbi"], "{isolation} {report}");
    let namespaces = report["layers"]["namespaces"].as_array().expect("a list");
    for name in ["user", "pid", "mount", "ipc", "uts", "net"] {
        assert_eq!(isolation["namespaces"][name], namespaces.contains(&json!(name)), "{isolation} {report}");
    }
    assert_eq!(isolation["cgroupLimits"], report["layers"]["cgroupLimits"], "{isolation} {report}");
}

#[test]
fn a_run_is_refused_where_more_is_required_than_the_host_gives() {
    let installation = Installation::new();
    let report = examined(&installation.cli(&["doctor", "-o", "json"]).stdout);
    let level = report["level"].as_u64().expect("a level");
    let Some(more) = (level < 4).then_some(level + 1) else {
        return eprintln!("SKIPPED: this host gives everything there is to require");
    };
    let more = more.to_string();
    installation.cli(&["doctor", "--require-isolation", &more]).expect_code(code::FAILED, "doctor");
    let supervisor = installation.start(&["supervisor", "--require-isolation", &more]);
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    supervisor.wait_line("what is to come", |line| line.contains("no heavy run will be executed").then_some(()));
    installation.deploy("one", &program("one", "1"));
    for _ in 0..3 {
        let refused = installation.cli(&["run", "one"]);
        refused.expect_code(code::FAILED, "a run below the required level");
        assert!(refused.stderr.contains("runlet doctor"), "{refused:?}");
    }
    let run = installation.run_detached("one");
    let _ = installation.wait_state(&run, "FAILED");
    let told = installation.json(&["inspect", &run]);
    assert_eq!(told["error"]["code"], "isolation", "{told}");
}

#[test]
fn a_worker_is_apart_in_its_namespaces_and_its_root_is_empty() {
    let installation = Installation::new();
    let report = examined(&installation.cli(&["doctor", "-o", "json"]).stdout);
    let namespaces = report["layers"]["namespaces"].as_array().expect("a list").clone();
    let has = |name: &str| namespaces.contains(&json!(name));
    if !(geteuid().is_root() && has("pid") && has("mount")) {
        return eprintln!("SKIPPED: needs root, who alone may look at a worker, and a host that allows namespaces");
    }
    let _supervisor = installation.supervisor();
    installation.deploy("loop", &program("loop", "last(range(infinite))"));
    let run = installation.run_detached("loop");
    let pid = wait_until("the run to have a worker", || installation.summary(&run)?["pid"].as_i64());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("proc_pid_status(5)");
    assert_eq!(line.split_whitespace().count(), 2, "it is in a namespace below the supervisor's: {line}");
    let root = fs::read_dir(format!("/proc/{pid}/root/")).expect("root may look");
    assert_eq!(root.count(), 0);
    let own = fs::read_link("/proc/self/ns/ipc").expect("namespaces(7)");
    assert_ne!(fs::read_link(format!("/proc/{pid}/ns/ipc")).expect("it lives"), own);
    // What ends a process ends it here too, and is told by name.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGABRT)
        .expect("it lives");
    let failed = installation.wait_state(&run, "FAILED");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("SIGABRT")), "{failed}");
}

/// `runlet` as nobody, in an installation that was given to nobody.
struct AsNobody {
    installation: Installation,
    binary: PathBuf,
}

impl AsNobody {
    fn new() -> Self {
        let installation = Installation::new();
        // Where the binary was built nobody may not be able to look.
        let binary = installation.folder().join("runlet");
        fs::copy(runlet_tests::runlet::binary(), &binary).expect("a copy in the test's own folder");
        for path in [installation.folder(), &binary] {
            chown(path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).expect("root may give away");
        }
        Self { installation, binary }
    }

    fn start(&self, arguments: &[&str]) -> Process {
        let as_root = self.installation.command(arguments);
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        command.arg(&self.binary).args(arguments).current_dir(self.installation.folder()).env_clear();
        command.envs(as_root.get_envs().filter_map(|(key, value)| Some((key, value?))));
        // The control group is root's.
        command.env("RUNLET_CGROUP", "off");
        Process::start(&format!("runlet {} as nobody", arguments.join(" ")), &mut command, b"")
    }
}

#[test]
fn an_ordinary_user_has_confined_workers_too() {
    if !geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        return eprintln!(
            "SKIPPED: needs root and setpriv to become an ordinary user; all other tests run as one then"
        );
    }
    let nobody = AsNobody::new();
    let report = examined(&nobody.start(&["doctor", "-o", "json"]).finish().stdout);
    assert_eq!((&report["user"], &report["layers"]["otherUser"]), (&json!(NOBODY), &json!(false)), "{report}");
    let supervisor = nobody.start(&["supervisor", "--require-isolation", "1"]);
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    let installation = &nobody.installation;
    installation.deploy("one", &program("one", "40 + 2"));
    assert_eq!(installation.ok(&["run", "one"]).trim(), "42");
    installation.deploy(
        "burns",
        &json!({ "limits": { "cpu": "1s" }, "blocks": [{ "type": "transform", "parameter": { "jq": "last(range(infinite))" } }] }),
    );
    let run = installation.run_detached("burns");
    let _ = installation.wait_state(&run, "FAILED");
    let told = installation.json(&["inspect", &run]);
    assert_eq!(told["error"]["code"], "cpu-limit", "{told}");
}

#[test]
fn where_namespaces_are_refused_a_worker_has_the_rest_and_the_doctor_says_so() {
    if !geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        return eprintln!("SKIPPED: needs root and setpriv to give up the privilege for namespaces");
    }
    let installation = Installation::new();
    // As root is in most containers.
    let contained = |arguments: &[&str]| {
        let whole = installation.command(arguments);
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]).arg(whole.get_program());
        command.args(arguments).current_dir(installation.folder()).env_clear();
        command.envs(whole.get_envs().filter_map(|(key, value)| Some((key, value?))));
        Process::start(&format!("runlet {} in a container", arguments.join(" ")), &mut command, b"")
    };
    let finished = contained(&["doctor", "-o", "json", "--require-isolation", "3"]).finish();
    finished.expect_code(code::FAILED, "doctor");
    let report = examined(&finished.stdout);
    assert_eq!(
        (&report["layers"]["namespaces"], &report["layers"]["otherUser"]),
        (&json!([]), &json!(true)),
        "{report}"
    );
    let level = if report["layers"]["landlockAbi"].as_u64() > Some(0) { 2 } else { 1 };
    assert_eq!(report["level"], level, "{report}");
    assert!(level == 1 || finished.stdout.contains("CAP_SYS_ADMIN"), "{report}");
    let missing = report["missingForPrograms"].as_array().expect("a list");
    assert!(missing.iter().any(|it| it.as_str().is_some_and(|it| it.contains("namespace of processes"))), "{report}");

    let allowed = format!("shell={}", tool("sh"));
    let supervisor = contained(&["supervisor", "--require-isolation", "1", "--allow-exec", &allowed]);
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    installation.deploy("one", &program("one", "40 + 2"));
    assert_eq!(installation.ok(&["run", "one"]).trim(), "42");
    // A program is executed only where nothing of it can be left behind.
    installation.deploy("runs", &json!([{ "type": "exec", "parameter": { "argv": ["shell", "-c", "echo 1"] } }]));
    let refused = installation.cli(&["run", "runs"]);
    refused.expect_code(code::FAILED, "a program without a namespace of processes");
    assert!(refused.stderr.contains("namespace of processes"), "{refused:?}");
}

#[test]
fn where_a_zygote_can_fork_no_siblings_each_worker_is_one_itself() {
    let installation = Installation::new();
    let lone = |arguments: &[&str]| {
        let name = format!("runlet {} on a lone host", arguments.join(" "));
        Process::start(&name, &mut hostile(&installation, "lone", arguments), b"")
    };
    let report = examined(&lone(&["doctor", "-o", "json", "--require-isolation", "0"]).finish().stdout);
    assert!(!report["layers"]["namespaces"].as_array().expect("a list").contains(&json!("pid")), "{report}");
    assert!(report["level"].as_u64().is_some_and(|level| level <= 2), "{report}");

    let supervisor = lone(&["supervisor", "--require-isolation", "0"]);
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    installation.deploy("one", &program("one", "40 + 2"));
    for _ in 0..5 {
        assert_eq!(installation.ok(&["run", "one"]).trim(), "42");
    }
    installation.deploy("loop", &program("loop", "last(range(infinite))"));
    let runs: Vec<_> = (0..3).map(|_| installation.run_detached("loop")).collect();
    let pid = |run: &String| wait_until("the run to have a worker", || installation.summary(run)?["pid"].as_i64());
    let pids: Vec<_> = runs.iter().map(pid).collect();
    installation.ok(&["stop", &runs[0]]);
    let _ = installation.wait_state(&runs[0], "STOPPED");
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    for pid in pids {
        wait_until("the worker to be gone", || (!Path::new(&format!("/proc/{pid}/stat")).exists()).then_some(()));
    }
}

#[test]
fn what_an_earlier_supervisor_left_is_found_and_killed() {
    let installation = Installation::new();
    let supervisor = installation.supervisor();
    installation.deploy("one", &program("one", "1"));
    assert_eq!(installation.ok(&["run", "one"]).trim(), "1");
    let words = |pid: u32| -> Vec<String> {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split('\0').map(str::to_owned).collect()
    };
    let zygote = children(supervisor.id()).into_iter().map(words).find(|words| words.iter().any(|it| it == "zygote"));
    let zygote = zygote.expect("the supervisor has a zygote");
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    // One that does not die with its supervisor: its parent is this test, and its socket stays open.
    let (_open, socket) = UnixStream::pair().expect("a socket pair");
    let mut left = Command::new(binary())
        .args(zygote.iter().skip(1).filter(|word| !word.is_empty()))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .spawn()
        .expect("it starts");
    let next = installation.supervisor();
    next.wait_line("what was left", |line| line.contains("left processes behind").then_some(()));
    assert_eq!(left.wait().expect("it is ours").signal(), Some(Signal::SIGKILL as i32));
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let entries = fs::read_dir("/proc").expect("there is /proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| of(*pid) == Some(parent)).collect()
}
