//! Start runs: for the CLI, and for hooks.

use std::sync::Arc;

use runlet_blocks::Output;
use runlet_kernel::{Event, Rejected, Submit, WorkflowControlBlock};
use runlet_proto::control::{Refusal, RefusalKind, Reply, Start, Target};
use runlet_proto::hook::{HookAnswer, HookRequest, HttpReply, Respond};
use runlet_proto::ids::{Priority, RunId};
use runlet_workflow::definition::Durability;
use serde_json::Value;

use crate::core::{Core, Pending, Phase};
use crate::durable::keys::key_of;
use crate::durable::{Asked, Writing};
use crate::perform::hook_answer;
use crate::registry::{Program, hooks};
use crate::reply::{RefusalExt as _, refusal};
use crate::request::deploy::parse;
use crate::run_record::{HookWaiter, RequestId, RunRecord};
use crate::trace_context::TraceContext;

impl Core {
    /// Starts a run for the CLI.
    pub(crate) fn start(&mut self, from: RequestId, start: &Start) {
        match self.try_start(from, start) {
            Ok(()) => {}
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    fn try_start(&mut self, from: RequestId, start: &Start) -> Result<(), Refusal> {
        self.check_accepting()?;
        let program = match &start.target {
            Target::Workflow(name) => self.deployed(name)?,
            Target::Inline(source) => {
                let definition = parse(source)?;
                self.check_for_operator(&definition, source)?;
                Program::new(definition, source.clone())
            }
        };
        let input = parse_input(start.input.as_deref())?;
        let mut record = RunRecord::new(program);
        record.writing = writing_of(record.program.definition.durability, false);
        if start.follow {
            record.followers.push(from);
        }
        let (run, entry) = self.submit(record, Output::json(input), start.priority, start.follow)?;
        if start.follow {
            self.expect_reply(from, Pending::Follow(run));
        }
        self.send_when_on_disk(entry, from, Reply::Accepted(run), Some(run));
        Ok(())
    }

    /// Starts a run for a hook's client.
    pub(crate) fn hook(&mut self, from: RequestId, hook: HookRequest) {
        match self.try_hook(from, hook) {
            Ok(()) => {}
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    fn try_hook(&mut self, from: RequestId, hook: HookRequest) -> Result<(), Refusal> {
        let program = self.deployed(&hook.workflow)?;
        let respond = hook.respond;
        let hook = Arc::new(hook);
        let key = key_of(&program.definition, &hook).map_err(|why| {
            refusal(RefusalKind::Invalid, format!("the request has no idempotency key: {why}"))
                .with_help("`idempotency_key` of the hook says what it is made of")
        })?;
        if let Some(run) = key.and_then(|key| self.durable.keys.get(&key, self.clock.unix_ms(self.clock.now()))) {
            self.again(from, run, respond);
            return Ok(());
        }
        self.check_accepting()?;
        let mut record = RunRecord::new(program);
        record.key = key;
        record.trace.context = TraceContext::from_headers(&hook.headers).map(Box::new);
        record.writing = writing_of(record.program.definition.durability, respond == Respond::WhenDone);
        if respond == Respond::WhenDone {
            // Hooks of one definition may differ here; if any wants its run to go on, a lost client must not end it.
            let stop_on_disconnect = hooks(&record.program.definition).all(|hook| hook.stop_on_disconnect);
            if !stop_on_disconnect && record.writing == Writing::AtTheEnd {
                // It goes on if its client goes, which nobody tells.
                record.writing = Writing::Written(0);
            }
            record.waiters.push(HookWaiter { request: from, stop_on_disconnect });
        }
        let (run, entry) = self.submit(record, Output::Hook(hook), None, false)?;
        if let Some(key) = key {
            self.durable.keys.note(key, run, self.clock.unix_ms(self.clock.now()));
        }
        match respond {
            Respond::WhenDone => self.expect_reply(from, Pending::Hook(run)),
            Respond::AtOnce => {
                self.send_when_on_disk(entry, from, Reply::Hook(HookAnswer::Accepted(run)), Some(run));
            }
        }
        Ok(())
    }

    /// A request is the same as an earlier one: it gets what that got, or will get.
    fn again(&mut self, from: RequestId, run: RunId, respond: Respond) {
        let live = self.kernel.run(run).filter(|run| !run.state.is_terminal()).is_some();
        match (respond, live) {
            (Respond::AtOnce, _) => {
                let entry = match self.runs.get(&run).map(|record| record.writing) {
                    Some(Writing::Written(entry)) => entry,
                    Some(Writing::Never | Writing::AtTheEnd) | None => 0,
                };
                self.send_when_on_disk(entry, from, Reply::Hook(HookAnswer::Accepted(run)), Some(run));
            }
            (Respond::WhenDone, true) => {
                let replied = self.kernel.run(run).and_then(replied);
                if let Some(reply) = replied {
                    return self.send(from, Reply::Hook(HookAnswer::Reply(reply)));
                }
                if let Some(record) = self.runs.get_mut(&run) {
                    // Whoever came first decides whether the run ends with its client.
                    record.waiters.push(HookWaiter { request: from, stop_on_disconnect: false });
                    self.expect_reply(from, Pending::Hook(run));
                }
            }
            (Respond::WhenDone, false) => match self.history.get(run) {
                Some(ended) if !ended.shortened => {
                    let reply = replied(&ended.control_block).map(HookAnswer::Reply);
                    let answer = reply.unwrap_or_else(|| hook_answer(&ended.control_block));
                    self.send(from, Reply::Hook(answer));
                }
                _ => self.ask_past(from, Asked::Answer(run)),
            },
        }
    }

    fn deployed(&self, name: &str) -> Result<Program, Refusal> {
        self.registry.get(name).map(|deployed| deployed.program.clone()).ok_or_else(|| self.unknown_workflow(name))
    }

    fn check_accepting(&self) -> Result<(), Refusal> {
        if self.phase == Phase::Accepting {
            return Ok(());
        }
        let message = "the supervisor is shutting down and accepts no further runs";
        Err(refusal(RefusalKind::ShuttingDown, message).with_help("start it again, then repeat the request"))
    }

    /// Hands a run to the kernel, and to the journal if it is written from its beginning; nothing of it is executed before
    /// the loop settles. Answers the entry that is to be on disk before anybody is told of the run.
    pub(crate) fn submit(
        &mut self,
        mut record: RunRecord,
        input: Output,
        priority: Option<Priority>,
        observe: bool,
    ) -> Result<(RunId, u64), Refusal> {
        if let Some(full) = self.no_room(record.writing) {
            return Err(full);
        }
        let run = self.run_ids.next(self.clock.unix_ms(self.clock.now()));
        let plan = Arc::clone(&record.program.plan);
        let writes = record.writing != Writing::Never;
        self.place_in_trace(&mut record);
        self.runs.insert(run, record);
        self.tell(Event::Submit(Submit { run, plan, input, priority, observe, record: writes, restored: None }))
            .map_err(|rejected| {
                self.runs.remove(&run);
                if let Rejected::Full { .. } = rejected {
                    refusal(RefusalKind::Overloaded, rejected.to_string()).with_help("try again when runs have ended")
                } else {
                    refusal(RefusalKind::Conflict, rejected.to_string())
                }
            })?;
        Ok((run, self.write_began(run)))
    }
}

/// How a run of this definition is written down.
pub(crate) const fn writing_of(durability: Durability, waited_for: bool) -> Writing {
    match (durability, waited_for) {
        (Durability::None, _) => Writing::Never,
        (Durability::Strict, _) | (Durability::Auto | Durability::Relaxed, false) => Writing::Written(0),
        (Durability::Auto | Durability::Relaxed, true) => Writing::AtTheEnd,
    }
}

/// The reply of its `response` block, if that has been given.
fn replied(run: &WorkflowControlBlock<Output>) -> Option<Arc<HttpReply>> {
    run.blocks.iter().rev().find_map(|block| match &block.output {
        Some(Output::Reply(reply)) => Some(Arc::clone(reply)),
        Some(Output::Json(_) | Output::Hook(_)) | None => None,
    })
}

fn parse_input(input: Option<&[u8]>) -> Result<Value, Refusal> {
    let Some(text) = input else { return Ok(Value::Null) };
    serde_json::from_slice(text).map_err(|error| {
        refusal(RefusalKind::Invalid, format!("the input is not valid JSON: {error}"))
            .with_help(r#"give JSON, such as --input '{"id": 7}' or --input @file.json"#)
    })
}
