//! What the binary makes of a supervisor's replies, against one that follows a script.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runlet_proto::control::{
    Diagnostic, LogLevel, LogLine, Refusal, RefusalKind, Reply, Request, RunEnd, RunEvent, RunEventKind, RunSignal,
    RunSummary, SupervisorStatus, Target, WorkflowSummary,
};
use runlet_proto::ids::{Priority, RunId};
use runlet_proto::state::{BlockStatus, Lane, RunState};
use serde_json::{Value, json};
use support::{Say, Scripted, code, stderr, stdout};

const RUN: RunId = RunId::from_u128(0x0193_2c07_1f3e_7abc_8def_0123_4567_89ab);

fn run(state: RunState) -> RunSummary {
    RunSummary {
        id: RUN,
        workflow: "headlines".to_owned(),
        version: "ab".repeat(32),
        state,
        blocked_on: Some("fetch localhost:4000".to_owned()),
        lane: Lane::Light,
        priority: Priority::DEFAULT,
        block: Some("page".to_owned()),
        attempt: 1,
        created_at_ms: 1_500,
        updated_at_ms: 2_000,
        error: None,
        pid: None,
        cpu_us: None,
        resident_bytes: None,
    }
}

fn workflow(name: &str) -> WorkflowSummary {
    WorkflowSummary {
        name: name.to_owned(),
        version: "cd".repeat(32),
        description: None,
        blocks: 4,
        priority: Priority::DEFAULT,
        hooks: vec!["ANY test".to_owned()],
        live_runs: 0,
        deployed_at_ms: 1_500,
    }
}

fn event(what: RunEventKind) -> Reply {
    Reply::Event(RunEvent { run: RUN, at_ms: 1_500, block: Some("page".to_owned()), what })
}

fn ended(state: RunState) -> Reply {
    let failed = state != RunState::Completed;
    Reply::Ended(RunEnd {
        run: RUN,
        state,
        output: (!failed).then(|| r#"{"h1":["a"]}"#.into()),
        error: failed.then(|| "block `page`, attempt 1: connection refused".to_owned()),
        help: failed.then(|| "is the server up?".to_owned()),
        timed_out: false,
    })
}

fn refusal(kind: RefusalKind) -> Refusal {
    Refusal {
        kind,
        message: "there is no workflow `headlnes`".to_owned(),
        help: Some("did you mean `headlines`?".to_owned()),
        diagnostics: Vec::new(),
    }
}

/// A supervisor whose runs all end so.
fn ending(end: Reply) -> Scripted {
    Scripted::new(move |request| {
        let mut replies = vec![Reply::Accepted(RUN)];
        if matches!(request, Request::Start(start) if start.follow) {
            replies.extend([
                event(RunEventKind::BlockStarted { attempt: 1 }),
                event(RunEventKind::Blocked { on: "fetch localhost:4000".to_owned() }),
                event(RunEventKind::BlockEnded { status: BlockStatus::Completed, error: None, elapsed_us: 12_300 }),
                end.clone(),
            ]);
        }
        Say::Replies(replies)
    })
}

#[test]
fn a_followed_run_tells_its_blocks_on_stderr_and_its_output_on_stdout() {
    let output = ending(ended(RunState::Completed)).runlet(&["run", "headlines"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stdout(&output), "{\"h1\":[\"a\"]}\n");
    for words in ["started", "BLOCKED on fetch localhost:4000", "COMPLETED after 12.3 ms"] {
        assert!(stderr(&output).contains(words), "{words} is missing in\n{}", stderr(&output));
    }
    let output = ending(ended(RunState::Completed)).runlet(&["run", "headlines", "-q"]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_exit_code_says_how_a_run_ended() {
    let timed_out = Reply::Ended(RunEnd {
        run: RUN,
        state: RunState::Failed,
        output: None,
        error: Some("no end within 1 s".to_owned()),
        help: None,
        timed_out: true,
    });
    for (end, expected) in [(ended(RunState::Failed), 1), (timed_out, 7), (ended(RunState::Stopped), 8)] {
        let output = ending(end).runlet(&["run", "headlines"]);
        assert_eq!(code(&output), expected);
        assert_eq!(stdout(&output), "");
    }
    let output = ending(ended(RunState::Failed)).runlet(&["run", "headlines", "-q"]);
    let said = stderr(&output);
    assert!(said.contains("FAILED: block `page`, attempt 1") && said.contains("is the server up?"), "{said}");
}

#[test]
fn a_run_as_data_is_its_end_or_every_event() {
    let output = ending(ended(RunState::Completed)).runlet(&["run", "headlines", "-q", "-o", "json"]);
    let end: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&end["state"], &end["output"]), (&json!("COMPLETED"), &json!({ "h1": ["a"] })));
    let output = ending(ended(RunState::Completed)).runlet(&["run", "headlines", "-o", "jsonl"]);
    let events: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["block-started", "blocked", "block-ended", "ended"]);
}

#[test]
fn a_detached_run_prints_its_id() {
    let supervisor = ending(ended(RunState::Completed));
    assert_eq!(stdout(&supervisor.runlet(&["run", "headlines", "--detach"])), format!("{RUN}\n"));
    let output = supervisor.runlet(&["run", "headlines", "-d", "-o", "jsonl"]);
    assert_eq!(stdout(&output), format!("{{\"id\":\"{RUN}\"}}\n"));
}

#[test]
fn input_priority_and_definition_travel_as_they_were_written() {
    let (seen, starts) = mpsc::channel();
    let supervisor = Scripted::new(move |request| {
        seen.send(request).unwrap();
        Say::Replies(vec![Reply::Accepted(RUN), ended(RunState::Completed)])
    });
    let file = supervisor.write("inline.json", "[ /* not parsed here */ ]");
    supervisor.runlet(&["run", file.to_str().unwrap(), "-i", "{\"n\": 1.0}", "-p", "9"]);
    let Request::Start(start) = starts.recv().unwrap() else { panic!("another request") };
    assert_eq!(start.input.as_deref(), Some(&b"{\"n\": 1.0}"[..]));
    assert_eq!(start.priority, Some(Priority::MAX));
    let Target::Inline(source) = start.target else { panic!("a file is run inline") };
    assert_eq!(source.text, "[ /* not parsed here */ ]");
    supervisor.runlet(&["run", "inline"]);
    let Request::Start(start) = starts.recv().unwrap() else { panic!("another request") };
    assert_eq!((start.target, start.input), (Target::Workflow("inline".to_owned()), None));
}

#[test]
fn a_supervisor_that_dies_midway_is_told_and_no_success() {
    let dying = || {
        Scripted::new(|_| {
            Say::RepliesThenDeath(vec![Reply::Accepted(RUN), event(RunEventKind::BlockStarted { attempt: 1 })])
        })
    };
    let output = dying().runlet(&["run", "headlines"]);
    assert_eq!(code(&output), 5);
    let said = stderr(&output);
    assert!(said.contains("went away") && said.contains(&RUN.to_string()), "{said}");
    let dead = Scripted::new(|_| Say::RepliesThenDeath(Vec::new()));
    for arguments in [&["ps"][..], &["status"], &["logs", "x", "-f"]] {
        let output = dead.runlet(arguments);
        assert_eq!(code(&output), 5, "{arguments:?}");
        assert!(stderr(&output).contains("went away"), "{}", stderr(&output));
    }
}

#[test]
fn a_refusal_gives_its_code_and_its_way_out() {
    for (kind, expected) in [
        (RefusalKind::NotFound, 3),
        (RefusalKind::Conflict, 3),
        (RefusalKind::Invalid, 4),
        (RefusalKind::ShuttingDown, 5),
        (RefusalKind::Overloaded, 5),
        (RefusalKind::Protocol, 1),
    ] {
        let output = Scripted::saying(Reply::Refused(refusal(kind))).runlet(&["run", "headlnes"]);
        assert_eq!(code(&output), expected, "{kind:?}");
        assert!(stderr(&output).contains("did you mean `headlines`?"), "{}", stderr(&output));
    }
}

#[test]
fn mistakes_the_supervisor_found_are_marked_like_those_found_here() {
    let supervisor = Scripted::new(|request| {
        let (Request::Deploy(source)
        | Request::Start(runlet_proto::control::Start { target: Target::Inline(source), .. })) = request
        else {
            panic!("another request")
        };
        let diagnostics = vec![Diagnostic {
            code: "hook-taken".to_owned(),
            message: "the hook `test` belongs to `news`".to_owned(),
            help: Some("choose another path".to_owned()),
            file: source.file,
            line: 1,
            column: 3,
            path: "[0].path".to_owned(),
            offset: 28,
            length: 6,
        }];
        Say::Replies(vec![Reply::Refused(Refusal { diagnostics, ..refusal(RefusalKind::Invalid) })])
    });
    supervisor.write("w.json", r#"[ { "type": "hook", "path": "test" }, { "type": "response" } ]"#);
    for command in ["deploy", "run"] {
        let output = supervisor.runlet(&[command, "w.json"]);
        assert_eq!(code(&output), 4, "{}", stderr(&output));
        for words in ["the hook `test` belongs to `news`", "choose another path", "[0].path", "w.json:1:"] {
            assert!(stderr(&output).contains(words), "{words} is missing in\n{}", stderr(&output));
        }
        let output = supervisor.runlet(&[command, "w.json", "-o", "json"]);
        let found: Value = serde_json::from_str(stdout(&output).split_inclusive("]\n").next().unwrap()).unwrap();
        assert_eq!(found[0]["code"], "hook-taken");
    }
}

#[test]
fn deploying_says_what_was_replaced() {
    let supervisor = Scripted::new(|request| {
        let Request::Deploy(source) = request else { panic!("another request") };
        let replaced = source.file.contains("old").then(|| "ef".repeat(32));
        Say::Replies(vec![Reply::Deployed { workflow: workflow(&source.file), replaced }])
    });
    let text = r#"[ { "type": "hook", "path": "PATH" }, { "type": "response" } ]"#;
    for name in ["new", "old"] {
        supervisor.write(&format!("{name}.json"), &text.replace("PATH", name));
    }
    let output = supervisor.runlet(&["deploy", "new.json", "old.json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "new.json cdcdcdcdcdcd deployed\nold.json cdcdcdcdcdcd deployed, in place of efefefefefef\n"
    );
    let output = supervisor.runlet(&["deploy", "old.json", "-o", "jsonl"]);
    let one: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(one["replaced"], "ef".repeat(32));
    assert_eq!(one["deployedAt"], "1970-01-01T00:00:01.500Z");
}

#[test]
fn runs_are_a_table_data_or_ids() {
    let supervisor = Scripted::saying(Reply::Runs { runs: vec![run(RunState::Blocked)], total: 1 });
    let table = stdout(&supervisor.runlet(&["ps"]));
    assert!(
        table.starts_with("RUN ") && table.contains("BLOCKED") && table.contains("fetch localhost:4000"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'), "colours belong on a terminal");
    assert_eq!(stdout(&supervisor.runlet(&["ps", "--no-headers"])).lines().count(), 1);
    assert_eq!(stdout(&supervisor.runlet(&["ps", "-q"])), format!("{RUN}\n"));
    let runs: Value = serde_json::from_str(&stdout(&supervisor.runlet(&["ps", "-o", "json"]))).unwrap();
    assert_eq!(runs[0]["createdAt"], "1970-01-01T00:00:01.500Z");
    assert_eq!(runs[0]["blockedOn"], "fetch localhost:4000");
    assert_eq!(stdout(&supervisor.runlet(&["ps", "-o", "jsonl"])).lines().count(), 1);
    let supervisor = Scripted::saying(Reply::Runs { runs: vec![run(RunState::Blocked)], total: 7 });
    let output = supervisor.runlet(&["ps", "-q"]);
    assert!(stderr(&output).contains("the newest 1 of 7 runs"), "{}", stderr(&output));
}

#[test]
fn a_signal_goes_to_every_run_named() {
    let supervisor = Scripted::new(|request| {
        let Request::Signal { run: name, signal } = request else { panic!("another request") };
        let changed = match signal {
            RunSignal::Renice(priority) => RunSummary { priority, ..run(RunState::Ready) },
            RunSignal::Stop | RunSignal::Pause | RunSignal::Resume => run(RunState::Stopped),
            RunSignal::Send(number) => RunSummary { pid: u32::try_from(number).ok(), ..run(RunState::Running) },
        };
        let gone = Reply::Refused(refusal(RefusalKind::NotFound));
        Say::Replies(vec![if name == "gone" { gone } else { Reply::Changed(changed) }])
    });
    let output = supervisor.runlet(&["stop", "one", "gone", "two"]);
    assert_eq!(code(&output), 3);
    assert_eq!(stdout(&output), format!("{RUN} STOPPED\n").repeat(2));
    assert_eq!(stdout(&supervisor.runlet(&["kill", "-s", "HUP", "one"])), format!("{RUN} SIGHUP sent to process 1\n"));
    assert_eq!(stdout(&supervisor.runlet(&["kill", "-s", "CONT", "one"])), format!("{RUN} RUNNING\n"));
    assert_eq!(stdout(&supervisor.runlet(&["renice", "7", "one"])), format!("{RUN} READY priority 7\n"));
}

#[test]
fn logs_end_with_the_run() {
    let line = |sequence| LogLine {
        sequence,
        at_ms: 1_500,
        block: Some("page".to_owned()),
        level: LogLevel::Warn,
        text: "nothing matched".to_owned(),
    };
    let supervisor =
        Scripted::new(move |_| Say::Replies(vec![Reply::Log(vec![line(1)]), Reply::Log(vec![line(2)]), Reply::LogEnd]));
    let output = supervisor.runlet(&["logs", "x", "-f"]);
    assert_eq!(stdout(&output), "1970-01-01T00:00:01.500Z  warn   page  nothing matched\n".repeat(2));
    let lines: Value = serde_json::from_str(&stdout(&supervisor.runlet(&["logs", "x", "-o", "json"]))).unwrap();
    assert_eq!(lines.as_array().unwrap().len(), 2);
    assert_eq!(lines[1]["sequence"], 2);
}

#[test]
fn status_and_inspect_are_told() {
    let status = SupervisorStatus {
        pid: 42,
        release: "0.1.0".to_owned(),
        started_at_ms: 1_500,
        workflows: 3,
        live_runs: 1,
        ended_runs: [5, 6, 7],
        shutting_down: false,
        live_by_state: [0, 1, 0, 0],
        slots: 2,
        slots_taken: 1,
        heavy_memory_bytes: 0,
        heavy_memory_bytes_max: 4 << 30,
        shared_memory: "embedded".to_owned(),
    };
    let supervisor = Scripted::saying(Reply::Status(status));
    let output = supervisor.runlet(&["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(status["endedRuns"], json!({ "completed": 5, "failed": 6, "stopped": 7 }));
    assert_eq!(status["live"]["running"], 1);
    let table = stdout(&supervisor.runlet(&["status"]));
    assert!(table.contains("accepting runs") && table.contains("1 of 2 taken"), "{table}");

    let supervisor = Scripted::saying(Reply::Inspected(r#"{"id":"x","currentBlockIndex":1}"#.into()));
    assert_eq!(stdout(&supervisor.runlet(&["inspect", "x"])), "{\n  \"id\": \"x\",\n  \"currentBlockIndex\": 1\n}\n");
    assert_eq!(code(&supervisor.runlet(&["ps"])), 1, "a reply to another question is no success");
}

#[test]
fn the_first_ctrl_c_stops_the_run_and_the_second_leaves_it() {
    let (seen, signals) = mpsc::channel();
    let supervisor = Scripted::new(move |request| {
        if matches!(request, Request::Start(_)) {
            return Say::Replies(vec![Reply::Accepted(RUN), event(RunEventKind::BlockStarted { attempt: 1 })]);
        }
        seen.send(request).unwrap();
        Say::Replies(vec![Reply::Changed(run(RunState::Running))])
    });
    let mut child = supervisor.command(&["run", "headlines"]).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.by_ref().any(|line| line.contains("started")));
    kill(pid, Signal::SIGINT).unwrap();
    let Request::Signal { run, signal } = signals.recv().unwrap() else { panic!("another request") };
    assert_eq!((run, signal), (RUN.to_string(), RunSignal::Stop));
    kill(pid, Signal::SIGINT).unwrap();
    assert!(said.any(|line| line.contains("left run") && line.contains(&RUN.to_string())));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
