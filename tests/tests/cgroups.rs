//! Control groups around workers: one is born in its own, is frozen, counted and killed with it, and nothing is left behind.
//! What needs a host on which the test may make groups of version 2 says so where there is none.

use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use runlet_tests::cgroup::{self, Group};
use runlet_tests::process::{Exit, Process};
use runlet_tests::runlet::{Installation, code};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};

/// A user that owns nothing but what it is given here.
const NOBODY: u32 = 65_534;

fn program(name: &str, jq: &str) -> Value {
    json!({ "name": name, "blocks": [{ "id": "compute", "type": "transform", "parameter": { "jq": jq } }] })
}

/// A run that computes for ever, and its worker's process.
fn looping(installation: &Installation) -> (String, i32) {
    installation.deploy("loop", &program("loop", "last(range(infinite))"));
    let run = installation.run_detached("loop");
    let pid = wait_until("the run to have a worker", || installation.summary(&run)?["pid"].as_i64());
    (run, i32::try_from(pid).expect("a process id"))
}

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

/// The group of this test, or the reason why the test is skipped.
fn group(installation: &Installation) -> Option<&Group> {
    installation.cgroup().inspect_err(|why| eprintln!("SKIPPED: needs control groups of version 2: {why}")).ok()
}

/// The one directory with the groups of workers in a group.
fn workers_in(group: &Group) -> PathBuf {
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("workers-"));
    let mut found = group.children().into_iter().filter(is_ours);
    let workers = found.next().expect("the supervisor makes it at its start");
    assert_eq!(found.next(), None);
    workers
}

#[test]
fn a_worker_is_in_a_group_of_its_own_that_is_counted_and_used_again() {
    let installation = Installation::new();
    let Some(group) = group(&installation) else { return };
    let supervisor = installation.supervisor();
    let workers = workers_in(group);
    let (first, first_pid) = looping(&installation);
    let (second, second_pid) = looping(&installation);
    let groups = [first_pid, second_pid].map(|pid| cgroup::of_process(pid).expect("it lives"));
    assert_ne!(groups[0], groups[1]);
    for (at, (run, pid)) in [(&first, first_pid), (&second, second_pid)].into_iter().enumerate() {
        assert_eq!(groups[at].parent(), Some(&*workers));
        assert_eq!(cgroup::read(&groups[at], "cgroup.procs"), format!("{pid}\n"));
        let worker = &inspect(&installation, run)["worker"];
        assert_eq!(worker["cgroup"], groups[at].to_str().expect("text"), "{worker}");
        wait_until("its CPU time to be counted", || {
            let counted = cgroup::read(&groups[at], "cpu.stat");
            (!counted.contains("usage_usec 0\n") && installation.summary(run)?["cpuMs"].as_f64()? > 0.0).then_some(())
        });
    }
    installation.ok(&["stop", &first]);
    wait_until("the group to be empty", || cgroup::read(&groups[0], "cgroup.procs").is_empty().then_some(()));
    let ended = wait_until("the worker's account", || {
        let ended = inspect(&installation, &first)["worker"]["ended"].take();
        (!ended.is_null()).then_some(ended)
    });
    assert_eq!((&ended["cgroup"]["oomKills"], &ended["cgroup"]["processesRefused"]), (&json!(0), &json!(0)), "{ended}");
    // There are never more groups than there were workers at once.
    installation.deploy("short", &program("short", "1 + 1"));
    for _ in 0..24 {
        assert_eq!(installation.ok(&["run", "short"]).trim(), "2");
    }
    assert!(cgroup::below(&workers).len() < 16, "{:?}", cgroup::below(&workers));
    supervisor.signal(Signal::SIGTERM);
    let _ = installation.cli(&["stop", &second]);
    assert_eq!(supervisor.wait_exit(), Exit::Code(0));
    assert_eq!(group.children(), Vec::<PathBuf>::new());
}

#[test]
fn a_paused_run_is_held_and_can_go_on_or_be_stopped() {
    let installation = Installation::new();
    let Some(_) = group(&installation) else { return };
    let _supervisor = installation.supervisor();
    let (run, pid) = looping(&installation);
    let group = cgroup::of_process(pid).expect("it lives");
    for _ in 0..3 {
        installation.ok(&["pause", &run]);
        wait_until("the worker to be held", || cgroup::is_frozen(&group).then_some(()));
        installation.ok(&["resume", &run]);
        wait_until("the worker to go on", || (!cgroup::is_frozen(&group)).then_some(()));
    }
    installation.ok(&["pause", &run]);
    wait_until("the worker to be held", || cgroup::is_frozen(&group).then_some(()));
    installation.ok(&["stop", &run]);
    wait_until("a held worker to be gone", || (!Path::new(&format!("/proc/{pid}/stat")).exists()).then_some(()));
    // Whoever is in the group next is not born frozen.
    installation.deploy("short", &program("short", "1 + 1"));
    for _ in 0..4 {
        assert_eq!(installation.ok(&["run", "short"]).trim(), "2");
    }
    assert!(!cgroup::is_frozen(&group));
}

#[test]
fn what_a_killed_supervisor_left_in_groups_is_ended_by_the_next_one() {
    let installation = Installation::new();
    let Some(group) = group(&installation) else { return };
    let supervisor = installation.supervisor();
    let (_, pid) = looping(&installation);
    let own = cgroup::of_process(pid).expect("it lives");
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    // One that does not die with the supervisor, and is frozen besides.
    let mut left = Command::new("sleep").arg("1000").spawn().expect("it starts");
    cgroup::write(&own, "cgroup.procs", &left.id().to_string()).expect("the group is still there");
    cgroup::write(&own, "cgroup.freeze", "1").expect("the group is still there");
    let next = installation.supervisor();
    next.wait_line("what was left", |line| line.contains("left control groups behind").then_some(()));
    assert_eq!(left.wait().expect("it is ours").signal(), Some(Signal::SIGKILL as i32));
    // Two workers wait, in groups that are new.
    let groups = cgroup::below(&workers_in(group));
    assert!(groups.len() <= 2 && !groups.iter().any(|group| cgroup::is_frozen(group)), "{groups:?}");
    installation.deploy("short", &program("short", "1 + 1"));
    assert_eq!(installation.ok(&["run", "short"]).trim(), "2");
}

#[test]
fn without_groups_everything_goes_on_and_the_reason_is_told() {
    let installation = Installation::new();
    let supervisor = installation.supervisor_with(&["--cgroup", "off", "--require-isolation", "0"]);
    supervisor.wait_line("the reason", |line| line.contains("switched off").then_some(()));
    let (run, _) = looping(&installation);
    let worker = &inspect(&installation, &run)["worker"];
    assert_eq!((&worker["cgroup"], &worker["isolation"]["cgroupLimits"]), (&Value::Null, &json!(false)), "{worker}");
    installation.ok(&["pause", &run]);
    installation.ok(&["resume", &run]);
    installation.ok(&["stop", &run]);
    for (choice, why) in [("off", "switched off"), ("/proc", "no directory of a cgroup2")] {
        let finished = installation.cli(&["doctor", "-o", "json", "--cgroup", choice]);
        let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        assert_eq!(report["cgroup"]["path"], Value::Null, "{report}");
        assert!(report["cgroup"]["missing"].as_str().is_some_and(|missing| missing.contains(why)), "{report}");
    }
}

#[test]
fn a_group_that_is_named_and_cannot_be_used_is_a_mistake() {
    let refused = Installation::new().cli(&["supervisor", "--cgroup", "/proc"]);
    refused.expect_code(code::USAGE, "a directory that is no control group");
    assert!(refused.stderr.contains("no directory of a cgroup2") && refused.stderr.contains("--cgroup"), "{refused:?}");
}

#[test]
fn the_doctor_names_the_group_and_what_it_lacks_and_leaves_nothing() {
    let installation = Installation::new();
    let Some(group) = group(&installation) else { return };
    let report: Value = serde_json::from_str(&installation.cli(&["doctor", "-o", "json"]).stdout).expect("JSON");
    let found = &report["cgroup"];
    assert_eq!((&found["path"], &found["by"]), (&json!(group.directory()), &json!("named")), "{report}");
    let all = found["controllers"] == json!(["memory", "pids"]);
    assert_eq!((found["missing"].is_null(), &report["layers"]["cgroupLimits"]), (all, &json!(all)), "{report}");
    assert_eq!(group.children(), Vec::<PathBuf>::new());
}

/// Starts a supervisor in a group that is delegated as systemd would, or in one below it, as this user; waits until it is ready.
fn start_delegated(installation: &Installation, group: &Group, below: Option<&str>, user: Option<u32>) -> Process {
    let directory = group.directory();
    cgroup::delegate(directory).expect("extended attributes of a group (Linux 5.7)");
    let whole = installation.command(["supervisor", "--require-isolation", "1", "--cgroup", "auto"]);
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(directory.join(below.unwrap_or_default()));
    if let Some(user) = user {
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(directory.join(file), Some(user), Some(user)).expect("root may give away");
        }
        command.args(["setpriv", &format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    }
    command.arg(whole.get_program()).args(whole.get_args()).current_dir(installation.folder()).env_clear();
    command.envs(whole.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let supervisor = Process::start("runlet supervisor in a delegated group", &mut command, b"");
    supervisor.wait_line("ready", |line| line.starts_with("ready ").then_some(()));
    supervisor
}

#[test]
fn in_a_delegated_group_the_supervisor_moves_aside() {
    let mut users = vec![None];
    if nix::unistd::geteuid().is_root() && Path::new("/usr/bin/setpriv").exists() {
        users.push(Some(NOBODY));
    } else {
        eprintln!("SKIPPED in part: needs root and setpriv to become an ordinary user");
    }
    for user in users {
        let mut installation = Installation::new();
        if let Some(user) = user {
            installation = installation.of_user(user);
        }
        let Some(group) = group(&installation) else { return };
        let supervisor = start_delegated(&installation, group, None, user);
        let own = i32::try_from(supervisor.id()).expect("a process id");
        assert_eq!(cgroup::of_process(own), Some(group.directory().join("supervisor")));
        let (run, pid) = looping(&installation);
        let worker = cgroup::of_process(pid).expect("it lives");
        assert_eq!(worker.parent(), Some(&*workers_in(group)), "as user {user:?}");
        installation.ok(&["stop", &run]);
        supervisor.signal(Signal::SIGKILL);
        let _ = supervisor.wait_exit();
        // The next one is started where its launcher was moved to.
        let next = start_delegated(&installation, group, Some("supervisor"), user);
        next.wait_line("what was left", |line| line.contains("left control groups behind").then_some(()));
        let (_, pid) = looping(&installation);
        assert_eq!(cgroup::of_process(pid).expect("it lives").parent(), Some(&*workers_in(group)));
        next.signal(Signal::SIGINT);
        next.signal(Signal::SIGTERM);
        assert_eq!(next.wait_exit(), Exit::Code(0));
        assert_eq!(group.children(), [group.directory().join("supervisor")]);
    }
}

#[test]
fn a_user_who_may_not_bring_workers_into_a_group_has_them_without() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root to give a group away");
    }
    let installation = Installation::new().of_user(NOBODY);
    let Some(group) = group(&installation) else { return };
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        chown(group.directory().join(file), Some(NOBODY), Some(NOBODY)).expect("root may give away");
    }
    let given = group.directory().to_str().expect("text");
    let supervisor = installation.supervisor_with(&["--require-isolation", "1", "--cgroup", given]);
    let (run, _) = looping(&installation);
    supervisor.wait_line("the reason", |line| line.contains("is not born in its own").then_some(()));
    assert_eq!(inspect(&installation, &run)["worker"]["cgroup"], Value::Null);
    installation.ok(&["stop", &run]);
    installation.deploy("short", &program("short", "1 + 1"));
    assert_eq!(installation.ok(&["run", "short"]).trim(), "2");
}
