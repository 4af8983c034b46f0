//! Programs of the operator's in workers: what goes in and comes out, what they cannot do, and that nothing is left of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use runlet_tests::cgroup::is_held;
use runlet_tests::process::Process;
use runlet_tests::program::Place;
use runlet_tests::runlet::{Installation, binary, code};
use runlet_tests::system::{processes_called, tool, wait_none_called};
use runlet_tests::wait::wait_until;
use serde_json::json;

/// A user that owns nothing (`nobody` of most systems).
const NOBODY: u32 = 65_534;

/// Runs a scenario as the user of the test, and if that is root as another as well.
fn as_root_and_as_nobody(scenario: fn(&Place)) {
    let installations =
        [Some(Installation::new()), nix::unistd::geteuid().is_root().then(|| Installation::new().of_user(NOBODY))];
    for place in installations.into_iter().flatten().filter_map(Place::new) {
        scenario(&place);
        wait_none_called(&place.name);
    }
}

#[test]
fn json_goes_in_and_out_and_templates_are_arguments() {
    as_root_and_as_nobody(|place| {
        let input = json!({ "size": "7 8", "list": [1] });
        let echo = place.run("echo", &json!({}), &json!(["echo", "{{ input.size }}", "$(id); x"]), &json!({}), &input);
        assert_eq!(echo["output"], json!({ "got": input, "args": "3|7 8|$(id); x" }), "{echo}");
        assert_eq!(echo["lane"], "heavy", "{echo}");
        assert!(echo["blocks"][0]["laneReason"].as_str().is_some_and(|why| why.contains("operator")), "{echo}");
        assert_eq!(echo["worker"]["isolation"]["processLimit"], true, "{echo}");

        let around = place.run("around", &json!({}), &json!(["surroundings"]), &json!({}), &json!(null));
        assert_eq!(around["output"], json!({ "path": "/usr/bin:/bin", "home": "/", "lang": "C.UTF-8", "here": "/" }));

        let text = json!({ "parameter": { "stdin": "text", "output": "text" } });
        let lines = place.run("lines", &text, &json!(["lines"]), &json!({}), &json!("ä\nb"));
        assert_eq!(lines["output"], "ä\nb", "{lines}");
        let none = json!({ "parameter": { "stdin": "none", "output": "text" } });
        assert_eq!(place.run("none", &none, &json!(["lines"]), &json!({}), &json!("x"))["output"], "");

        let each = json!({ "for_each": "{{ input }}", "parameter": { "output": "text" } });
        let items = place.run("items", &each, &json!(["item", "{{ item }}-{{ index }}"]), &json!({}), &json!([5, "b"]));
        assert_eq!(items["output"], json!(["5-0", "b-1"]), "{items}");
        let skipped = place.run(
            "when",
            &json!({ "when": "{{ input.go }}" }),
            &json!(["fail"]),
            &json!({}),
            &json!({ "go": false }),
        );
        assert_eq!(
            (&skipped["state"], &skipped["blocks"][0]["status"]),
            (&json!("COMPLETED"), &json!("SKIPPED")),
            "{skipped}"
        );
    });
}

#[test]
fn a_program_that_does_not_read_is_not_waited_for() {
    let Some(place) = Place::new(Installation::new()) else { return };
    let large = place.installation.write("large.json", &json!("x".repeat(3 << 20)).to_string());
    place.deploy("deaf", &json!({}), &json!(["nothing"]), &json!({}));
    let input = format!("@{}", large.display());
    assert_eq!(place.installation.ok(&["run", "--quiet", "deaf", "--input", &input]).trim(), "{}");
}

#[test]
fn what_it_says_on_stderr_is_in_the_log() {
    let Some(place) = Place::new(Installation::new()) else { return };
    place.deploy("say", &json!({}), &json!(["say"]), &json!({}));
    let run = place.installation.run_detached("say");
    let _ = place.wait_ended(&run);
    let lines = place.installation.json(&["logs", &run]);
    let texts: Vec<_> =
        lines.as_array().expect("a list").iter().map(|line| line["text"].as_str().expect("text")).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn why_it_failed_is_told_exactly() {
    as_root_and_as_nobody(|place| {
        let name = &place.name;
        for (argument, about, code, message) in [
            ("fail", json!({}), "exec-failed", format!("the program `{name}` ended with exit code 3: no such key")),
            ("crash", json!({}), "exec-failed", format!("the program `{name}` was ended by SIGSEGV")),
            (
                "text",
                json!({}),
                "exec-output",
                format!("the program `{name}` wrote what is no JSON: expected ident at line 1 column 2 in `no JSON`"),
            ),
            (
                "flood",
                json!({ "limits": { "output": "100kB" } }),
                "too-large",
                format!("the program `{name}` was killed: it wrote more than 100000 bytes to stdout"),
            ),
            (
                "complain",
                json!({ "limits": { "log": "100kB" } }),
                "log-limit",
                "the run has written more to its log than the 100000 bytes it may".to_owned(),
            ),
            (
                "burn",
                json!({ "limits": { "cpu": "1s" } }),
                "cpu-limit",
                format!("the program `{name}` used up its CPU time: a process of the run may have 1 s"),
            ),
        ] {
            let told = place.run(argument, &json!({}), &json!([argument]), &about, &json!(null));
            assert_eq!((&told["error"]["code"], &told["error"]["message"]), (&json!(code), &json!(message)), "{told}");
        }
        let retry = json!({ "retry": { "attempts": 2, "delay": "1ms" } });
        let twice = place.run("twice", &retry, &json!(["fail"]), &json!({}), &json!(null));
        assert_eq!(twice["error"]["attempt"], 2, "{twice}");
    });
}

#[test]
fn what_the_operator_does_not_allow_is_refused() {
    let installation = Installation::new();
    let sh = tool("sh");
    let _supervisor = installation.supervisor_with(&["--allow-exec", &format!("shell={sh}")]);
    let definition = json!([{ "id": "small", "type": "exec", "parameter": { "argv": ["shel", "-c", "true"] } }]);
    let file = installation.write("refused.json", &definition.to_string());
    let file = file.to_str().expect("text");
    installation.ok(&["check", file]);
    for arguments in [["deploy", file], ["run", file]] {
        let refused = installation.cli(&arguments);
        refused.expect_code(code::INVALID, "a program that is not allowed");
        for part in ["refused.json:1:", "`small`", "did you mean `shell`?", "--allow-exec shel=/path/to/shel"] {
            assert!(refused.stderr.contains(part), "{part} is missing in {}", refused.stderr);
        }
    }
    assert_eq!(installation.json(&["workflows"]), json!([]));
}

#[test]
fn what_cannot_be_allowed_is_told_at_the_start() {
    let installation = Installation::new();
    let plain = installation.write("plain", "no program");
    for (value, told) in [
        ("jq", "no absolute path"),
        ("/no/such/program", "/no/such/program cannot be read"),
        ("x=/usr", "is no file"),
        (&format!("x={}", plain.display()), "is not executable"),
        (&format!("x={},/", tool("sh")), "every file"),
        (&format!("x={0};x={0}", tool("sh")), "allowed twice"),
    ] {
        let refused = installation.cli(&["supervisor", "--allow-exec", value]);
        refused.expect_code(code::USAGE, value);
        assert!(refused.stderr.contains(told) && refused.stderr.contains("--allow-exec"), "{}", refused.stderr);
        let mut command = installation.command(["up", "--listen", "127.0.0.1:0"]);
        command.env("RUNLET_ALLOW_EXEC", value);
        Process::start("runlet up", &mut command, b"").finish().expect_code(code::USAGE, value);
    }
}

#[test]
fn up_allows_what_it_is_told_too() {
    let installation = Installation::new();
    let script = installation.program("answer", &format!("#!{}\necho 42\n", tool("sh")));
    let definition = json!([{ "type": "exec", "parameter": { "argv": ["answer"] } }]);
    let file = installation.write("ask.json", &definition.to_string());
    let arguments = [file.to_str().expect("text"), "--allow-exec", script.to_str().expect("text")];
    let (_up, _) = installation.up(&arguments);
    let ran = installation.cli(&["run", "--quiet", "ask"]);
    assert!(ran.stdout.trim() == "42" || ran.stderr.contains("user namespace"), "{ran:?}");
}

#[test]
fn a_program_sees_no_file_that_is_not_its_own() {
    let installation = Installation::new();
    let script = |text: &str| format!("#!{}\n{text}", tool("sh"));
    let secret = installation.program("secret", "secret");
    let shown = installation.program("shown", "shown");
    let there = installation.folder().join("there");
    let tries = installation.program(
        "tries.sh",
        &script(&format!(
            "for file in /etc/passwd /proc/self/environ /proc/1/environ /dev/zero {} {}; do\n\
             if cat $file > /dev/null 2>&1; then echo \"read $file\"; fi; done\n\
             for file in /tmp/x /dev/shm/x {}; do if (: > $file) 2> /dev/null; then echo \"wrote $file\"; fi; done\n\
             if (: >&3) 2> /dev/null; then echo \"a descriptor\"; fi\n\
             set -- /*; if [ \"$1\" != '/*' ]; then echo listed; fi\n",
            secret.display(),
            shown.display(),
            there.display(),
        )),
    );
    let allowed = format!("tries={},{},{}", tries.display(), tool("cat"), shown.display());
    let _supervisor = installation.supervisor_with(&["--allow-exec", &allowed]);
    installation.deploy("tries", &json!([{ "type": "exec", "parameter": { "argv": ["tries"], "output": "text" } }]));
    let ran = installation.cli(&["run", "--quiet", "tries"]);
    if ran.stderr.contains("user namespace") {
        return eprintln!("SKIPPED: {}", ran.stderr);
    }
    assert_eq!(ran.stdout.trim(), json!(format!("read {}\n", shown.display())).to_string(), "{}", ran.stderr);
}

#[test]
fn a_program_reaches_no_network_and_no_socket() {
    let installation = Installation::new();
    let _readable = installation.program("readable", "");
    let runlet = binary();
    let _supervisor = installation.supervisor_with(&["--allow-exec", &format!("asks={}", runlet.display())]);
    let socket = installation.socket();
    let argv = json!(["asks", "--socket", socket.to_str().expect("text"), "status"]);
    installation.deploy("asks", &json!([{ "type": "exec", "parameter": { "argv": argv, "output": "text" } }]));
    let run = installation.run_detached("asks");
    let failed = installation.wait_state(&run, "FAILED");
    let told = installation.ok(&["inspect", &run]);
    let logged = installation.ok(&["logs", &run]);
    let refused = logged.contains("Operation not permitted") || told.contains("\"isolation\"");
    assert!(refused, "{failed} {logged} {told}");
}

#[test]
fn its_processes_are_limited_and_none_is_left() {
    as_root_and_as_nobody(|place| {
        let about = json!({ "limits": { "processes": 8 } });
        place.deploy("multiply", &json!({}), &json!(["multiply"]), &about);
        let run = place.installation.run_detached("multiply");
        let told = place.wait_ended(&run);
        assert_eq!(told["error"]["code"], "exec-failed", "{told}");
        let log = place.installation.ok(&["logs", &run]);
        assert!(log.contains("started 7") && !log.contains("started 8"), "the script is one of eight: {log}");
        wait_none_called(&place.name);

        // Who ends well may leave nothing behind either, and is not waited for by the pipes that what it left has.
        let left = place.run("leave", &json!({}), &json!(["leave"]), &json!({}), &json!(null));
        assert_eq!(left["output"], json!({}), "{left}");
        wait_none_called(&place.name);
        let alone =
            place.run("alone", &json!({}), &json!(["leave"]), &json!({ "limits": { "processes": 1 } }), &json!(null));
        assert_eq!(alone["error"]["code"], "exec-failed", "{alone}");
        // A signal to its group does not reach anybody outside, nor the worker.
        let signalled = place.run("all", &json!({}), &json!(["all"]), &json!({}), &json!(null));
        assert!(signalled["error"]["message"].as_str().is_some_and(|it| it.contains("SIGTERM")), "{signalled}");
    });
}

#[test]
fn a_stop_lets_a_program_clean_up_and_kills_one_that_does_not_end() {
    as_root_and_as_nobody(|place| {
        for (argument, how) in [
            ("clean", json!({ "exitCode": 0 })),
            ("wait", json!({ "exitCode": 0 })),
            ("stubborn", json!({ "signal": "SIGKILL" })),
        ] {
            let run = place.start(argument);
            place.installation.ok(&["stop", &run]);
            let told = place.inspect(&run);
            assert_eq!(told["state"], "STOPPED", "at once: {told}");
            assert_eq!(place.wait_ended(&run)["worker"]["ended"]["how"], how, "{argument}");
            wait_none_called(&place.name);
        }
    });
}

#[test]
fn a_pause_freezes_the_program_too_and_a_stop_reaches_it_there() {
    as_root_and_as_nobody(|place| {
        let run = place.start("clean");
        let processes = || processes_called(&place.name).into_iter().filter_map(|pid| i32::try_from(pid).ok());
        place.installation.ok(&["pause", &run]);
        wait_until("the program to be frozen", || (processes().count() > 0 && processes().all(is_held)).then_some(()));
        place.installation.ok(&["resume", &run]);
        wait_until("the program to go on", || (!processes().any(is_held)).then_some(()));
        place.installation.ok(&["pause", &run]);
        place.installation.ok(&["stop", &run]);
        assert_eq!(place.wait_ended(&run)["worker"]["ended"]["how"], json!({ "exitCode": 0 }));
    });
}

#[test]
fn a_signal_of_a_user_is_for_the_program() {
    let Some(place) = Place::new(Installation::new()) else { return };
    let run = place.start("wait");
    place.installation.ok(&["kill", &run]);
    let told = place.wait_ended(&run);
    let expected = format!("the program `{}` was ended by SIGTERM", place.name);
    assert!(told["error"]["message"].as_str().is_some_and(|it| it.starts_with(&expected)), "{told}");
    // Whatever it makes of it: the worker does not end by it.
    let run = place.start("heeds");
    place.installation.ok(&["kill", "-s", "USR1", &run]);
    let told = place.wait_ended(&run);
    assert_eq!((&told["state"], &told["output"]), (&json!("COMPLETED"), &json!("USR1")), "{told}");
    let run = place.start("wait");
    place.installation.ok(&["kill", "-s", "KILL", &run]);
    let told = place.wait_ended(&run);
    assert_eq!(told["error"]["message"], "the worker was ended by SIGKILL, sent by `runlet kill`", "{told}");
    wait_none_called(&place.name);
}

#[test]
fn a_timeout_ends_a_program_and_the_next_attempt_has_another_worker() {
    let Some(place) = Place::new(Installation::new()) else { return };
    let block = json!({ "timeout": "200ms", "retry": { "attempts": 2, "delay": "1ms" } });
    let told = place.run("late", &block, &json!(["wait"]), &json!({}), &json!(null));
    assert_eq!((&told["error"]["code"], &told["error"]["attempt"]), (&json!("timeout"), &json!(2)), "{told}");
    wait_none_called(&place.name);
}

#[test]
fn no_program_outlives_the_supervisor() {
    as_root_and_as_nobody(|place| {
        let _run = place.start("stubborn");
        assert!(!processes_called(&place.name).is_empty(), "it lives");
        place.supervisor.signal(Signal::SIGKILL);
        let _ = place.supervisor.wait_exit();
        wait_none_called(&place.name);
    });
}

#[test]
fn a_program_that_the_user_of_workers_cannot_reach_is_told() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("SKIPPED: needs root, whose workers are somebody else");
    }
    let installation = Installation::new();
    let script = installation.program("hidden.sh", &format!("#!{}\necho 1\n", tool("sh")));
    fs::set_permissions(installation.folder(), fs::Permissions::from_mode(0o700)).expect("the test's own folder");
    let _supervisor = installation.supervisor_with(&["--allow-exec", &format!("hidden={}", script.display())]);
    installation.deploy("hidden", &json!([{ "type": "exec", "parameter": { "argv": ["hidden"] } }]));
    let run = installation.run_detached("hidden");
    let _ = installation.wait_state(&run, "FAILED");
    let told = installation.json(&["inspect", &run]);
    assert!(matches!(told["error"]["code"].as_str(), Some("exec-start" | "isolation")), "{told}");
    assert!(told["error"]["help"].as_str().is_some_and(|help| !help.is_empty()), "{told}");
}

#[test]
fn where_more_is_required_than_a_worker_with_programs_has_none_is_executed() {
    let installation = Installation::new();
    let allowed = format!("shell={}", tool("sh"));
    let _supervisor = installation.supervisor_with(&["--require-isolation", "3", "--allow-exec", &allowed]);
    let exec = json!({ "type": "exec", "parameter": { "argv": ["shell", "-c", "echo 1"] }, "on_error": "skip" });
    installation
        .deploy("twice", &json!([exec, exec, { "type": "exec", "parameter": { "argv": ["shell", "-c", "echo 2"] } }]));
    let run = installation.run_detached("twice");
    let _ = installation.wait_state(&run, "FAILED");
    let told = installation.json(&["inspect", &run]);
    assert_eq!((&told["error"]["code"], &told["error"]["block"]), (&json!("isolation"), &json!("exec-3")), "{told}");
    assert_eq!(told["blocks"][0]["status"], "SKIPPED", "{told}");
}

#[test]
fn a_system_call_that_is_forbidden_ends_the_program() {
    let Some(unshare) = ["/usr/bin/unshare", "/bin/unshare"].into_iter().find(|path| Path::new(path).is_file()) else {
        return eprintln!("SKIPPED: needs a program that makes namespaces, such as unshare of util-linux");
    };
    let installation = Installation::new();
    let _supervisor = installation.supervisor_with(&["--allow-exec", unshare]);
    installation.deploy("makes", &json!([{ "type": "exec", "parameter": { "argv": ["unshare", "--net", "true"] } }]));
    let run = installation.run_detached("makes");
    let _ = installation.wait_state(&run, "FAILED");
    let told = installation.json(&["inspect", &run]);
    assert!(matches!(told["error"]["code"].as_str(), Some("seccomp" | "isolation")), "{told}");
}
