//! Performs what the kernel asks for: one function per action.

use runlet_kernel::{Action, Event, Observation, WorkflowControlBlock};
use runlet_proto::control::{LogLine, Reply, RunEnd, RunEvent, RunEventKind};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::hook::{HookAnswer, HookFailure, HttpReply};
use runlet_proto::ids::{BlockIndex, RunId};
use runlet_proto::state::{Lane, RunState};
use runlet_workflow::definition::Durability;
use std::sync::Arc;

use crate::control_block::{error_text, inspect};
use crate::core::{Core, Payload, Pending};
use crate::durable::Writing;
use crate::execute::block_name;
use crate::inbound::{AttemptId, ConnectionId};
use crate::run_record::{RequestId, RunRecord};

impl Core {
    /// Performs one action.
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::Dispatch { run, block, attempt, lane } => {
                let attempt = AttemptId { run, block, attempt };
                // What is gated is in the heavy lane only once nothing keeps it any more.
                let is_kept = lane == Lane::Light || !self.is_gated(attempt);
                if !(is_kept && self.waits_for_workflow(attempt, 0)) {
                    self.begin_now(attempt, lane);
                }
            }
            Action::Continue { run, block, attempt, lane } => self.go_on(AttemptId { run, block, attempt }, lane),
            Action::Preempt { run, block, attempt, lane, keep } => {
                let attempt = AttemptId { run, block, attempt };
                self.metrics.preempted(lane);
                match lane {
                    Lane::Light => self.preempt(attempt, keep),
                    Lane::Heavy => self.preempt_heavy(attempt),
                }
            }
            Action::Cancel { run, block, attempt, lane, running: _ } => {
                let attempt = AttemptId { run, block, attempt };
                self.abandon_children(attempt);
                self.gates.forget(attempt);
                self.attempt_is_over(attempt, false);
                match lane {
                    Lane::Light => self.cancel(attempt),
                    Lane::Heavy => self.cancel_heavy(attempt),
                }
            }
            Action::Ended { run, state } => self.ended(run, state),
            Action::Progressed { run, block } => self.progressed(run, block),
            Action::Observe { run, block, what } => self.observe(run, block, what),
        }
    }

    /// Begins an attempt that nothing keeps from it; a heavy one that was dispatched light, to wait without memory, when it
    /// has that.
    pub(crate) fn begin_now(&mut self, attempt: AttemptId, lane: Lane) {
        match lane {
            Lane::Light if self.is_gated(attempt) => {
                let AttemptId { run, block, attempt: number } = attempt;
                if let Err(rejected) = self.tell(Event::Moved { run, block, attempt: number }) {
                    self.finish(attempt, Err(Failure::workflow("internal", rejected.to_string())));
                }
            }
            Lane::Light => self.begin(attempt),
            Lane::Heavy => self.begin_heavy(attempt),
        }
    }

    /// Whether an attempt is heavy, and dispatched light until the workflows it depends on have completed.
    fn is_gated(&self, attempt: AttemptId) -> bool {
        let planned = self.runs.get(&attempt.run).map(|record| &record.program.plan.blocks);
        planned.and_then(|blocks| blocks.get(attempt.block.as_usize())).is_some_and(|block| block.gated)
    }

    fn preempt(&mut self, attempt: AttemptId, keep: bool) {
        if let Some(control) = self.attempts.get(&attempt).and_then(|active| active.control.as_ref()) {
            control.preempt(keep);
        }
    }

    /// Its calls are aborted; a thread that computes it is told at its next tick, and reports back when it stops.
    fn cancel(&mut self, attempt: AttemptId) {
        self.trace_give_up(attempt);
        if let Some(control) = self.attempts.remove(&attempt).and_then(|mut active| active.control.take()) {
            control.cancel();
        }
    }

    /// A run reached its terminal state: everybody who waits is answered, and the history takes over.
    fn ended(&mut self, run: RunId, state: RunState) {
        self.ended.count(state);
        self.worked = true;
        self.end_worker_of(run);
        let (Some(control_block), Some(mut record)) = (self.kernel.forget(run), self.runs.remove(&run)) else { return };
        self.measure_run(&control_block);
        self.child_ended(&control_block);
        self.dependency_ended(&control_block);
        let written = self.write_end(&control_block, &record);
        self.release_shared(run, state, &mut record, written.unwrap_or(0));
        let strict = record.program.definition.durability == Durability::Strict;
        let entry = written.filter(|_| strict);
        let on_disk = written.filter(|_| matches!(record.writing, Writing::Written(_))).unwrap_or(0);
        let nobody_is_told = record.waiters.is_empty() && record.followers.is_empty();
        if let (true, RunState::Failed, Some(error)) = (nobody_is_told, state, control_block.error.as_deref()) {
            tracing::warn!(%run, workflow = %control_block.plan.workflow, "a run failed: {}", error_text(error));
        }
        for waiter in std::mem::take(&mut record.waiters) {
            let answer = hook_answer(&control_block);
            self.forget_pending(waiter.request);
            self.send_when_on_disk(entry.unwrap_or(0), waiter.request, Reply::Hook(answer), Some(run));
        }
        if !record.followers.is_empty() {
            let end = run_end(&control_block);
            for follower in std::mem::take(&mut record.followers) {
                self.forget_pending(follower);
                // An end that is told stays the end.
                self.send_when_on_disk(on_disk, follower, Reply::Ended(end.clone()), Some(run));
            }
        }
        for follower in std::mem::take(&mut record.log_followers) {
            self.forget_pending(follower);
            self.send(follower, Reply::LogEnd);
        }
        self.trace_run_ended(&mut record.trace, &control_block);
        self.export_run(&control_block, &record);
        self.history.remember(control_block, record);
    }

    /// Writes the end of a run down, and with it the beginning of the one that is to hear of a failure. Number of the entry.
    fn write_end(&mut self, control_block: &WorkflowControlBlock<Payload>, record: &RunRecord) -> Option<u64> {
        if self.is_one_too_many(control_block, record) {
            return None;
        }
        let mut entries: Vec<_> = self.entry_of_end(control_block, record).into_iter().collect();
        let handler = record.program.definition.on_failure.as_deref();
        let handler = handler.filter(|_| control_block.state == RunState::Failed && record.handles.is_none());
        let told = handler.and_then(|name| {
            let (log, now) = (record.log.lines(), self.clock.now());
            let program = Some(&record.program);
            let json = inspect(control_block, program, &log, record.worker.as_ref(), &record.moved, &self.clock, now);
            self.begin_failure_handler(name, control_block.id, json)
        });
        let told = told.map(|(run, began)| {
            entries.push(began);
            run
        });
        if entries.is_empty() {
            return None;
        }
        // Of one that is written in one piece nothing was promised.
        let entry = match (told, record.writing) {
            (None, Writing::AtTheEnd) => self.append_relaxed(entries),
            (None, Writing::Never | Writing::Written(_)) => self.append(entries),
            (Some(run), _) => {
                let entry = self.append(entries);
                self.note_written(run, entry);
                entry
            }
        };
        Some(entry)
    }

    /// A `response` block answered: the client has its reply now, whatever the run does afterwards.
    pub(crate) fn answer_hook(&mut self, run: RunId, reply: &Arc<HttpReply>) {
        let Some(record) = self.runs.get_mut(&run) else { return };
        let entry = match (record.program.definition.durability, record.writing) {
            (Durability::Strict, Writing::Written(entry)) => entry,
            (Durability::Auto | Durability::Strict | Durability::Relaxed | Durability::None, _) => 0,
        };
        for waiter in std::mem::take(&mut record.waiters) {
            self.forget_pending(waiter.request);
            let answer = HookAnswer::Reply(Arc::clone(reply));
            self.send_when_on_disk(entry, waiter.request, Reply::Hook(answer), Some(run));
        }
    }

    fn observe(&mut self, run: RunId, block: Option<BlockIndex>, what: Observation) {
        let Some(record) = self.runs.get(&run) else { return };
        let block = block.and_then(|block| block_name(&record.program, block));
        let what = match what {
            Observation::State(state) => RunEventKind::State(state),
            Observation::Started(attempt) => RunEventKind::BlockStarted { attempt: attempt.0 },
            Observation::Blocked(on) => RunEventKind::Blocked { on: on.to_string() },
            Observation::Ended { status, failure, elapsed } => {
                let error = failure.map(|failure| failure.message);
                RunEventKind::BlockEnded { status, error, elapsed_us: elapsed.0 }
            }
            Observation::Retry { delay } => RunEventKind::RetryScheduled { delay_ms: delay.as_ms() },
        };
        self.tell_followers(run, block.as_deref(), &what);
    }

    pub(crate) fn tell_followers(&self, run: RunId, block: Option<&str>, what: &RunEventKind) {
        let at_ms = self.clock.unix_ms(self.clock.now());
        let Some(record) = self.runs.get(&run) else { return };
        for follower in &record.followers {
            let event = RunEvent { run, at_ms, block: block.map(str::to_owned), what: what.clone() };
            self.send(*follower, Reply::Event(event));
        }
    }

    pub(crate) fn tell_log_followers(&self, run: RunId, line: &LogLine) {
        let Some(record) = self.runs.get(&run) else { return };
        for follower in &record.log_followers {
            self.send(*follower, Reply::Log(vec![line.clone()]));
        }
    }

    /// A client is gone: what it waited for is given up, unless it said otherwise.
    pub(crate) fn disconnected(&mut self, connection: ConnectionId) {
        let Some(gone) = self.connections.remove(&connection) else { return };
        gone.outbox.close();
        for (id, pending) in gone.pending {
            self.give_up(RequestId { connection, id }, pending);
        }
    }

    /// Ends a request whose client no longer waits for it.
    pub(crate) fn give_up(&mut self, request: RequestId, pending: Pending) {
        match pending {
            Pending::Hook(run) => {
                let Some(record) = self.runs.get_mut(&run) else { return };
                let gone = record.waiters.iter().position(|waiter| waiter.request == request);
                let gone = gone.map(|at| record.waiters.remove(at));
                if record.waiters.is_empty() && gone.is_some_and(|waiter| waiter.stop_on_disconnect) {
                    self.report(Event::Stop { run, reason: "nobody waits for its reply any more".into() });
                }
                self.goes_on_alone(run);
            }
            Pending::Follow(run) => {
                if let Some(record) = self.runs.get_mut(&run) {
                    record.followers.retain(|follower| *follower != request);
                }
            }
            Pending::Logs(run) => {
                if let Some(record) = self.runs.get_mut(&run) {
                    record.log_followers.retain(|follower| *follower != request);
                }
            }
            Pending::Trace(run) => {
                if let Some(record) = self.runs.get_mut(&run) {
                    record.trace.followers.retain(|follower| *follower != request);
                }
            }
            Pending::Routes => self.route_watchers.retain(|watcher| *watcher != request),
            Pending::Memory => {
                if let Some(asked) = self.asked.remove(&request) {
                    asked.abort();
                }
            }
        }
    }
}

/// What a hook's client is told when no `response` block answered.
pub(crate) fn hook_answer(control_block: &WorkflowControlBlock<Payload>) -> HookAnswer {
    match (control_block.error.as_deref(), control_block.state) {
        (None, RunState::Completed) => {
            let body = control_block.output.as_ref().map_or_else(|| "null".into(), Payload::to_json_text);
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            HookAnswer::Reply(Arc::new(HttpReply { status: 200, headers, body }))
        }
        (error, state) => HookAnswer::Failed(HookFailure {
            run: control_block.id,
            class: match (error, state) {
                (_, RunState::Stopped) => FailureClass::Stopped,
                (Some(error), _) => error.failure.class,
                (None, _) => FailureClass::Workflow,
            },
            block: error.and_then(|error| error.block.as_deref().map(str::to_owned)),
            attempt: error.map_or(0, |error| error.attempt.0),
            code: error.map_or_else(|| "no-reply".to_owned(), |error| error.failure.code.clone()),
            message: error
                .map_or_else(|| "the run ended without a reply".to_owned(), |error| error.failure.message.clone()),
        }),
    }
}

fn run_end(control_block: &WorkflowControlBlock<Payload>) -> RunEnd {
    RunEnd {
        run: control_block.id,
        state: control_block.state,
        output: control_block.output.as_ref().map(Payload::to_json_text),
        error: control_block.error.as_deref().map(error_text),
        help: control_block.error.as_ref().and_then(|error| error.failure.help.clone()),
        timed_out: control_block.error.as_ref().is_some_and(|error| error.failure.class == FailureClass::Timeout),
    }
}
