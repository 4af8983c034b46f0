//! `exec`: runs a program that the operator allowed. Here is what it is given and what is made of its end; the worker has the
//! process.

use std::io;

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_workflow::block::exec::{Exec, Stdin, Stdout};
use runlet_workflow::definition::Limits;
use runlet_workflow::limits::{EXEC_ARGUMENTS_BYTES_MAX, RUN_PROCESSES_DEFAULT};
use runlet_workflow::template::Scope;
use serde_json::Value;

use crate::calls::{Calls, ProgramEnd, ProgramError, ProgramHow, ProgramRun};
use crate::limits::{EXCERPT_CHARS_MAX, PROGRAM_OUTPUT_BYTES_MAX};
use crate::output::Output;
use crate::template;

/// Exec format error, errno(3): the file is executable and no program. The same number on every architecture.
const ENOEXEC: i32 = 8;

/// Runs the program over `input`.
pub(crate) fn execute(
    config: &Exec,
    limits: &Limits,
    input: &Output,
    scope: Option<&Scope>,
    calls: &mut dyn Calls,
) -> Result<Output, Failure> {
    let allowed = limits.output_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    let run = ProgramRun {
        name: &config.program,
        arguments: &arguments(config, scope)?,
        stdin: stdin(config.stdin, input)?,
        stdout_bytes_max: allowed.min(PROGRAM_OUTPUT_BYTES_MAX),
    };
    let end = calls.run_program(&run).map_err(|error| no_end(&run, limits, &error))?;
    output(config, end)
}

fn arguments(config: &Exec, scope: Option<&Scope>) -> Result<Vec<String>, Failure> {
    let mut bytes = 0;
    let mut rendered = Vec::with_capacity(config.arguments.len());
    for (index, argument) in config.arguments.iter().enumerate() {
        let field = format!("argv[{}]", index + 1);
        let text = template::text(argument, scope, &field)?;
        if text.contains('\0') {
            return Err(Failure::workflow(
                "exec-input",
                format!("`{field}` holds a NUL character, which no argument can"),
            ));
        }
        bytes += text.len() + 1;
        if bytes > EXEC_ARGUMENTS_BYTES_MAX {
            let message = format!("the arguments have more than {EXEC_ARGUMENTS_BYTES_MAX} bytes");
            return Err(Failure::workflow("too-large", message).with_help("hand the program its data on stdin"));
        }
        rendered.push(text);
    }
    Ok(rendered)
}

fn stdin(stdin: Stdin, input: &Output) -> Result<Option<Bytes>, Failure> {
    match stdin {
        Stdin::Nothing => Ok(None),
        Stdin::Json => Ok(Some(input.to_json_text())),
        Stdin::Text => match &*input.to_json() {
            Value::String(text) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                let message = "`stdin` is \"text\", but the block's input is no string";
                Err(Failure::workflow("exec-input", message)
                    .with_help("give it one, such as \"input\": \"{{ input.body }}\", or leave `stdin` out"))
            }
        },
    }
}

/// What is made of the end of the program.
fn output(config: &Exec, end: ProgramEnd) -> Result<Output, Failure> {
    let name = &config.program;
    let ended = match end.how {
        ProgramHow::Code(0) => None,
        ProgramHow::Code(code) => Some(format!("ended with exit code {code}")),
        ProgramHow::Signal(signal) => Some(format!("was ended by {signal}")),
        ProgramHow::CpuLimit(cpu_s_max) => {
            let message =
                format!("the program `{name}` used up its CPU time: a process of the run may have {cpu_s_max} s");
            return Err(Failure::workflow("cpu-limit", message).with_help("raise `limits.cpu` of the workflow"));
        }
        ProgramHow::ForbiddenCall => {
            let message =
                format!("the program `{name}` was killed: it made a system call that is forbidden to programs");
            return Err(Failure::workflow("seccomp", message).with_help(
                "programs trace nobody, mount nothing and make no namespaces; does it do that on purpose?",
            ));
        }
    };
    if let Some(ended) = ended {
        let said = end.last_line.map_or_else(String::new, |line| format!(": {}", excerpt(&line)));
        let failure = Failure::workflow("exec-failed", format!("the program `{name}` {ended}{said}"));
        return Err(Failure { retryable: true, ..failure }.with_help("`runlet logs` shows what it wrote to stderr"));
    }
    match config.output {
        Stdout::Json => json(name, &end.stdout),
        Stdout::Text => String::from_utf8(end.stdout).map(|text| Output::json(Value::String(text))).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::workflow("exec-output", format!("the program `{name}` wrote what is no UTF-8, at byte {at}"))
                .with_help("let it write text, such as Base64 of what it has")
        }),
    }
}

fn json(name: &str, stdout: &[u8]) -> Result<Output, Failure> {
    serde_json::from_slice(stdout).map(Output::json).map_err(|error| {
        let message = if stdout.trim_ascii().is_empty() {
            format!("the program `{name}` wrote nothing to stdout, where JSON was expected")
        } else {
            let line = stdout.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
            let line = excerpt(&String::from_utf8_lossy(line));
            format!("the program `{name}` wrote what is no JSON: {error} in `{line}`")
        };
        Failure::workflow("exec-output", message)
            .with_help("let it write one JSON value to stdout and all else to stderr, or say \"output\": \"text\"")
    })
}

/// The beginning of a line, for a message.
fn excerpt(line: &str) -> String {
    match line.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Why there is no end to make anything of.
fn no_end(run: &ProgramRun<'_>, limits: &Limits, error: &ProgramError) -> Failure {
    let name = run.name;
    let failed = |code: &str| Failure::workflow(code, format!("the program `{name}` could not be run: {error}"));
    match error {
        ProgramError::NotHere => failed("internal"),
        ProgramError::NotAllowed => failed("exec-not-allowed")
            .with_help(format!("start the supervisor with --allow-exec {name}=/path/to/{name}")),
        ProgramError::NotStarted { source, .. } => failed("exec-start").with_help(start_help(source, limits)),
        ProgramError::TooMuch => {
            let most = run.stdout_bytes_max;
            let message = format!("the program `{name}` was killed: it wrote more than {most} bytes to stdout");
            let help = if most < PROGRAM_OUTPUT_BYTES_MAX {
                "raise `limits.output` of the workflow, or let the program write less"
            } else {
                "let the program write less"
            };
            Failure::workflow("too-large", message).with_help(help)
        }
        ProgramError::Pipes(_) => failed("exec-failed"),
    }
}

/// The way out when the system does not start a program.
fn start_help(source: &io::Error, limits: &Limits) -> String {
    let kind = source.kind();
    if kind == io::ErrorKind::WouldBlock {
        let most = limits.processes.unwrap_or(RUN_PROCESSES_DEFAULT);
        return format!("the run may have {most} processes at once: raise `limits.processes` of the workflow");
    }
    let help = if kind == io::ErrorKind::PermissionDenied {
        "the user that workers run as (`nobody`, if the supervisor is root) must be able to reach, read and execute it, and what \
         it executes itself must be listed behind it: --allow-exec NAME=PROGRAM,FURTHER"
    } else if kind == io::ErrorKind::NotFound {
        "its file, or the interpreter that it names, is gone"
    } else if source.raw_os_error() == Some(ENOEXEC) {
        "a script begins with `#!` and its interpreter; a program is one of this machine's architecture"
    } else {
        "see what the system says when you run it yourself"
    };
    help.to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use runlet_workflow::BlockConfig;
    use serde_json::json;

    use super::*;

    fn config(parameter: &Value) -> Exec {
        let text = json!([{ "type": "exec", "parameter": parameter }]).to_string();
        let definition = runlet_workflow::parse("test.json", &text).unwrap();
        let Some(BlockConfig::Exec(exec)) = definition.blocks.into_iter().next().map(|block| block.config) else {
            panic!("not an exec block")
        };
        exec
    }

    fn scope(input: Value) -> Scope {
        let value = Arc::new(input);
        Scope { input: Arc::clone(&value), hook: None, blocks: Vec::new(), run: value, item: None }
    }

    fn ended(how: ProgramHow, stdout: &str, last_line: Option<&str>) -> ProgramEnd {
        ProgramEnd { how, stdout: stdout.as_bytes().to_vec(), last_line: last_line.map(str::to_owned) }
    }

    fn failure(parameter: &Value, end: ProgramEnd) -> Failure {
        output(&config(parameter), end).unwrap_err()
    }

    #[test]
    fn each_template_is_one_argument() {
        let exec = config(&json!({ "argv": ["x", "-n", "{{ input.a }}", "{{ input.b }}-{{ input.a }}"] }));
        let given = arguments(&exec, Some(&scope(json!({ "a": "1 2; rm", "b": [3] })))).unwrap();
        assert_eq!(given, ["-n", "1 2; rm", "[3]-1 2; rm"]);
        let bad = |input: Value| arguments(&exec, Some(&scope(input))).unwrap_err();
        let nul = bad(json!({ "a": "\0", "b": 1 }));
        assert_eq!((nul.code.as_str(), nul.message.contains("argv[2]")), ("exec-input", true), "{}", nul.message);
        assert_eq!(bad(json!({ "a": "x".repeat(EXEC_ARGUMENTS_BYTES_MAX), "b": 1 })).code, "too-large");
    }

    #[test]
    fn stdin_is_json_or_a_string_or_nothing() {
        let text = Output::json(json!("a\n"));
        assert_eq!(stdin(Stdin::Json, &text).unwrap().unwrap(), "\"a\\n\"");
        assert_eq!(stdin(Stdin::Text, &text).unwrap().unwrap(), "a\n");
        assert_eq!(stdin(Stdin::Nothing, &text).unwrap(), None);
        assert_eq!(stdin(Stdin::Text, &Output::json(json!({}))).unwrap_err().code, "exec-input");
    }

    #[test]
    fn stdout_is_json_or_text() {
        let (json_out, text_out) = (json!({ "argv": ["x"] }), json!({ "argv": ["x"], "output": "text" }));
        let good = |parameter: &Value, stdout: &str| {
            output(&config(parameter), ended(ProgramHow::Code(0), stdout, None)).unwrap().to_json()
        };
        assert_eq!(*good(&json_out, " {\"a\": 1}\n"), json!({ "a": 1 }));
        assert_eq!(*good(&text_out, "{\"a\""), json!("{\"a\""));
        for (stdout, told) in [
            ("", "wrote nothing to stdout"),
            ("{}\n{}", "line 2 column 1 in `{}`"),
            ("Loading…\n{}", "line 1 column 1 in `Loading…`"),
            ("[1, 2", "line 1 column 5"),
        ] {
            let failed = failure(&json_out, ended(ProgramHow::Code(0), stdout, None));
            assert_eq!(failed.code, "exec-output");
            assert!(failed.message.contains(told) && !failed.retryable, "{stdout}: {}", failed.message);
        }
        let binary = ProgramEnd { how: ProgramHow::Code(0), stdout: vec![b'a', 0xff], last_line: None };
        assert!(failure(&text_out, binary).message.contains("at byte 1"));
    }

    #[test]
    fn a_bad_end_names_program_cause_and_last_words() {
        let exec = json!({ "argv": ["x"] });
        for (how, last_line, code, message, retryable) in [
            (
                ProgramHow::Code(3),
                Some("no such key"),
                "exec-failed",
                "the program `x` ended with exit code 3: no such key",
                true,
            ),
            (ProgramHow::Signal("SIGSEGV".into()), None, "exec-failed", "the program `x` was ended by SIGSEGV", true),
            (
                ProgramHow::CpuLimit(2),
                None,
                "cpu-limit",
                "the program `x` used up its CPU time: a process of the run may have 2 s",
                false,
            ),
            (
                ProgramHow::ForbiddenCall,
                None,
                "seccomp",
                "the program `x` was killed: it made a system call that is forbidden to programs",
                false,
            ),
        ] {
            let failed = failure(&exec, ended(how, "{}", last_line));
            assert_eq!((failed.code.as_str(), failed.message.as_str(), failed.retryable), (code, message, retryable));
        }
        let long = failure(&exec, ended(ProgramHow::Code(1), "", Some(&"ä".repeat(10_000))));
        assert!(long.message.chars().count() < 2 * EXCERPT_CHARS_MAX);
    }

    #[test]
    fn what_was_not_run_is_told_with_the_way_out() {
        let run = ProgramRun { name: "x", arguments: &[], stdin: None, stdout_bytes_max: 10 };
        let told = |error: ProgramError| no_end(&run, &Limits::default(), &error);
        let not_started = |source: io::Error| told(ProgramError::NotStarted { path: "/usr/bin/x".into(), source });
        for (failed, code, message, help) in [
            (told(ProgramError::NotHere), "internal", "no programs", None),
            (told(ProgramError::NotAllowed), "exec-not-allowed", "allows", Some("--allow-exec x=")),
            (told(ProgramError::TooMuch), "too-large", "more than 10 bytes", Some("limits.output")),
            (not_started(io::ErrorKind::NotFound.into()), "exec-start", "/usr/bin/x", Some("gone")),
            (not_started(io::ErrorKind::PermissionDenied.into()), "exec-start", "/usr/bin/x", Some("nobody")),
            (not_started(io::ErrorKind::WouldBlock.into()), "exec-start", "/usr/bin/x", Some("may have 16 processes")),
            (not_started(io::Error::from_raw_os_error(ENOEXEC)), "exec-start", "/usr/bin/x", Some("#!")),
        ] {
            assert_eq!(failed.code, code);
            assert!(failed.message.contains(message), "{}", failed.message);
            assert!(
                help.is_none_or(|help| failed.help.as_deref().is_some_and(|text| text.contains(help))),
                "{failed:?}"
            );
        }
    }
}
