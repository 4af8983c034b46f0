//! Runs that are made again: what was stored of one is the beginning of another.

use std::sync::Arc;

use runlet_journal::{BlockDone, Reader, Stored, StoredRun};
use runlet_kernel::{Event, Progress, Restored, RestoredBlock, Submit};
use runlet_proto::control::{Refusal, RefusalKind, Reply, Retry};
use runlet_proto::ids::{Attempt, BlockIndex, Priority};
use runlet_proto::state::{BlockStatus, RunState};
use runlet_workflow::Definition;

use super::past::{find, unreadable};
use super::recover::{context_of, read};
use super::stored::load;
use super::{Writing, write};
use crate::core::{Core, Payload, Phase};
use crate::inbound::Inbound;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::{RequestId, RunRecord};

impl Core {
    /// Has a run read that is to be made again.
    pub(crate) fn retry(&mut self, from: RequestId, retry: Retry) {
        if let Ok(run) = self.find(&retry.run)
            && self.kernel.run(run).is_some_and(|run| !run.state.is_terminal())
        {
            let live =
                refusal(RefusalKind::Conflict, format!("run {run} has not ended: there is nothing to be retried"));
            return self.refuse(from, live.with_help(format!("stop it first: runlet stop {run}")));
        }
        self.read_past(from, move |directory| {
            let reader = Reader::open(directory).map_err(|error| unreadable(&error));
            let stored = reader.and_then(|reader| find(&reader, &retry.run)).map(Box::new);
            Inbound::Retry { to: from, retry, stored }
        });
    }

    /// A run was read: it is made again from where it failed, or from where the request says.
    pub(crate) fn retry_read(&mut self, to: RequestId, retry: &Retry, stored: Result<Box<StoredRun>, Refusal>) {
        self.durable.reads -= 1;
        match stored.and_then(|stored| self.try_retry(retry, &stored)) {
            Ok((run, entry)) => self.send_when_on_disk(entry, to, Reply::Accepted(run), Some(run)),
            Err(refusal) => self.refuse(to, refusal),
        }
    }

    fn try_retry(&mut self, retry: &Retry, stored: &StoredRun) -> Result<(runlet_proto::ids::RunId, u64), Refusal> {
        if self.phase != Phase::Accepting {
            return Err(refusal(
                RefusalKind::ShuttingDown,
                "the supervisor is shutting down and accepts no further runs",
            ));
        }
        if let Some(full) = self.no_room(Writing::Written(0)) {
            return Err(full);
        }
        let then = stored.source.as_ref().map(read);
        let then = match then {
            Some(Ok(program)) => program,
            Some(Err(why)) => return Err(conflict(format!("its definition is not valid any more: {why}"))),
            None => return Err(conflict("its definition is not in the journal any more".to_owned())),
        };
        let program = match (retry.deployed, self.registry.get(&stored.began.workflow)) {
            (false, _) => then.clone(),
            (true, Some(deployed)) => deployed.program.clone(),
            (true, None) => return Err(self.unknown_workflow(&stored.began.workflow)),
        };
        let blocks = kept(stored, retry.from.as_deref(), &then.definition, &program.definition)?;
        let input = load(&stored.began.input).map_err(|why| conflict(format!("its input cannot be read: {why}")))?;
        let run = self.run_ids.next(self.clock.unix_ms(self.clock.now()));
        let plan = Arc::clone(&program.plan);
        let mut record = RunRecord::new(program);
        record.writing = Writing::Written(0);
        record.retry_of = Some(stored.began.run);
        // What it does is part of what was to be done then, and who is told of its failure is as it was.
        record.handles = stored.began.handles;
        record.trace.context = context_of(stored.began.traceparent.as_deref(), run, &input).map(Box::new);
        self.place_in_trace(&mut record);
        self.runs.insert(run, record);
        let restored = Some(Box::new(Restored { created_at: self.clock.now(), paused: false, blocks }));
        let priority = Priority::new(stored.priority);
        let submit = Submit { run, plan, input, priority, observe: false, record: true, restored };
        self.tell(Event::Submit(submit)).map_err(|rejected| {
            self.runs.remove(&run);
            conflict(rejected.to_string())
        })?;
        Ok((run, self.write_so_far(run)))
    }
}

fn conflict(message: String) -> Refusal {
    refusal(RefusalKind::Conflict, message)
}

/// What stays done: of what was, all but the block that is tried again and those that depend on it.
fn kept(
    stored: &StoredRun,
    from: Option<&str>,
    then: &Definition,
    now: &Definition,
) -> Result<Vec<(BlockIndex, RestoredBlock<Payload>)>, Refusal> {
    let ended = stored.ended.as_ref().ok_or_else(|| conflict(format!("run {} has not ended", stored.began.run)))?;
    let from = match (from, ended.state) {
        (Some(from), _) => Some(from),
        (None, RunState::Completed) => {
            return Err(conflict(format!("run {} COMPLETED: nothing of it failed", stored.began.run))
                .with_help("name the block from which it is to be made again: --from BLOCK"));
        }
        (None, _) => ended.error.as_ref().and_then(|error| error.block.as_deref()),
    };
    let mut again = vec![false; now.blocks.len()];
    if let Some(from) = from {
        let Some(at) = now.blocks.iter().position(|block| block.id == from) else {
            let ids: Vec<&str> = now.blocks.iter().map(|block| block.id.as_str()).collect();
            return Err(refusal(RefusalKind::NotFound, format!("workflow `{}` has no block `{from}`", now.name))
                .with_help(format!("its blocks are {}", ids.join(", "))));
        };
        again[at] = true;
    }
    // Whatever depends on something that is made again is made again. A block comes behind those it depends on in no
    // particular order, so this goes on until nothing is added.
    while let Some(at) = (0..again.len())
        .find(|&at| !again[at] && now.blocks[at].dependencies.iter().any(|&dependency| again[dependency]))
    {
        again[at] = true;
    }
    let mut blocks = Vec::new();
    for (index, done) in &ended.blocks {
        let id = then.blocks.get(usize::from(*index)).map(|block| block.id.as_str());
        let at = id.and_then(|id| now.blocks.iter().position(|block| block.id == id)).filter(|&at| !again[at]);
        let Some(at) = at.and_then(|at| u16::try_from(at).ok()) else { continue };
        if let Some(restored) = restored(done)? {
            blocks.push((BlockIndex(at), restored));
        }
    }
    Ok(blocks)
}

fn restored(done: &BlockDone) -> Result<Option<RestoredBlock<Payload>>, Refusal> {
    let output = |stored: &Stored| load(stored).map_err(|why| conflict(format!("an output cannot be read: {why}")));
    let progress = match (done.status, &done.output) {
        (BlockStatus::Completed, Some(stored)) => Progress::Completed(output(stored)?),
        (BlockStatus::Skipped, _) => Progress::Skipped(done.failure.clone()),
        // Large outputs of a run that COMPLETED are not kept: what made them is made again.
        (BlockStatus::Completed, None) | (BlockStatus::Failed | BlockStatus::Pending | BlockStatus::Running, _) => {
            return Ok(None);
        }
    };
    Ok(Some(RestoredBlock { attempt: Attempt(done.attempt), retries: done.retries, times: None, progress }))
}

impl Core {
    /// A run FAILED, and its workflow names another that is to hear of it. What is written of its beginning, beside the end
    /// of the one that failed: there are both or neither.
    pub(crate) fn begin_failure_handler(
        &mut self,
        name: &str,
        failed: runlet_proto::ids::RunId,
        control_block: serde_json::Value,
    ) -> Option<(runlet_proto::ids::RunId, runlet_journal::Entry)> {
        let Some(deployed) = self.registry.get(name) else {
            tracing::error!(%failed, workflow = name, "`on_failure` names a workflow that is not deployed: nobody is told of this failure");
            return None;
        };
        let program = deployed.program.clone();
        let run = self.run_ids.next(self.clock.unix_ms(self.clock.now()));
        let plan = Arc::clone(&program.plan);
        let mut record = RunRecord::new(program);
        record.writing = Writing::Written(0);
        record.handles = Some(failed);
        self.place_in_trace(&mut record);
        self.runs.insert(run, record);
        let input = Payload::json(control_block);
        let submit = Submit { run, plan, input, priority: None, observe: false, record: true, restored: None };
        if let Err(rejected) = self.tell(Event::Submit(submit)) {
            tracing::error!(%failed, workflow = name, %rejected, "the workflow of `on_failure` was not started");
            self.runs.remove(&run);
            return None;
        }
        let began = write::began(self.kernel.run(run)?, self.runs.get(&run)?, &self.clock, false);
        Some((run, runlet_journal::Entry::Began(began)))
    }
}
