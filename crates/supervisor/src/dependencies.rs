//! `dependencies` on workflows: a block that has one does not begin before that workflow has a COMPLETED run that is young
//! enough. If it has none, the newest live run is waited for, or one is started.

use std::collections::HashMap;

use runlet_blocks::Output;
use runlet_kernel::{Event, WorkflowControlBlock};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::RunId;
use runlet_proto::state::{Lane, RunState};
use runlet_workflow::definition::{OnDependencyFailure, WorkflowDependency};
use serde_json::Value;

use crate::attempt::Active;
use crate::children::Parent;
use crate::control_block::error_text;
use crate::core::{Core, Payload};
use crate::inbound::AttemptId;
use crate::request::start::writing_of;
use crate::run_record::RunRecord;

/// Attempts that wait for workflows, by the workflow.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    waiting: HashMap<String, Vec<Gated>>,
}

/// An attempt that does not begin yet.
#[derive(Debug)]
struct Gated {
    attempt: AttemptId,
    /// The run it waits for; without, any will do.
    run: Option<RunId>,
    /// Whether it begins although that run fails.
    goes_on: bool,
}

impl Gates {
    /// Each run that waits, and the run it waits for.
    pub(crate) fn runs_waited_for(&self) -> impl Iterator<Item = (RunId, RunId)> {
        self.waiting.values().flatten().filter_map(|gated| Some((gated.attempt.run, gated.run?)))
    }

    /// An attempt waits no more.
    pub(crate) fn forget(&mut self, attempt: AttemptId) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|gated| gated.attempt != attempt);
            !waiting.is_empty()
        });
    }
}

/// What an attempt that does not begin yet is to do when it is woken.
#[derive(Debug)]
pub(crate) enum Gate {
    /// To begin, if those of its dependencies let it that it has not looked at: all but so many.
    Passed(usize),
    /// To fail.
    Closed(Failure),
}

/// When a workflow had its last COMPLETED run, by the workflow.
pub(crate) type LastCompleted = HashMap<String, u64>;

/// What an attempt has to do about one dependency.
enum Next {
    Begin,
    Wait(Option<RunId>),
}

impl Core {
    /// Whether an attempt does not begin yet, since a workflow it depends on has not completed; it is woken when it has. An
    /// attempt that cannot wait for it has failed when this returns. `passed`: how many of its dependencies it need not look
    /// at any more.
    pub(crate) fn waits_for_workflow(&mut self, attempt: AttemptId, passed: usize) -> bool {
        let Some(record) = self.runs.get(&attempt.run) else { return false };
        let definition = std::sync::Arc::clone(&record.program.definition);
        for (at, dependency) in definition.gates(attempt.block.as_usize()).enumerate().skip(passed) {
            match self.look_at(attempt.run, dependency) {
                Ok(Next::Begin) => {}
                Ok(Next::Wait(run)) => {
                    self.wait_for_workflow(attempt, dependency, run, at);
                    return true;
                }
                Err(_) if dependency.on_failure == OnDependencyFailure::Continue => {}
                Err(failure) => {
                    self.finish(attempt, Err(failure));
                    return true;
                }
            }
        }
        false
    }

    /// An attempt was woken that had not begun yet.
    pub(crate) fn pass_gate(&mut self, attempt: AttemptId, gate: Gate, lane: Lane) {
        self.attempts.remove(&attempt);
        match gate {
            Gate::Closed(failure) => self.finish(attempt, Err(failure)),
            Gate::Passed(passed) if self.waits_for_workflow(attempt, passed) => {}
            Gate::Passed(_) => self.begin_now(attempt, lane),
        }
    }

    fn look_at(&mut self, run: RunId, dependency: &WorkflowDependency) -> Result<Next, Failure> {
        let WorkflowDependency { workflow, max_age, start, .. } = dependency;
        let now_ms = self.clock.unix_ms(self.clock.now());
        let oldest_ms = now_ms.saturating_sub(u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX));
        if self.completed.get(workflow).is_some_and(|at_ms| *at_ms >= oldest_ms) {
            return Ok(Next::Begin);
        }
        let live = self.kernel.runs().filter(|other| &*other.plan.workflow == workflow.as_str() && other.id != run);
        if let Some(newest) = live.filter(|other| !other.state.is_terminal()).map(|other| other.id).max() {
            self.check_for_ring(run, newest)?;
            return Ok(Next::Wait(Some(newest)));
        }
        if !start {
            return Ok(Next::Wait(None));
        }
        self.start_dependency(run, workflow).map(|run| Next::Wait(Some(run)))
    }

    fn start_dependency(&mut self, run: RunId, workflow: &str) -> Result<RunId, Failure> {
        let program = self.program_to_begin(workflow)?;
        self.check_for_memory(run, &program)?;
        let inherited = self.kernel.run(run).map(|run| run.priority).max(Some(program.plan.priority));
        let mut record = RunRecord::new(program);
        record.writing = writing_of(record.program.definition.durability, false);
        record.parent = Some(Parent { run, call: None });
        let submitted = self.submit(record, Output::json(Value::Null), inherited, false);
        submitted.map(|(run, _)| run).map_err(|refusal| Failure {
            help: refusal.help,
            retryable: true,
            ..Failure::workflow("not-started", format!("`{workflow}` was not started: {}", refusal.message))
        })
    }

    fn wait_for_workflow(
        &mut self,
        attempt: AttemptId,
        dependency: &WorkflowDependency,
        run: Option<RunId>,
        gate: usize,
    ) {
        let goes_on = dependency.on_failure == OnDependencyFailure::Continue;
        let gated = Gated { attempt, run, goes_on };
        self.gates.waiting.entry(dependency.workflow.clone()).or_default().push(gated);
        let active = Active::before(Gate::Passed(gate + 1), &format!("dependency workflow:{}", dependency.workflow));
        let on = active.waits_on.clone();
        self.attempts.insert(attempt, active);
        let AttemptId { run, block, attempt } = attempt;
        self.report(Event::Waiting { run, block, attempt, on });
    }

    /// A run ended: whoever waited for its workflow goes on, or fails with it.
    pub(crate) fn dependency_ended(&mut self, control_block: &WorkflowControlBlock<Payload>) {
        let (workflow, completed) = (&*control_block.plan.workflow, control_block.state == RunState::Completed);
        if completed {
            let at_ms = self.clock.unix_ms(control_block.updated_at);
            match self.completed.get_mut(workflow) {
                Some(last) => *last = at_ms,
                None => drop(self.completed.insert(workflow.to_owned(), at_ms)),
            }
        }
        let Some(waiting) = self.gates.waiting.get_mut(workflow) else { return };
        let concerned = |gated: &mut Gated| completed || gated.run == Some(control_block.id);
        let ended: Vec<Gated> = waiting.extract_if(.., concerned).collect();
        if waiting.is_empty() {
            self.gates.waiting.remove(workflow);
        }
        for Gated { attempt, goes_on, .. } in ended {
            let Some(active) = self.attempts.get_mut(&attempt) else { continue };
            if !(completed || goes_on) {
                active.gate = Some(Gate::Closed(failed(control_block)));
            }
            let AttemptId { run, block, attempt } = attempt;
            self.report(Event::Woken { run, block, attempt });
        }
    }
}

/// Why an attempt does not begin.
fn failed(control_block: &WorkflowControlBlock<Payload>) -> Failure {
    let (run, workflow, state) = (control_block.id, &control_block.plan.workflow, control_block.state);
    let error = control_block.error.as_deref();
    let cause = error.map(|error| format!(": {}", error_text(error))).unwrap_or_default();
    let class = error.map_or(FailureClass::Workflow, |error| error.failure.class);
    let message = format!("it depends on workflow `{workflow}`, whose run {run} is {state}{cause}");
    let failure = Failure { class, retryable: true, ..Failure::workflow("dependency-failed", message) };
    failure.with_help(format!(
        "`runlet inspect {run}` shows it; \"on_failure\": \"continue\" in the dependency goes on all the same"
    ))
}
