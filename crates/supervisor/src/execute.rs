//! Executing attempts: in place on the loop when the work is microseconds, on a pool thread otherwise.

use std::sync::Arc;

use runlet_blocks::{Assignment, CallId, Calls, Execution, Interrupted, Outcome, Output, Resume, Step, Weight, caught};
use runlet_fetch::Held;
use runlet_kernel::{BlockInput, BlockResult, Event};
use runlet_proto::call::{Answer, Call};
use runlet_proto::control::{LogLevel, RunEventKind};
use runlet_proto::failure::Failure;
use runlet_proto::ids::{BlockIndex, RunId};
use runlet_proto::state::{BlockStatus, Lane, RunState};
use runlet_workflow::BlockConfig;
use runlet_workflow::template::Scope;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::attempt::Active;
use crate::core::Core;
use crate::inbound::{AttemptId, Inbound};
use crate::pool::Assigned;

impl Core {
    /// Begins an attempt, or begins it again after [`Self::dropped`].
    pub(crate) fn begin(&mut self, attempt: AttemptId) {
        let Some(assignment) = self.assignment(attempt) else {
            // The kernel dispatches only what lives; were it otherwise, the attempt must not hang.
            let failure = Failure::workflow("internal", "the run is unknown to the supervisor");
            return self.finish(attempt, Err(failure));
        };
        if let Some(reason) = self.belongs_in_worker(attempt, &assignment) {
            return self.move_to_worker(attempt, reason);
        }
        self.trace_begin(attempt);
        self.resume(attempt, Active::new(Box::new(Execution::new(assignment))), Resume::Start, false);
    }

    /// Goes on with an attempt that was woken, or that had yielded its slot.
    pub(crate) fn go_on(&mut self, attempt: AttemptId, lane: Lane) {
        let Some(active) = self.attempts.get_mut(&attempt) else { return };
        if let Some(gate) = active.gate.take() {
            return self.pass_gate(attempt, gate, lane);
        }
        if active.parked {
            active.parked = false;
            if active.heavy {
                return self.go_on_heavy(attempt.run);
            }
            if let Some(control) = &active.control {
                control.go_on();
            }
            return;
        }
        active.waiting = false;
        self.settle_attempt(attempt, true);
    }

    /// A call was answered. The attempt is woken if it waits; if it computes, it finds the answer when it stops.
    pub(crate) fn answered(&mut self, attempt: AttemptId, call: CallId, answer: Answer, held: Held) {
        self.export_answer(attempt, call, &answer);
        self.note_received(attempt, call, &answer, self.attempts.contains_key(&attempt));
        let Some(active) = self.attempts.get_mut(&attempt) else { return };
        let is_paused = self.kernel.run(attempt.run).is_some_and(|run| run.state == RunState::Paused);
        if let Some(record) = self.runs.get_mut(&attempt.run)
            && !(held.is_empty() || is_paused)
        {
            record.held.push(held);
        }
        let outcome = answer.outcome();
        active.unanswered = active.unanswered.saturating_sub(1);
        active.answers.push_back((call, answer));
        let wakes = std::mem::take(&mut active.waiting);
        self.trace_answer(attempt, call, outcome);
        if wakes {
            let AttemptId { run, block, attempt } = attempt;
            self.report(Event::Woken { run, block, attempt });
        }
    }

    /// A pool thread stopped executing.
    pub(crate) fn computed(
        &mut self,
        attempt: AttemptId,
        execution: Option<Box<Execution>>,
        result: Result<Step, Failure>,
    ) {
        let Some(mut active) = self.attempts.remove(&attempt) else {
            // Given up meanwhile: the kernel waits only to have the slot back.
            return self.finish(attempt, Err(Failure::workflow("cancelled", "the attempt was given up")));
        };
        match result {
            Ok(Step::Done(result)) => self.finish(attempt, result),
            Ok(Step::Wait(calls)) => {
                active.execution = execution;
                self.wait(attempt, active, calls);
            }
            Err(failure) => self.finish(attempt, Err(failure)),
        }
    }

    /// A pool thread gave its slot back.
    pub(crate) fn parked(&mut self, attempt: AttemptId) {
        let Some(active) = self.attempts.get_mut(&attempt) else { return };
        active.parked = true;
        let AttemptId { run, block, attempt } = attempt;
        self.report(Event::Yielded { run, block, attempt });
    }

    /// A pool thread gave its slot back and kept nothing: the kernel dispatches the attempt again when it is its turn.
    pub(crate) fn dropped(&mut self, attempt: AttemptId) {
        // One that was given up meanwhile is gone from here already; the kernel still waits for its slot.
        self.attempts.remove(&attempt);
        let AttemptId { run, block, attempt } = attempt;
        self.report(Event::Yielded { run, block, attempt });
    }

    /// Resumes an execution, in place or on the pool.
    fn resume(&mut self, attempt: AttemptId, mut active: Active, resume: Resume, was_woken: bool) {
        let Some(mut execution) = active.execution.take() else { return };
        let is_compute = match execution.weight(&resume) {
            Weight::Brief => false,
            // Of a store that answers at once the loop would hear nothing else until the last step.
            Weight::Step => !was_woken,
            Weight::Compute => true,
        };
        let is_start = matches!(resume, Resume::Start);
        let mut calls = InPlace::default();
        let result = match (is_compute, is_start) {
            (false, _) => caught(|| execution.resume(resume, &mut calls)),
            // Often enough a page need not be read far: that is done before another thread would be awake. With more runs
            // under way the threads are awake, and the loop has them to look after.
            (true, true) if self.runs.len() == 1 => match caught(|| execution.try_brief(&mut calls)) {
                Ok(None) => return self.resume_on_pool(attempt, active, execution, resume),
                Ok(Some(step)) => Ok(step),
                Err(failure) => Err(failure),
            },
            (true, _) => return self.resume_on_pool(attempt, active, execution, resume),
        };
        for (level, text) in calls.log {
            self.log(attempt, level, text);
        }
        match result {
            Ok(Step::Done(result)) => self.finish(attempt, result),
            Ok(Step::Wait(calls)) => {
                active.execution = Some(execution);
                self.wait(attempt, active, calls);
            }
            Err(failure) => self.finish(attempt, Err(failure)),
        }
    }

    fn resume_on_pool(&mut self, attempt: AttemptId, mut active: Active, execution: Box<Execution>, resume: Resume) {
        // How many compute at once is bounded by slots and places to be parked at.
        self.let_go(attempt.run);
        let moves = self.runs.get(&attempt.run).is_some_and(|record| self.may_move(&record.program, attempt.block));
        let control = active.control.get_or_insert_default();
        control.go_on();
        let assigned = Assigned { attempt, execution, resume, moves, control: Arc::clone(control) };
        self.attempts.insert(attempt, active);
        if let Err(error) = self.pool.assign(assigned) {
            self.attempts.remove(&attempt);
            let failure = Failure::workflow("no-thread", format!("no pool thread could be started: {error}"))
                .with_help("raise the limit on threads (ulimit -u, TasksMax=) of the supervisor");
            self.finish(attempt, Err(failure));
        }
    }

    /// Starts the calls an execution asked for, and lets it wait unless an answer is there already.
    pub(crate) fn wait(&mut self, attempt: AttemptId, mut active: Active, calls: Vec<(CallId, Call)>) {
        if let Some((_, first)) = calls.first() {
            active.waits_on = self.waits_on(first).into();
        }
        self.let_go(attempt.run);
        active.calls.retain(|call| !call.is_finished());
        for (id, call) in calls {
            self.trace_call(attempt, id, &call);
            match self.start_call(attempt, id, call) {
                Started::UnderWay(call) => {
                    active.calls.push(call);
                    active.unanswered += 1;
                }
                Started::Queued => active.unanswered += 1,
                Started::Answered(answer) => {
                    self.export_answer(attempt, id, &answer);
                    self.note_received(attempt, id, &answer, true);
                    self.trace_answer(attempt, id, answer.outcome());
                    active.answers.push_back((id, answer));
                }
            }
        }
        self.attempts.insert(attempt, active);
        self.settle_attempt(attempt, false);
    }

    /// Resumes an attempt with the next answer, or tells the kernel that it waits. One that `was_woken` has given others their
    /// turn.
    fn settle_attempt(&mut self, id: AttemptId, was_woken: bool) {
        let Some(active) = self.attempts.get_mut(&id) else { return };
        if let Some((call, answer)) = active.answers.pop_front() {
            if active.heavy {
                active.computing = true;
                return self.answer_worker(id, call, answer);
            }
            if let Some(mut active) = self.attempts.remove(&id) {
                let resume = match active.answers.is_empty() {
                    true => Resume::Answer(call, answer),
                    false => Resume::Answers(std::iter::once((call, answer)).chain(active.answers.drain(..)).collect()),
                };
                self.resume(id, active, resume, was_woken);
            }
            return;
        }
        active.waiting = true;
        let on = Arc::clone(&active.waits_on);
        self.report(Event::Waiting { run: id.run, block: id.block, attempt: id.attempt, on });
    }

    /// What a run has fetched counts no longer against the budget of what is fetched and waits.
    pub(crate) fn let_go(&mut self, run: RunId) {
        if let Some(record) = self.runs.get_mut(&run) {
            record.held.clear();
        }
    }

    fn start_call(&mut self, attempt: AttemptId, id: CallId, call: Call) -> Started {
        let intent = self.intend(attempt, &call);
        let loop_queue = self.loop_queue.clone();
        match call {
            Call::Fetch(mut fetch) => {
                if let Some(record) = self.runs.get(&attempt.run) {
                    record.trace.pass_on(attempt, id, &mut fetch.headers);
                }
                let fetcher = self.fetcher.clone();
                let task = tokio::spawn(async move {
                    if let Some(intent) = intent {
                        intent.reached().await;
                    }
                    let (answer, held) = match fetcher.fetch_and_hold(fetch).await {
                        Ok((reply, held)) => (Answer::Fetch(Box::new(reply)), held),
                        Err(failure) => (Answer::Failed(failure), Held::default()),
                    };
                    // The loop is gone only when the process ends.
                    let _ = loop_queue.send(Inbound::Answered { attempt, call: id, answer, held }).await;
                });
                Started::UnderWay(task.abort_handle())
            }
            Call::Workflow(call) => self.start_child(attempt, id, &call),
            Call::Memory(call) => self.call_memory(attempt, id, call),
            Call::Send(call) => self.call_send(attempt, id, call),
            Call::Receive(call) => self.call_receive(attempt, id, call),
        }
    }

    /// An attempt ended: its reply goes out at once, the rest is the kernel's.
    pub(crate) fn finish(&mut self, id: AttemptId, result: Result<Outcome, Failure>) {
        self.trace_end(id, result.as_ref());
        self.abandon_children(id);
        self.attempt_is_over(id, matches!(result, Ok(Outcome::Completed(_))));
        let AttemptId { run, block, attempt } = id;
        let result = match self.within_limits(run, result) {
            Ok(Outcome::Completed(output)) => {
                if let Output::Reply(reply) = &output {
                    self.answer_hook(run, reply);
                }
                BlockResult::Completed(output)
            }
            Ok(Outcome::Skipped) => BlockResult::Skipped,
            Err(failure) => {
                self.log_failure(id, &failure);
                BlockResult::Failed(failure)
            }
        };
        let random = (self.run_ids.next_random() >> 32) as u32;
        self.report(Event::Finished { run, block, attempt, result, random });
    }

    /// A failed attempt leaves a line, so that a run that succeeded in the end still tells what it took.
    fn log_failure(&mut self, attempt: AttemptId, failure: &Failure) {
        let at_ms = self.clock.unix_ms(self.clock.now());
        let Some(record) = self.runs.get_mut(&attempt.run) else { return };
        let block = block_name(&record.program, attempt.block);
        let text = format!("attempt {} failed: {}", attempt.attempt.0, failure.message);
        let line = record.log.write(at_ms, block, LogLevel::Error, text).clone();
        // Who follows the run is told of the failure itself; who follows its log, by this line.
        self.write_log(attempt.run, &line);
        self.tell_log_followers(attempt.run, &line);
    }

    pub(crate) fn assignment(&self, attempt: AttemptId) -> Option<Assignment> {
        let record = self.runs.get(&attempt.run)?;
        let definition = &record.program.definition;
        let input = match self.kernel.block_input(attempt.run, attempt.block)? {
            BlockInput::Single(output) => output.clone(),
            BlockInput::Many(outputs) => Output::merge(outputs.iter().map(|(id, output)| (&**id, *output))),
        };
        let scope = match Execution::needs_scope(&definition.blocks[attempt.block.as_usize()]) {
            true => Some(self.scope(attempt, &input)?),
            false => None,
        };
        Some(Assignment { definition: Arc::clone(definition), block: attempt.block, input, scope })
    }

    /// The values a template of this attempt can name.
    fn scope(&self, attempt: AttemptId, input: &Output) -> Option<Scope> {
        let control_block = self.kernel.run(attempt.run)?;
        let definition = &self.runs.get(&attempt.run)?.program.definition;
        let mut blocks = Vec::new();
        let mut hook = None;
        for (block, control) in definition.blocks.iter().zip(&control_block.blocks) {
            if let (BlockStatus::Completed | BlockStatus::Skipped, Some(output)) = (control.status, &control.output) {
                let output = output.to_json();
                if matches!(block.config, BlockConfig::Hook(_)) {
                    hook = Some(Arc::clone(&output));
                }
                blocks.push((Arc::from(block.id.as_str()), output));
            }
        }
        Some(Scope { input: input.to_json(), hook, blocks, run: self.run_facts(attempt)?, item: None })
    }

    /// `run` in templates.
    fn run_facts(&self, attempt: AttemptId) -> Option<Arc<Value>> {
        let control_block = self.kernel.run(attempt.run)?;
        Some(Arc::new(json!({
            "id": attempt.run.to_string(),
            "workflow": &*control_block.plan.workflow,
            "version": &*control_block.plan.version,
            "priority": control_block.priority.level(),
            "attempt": attempt.attempt.0,
            "createdAt": crate::control_block::rfc3339(self.clock.unix_ms(control_block.created_at)),
        })))
    }

    /// A line in the log of a run, for it and for everybody who follows it.
    pub(crate) fn log(&mut self, attempt: AttemptId, level: LogLevel, text: String) {
        let at_ms = self.clock.unix_ms(self.clock.now());
        let Some(record) = self.runs.get_mut(&attempt.run) else { return };
        let block = block_name(&record.program, attempt.block);
        let line = record.log.write(at_ms, block, level, text).clone();
        self.write_log(attempt.run, &line);
        self.tell_log_followers(attempt.run, &line);
        self.tell_followers(attempt.run, line.block.clone().as_deref(), &RunEventKind::Log(line));
    }
}

/// A call that was started.
#[derive(Debug)]
pub(crate) enum Started {
    /// Its answer comes to the loop.
    UnderWay(AbortHandle),
    /// The same, and it goes with others: it cannot be taken back.
    Queued,
    /// Its answer was there at once.
    Answered(Answer),
}

/// Id of a block, as its definition names it.
pub(crate) fn block_name(program: &crate::registry::Program, block: BlockIndex) -> Option<String> {
    program.definition.blocks.get(block.as_usize()).map(|block| block.id.clone())
}

/// [`Calls`] of a block that is executed in place: too short to be interrupted.
#[derive(Default)]
struct InPlace {
    log: Vec<(LogLevel, String)>,
}

impl Calls for InPlace {
    fn tick(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        self.log.push((level, text.to_owned()));
    }
}
