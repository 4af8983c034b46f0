//! `workflow` blocks: runs that other runs begin, and wait for.
//!
//! A run that was begun by a block is found again when the block is executed again after a crash: it keeps the key of the
//! call that began it, as a run keeps the idempotency key of the request that did.

use std::collections::HashMap;

use runlet_blocks::{CallId, Output};
use runlet_fetch::Held;
use runlet_journal::{Reader, StoredRun};
use runlet_kernel::{Event, WorkflowControlBlock};
use runlet_proto::call::{Answer, WorkflowCall};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::control_block::error_text;
use crate::core::{Core, Payload};
use crate::durable::keys::Key;
use crate::durable::stored::load;
use crate::durable::{Writing, output};
use crate::execute::Started;
use crate::inbound::{AttemptId, Inbound};
use crate::limits::{CHILDREN_DEPTH_MAX, READ_WRITTEN_WITHIN};
use crate::request::start::writing_of;
use crate::run_record::RunRecord;

/// The runs that blocks wait for.
pub(crate) type Children = HashMap<RunId, Vec<Parent>>;

/// A block that waits for a run.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) attempt: AttemptId,
    answer: oneshot::Sender<Answer>,
}

impl Core {
    /// Begins the run that a block asks for, or finds the one that an execution of the same block began before a crash.
    pub(crate) fn start_child(&mut self, attempt: AttemptId, id: CallId, call: &WorkflowCall) -> Started {
        let key = self.key_of_child(attempt, id);
        let now_ms = self.clock.unix_ms(self.clock.now());
        let wait = call.wait;
        let run = match self.durable.keys.get(&key, now_ms) {
            Some(run) => Ok(run),
            None => self.begin_child(attempt, id, key, call).inspect(|run| self.durable.keys.note(key, *run, now_ms)),
        };
        match run {
            Err(failure) => Started::Answered(Answer::Failed(failure)),
            Ok(run) if !wait => Started::Answered(Answer::Workflow { run, output: None }),
            Ok(run) if self.kernel.run(run).is_some_and(|child| !child.state.is_terminal()) => {
                let (sender, answer) = oneshot::channel();
                self.children.entry(run).or_default().push(Parent { attempt, answer: sender });
                self.answer_later(attempt, id, async {
                    answer.await.unwrap_or_else(|_| Answer::Failed(Failure::workflow("internal", "it was given up")))
                })
            }
            Ok(run) => match self.history.get(run).filter(|ended| !ended.shortened) {
                Some(ended) => Started::Answered(answer_of(&ended.control_block)),
                None => self.read_child(attempt, id, run),
            },
        }
    }

    /// A run ended: the blocks that wait for it go on.
    pub(crate) fn child_ended(&mut self, control_block: &WorkflowControlBlock<Payload>) {
        for parent in self.children.remove(&control_block.id).unwrap_or_default() {
            // A parent that was given up meanwhile hears nothing.
            let _ = parent.answer.send(answer_of(control_block));
        }
    }

    /// An attempt was given up: what it waits for is of no use to anybody any more.
    pub(crate) fn abandon_children(&mut self, attempt: AttemptId) {
        let mut alone = Vec::new();
        for (run, parents) in &mut self.children {
            let before = parents.len();
            parents.retain(|parent| parent.attempt != attempt);
            if parents.is_empty() && before > 0 {
                alone.push(*run);
            }
        }
        for run in alone {
            self.children.remove(&run);
            self.report(Event::Stop {
                run,
                reason: format!("run {} that waited for it does no longer", attempt.run).into(),
            });
        }
    }

    fn begin_child(&mut self, attempt: AttemptId, id: CallId, key: Key, call: &WorkflowCall) -> Result<RunId, Failure> {
        let program = self.registry.get(&call.workflow).map(|deployed| deployed.program.clone()).ok_or_else(|| {
            let refusal = self.unknown_workflow(&call.workflow);
            let failure = Failure::workflow("unknown-workflow", refusal.message);
            Failure { help: refusal.help, ..failure }
        })?;
        let parent = self.runs.get(&attempt.run);
        let depth = parent.map_or(0, |parent| parent.depth) + 1;
        if depth > CHILDREN_DEPTH_MAX {
            let message = format!(
                "{CHILDREN_DEPTH_MAX} runs already wait for each other above this one, which begins `{}` again",
                call.workflow
            );
            return Err(Failure::workflow("too-deep", message)
                .with_help("a workflow that begins itself needs a `when` that ends it"));
        }
        if call.wait {
            self.check_for_deadlock(attempt.run, &program)?;
        }
        let input = serde_json::from_slice(&call.input)
            .map_err(|error| Failure::workflow("workflow", format!("its input is no JSON: {error}")))?;
        // If its parent is not taken up after a crash, it need not be either.
        let waited_for = call.wait && parent.is_some_and(|parent| parent.writing == Writing::AtTheEnd);
        let context = parent.and_then(|parent| parent.trace.context_below(attempt, id));
        let mut record = RunRecord::new(program);
        record.writing = writing_of(record.program.definition.durability, waited_for);
        record.key = Some(key);
        record.parent = Some(attempt.run);
        record.depth = depth;
        record.trace.context = context;
        let submitted = self.submit(record, Output::json(input), None, false);
        submitted.map(|(run, _)| run).map_err(|refusal| Failure {
            help: refusal.help,
            retryable: true,
            ..Failure::workflow("not-started", format!("`{}` was not started: {}", call.workflow, refusal.message))
        })
    }

    /// A run that waits for one of its own ancestors' places waits for ever.
    fn check_for_deadlock(&self, parent: RunId, program: &crate::registry::Program) -> Result<(), Failure> {
        let Some(most) = program.definition.concurrency else { return Ok(()) };
        let name = &program.definition.name;
        let mut chain = Vec::new();
        let mut next = Some(parent);
        while let Some((run, record)) = next.and_then(|run| Some((run, self.runs.get(&run)?))) {
            chain.push((run, record.program.definition.name.as_str()));
            next = record.parent.filter(|_| chain.len() <= usize::from(CHILDREN_DEPTH_MAX));
        }
        let held = chain.iter().filter(|(_, workflow)| workflow == name).count();
        if held < most.get() as usize {
            return Ok(());
        }
        let path: Vec<String> = chain.iter().rev().map(|(run, workflow)| format!("`{workflow}` ({run})")).collect();
        let message = format!(
            "deadlock: {} wait for each other, and the next run of `{name}` would wait for one of them, since its `concurrency` is {most}",
            path.join(" → ")
        );
        Err(Failure::workflow("deadlock", message)
            .with_help("raise the `concurrency`, or let the block not wait for its run (\"wait\": false)"))
    }

    /// A call is known again by where it was made and how often the block had failed before.
    fn key_of_child(&self, attempt: AttemptId, id: CallId) -> Key {
        let control_block = self.kernel.run(attempt.run);
        let block = control_block.and_then(|control_block| control_block.blocks.get(attempt.block.as_usize()));
        let retries = block.map_or(0, |block| block.retries);
        let mut hash = Sha256::new();
        hash.update(b"workflow block");
        hash.update(attempt.run.as_u128().to_le_bytes());
        hash.update(attempt.block.0.to_le_bytes());
        hash.update(retries.to_le_bytes());
        hash.update(id.0.to_le_bytes());
        hash.finalize().into()
    }

    /// Answers a call when the answer is there.
    pub(crate) fn answer_later(
        &self,
        attempt: AttemptId,
        call: CallId,
        answer: impl Future<Output = Answer> + Send + 'static,
    ) -> Started {
        let loop_queue = self.loop_queue.clone();
        let task = tokio::spawn(async move {
            let answer = answer.await;
            let _ = loop_queue.send(Inbound::Answered { attempt, call, answer, held: Held::default() }).await;
        });
        Started::UnderWay(task.abort_handle())
    }

    /// Has the end of a run read that ended before this supervisor began.
    fn read_child(&self, attempt: AttemptId, id: CallId, run: RunId) -> Started {
        let (directory, written) = (self.durable.directory().to_owned(), self.all_on_disk());
        self.answer_later(attempt, id, async move {
            let _ = tokio::time::timeout(READ_WRITTEN_WITHIN, written.reached()).await;
            let read = move || {
                let reader = Reader::open(&directory).map_err(|error| error.to_string())?;
                reader.run(run).map_err(|error| error.to_string())
            };
            let unread = |why: String| {
                Answer::Failed(Failure::workflow("workflow", format!("run {run} cannot be read in the journal: {why}")))
            };
            match tokio::task::spawn_blocking(read).await {
                Ok(Ok(Some(stored))) => answer_of_stored(&stored),
                Ok(Ok(None)) => unread("it is not there any more".to_owned()),
                Ok(Err(why)) => unread(why),
                Err(error) => unread(error.to_string()),
            }
        })
    }
}

/// What a block that waited for a run is answered.
fn answer_of(control_block: &WorkflowControlBlock<Payload>) -> Answer {
    let run = control_block.id;
    if control_block.state == RunState::Completed {
        let output = control_block.output.as_ref().map_or_else(|| "null".into(), Payload::to_json_text);
        return Answer::Workflow { run, output: Some(output) };
    }
    let error = control_block.error.as_deref();
    let failure = error.map(|error| (error_text(error), error.failure.class, error.failure.retryable));
    Answer::Failed(failed(run, &control_block.plan.workflow, control_block.state, failure))
}

fn answer_of_stored(stored: &StoredRun) -> Answer {
    let run = stored.began.run;
    let Some(ended) = &stored.ended else {
        return Answer::Failed(Failure::workflow("workflow", format!("run {run} has not ended and does not go on")));
    };
    if ended.state == RunState::Completed {
        return match output(stored).map(load) {
            None => Answer::Workflow { run, output: Some("null".into()) },
            Some(Ok(output)) => Answer::Workflow { run, output: Some(output.to_json_text()) },
            Some(Err(why)) => Answer::Failed(Failure::workflow("workflow", format!("the output of run {run}: {why}"))),
        };
    }
    let failure =
        ended.error.as_ref().map(|error| (error.failure.message.clone(), error.failure.class, error.failure.retryable));
    Answer::Failed(failed(run, &stored.began.workflow, ended.state, failure))
}

fn failed(run: RunId, workflow: &str, state: RunState, failure: Option<(String, FailureClass, bool)>) -> Failure {
    let (text, class, retryable) = failure.unwrap_or_else(|| (String::new(), FailureClass::Workflow, false));
    let text = if text.is_empty() { text } else { format!(": {text}") };
    let message = format!("run {run} of `{workflow}` is {state}{text}");
    Failure { class, retryable, ..Failure::workflow("workflow-failed", message) }
        .with_help(format!("`runlet inspect {run}` shows it"))
}
