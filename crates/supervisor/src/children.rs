//! `workflow` blocks: runs that other runs begin, and wait for.
//!
//! A run that was begun by a block is found again when the block is executed again after a crash: the journal keeps which
//! call began it, from the moment at which both runs are written.

use std::collections::{BTreeMap, HashMap};

use runlet_blocks::{CallId, Output};
use runlet_fetch::Held;
use runlet_journal::{Child, Entry, Reader, StoredRun};
use runlet_kernel::{Event, WorkflowControlBlock};
use runlet_memory::Token;
use runlet_proto::call::{Answer, WorkflowCall};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use tokio::sync::oneshot;

use crate::control_block::error_text;
use crate::core::{Core, Payload};
use crate::durable::stored::load;
use crate::durable::{Writing, output};
use crate::execute::Started;
use crate::inbound::{AttemptId, Inbound};
use crate::limits::{CHILDREN_DEPTH_MAX, READ_WRITTEN_WITHIN};
use crate::request::start::writing_of;
use crate::run_record::RunRecord;

/// The runs that blocks wait for.
pub(crate) type Children = HashMap<RunId, Waiting>;

/// A block that waits for a run which it began.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) attempt: AttemptId,
    answer: oneshot::Sender<Answer>,
}

/// The runs that the blocks of a run have begun, by the calls that did.
pub(crate) type Begun = BTreeMap<Token, BegunRun>;

/// A run that a block has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BegunRun {
    pub(crate) run: RunId,
    /// Whether it is in the journal from its beginning.
    pub(crate) written: bool,
}

/// The run whose block began another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) run: RunId,
    /// The call that did, as far as it is to be written down.
    pub(crate) call: Option<Token>,
}

impl Core {
    /// Begins the run that a block asks for, or finds the one that an execution of the same block began before a crash.
    pub(crate) fn start_child(&mut self, attempt: AttemptId, id: CallId, call: &WorkflowCall) -> Started {
        let token = self.token_of(attempt, id);
        let known = self.runs.get(&attempt.run).and_then(|record| record.begun.get(&token)).map(|begun| begun.run);
        let begun = match known {
            Some(run) => Ok((run, 0)),
            None => self.begin_child(attempt, id, token, call),
        };
        match begun {
            Err(failure) => Started::Answered(Answer::Failed(failure)),
            Ok((run, 0)) if !call.wait => Started::Answered(Answer::Workflow { run, output: None }),
            Ok((run, entry)) if !call.wait => {
                // Its id is told only when a crash cannot lose it any more.
                let on_disk = self.on_disk(entry);
                self.answer_later(attempt, id, async move {
                    on_disk.reached().await;
                    Answer::Workflow { run, output: None }
                })
            }
            Ok((run, _)) if self.kernel.run(run).is_some_and(|child| !child.state.is_terminal()) => {
                let (sender, answer) = oneshot::channel();
                self.children.insert(run, Waiting { attempt, answer: sender });
                self.answer_later(attempt, id, async {
                    answer.await.unwrap_or_else(|_| Answer::Failed(Failure::workflow("internal", "it was given up")))
                })
            }
            Ok((run, _)) => match self.history.get(run).filter(|ended| !ended.shortened) {
                Some(ended) => Started::Answered(answer_of(&ended.control_block)),
                None => self.read_child(attempt, id, run),
            },
        }
    }

    /// A run ended: the block that waits for it goes on.
    pub(crate) fn child_ended(&mut self, control_block: &WorkflowControlBlock<Payload>) {
        if let Some(waiting) = self.children.remove(&control_block.id) {
            // A parent that was given up meanwhile hears nothing.
            let _ = waiting.answer.send(answer_of(control_block));
        }
    }

    /// An attempt is over or was given up: the runs that it alone waits for are of no use to anybody any more.
    pub(crate) fn abandon_children(&mut self, attempt: AttemptId) {
        if self.children.is_empty() {
            return;
        }
        let Some(record) = self.runs.get(&attempt.run) else { return };
        let of_block = |call| Token { block: attempt.block.0, retries: call, call };
        let begun = record.begun.range(of_block(0)..=of_block(u32::MAX));
        let waits = |begun: &BegunRun| self.children.get(&begun.run).is_some_and(|waiting| waiting.attempt == attempt);
        let alone: Vec<RunId> =
            begun.map(|(_, begun)| begun).filter(|begun| waits(begun)).map(|begun| begun.run).collect();
        for run in alone {
            self.children.remove(&run);
            self.report(Event::Stop {
                run,
                reason: format!("run {} that waited for it does no longer", attempt.run).into(),
            });
        }
    }

    fn begin_child(
        &mut self,
        attempt: AttemptId,
        id: CallId,
        token: Token,
        call: &WorkflowCall,
    ) -> Result<(RunId, u64), Failure> {
        let program = self.program_to_begin(&call.workflow)?;
        let depth = 1 + self.ancestors(attempt.run).count();
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
        let parent = self.runs.get(&attempt.run);
        // If its parent is not taken up after a crash, it need not be either.
        let waited_for = call.wait && parent.is_some_and(|parent| parent.writing == Writing::AtTheEnd);
        let context = parent.and_then(|parent| parent.trace.context_below(attempt, id));
        // A run of high priority does not wait behind those of lower priority for what it has begun.
        let inherited = self.kernel.run(attempt.run).map(|parent| parent.priority).filter(|_| call.wait);
        let priority = inherited.max(Some(program.plan.priority));
        let mut record = RunRecord::new(program);
        record.writing = writing_of(record.program.definition.durability, waited_for);
        record.parent = Some(Parent { run: attempt.run, call: Some(token) });
        record.trace.context = context;
        let submitted = self.submit(record, Output::json(input), priority, false);
        submitted.map_err(|refusal| Failure {
            help: refusal.help,
            retryable: true,
            ..Failure::workflow("not-started", format!("`{}` was not started: {}", call.workflow, refusal.message))
        })
    }

    /// The workflow of this name as it is deployed now.
    pub(crate) fn program_to_begin(&self, workflow: &str) -> Result<crate::registry::Program, Failure> {
        self.registry.get(workflow).map(|deployed| deployed.program.clone()).ok_or_else(|| {
            let refusal = self.unknown_workflow(workflow);
            Failure { help: refusal.help, ..Failure::workflow("unknown-workflow", refusal.message) }
        })
    }

    /// The runs that wait for each other above a run: the one that waits for it first. There are at most as many as
    /// [`CHILDREN_DEPTH_MAX`], and no run waits for itself: each was begun by the one above it.
    pub(crate) fn ancestors(&self, run: RunId) -> impl Iterator<Item = RunId> {
        let above = |run: &RunId| self.children.get(run).map(|waiting| waiting.attempt.run);
        std::iter::successors(above(&run), above)
    }

    /// A run that was begun by a block is in the journal now; what its parent's record in the journal needs to be told.
    pub(crate) fn link_to_parent(&mut self, child: RunId) -> Option<Entry> {
        let Parent { run, call } = self.runs.get(&child)?.parent?;
        let token = call?;
        let parent = self.runs.get_mut(&run)?;
        parent.begun.insert(token, BegunRun { run: child, written: true });
        matches!(parent.writing, Writing::Written(_)).then(|| child_began(run, token, child))
    }

    /// A call is known again by where it was made and how often the block had failed before.
    pub(crate) fn token_of(&self, attempt: AttemptId, id: CallId) -> Token {
        let control_block = self.kernel.run(attempt.run);
        let block = control_block.and_then(|control_block| control_block.blocks.get(attempt.block.as_usize()));
        Token { block: attempt.block.0, retries: block.map_or(0, |block| block.retries), call: id.0 }
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

/// What is written of a run that a block began.
pub(crate) const fn child_began(parent: RunId, token: Token, child: RunId) -> Entry {
    let Token { block, retries, call } = token;
    Entry::ChildBegan { run: parent, child: Child { block, retries, call, run: child } }
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
