//! A supervisor takes up what the last one left: deployed workflows, open runs, idempotency keys.

use std::collections::HashMap;
use std::sync::Arc;

use runlet_journal::{
    BlockDone, BlockProgress, Child, DamagedSource, Ended, Entry, OpenRun, Recovered, StoredError, StoredSource,
};
use runlet_kernel::{Event, Progress, Restored, RestoredBlock, Submit, Time};
use runlet_memory::Token;
use runlet_proto::control::SourceText;
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::state::{BlockStatus, RunState};
use runlet_workflow::BlockConfig;
use runlet_workflow::definition::OnUnknown;

use super::Writing;
use super::stored::load;
use crate::children::{BegunRun, Parent};
use crate::clock::Clock;
use crate::core::{Core, Payload};
use crate::heavy::quarantine::Deaths;
use crate::registry::{Deployed, Program};
use crate::run_record::RunRecord;
use crate::trace_context::TraceContext;

/// What came of taking things up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub(crate) workflows: usize,
    /// Runs that go on.
    pub(crate) resumed: usize,
    /// Of these, blocks that are executed again though one attempt of them may have had its effect.
    pub(crate) repeated: usize,
    /// Runs that FAILED, since nobody knows whether a block had its effect.
    pub(crate) unknown: usize,
    /// Runs that were STOPPED, since the client that waited for them is gone.
    pub(crate) stopped: usize,
    /// Runs that FAILED, since they cannot be gone on with.
    pub(crate) failed: usize,
}

/// When the oldest run began that is to be taken up, for the clock to reach back to.
pub(crate) fn oldest_ms(recovered: &Recovered) -> Option<u64> {
    recovered.runs.iter().map(|run| run.began.created_at_ms).min()
}

impl Core {
    /// Takes up what is open. The runs are admitted as any others are: by priority, memory and slots.
    pub(crate) fn recover(&mut self, recovered: Recovered) -> Recovery {
        let mut recovery = Recovery::default();
        let Recovered { workflows, programs, runs, keys, damaged_sources, damaged, completed, memory, damaged_memory } =
            recovered;
        self.completed = completed.into_iter().collect();
        for DamagedSource { workflow, version, why } in &damaged_sources {
            tracing::error!(workflow, version, why, "a definition in the journal is damaged; deploy it again");
        }
        for stored in workflows {
            match read(&stored.source) {
                Ok(program) => {
                    self.registry.deploy(Deployed { program, deployed_at_ms: stored.deployed_at_ms });
                    recovery.workflows += 1;
                }
                Err(why) => tracing::error!(
                    workflow = stored.source.workflow,
                    why,
                    "a deployed workflow is not valid any more; deploy it again"
                ),
            }
        }
        for key in keys {
            self.durable.keys.note(key.key, key.run, key.at_ms);
        }
        let programs: HashMap<_, _> =
            programs.iter().map(|source| ((source.workflow.as_str(), source.version.as_str()), read(source))).collect();
        for open in runs {
            let program = programs.get(&(open.began.workflow.as_str(), open.began.version.as_str()));
            let known = match program {
                Some(Ok(program)) => self.take_up(program.clone(), &open, &mut recovery),
                Some(Err(why)) => Err(format!("its definition is not valid any more: {why}")),
                None => {
                    let of_it = |source: &&DamagedSource| source.version == open.began.version;
                    Err(match damaged_sources.iter().find(of_it) {
                        Some(source) => format!("its definition is damaged: {}", source.why),
                        None => "its definition is not in the journal".to_owned(),
                    })
                }
            };
            if let Err(why) = known {
                recovery.failed += 1;
                self.end_without_going_on(open.began.run, RunState::Failed, cannot_go_on(&why));
            }
        }
        for run in damaged {
            recovery.failed += 1;
            self.end_without_going_on(run.run, RunState::Failed, cannot_go_on(&run.why));
        }
        self.restore_memory(memory, &damaged_memory);
        recovery
    }

    fn take_up(&mut self, program: Program, open: &OpenRun, recovery: &mut Recovery) -> Result<(), String> {
        let run = open.began.run;
        if open.began.waited_for && !was_answered(&program, open) {
            recovery.stopped += 1;
            let failure = Failure {
                class: FailureClass::Stopped,
                ..Failure::workflow("stopped", "the client that waited for its reply was gone with the supervisor")
            };
            self.end_without_going_on(run, RunState::Stopped, failure);
            return Ok(());
        }
        let deaths = Deaths::restored(&open.deaths);
        let input = load(&open.began.input)?;
        let mut blocks = Vec::with_capacity(open.blocks.len());
        let (mut unknown, mut repeated) = (false, 0);
        for (&index, progress) in &open.blocks {
            let restored = restored(&program, index, progress, &self.clock)?;
            unknown |= matches!((progress, &restored.progress), (BlockProgress::Unknown { .. }, Progress::Failed(_)));
            repeated += usize::from(matches!(restored.progress, Progress::Again));
            blocks.push((BlockIndex(index), restored));
        }
        let given_up = deaths.is_last().then(|| next_block(&program, open)).flatten();
        if let Some(block) = given_up {
            // It ends as any other does that FAILED: whole, and told of.
            blocks.retain(|(at, _)| *at != block);
            blocks.push((block, given_up_block(open, block, deaths.quarantine())));
        }
        let created_at = self.clock.of_unix_ms(open.began.created_at_ms);
        let plan = Arc::clone(&program.plan);
        let mut record = RunRecord::new(program);
        record.writing = Writing::Written(0);
        record.key = open.began.key;
        record.retry_of = open.began.retry_of;
        record.handles = open.began.handles;
        record.parent = open.began.parent.map(|run| Parent { run, call: None });
        record.shares = true;
        record.begun = open.children.iter().map(begun).collect();
        record.deaths = deaths;
        record.log.restore(&open.log);
        record.trace.context = context_of(open.began.traceparent.as_deref(), run, &input).map(Box::new);
        // How long it waited for its turn was told by the supervisor that began it.
        record.has_begun = true;
        self.place_in_trace(&mut record);
        self.runs.insert(run, record);
        let restored = Some(Box::new(Restored { created_at, paused: open.paused, blocks }));
        let priority = Priority::new(open.priority);
        let submit = Submit { run, plan, input, priority, observe: false, record: true, restored };
        if let Err(rejected) = self.tell(Event::Submit(submit)) {
            self.runs.remove(&run);
            return Err(rejected.to_string());
        }
        recovery.resumed += usize::from(!unknown && given_up.is_none());
        recovery.unknown += usize::from(unknown && given_up.is_none());
        recovery.failed += usize::from(given_up.is_some());
        recovery.repeated += repeated;
        Ok(())
    }

    /// Writes the end of a run that is not taken up.
    fn end_without_going_on(&mut self, run: RunId, state: RunState, failure: Failure) {
        tracing::warn!(%run, %state, "{}", failure.message);
        let ended_at_ms = self.clock.unix_ms(self.clock.now());
        let error = Some(StoredError { block: None, attempt: 0, failure });
        let (blocks, log, trace) = (Vec::new(), Vec::new(), Vec::new());
        let (output, worker, lane, pid) = (None, None, None, None);
        let ended = Ended { run, state, ended_at_ms, error, output, blocks, log, trace, worker, lane, pid };
        self.append(vec![Entry::Ended(Box::new(ended))]);
    }
}

/// A run that a block of another began.
fn begun(child: &Child) -> (Token, BegunRun) {
    let Child { block, retries, call, run } = *child;
    (Token { block, retries, call }, BegunRun { run, written: true })
}

/// The trace a run is part of. What others say to each other in it stands in the request that began the run.
pub(super) fn context_of(traceparent: Option<&str>, run: RunId, input: &Payload) -> Option<TraceContext> {
    let context = TraceContext::from_journal(traceparent?, run)?;
    match input {
        Payload::Hook(hook) => TraceContext::from_headers(&hook.headers).or(Some(context)),
        Payload::Json(_) | Payload::Reply(_) => Some(context),
    }
}

pub(super) fn read(stored: &StoredSource) -> Result<Program, String> {
    let source = SourceText { file: stored.file.clone(), text: stored.text.clone() };
    match runlet_workflow::parse(&source.file, &source.text) {
        Ok(definition) => Ok(Program::new(definition, source)),
        Err(found) => Err(found.first().map_or_else(String::new, |first| first.message.clone())),
    }
}

/// Whether a `response` block has answered the run's client: then nobody waits for it any more.
fn was_answered(program: &Program, open: &OpenRun) -> bool {
    let is_response = |index: &u16| {
        let block = program.definition.blocks.get(usize::from(*index));
        block.is_some_and(|block| matches!(block.config, BlockConfig::Response(_)))
    };
    open.blocks.iter().any(|(index, progress)| {
        is_response(index) && matches!(progress, BlockProgress::Done(BlockDone { status: BlockStatus::Completed, .. }))
    })
}

fn restored(
    program: &Program,
    index: u16,
    progress: &BlockProgress,
    clock: &Clock,
) -> Result<RestoredBlock<Payload>, String> {
    let (attempt, retries, times, progress) = match progress {
        BlockProgress::Done(done) => {
            let times = (clock.of_unix_ms(done.started_at_ms), clock.of_unix_ms(done.ended_at_ms));
            let progress = match (done.status, &done.output) {
                (BlockStatus::Completed, Some(output)) => Progress::Completed(load(output)?),
                (BlockStatus::Skipped, _) => Progress::Skipped(done.failure.clone()),
                (BlockStatus::Failed, _) => {
                    Progress::Failed(done.failure.clone().unwrap_or_else(|| Failure::workflow("internal", "it failed")))
                }
                (BlockStatus::Completed, None) | (BlockStatus::Pending | BlockStatus::Running, _) => Progress::Again,
            };
            (done.attempt, done.retries, Some(times), progress)
        }
        BlockProgress::Waiting { attempt, retries, failure, retry_at_ms } => {
            let at: Time = clock.of_unix_ms(*retry_at_ms);
            (*attempt, *retries, None, Progress::Backoff(failure.clone(), at))
        }
        BlockProgress::Unknown { attempt } => {
            let block = program
                .definition
                .blocks
                .get(usize::from(index))
                .ok_or("it has a block that its definition has not")?;
            let progress = match block.on_unknown {
                OnUnknown::Fail => Progress::Failed(unknown(&block.id, *attempt)),
                OnUnknown::Retry => Progress::Again,
                OnUnknown::Skip => Progress::Skipped(Some(unknown(&block.id, *attempt))),
            };
            (*attempt, 0, None, progress)
        }
    };
    Ok(RestoredBlock { attempt: Attempt(attempt), retries, times, progress })
}

/// The first block that is to be executed next.
fn next_block(program: &Program, open: &OpenRun) -> Option<BlockIndex> {
    let blocks = &program.plan.blocks;
    let is_done = |at: BlockIndex| {
        let done = |progress: &BlockProgress| matches!(progress, BlockProgress::Done(done) if done.status != BlockStatus::Failed);
        blocks[at.as_usize()].trigger || open.blocks.get(&at.0).is_some_and(done)
    };
    let may_begin = |at: &BlockIndex| blocks[at.as_usize()].dependencies.iter().all(|before| is_done(*before));
    (0..).map(BlockIndex).take(blocks.len()).find(|at| !is_done(*at) && may_begin(at))
}

/// A block that has cost its run too many workers.
fn given_up_block(open: &OpenRun, block: BlockIndex, failure: Failure) -> RestoredBlock<Payload> {
    let attempt = match open.blocks.get(&block.0) {
        Some(BlockProgress::Waiting { attempt, .. } | BlockProgress::Unknown { attempt }) => *attempt,
        Some(BlockProgress::Done(done)) => done.attempt,
        None => 1,
    };
    let retries = attempt.saturating_sub(1);
    RestoredBlock { attempt: Attempt(attempt), retries, times: None, progress: Progress::Failed(failure) }
}

/// Nobody knows whether an attempt had its effect.
fn unknown(block: &str, attempt: u32) -> Failure {
    let message = format!(
        "the supervisor ended while attempt {attempt} of block `{block}` was under way: whether it had its effect is unknown"
    );
    Failure::workflow("outcome-unknown", message).with_help(
        "find out at the server that was called, then `runlet retry`; `\"on_unknown\": \"retry\"` or `\"skip\"` on the block decides it beforehand",
    )
}

fn cannot_go_on(why: &str) -> Failure {
    Failure::workflow("not-recovered", format!("it was under way when the supervisor ended and cannot go on: {why}"))
        .with_help("`runlet journal check` looks for damage")
}
