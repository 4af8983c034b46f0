//! `for_each`: one pass of a block for each element of a list, several of them waiting for their calls at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec;

use runlet_proto::call::{Answer, Call};
use runlet_proto::failure::Failure;
use runlet_workflow::definition::Block;
use runlet_workflow::template::Scope;
use serde_json::Value;

use crate::calls::Calls;
use crate::execution::{Asked, CallId, Pass, Resume, Subject, Weight, cancelled, not_made};
use crate::limits::{
    BRIEF_BYTES_MAX, FOR_EACH_ITEMS_MAX, FOR_EACH_OUTPUT_BYTES_MAX, SMALL_PASS_BYTES_MAX, STEP_ANSWERS_MAX,
};
use crate::output::{Output, value_bytes};

/// The passes over a list.
#[derive(Debug)]
pub(crate) struct ForEach {
    /// Elements whose pass has not begun.
    items: vec::IntoIter<Value>,
    parallel: usize,
    /// One place an element; filled when its pass is done.
    outputs: Vec<Value>,
    done: usize,
    bytes_left: usize,
    waiting: HashMap<CallId, (usize, Asked)>,
    next_call: u32,
    /// Whether every pass so far has copied at most [`SMALL_PASS_BYTES_MAX`], and none is to copy more of its element.
    is_of_small: bool,
}

/// How far the passes came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Some wait for answers; these calls are new.
    Wait(Vec<(CallId, Call)>),
    /// All are done: the list of their outputs, in the order of the elements.
    Done(Output),
}

impl ForEach {
    /// The passes over `items`, of which `parallel` may wait at once.
    pub(crate) fn new(items: Value, parallel: usize) -> Result<Self, Failure> {
        let found = match items {
            Value::Array(list) if list.len() <= FOR_EACH_ITEMS_MAX => {
                return Ok(Self {
                    parallel: parallel.max(1),
                    outputs: vec![Value::Null; list.len()],
                    done: 0,
                    bytes_left: FOR_EACH_OUTPUT_BYTES_MAX,
                    waiting: HashMap::new(),
                    next_call: 0,
                    is_of_small: list.iter().all(|item| value_bytes(item) <= SMALL_PASS_BYTES_MAX),
                    items: list.into_iter(),
                });
            }
            Value::Array(list) => {
                return Err(Failure::workflow(
                    "for-each",
                    format!("`for_each` yields {} elements, and at most {FOR_EACH_ITEMS_MAX} are allowed", list.len()),
                )
                .with_help("take a part of the list: `{{ list[:1000] }}`"));
            }
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Object(_) => "an object",
        };
        Err(Failure::workflow("for-each", format!("`for_each` must yield a list, and yields {found}")))
    }

    /// How much compute it takes to go on with these answers.
    pub(crate) fn weight(&self, block: &Block, resume: &Resume) -> Weight {
        let (answers, bytes) = match resume {
            Resume::Start => return Weight::Compute,
            Resume::Answer(_, answer) => (1, answer.carried_bytes()),
            Resume::Answers(answers) => (answers.len(), answers.iter().map(|(_, answer)| answer.carried_bytes()).sum()),
        };
        // With as many elements left as are answered, the output is not made yet.
        let is_step = self.is_of_small
            && answers <= STEP_ANSWERS_MAX.min(self.items.len())
            && bytes <= BRIEF_BYTES_MAX
            && block.config.only_calls_for_element();
        if is_step { Weight::Step } else { Weight::Compute }
    }

    /// Begins as many passes as may be under way.
    pub(crate) fn launch(
        &mut self,
        subject: &Subject,
        scope: Option<&Scope>,
        calls: &mut dyn Calls,
    ) -> Result<Progress, Failure> {
        let mut new = Vec::new();
        while self.waiting.len() < self.parallel
            && let Some(item) = self.items.next()
        {
            calls.tick().map_err(|_| cancelled())?;
            let index = self.outputs.len() - self.items.len() - 1;
            let item = Arc::new(item);
            let scope = scope.map(|scope| Scope { item: Some((index, Arc::clone(&item))), ..scope.clone() });
            match subject
                .begin(&Output::Json(item), scope.as_ref(), calls)
                .map_err(|failure| of_element(index, failure))?
            {
                Pass::Done(output) => self.store(index, output)?,
                Pass::Call(call, asked) => {
                    self.is_of_small &= call.carried_bytes() + asked.carried_bytes() <= SMALL_PASS_BYTES_MAX;
                    let id = CallId(self.next_call);
                    self.next_call += 1;
                    self.waiting.insert(id, (index, asked));
                    new.push((id, call));
                }
            }
        }
        if self.done < self.outputs.len() {
            return Ok(Progress::Wait(new));
        }
        Ok(Progress::Done(Output::json(Value::Array(std::mem::take(&mut self.outputs)))))
    }

    /// Ends the pass that waited for this answer; [`Self::launch`] begins the next.
    pub(crate) fn take(
        &mut self,
        id: CallId,
        answer: Answer,
        subject: &Subject,
        calls: &mut dyn Calls,
    ) -> Result<(), Failure> {
        let (index, asked) = self.waiting.remove(&id).ok_or_else(|| not_made(id))?;
        let output = subject.finish(asked, answer, calls).map_err(|failure| of_element(index, failure))?;
        self.store(index, output)
    }

    fn store(&mut self, index: usize, output: Output) -> Result<(), Failure> {
        self.bytes_left = self.bytes_left.checked_sub(output.heap_bytes()).ok_or_else(|| {
            Failure::workflow(
                "too-large",
                format!(
                    "the outputs of `for_each` take more than {} MiB together",
                    FOR_EACH_OUTPUT_BYTES_MAX / (1024 * 1024)
                ),
            )
            .with_help("let the block yield less for each element, or take a part of the list")
        })?;
        let json = output.to_json();
        drop(output);
        self.outputs[index] = Arc::unwrap_or_clone(json);
        self.done += 1;
        Ok(())
    }
}

fn of_element(index: usize, failure: Failure) -> Failure {
    Failure { message: format!("element {index}: {}", failure.message), ..failure }
}
