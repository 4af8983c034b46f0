//! Look at runs and at the supervisor; nothing here changes anything.

use runlet_kernel::WorkflowControlBlock;
use runlet_proto::control::{Collected, Refusal, RefusalKind, Reply, RunFilter, RunSummary, SupervisorStatus};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;

use crate::control_block;
use crate::core::{Core, Payload, Pending, Phase};
use crate::durable::Asked;
use crate::heavy::account::Account;
use crate::history::Remembered;
use crate::inbound::Inbound;
use crate::lane::MovedBlocks;
use crate::limits::RUNS_LISTED_MAX;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::RequestId;

impl Core {
    /// Lists live runs, and with `all` the remembered ones, newest first.
    pub(crate) fn list_runs(&self, from: RequestId, filter: &RunFilter) {
        let remembered = self.history.iter().filter(|_| filter.all).map(|ended| (&ended.control_block, Some(ended)));
        let wanted = |(control_block, _): &(&WorkflowControlBlock<Payload>, Option<&Remembered>)| {
            let workflow = &*control_block.plan.workflow;
            (filter.workflows.is_empty() || filter.workflows.iter().any(|wanted| wanted == workflow))
                && (filter.states.is_empty() || filter.states.contains(&control_block.state))
        };
        let live = self.kernel.runs().map(|control_block| (control_block, None));
        let mut runs: Vec<_> = live.chain(remembered).filter(wanted).collect();
        let total = runs.len() as u64;
        runs.sort_unstable_by_key(|(control_block, _)| std::cmp::Reverse(control_block.id));
        runs.truncate(RUNS_LISTED_MAX);
        let runs = runs.into_iter().map(|(control_block, ended)| {
            let account = match ended {
                Some(ended) => ended.worker.as_ref(),
                None => self.runs.get(&control_block.id).and_then(|record| record.worker.as_ref()),
            };
            let usage = account.and_then(Account::usage);
            let summary = self.summary(control_block);
            RunSummary {
                pid: summary.pid.or_else(|| ended?.worker.as_ref()?.pid()),
                cpu_us: usage.and_then(|usage| u64::try_from(usage.cpu.as_micros()).ok()),
                resident_bytes: usage.map(|usage| usage.resident_bytes),
                ..summary
            }
        });
        let runs = runs.collect();
        self.send(from, Reply::Runs { runs, total });
    }

    /// What is not remembered may be in the journal.
    fn look_in_the_past(&mut self, from: RequestId, refusal: Refusal, asked: Asked) {
        if refusal.kind == RefusalKind::NotFound {
            return self.ask_past(from, asked);
        }
        self.refuse(from, refusal);
    }

    /// Has the journal rid of what is not to be kept.
    pub(crate) fn collect(&mut self, from: RequestId) {
        let loop_queue = self.loop_queue.clone();
        self.durable.reads += 1;
        self.durable.journal().gc(move |went| {
            let runlet_journal::Collected { runs, outputs, definitions, bytes } = went;
            let reply = Reply::Collected(Collected { runs, outputs, definitions, bytes });
            let _ = loop_queue.blocking_send(Inbound::Past { to: from, replies: vec![reply] });
        });
    }

    /// One control block, whole.
    pub(crate) fn inspect(&mut self, from: RequestId, text: &str) {
        let run = match self.find(text) {
            Ok(run) => run,
            Err(refusal) => return self.look_in_the_past(from, refusal, Asked::Inspect(text.to_owned())),
        };
        let now = self.clock.now();
        let json = match (self.kernel.run(run), self.history.get(run)) {
            (Some(control_block), _) => {
                let record = self.runs.get(&run);
                let log = record.map(|record| record.log.lines()).unwrap_or_default();
                let worker = record.and_then(|record| record.worker.as_ref());
                let program = record.map(|record| &record.program);
                let none = MovedBlocks::new();
                let moved = record.map_or(&none, |record| &record.moved);
                let mut json = control_block::inspect(control_block, program, &log, worker, moved, &self.clock, now);
                json["traceId"] = record.and_then(|record| record.trace.trace_id()).into();
                json["retryOf"] = record.and_then(|record| record.retry_of).map(|run| run.to_string()).into();
                json["handles"] = record.and_then(|record| record.handles).map(|run| run.to_string()).into();
                json["parent"] = record.and_then(|record| record.parent).map(|parent| parent.run.to_string()).into();
                json
            }
            (None, Some(ended)) => {
                let log = ended.log.lines();
                let plan = &ended.control_block.plan;
                let deployed = self.registry.get(&plan.workflow).map(|deployed| &deployed.program);
                let program = deployed.filter(|program| program.definition.version == *plan.version);
                let mut json = control_block::inspect(
                    &ended.control_block,
                    program,
                    &log,
                    ended.worker.as_ref(),
                    &ended.moved,
                    &self.clock,
                    now,
                );
                json["traceId"] = ended.trace.trace_id().into();
                json["retryOf"] = ended.retry_of.map(|run| run.to_string()).into();
                json["handles"] = ended.handles.map(|run| run.to_string()).into();
                json["parent"] = ended.parent.map(|run| run.to_string()).into();
                if ended.shortened {
                    json["shortened"] = "inputs and outputs over 64 KiB are not kept once a run has ended".into();
                }
                json
            }
            (None, None) => return self.refuse(from, unknown_run(&run.to_string())),
        };
        self.send(from, Reply::Inspected(json.to_string().into()));
    }

    /// The log of a run, and its further lines while it lives.
    pub(crate) fn logs(&mut self, from: RequestId, text: &str, follow: bool) {
        let run = match self.find(text) {
            Ok(run) => run,
            Err(refusal) => return self.look_in_the_past(from, refusal, Asked::Logs(text.to_owned())),
        };
        if let Some(record) = self.runs.get_mut(&run) {
            let lines = record.log.lines();
            if follow {
                record.log_followers.push(from);
                self.expect_reply(from, Pending::Logs(run));
                return self.send(from, Reply::Log(lines));
            }
            self.send(from, Reply::Log(lines));
        } else if let Some(ended) = self.history.get(run) {
            self.send(from, Reply::Log(ended.log.lines()));
        }
        self.send(from, Reply::LogEnd);
    }

    /// What a run did, and what it does while it lives.
    pub(crate) fn trace_of(&mut self, from: RequestId, text: &str, follow: bool) {
        let run = match self.find(text) {
            Ok(run) => run,
            Err(refusal) => return self.look_in_the_past(from, refusal, Asked::Trace(text.to_owned())),
        };
        let (trace, control_block) = match (self.kernel.run(run), self.runs.get_mut(&run), self.history.get(run)) {
            (Some(control_block), Some(record), _) => {
                if follow {
                    record.trace.followers.push(from);
                }
                (&record.trace, control_block)
            }
            (_, _, Some(ended)) => (&ended.trace, &ended.control_block),
            (_, _, None) => return self.refuse(from, unknown_run(&run.to_string())),
        };
        let (spans, dropped, goes_on) = (trace.spans(control_block), trace.dropped(), trace.followers.contains(&from));
        self.send(from, Reply::Trace(spans));
        if goes_on {
            return self.expect_reply(from, Pending::Trace(run));
        }
        self.send(from, Reply::TraceEnd { dropped });
    }

    pub(crate) fn status(&self, from: RequestId) {
        let counts = self.kernel.counts();
        let live_by_state = self.live_by_state();
        let status = SupervisorStatus {
            pid: std::process::id(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: self.started_at_ms,
            workflows: self.registry.len() as u64,
            live_runs: self.runs.len() as u64,
            ended_runs: [self.ended.completed, self.ended.failed, self.ended.stopped],
            shutting_down: self.phase != Phase::Accepting,
            live_by_state,
            slots: counts.slots as u64,
            slots_taken: (counts.slots - counts.slots_free) as u64,
            heavy_memory_bytes: counts.heavy_memory_used,
            heavy_memory_bytes_max: counts.heavy_memory_budget,
            shared_memory: self.store.in_words(),
        };
        self.send(from, Reply::Status(status));
    }

    /// Live runs that are ready, running, blocked and paused.
    pub(crate) fn live_by_state(&self) -> [u64; 4] {
        let mut live_by_state = [0; 4];
        for run in self.kernel.runs() {
            match run.state {
                RunState::Ready => live_by_state[0] += 1,
                RunState::Running => live_by_state[1] += 1,
                RunState::Blocked => live_by_state[2] += 1,
                RunState::Paused => live_by_state[3] += 1,
                RunState::Completed | RunState::Failed | RunState::Stopped => {}
            }
        }
        live_by_state
    }

    pub(crate) fn summary(&self, control_block: &WorkflowControlBlock<Payload>) -> RunSummary {
        let pid = self.workers.pid_of_run(control_block.id).and_then(|pid| u32::try_from(pid).ok());
        RunSummary { pid, ..control_block::summary(control_block, &self.clock, self.clock.now()) }
    }

    /// The run a person means: a whole id, or a beginning or an end of one that only one run has.
    pub(crate) fn find(&self, text: &str) -> Result<RunId, Refusal> {
        if let Ok(run) = text.parse::<RunId>() {
            let known = self.kernel.run(run).is_some() || self.history.get(run).is_some();
            return if known { Ok(run) } else { Err(unknown_run(text)) };
        }
        let wanted = text.to_ascii_lowercase();
        let live = self.kernel.runs().map(|control_block| control_block.id);
        let ended = self.history.iter().map(|remembered| remembered.control_block.id);
        let matches = |run: &RunId| {
            let id = run.to_string();
            id.starts_with(&wanted) || id.ends_with(&wanted)
        };
        let mut found = live.chain(ended).filter(matches).take(2);
        match (wanted.is_empty(), found.next(), found.next()) {
            (false, Some(run), None) => Ok(run),
            (false, Some(one), Some(other)) => {
                let message = format!("`{text}` names several runs, {one} and {other} among them");
                Err(refusal(RefusalKind::Conflict, message).with_help("give more of the id"))
            }
            (true, _, _) | (false, None, _) => Err(unknown_run(text)),
        }
    }
}

pub(crate) fn unknown_run(text: &str) -> Refusal {
    refusal(RefusalKind::NotFound, format!("no run `{text}` is live or remembered"))
        .with_help("list the runs: runlet ps -a (of ended runs the newest are remembered, at most a thousand)")
}
