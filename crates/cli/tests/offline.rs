//! What the binary does without a supervisor: checks, usage errors, exit codes, help.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use tempfile::TempDir;

const VALID: &str = r#"[ { "type": "hook", "path": "test" }, { "type": "response", "body": "{}" } ]"#;
const INVALID: &str = "[\n  { \"type\": \"hook\", \"path\": \"test\" },\n  { \"type\": \"fetsh\" }\n]";

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("runlet"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("RUNLET_STATE", self.path().join("state")).env("RUNLET_CONFIG", "/dev/null");
        command
    }

    fn runlet(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_valid_definition_passes_the_check() {
    let place = Place::new();
    let output = place.write("good.json", VALID).runlet(&["check", "good.json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    let output = place.runlet(&["check", "good.json", "-o", "json"]);
    assert_eq!(stdout(&output).trim(), "[]");
}

#[test]
fn every_mistake_is_marked_in_its_source() {
    let place = Place::new();
    place.write("good.json", VALID).write("bad.json", INVALID).write("worse.json", "[{]");
    let output = place.runlet(&["check", "."]);
    assert_eq!(code(&output), 4);
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    for part in ["bad.json:3:", "fetsh", "did you mean", "worse.json:1:", "in 2 definitions"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "colours belong on a terminal");
}

#[test]
fn mistakes_as_data_have_place_and_way_out() {
    let place = Place::new();
    let output = place.write("bad.json", INVALID).runlet(&["check", "bad.json", "-o", "json"]);
    assert_eq!(code(&output), 4);
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let first = &found[0];
    assert_eq!((first["file"].as_str(), first["line"].as_u64()), (Some("bad.json"), Some(3)));
    for member in ["code", "message", "column", "path", "offset", "length"] {
        assert!(!first[member].is_null(), "{member} is missing in {first}");
    }
    let output = place.runlet(&["-o", "jsonl", "check", "bad.json"]);
    assert_eq!(stdout(&output).lines().count(), found.as_array().unwrap().len());
}

#[test]
fn definitions_that_do_not_go_together_are_told() {
    let place = Place::new();
    fs::create_dir(place.path().join("more")).unwrap();
    place.write("news.json", VALID).write("other.json", VALID).write("more/news.json", &VALID.replace("test", "more"));
    let output = place.runlet(&["check", "news.json", "other.json", "-o", "json"]);
    assert_eq!(code(&output), 4);
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((found[0]["code"].as_str(), found[0]["file"].as_str()), (Some("hook-conflict"), Some("other.json")));
    let output = place.runlet(&["deploy", "news.json", "more"]);
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("news.json is a workflow `news` too"), "{}", stderr(&output));
}

#[test]
fn nothing_is_sent_or_started_when_a_definition_is_not_valid() {
    let place = Place::new();
    place.write("good.json", VALID).write("bad.json", INVALID);
    // There is no supervisor: exit 4 and not 5 says that none was asked.
    assert_eq!(code(&place.runlet(&["deploy", "good.json", "bad.json"])), 4);
    assert_eq!(code(&place.runlet(&["up", "good.json", "bad.json", "--listen", "127.0.0.1:0"])), 4);
    assert!(!place.path().join("state").exists());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let place = Place::new();
    fs::create_dir(place.path().join("empty")).unwrap();
    for (path, words) in [("missing.json", "missing.json"), ("empty", "holds no *.json")] {
        let output = place.runlet(&["check", path]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn the_schema_is_json() {
    let place = Place::new();
    let schema: Value = serde_json::from_str(&stdout(&place.runlet(&["schema"]))).unwrap();
    assert!(schema["$schema"].is_string());
    assert_eq!(stdout(&place.runlet(&["schema", "-o", "jsonl"])).lines().count(), 1);
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = place.runlet(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("renice"), "{shell}");
    }
    assert_eq!(code(&place.runlet(&["completions", "csh"])), 2);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    let mut child = place.command(&["schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn what_makes_no_sense_is_a_usage_error_with_a_way_out() {
    let place = Place::new();
    for (arguments, words) in [
        (&["inspekt", "x"][..], "inspect"),
        (&["ps", "--al"], "--all"),
        (&["renice", "10", "x"], "0 to 9"),
        (&["run", "x", "--input", "{"], "not JSON"),
        (&["run", "x", "--input", "@missing"], "missing"),
        (&["up", "--drain", "30"], "30s"),
        (&["up", "--socket", "x"], "--state"),
        (&["supervisor", "--threads", "0"], "1..=1024"),
        (&["logs", "x", "-f", "-o", "json"], "jsonl"),
        (&["trace", "x", "-f", "-o", "json"], "jsonl"),
        (&["kill", "-s", "KIL", "x"], "did you mean KILL?"),
        (&["top", "-b", "-d", "0"], "seconds"),
        (&["stop"], "<RUN>"),
        (&[], "Usage"),
    ] {
        let output = place.runlet(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn an_absent_supervisor_is_told_with_its_socket_and_how_to_start_one() {
    let place = Place::new();
    let socket = place.path().join("state/control.sock").display().to_string();
    for arguments in [
        &["ps"][..],
        &["workflows"],
        &["status"],
        &["inspect", "x"],
        &["logs", "x"],
        &["trace", "x"],
        &["top", "-b"],
        &["kill", "x"],
        &["stop", "x"],
        &["pause", "x"],
        &["resume", "x"],
        &["renice", "1", "x"],
        &["remove", "x"],
        &["run", "x"],
        &["run", "x", "--detach"],
    ] {
        let output = place.runlet(arguments);
        assert_eq!(code(&output), 5, "{arguments:?}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains(&socket) && said.contains("runlet up"), "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn the_socket_is_the_flags_then_the_variables() {
    let place = Place::new();
    let mut command = place.command(&["status", "--socket", "/nonexistent/flag.sock"]);
    let output = command.env("RUNLET_SOCKET", "/nonexistent/variable.sock").output().unwrap();
    assert!(stderr(&output).contains("/nonexistent/flag.sock"));
    let output = place.command(&["status"]).env("RUNLET_SOCKET", "/nonexistent/variable.sock").output().unwrap();
    assert!(stderr(&output).contains("/nonexistent/variable.sock"));
}

#[test]
fn a_child_whose_launcher_is_gone_does_not_stay() {
    let place = Place::new();
    // Process 1 did not start it.
    for command in ["supervisor", "gateway"] {
        let output = place.command(&[command]).env("RUNLET_LAUNCHER", "1").output().unwrap();
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains("gone"), "{}", stderr(&output));
    }
}

#[test]
fn help_names_every_command_and_code() {
    let place = Place::new();
    let output = place.runlet(&["--help"]);
    assert_eq!(code(&output), 0);
    let said = stdout(&output);
    for word in ["up", "deploy", "renice", "completions", "130 interrupted"] {
        assert!(said.contains(word), "{word}");
    }
}
