//! Start runs: for the CLI, and for hooks.

use std::sync::Arc;

use runlet_blocks::Output;
use runlet_kernel::{Event, Rejected, Submit};
use runlet_proto::control::{Refusal, RefusalKind, Reply, Start, Target};
use runlet_proto::hook::{HookAnswer, HookRequest, Respond};
use runlet_proto::ids::{Priority, RunId};
use serde_json::Value;

use crate::core::{Core, Pending, Phase};
use crate::registry::{Program, hooks};
use crate::reply::{RefusalExt as _, refusal};
use crate::request::deploy::parse;
use crate::run_record::{HookWaiter, RequestId, RunRecord};

impl Core {
    /// Starts a run for the CLI.
    pub(crate) fn start(&mut self, from: RequestId, start: &Start) {
        match self.try_start(from, start) {
            Ok(()) => {}
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    fn try_start(&mut self, from: RequestId, start: &Start) -> Result<(), Refusal> {
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
        if start.follow {
            record.followers.push(from);
        }
        let run = self.submit(record, Output::json(input), start.priority, start.follow)?;
        if start.follow {
            self.expect_reply(from, Pending::Follow(run));
        }
        self.send(from, Reply::Accepted(run));
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
        let mut record = RunRecord::new(program);
        if respond == Respond::WhenDone {
            // Hooks of one definition may differ here; if any wants its run to go on, a lost client must not end it.
            let stop_on_disconnect = hooks(&record.program.definition).all(|hook| hook.stop_on_disconnect);
            record.waiter = Some(HookWaiter { request: from, stop_on_disconnect });
        }
        let run = self.submit(record, Output::Hook(Arc::new(hook)), None, false)?;
        match respond {
            Respond::WhenDone => self.expect_reply(from, Pending::Hook(run)),
            Respond::AtOnce => self.send(from, Reply::Hook(HookAnswer::Accepted(run))),
        }
        Ok(())
    }

    fn deployed(&self, name: &str) -> Result<Program, Refusal> {
        self.registry.get(name).map(|deployed| deployed.program.clone()).ok_or_else(|| self.unknown_workflow(name))
    }

    /// Hands a run to the kernel; nothing of it is executed before the loop settles.
    fn submit(
        &mut self,
        record: RunRecord,
        input: Output,
        priority: Option<Priority>,
        observe: bool,
    ) -> Result<RunId, Refusal> {
        if self.phase != Phase::Accepting {
            let message = "the supervisor is shutting down and accepts no further runs";
            return Err(
                refusal(RefusalKind::ShuttingDown, message).with_help("start it again, then repeat the request")
            );
        }
        let run = self.run_ids.next(self.clock.unix_ms(self.clock.now()));
        let plan = Arc::clone(&record.program.plan);
        self.runs.insert(run, record);
        self.tell(Event::Submit(Submit { run, plan, input, priority, observe, record: false, restored: None }))
            .map_err(|rejected| {
                self.runs.remove(&run);
                if let Rejected::Full { .. } = rejected {
                    refusal(RefusalKind::Overloaded, rejected.to_string()).with_help("try again when runs have ended")
                } else {
                    refusal(RefusalKind::Conflict, rejected.to_string())
                }
            })?;
        Ok(run)
    }
}

fn parse_input(input: Option<&[u8]>) -> Result<Value, Refusal> {
    let Some(text) = input else { return Ok(Value::Null) };
    serde_json::from_slice(text).map_err(|error| {
        refusal(RefusalKind::Invalid, format!("the input is not valid JSON: {error}"))
            .with_help(r#"give JSON, such as --input '{"id": 7}' or --input @file.json"#)
    })
}
