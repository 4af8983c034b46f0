//! Drives one block of a definition.

use std::sync::Arc;

use runlet_blocks::{Assignment, CallId, Calls, Execution, Interrupted, Outcome, Output, Resume, Step};
use runlet_proto::call::{Answer, Body, Call, FetchCall, FetchReply};
use runlet_proto::control::LogLevel;
use runlet_proto::failure::Failure;
use runlet_proto::ids::BlockIndex;
use runlet_workflow::Definition;
use runlet_workflow::template::Scope;
use serde_json::{Value, json};

/// Remembers what was logged; can be interrupted.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) lines: Vec<(LogLevel, String)>,
    /// Ticks until the attempt is given up.
    pub(crate) ticks_left: Option<usize>,
}

impl Calls for Recorder {
    fn tick(&mut self) -> Result<(), Interrupted> {
        match &mut self.ticks_left {
            None => Ok(()),
            Some(0) => Err(Interrupted),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.lines.push((level, text.to_owned()));
    }
}

/// The definition whose second block is `block`, behind a hook. It shares one namespace of memory, `m`.
pub(crate) fn definition(block: &Value) -> Arc<Definition> {
    let text = json!({ "memory": ["m"], "blocks": [{ "type": "hook", "path": "t/:id" }, block] }).to_string();
    Arc::new(runlet_workflow::parse("test.json", &text).unwrap_or_else(|found| panic!("{found:#?}")))
}

/// An attempt of `block` with `input`.
pub(crate) fn execution(block: &Value, input: &Value) -> Execution {
    execution_of(block, Output::json(input.clone()))
}

pub(crate) fn execution_of(block: &Value, input: Output) -> Execution {
    let definition = definition(block);
    let scope = Execution::needs_scope(&definition.blocks[1]).then(|| Scope {
        input: input.to_json(),
        hook: Some(Arc::new(json!({ "query": { "q": "tea & cake" }, "headers": { "evil": "a\r\nb: c" } }))),
        blocks: Vec::new(),
        run: Arc::new(json!({ "id": "r" })),
        item: None,
    });
    Execution::new(Assignment { definition, block: BlockIndex(1), input, scope })
}

/// Runs a block that makes no calls.
pub(crate) fn run(block: &Value, input: &Value) -> Result<Output, Failure> {
    match execution(block, input).resume(Resume::Start, &mut Recorder::default()) {
        Step::Done(Ok(Outcome::Completed(output))) => Ok(output),
        Step::Done(Err(failure)) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// Starts a block and returns the one call it makes.
pub(crate) fn only_call(execution: &mut Execution) -> FetchCall {
    match execution.resume(Resume::Start, &mut Recorder::default()) {
        Step::Wait(calls) => match <[_; 1]>::try_from(calls) {
            Ok([(CallId(0), Call::Fetch(call))]) => call,
            other => panic!("{other:?}"),
        },
        Step::Done(other) => panic!("{other:?}"),
    }
}

/// What a fetch block makes of an answer.
pub(crate) fn answered(block: &Value, reply: FetchReply) -> (Result<Value, Failure>, Recorder) {
    let mut execution = execution(block, &json!({}));
    only_call(&mut execution);
    let mut recorder = Recorder::default();
    let result = match execution.resume(Resume::Answer(CallId(0), Answer::Fetch(Box::new(reply))), &mut recorder) {
        Step::Done(Ok(Outcome::Completed(output))) => Ok(Value::clone(&output.to_json())),
        Step::Done(Err(failure)) => Err(failure),
        other => panic!("{other:?}"),
    };
    (result, recorder)
}

pub(crate) fn reply(status: u16, content_type: &str, text: &str) -> FetchReply {
    FetchReply {
        status,
        url: "http://user:secret@example.org/end".to_owned(),
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: Body::Text { text: text.to_owned(), encoding: "UTF-8".to_owned() },
        redirects: vec!["http://example.org/".to_owned()],
        elapsed_us: 12_345,
    }
}
