//! The configuration file: what goes before what, what is told of mistakes, and the services that are installed with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use runlet_tests::process::{Finished, Process};
use runlet_tests::runlet::{Installation, binary, code};
use runlet_tests::tidy::repository::root;
use serde_json::{Value, json};

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// What is in force for an option of the supervisor, and where it came from.
fn in_force(installation: &Installation, environment: &[(&str, &str)], line: &[&str], option: &str) -> Value {
    let file = installation.folder().join("runlet.toml");
    let arguments = [&["-o", "json", "--config", text(&file), "config", "show", "--origin"], line].concat();
    let mut command = installation.command(arguments);
    command.envs(environment.iter().copied());
    let finished = Process::start("runlet config show", &mut command, b"").finish();
    finished.expect_code(code::OK, "config show");
    let shown: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    shown["supervisor"][option].clone()
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let installation = Installation::new();
    let file = installation.write("runlet.toml", "# the services of this host\n[supervisor]\ndrain = '2s'\n");
    let flags = ["--", "supervisor", "--drain", "4s"];
    let environment = [("RUNLET_DRAIN", "3s")];
    let drain = |environment: &[(&str, &str)], line: &[&str]| in_force(&installation, environment, line, "drain");
    assert_eq!(drain(&environment, &flags), json!({ "value": "4s", "origin": "flag" }));
    assert_eq!(drain(&environment, &[]), json!({ "value": "3s", "origin": "environment", "variable": "RUNLET_DRAIN" }));
    let of_file = json!({ "value": "2s", "origin": "file", "file": file, "line": 3 });
    assert_eq!(drain(&[], &[]), of_file);
    assert_eq!(drain(&[("RUNLET_DRAIN", "")], &[]), of_file, "a variable that is set to nothing is not set");
    let _ = installation.write("runlet.toml", "");
    assert_eq!(drain(&[], &[]), json!({ "value": "30s", "origin": "default" }));
}

#[test]
fn what_is_shown_is_a_file_with_the_same_effect() {
    let installation = Installation::new();
    let _ = installation.write(
        "runlet.toml",
        "socket = 'run/c.sock'\n[supervisor]\nallow-exec = ['/bin/cat', 'x=/bin/sh']\nthreads = 3\n[gateway]\nlisten = '[::1]:0'\n",
    );
    // The test's own variables would go before the file.
    let show = |file: &str, kind: &[&str]| {
        let mut command = installation.command([&["--config", file, "config", "show"], kind].concat());
        command.env_remove("RUNLET_SOCKET").env_remove("RUNLET_STATE").env_remove("RUNLET_CGROUP");
        let finished = Process::start("runlet config show", &mut command, b"").finish();
        finished.expect_code(code::OK, "config show");
        finished.stdout
    };
    let shown = show("runlet.toml", &[]);
    let socket = installation.folder().join("run/c.sock");
    assert!(shown.contains(&format!("socket = \"{}\"\n", socket.display())), "{shown}");
    assert!(shown.contains("allow-exec = [\"/bin/cat\", \"x=/bin/sh\"]\n"), "{shown}");
    let _ = installation.write("shown.toml", &shown);
    assert_eq!(show("shown.toml", &[]), shown);
    let with_origin = show("runlet.toml", &["--origin"]);
    assert!(
        with_origin.lines().any(|line| line.starts_with("threads = 3 ") && line.ends_with("# runlet.toml:4")),
        "{with_origin}"
    );
}

#[test]
fn a_launcher_tells_both_daemons_or_leaves_it_to_their_sections() {
    let installation = Installation::new();
    let _ = installation.write("runlet.toml", "[supervisor]\nlog-level = 'error'\n[gateway]\nlog-level = 'debug'\n");
    let levels = |line: &[&str]| {
        let shown = installation.json(&[&["--config", "runlet.toml", "config", "show", "--"], line].concat());
        (shown["supervisor"]["log-level"].clone(), shown["gateway"]["log-level"].clone())
    };
    assert_eq!(levels(&["up"]), (json!("error"), json!("debug")));
    assert_eq!(levels(&["up", "--log-level", "warn"]), (json!("warn"), json!("warn")));
    assert_eq!(levels(&["gateway", "--log-level", "warn"]), (json!("error"), json!("warn")));
    let up = installation.start(&["--config", "runlet.toml", "up", "--listen", "127.0.0.1:0"]);
    up.wait_line("a line of the gateway at its own level", |line| line.contains("DEBUG").then_some(()));
    up.wait_line("its last line", |line| line.contains("Ctrl-C").then_some(()));
    assert!(!up.output().contains("the supervisor is ready"), "the supervisor tells errors only: {}", up.output());
}

#[test]
fn every_mistake_is_told_with_its_place_and_the_way_out() {
    let installation = Installation::new();
    let text = "[supervisor]\ndrian = '5s'\ndrain = 30\n[gateway]\nlisten = \nstate = '/x'\n";
    let _ = installation.write("runlet.toml", text);
    for arguments in [&["supervisor"][..], &["gateway"], &["status"], &["config", "show"]] {
        let finished = installation.cli(&[&["--config", "runlet.toml"], arguments].concat());
        finished.expect_code(code::USAGE, "a broken file");
        let places: Vec<_> =
            finished.stderr.lines().filter_map(|line| line.strip_prefix("error: runlet.toml:")).collect();
        let starts = ["2:1: ", "3:9: ", "5:10: ", "6:1: "];
        assert_eq!(places.len(), starts.len(), "{finished:?}");
        assert!(places.iter().zip(starts).all(|(place, start)| place.starts_with(start)), "{finished:?}");
        assert!(
            finished.stderr.contains("did you mean `drain`?") && finished.stderr.contains("belongs in [supervisor]")
        );
    }
    // What needs no configuration does not read one.
    installation.ok(&["--config", "runlet.toml", "schema"]);
    let missing = installation.cli(&["--config", "nowhere.toml", "status"]);
    missing.expect_code(code::USAGE, "no such file");
    assert!(missing.stderr.contains("nowhere.toml") && missing.stderr.contains("config example"), "{missing:?}");
}

#[test]
fn the_file_says_where_commands_find_the_supervisor() {
    let installation = Installation::new();
    let state = installation.folder().join("elsewhere");
    let file = installation.write("runlet.toml", &format!("[supervisor]\nstate = '{}'\n", state.display()));
    let command = |arguments: &[&str]| {
        let mut command = installation.command([&["--config", text(&file)], arguments].concat());
        command.env_remove("RUNLET_SOCKET").env_remove("RUNLET_STATE");
        Process::start("runlet", &mut command, b"")
    };
    let supervisor = command(&["supervisor"]);
    let ready = format!("ready {}/control.sock", state.display());
    supervisor.wait_line(&ready, |line| (line == ready).then_some(()));
    command(&["status"]).finish().expect_code(code::OK, "status");
}

/// A tree with everything that is installed, as for a package.
fn installed(installation: &Installation) -> (PathBuf, Finished) {
    let tree = installation.folder().join("tree");
    (tree.clone(), script(&["--destdir", text(&tree), "--binary", text(&binary())]))
}

fn script(arguments: &[&str]) -> Finished {
    let mut command = Command::new("sh");
    command.arg(root().join("scripts/install-systemd")).args(arguments);
    Process::start("install-systemd", &mut command, b"").finish()
}

const UNITS: [&str; 4] =
    ["runlet-supervisor.socket", "runlet-supervisor.service", "runlet-gateway.socket", "runlet-gateway.service"];

#[test]
fn what_is_installed_can_be_started_and_taken_away() {
    let installation = Installation::new();
    let (tree, finished) = installed(&installation);
    finished.expect_code(code::OK, "install");
    for unit in UNITS {
        assert!(tree.join("etc/systemd/system").join(unit).is_file(), "{unit}");
    }
    let file = tree.join("etc/runlet/runlet.toml");
    let shown = installation.json(&["--config", text(&file), "config", "show"]);
    assert_eq!(shown["supervisor"]["drain"], "30s");
    assert!(fs::read_to_string(&file).expect("the file").contains("\nsocket = \"/run/runlet/control.sock\"\n"));
    // What the units say is what the binary takes.
    for (unit, subcommand) in [("runlet-supervisor.service", "supervisor"), ("runlet-gateway.service", "gateway")] {
        let text_of_unit = fs::read_to_string(tree.join("etc/systemd/system").join(unit)).expect("the unit");
        let line = text_of_unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/runlet "))
            .expect("a command");
        let line = line.replace("/etc/runlet/runlet.toml", text(&file));
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[0], subcommand);
        installation.ok(&[&["--config", text(&file), "config", "show", "--"], &words[..]].concat());
    }
    // A second time the configuration stays; taken away, the configuration stays unless it is asked for.
    fs::write(&file, "[supervisor]\ndrain = '7s'\n").expect("the test's own file");
    let (_, again) = installed(&installation);
    assert!(again.stdout.contains("kept "), "{again:?}");
    assert!(fs::read_to_string(&file).expect("the file").contains("7s"));
    script(&["--destdir", text(&tree), "--uninstall"]).expect_code(code::OK, "uninstall");
    assert!(!tree.join("usr/local/bin/runlet").exists() && !tree.join("etc/systemd/system").join(UNITS[0]).exists());
    assert!(file.is_file());
    script(&["--destdir", text(&tree), "--uninstall", "--purge"]).expect_code(code::OK, "purge");
    assert!(!file.exists());
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let installation = Installation::new();
    let tree = installation.folder().join("tree");
    let dry = script(&["--dry-run", "--destdir", text(&tree), "--binary", text(&binary())]);
    dry.expect_code(code::OK, "a dry run");
    for unit in UNITS {
        assert!(dry.stdout.contains(&format!("would write: {}/etc/systemd/system/{unit}", tree.display())), "{dry:?}");
    }
    assert!(!tree.exists());
    // Of the system itself it shows the services, too, whoever asks.
    let dry = script(&["--dry-run", "--binary", text(&binary())]);
    dry.expect_code(code::OK, "a dry run");
    assert!(dry.stdout.contains("would run: systemctl enable --now runlet-supervisor.socket"), "{dry:?}");
    script(&["--prefix", "relative"]).expect_code(code::FAILED, "no absolute path");
    let unknown = script(&["--frobnicate"]);
    assert!(unknown.stderr.contains("--frobnicate") && unknown.stderr.contains("--help"), "{unknown:?}");
}

#[test]
fn systemd_understands_the_units_and_finds_them_safe() {
    const TOOL: &str = "systemd-analyze";
    if Command::new(TOOL).arg("--version").output().is_err() {
        eprintln!("skipped: there is no {TOOL} here");
        return;
    }
    let installation = Installation::new();
    let (tree, finished) = installed(&installation);
    finished.expect_code(code::OK, "install");
    // What the units stand on: systemd's own, and a program that one of them names.
    let copy =
        Command::new("cp").args(["-r", "/usr/lib/systemd/system"]).arg(folder(&tree.join("usr/lib/systemd"))).status();
    assert!(copy.is_ok_and(|status| status.success()));
    fs::copy(binary(), folder(&tree.join("bin")).join("kill")).expect("a program");
    let run = |arguments: &[&str]| {
        Process::start(TOOL, Command::new(TOOL).args(arguments).env("SYSTEMD_COLORS", "0"), b"").finish()
    };
    for unit in UNITS {
        let path = tree.join("etc/systemd/system").join(unit);
        let verified = run(&["verify", "--man=no", &format!("--root={}", tree.display()), text(&path)]);
        verified.expect_code(code::OK, unit);
        assert!(!verified.stderr.contains("runlet"), "{unit}: {}", verified.stderr);
        if unit.ends_with(".service") {
            let safe = run(&["security", "--offline=true", "--threshold=30", "--no-pager", text(&path)]);
            safe.expect_code(code::OK, unit);
        }
    }
}

fn folder(path: &Path) -> &Path {
    fs::create_dir_all(path).expect("a folder in the test's own");
    path
}
