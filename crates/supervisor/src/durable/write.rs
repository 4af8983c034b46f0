//! From control blocks to what is written of them.

use std::sync::Arc;

use runlet_journal::{Began, BlockDone, Ended, Entry, StoredError, StoredSource};
use runlet_kernel::{BlockControlObject, WorkflowControlBlock};
use runlet_proto::control::SourceText;
use runlet_proto::ids::RunId;
use runlet_proto::state::{BlockStatus, RunState};
use runlet_workflow::Definition;

use super::stored::store;
use crate::clock::Clock;
use crate::core::Payload;
use crate::heavy::account::Account;
use crate::limits::HISTORY_OUTPUT_BYTES_MAX;
use crate::run_record::RunRecord;

/// The text of a definition.
pub(super) fn source(definition: &Definition, source: &SourceText) -> StoredSource {
    StoredSource {
        workflow: definition.name.clone(),
        version: definition.version.clone(),
        file: source.file.clone(),
        text: source.text.clone(),
    }
}

/// A run as it begins. Its source comes with it unless it is known to be stored.
pub(super) fn began(
    run: &WorkflowControlBlock<Payload>,
    record: &RunRecord,
    clock: &Clock,
    with_source: bool,
) -> Box<Began> {
    let program = &record.program;
    Box::new(Began {
        run: run.id,
        workflow: run.plan.workflow.to_string(),
        version: run.plan.version.to_string(),
        source: with_source.then(|| source(&program.definition, &program.source)),
        priority: run.priority.level(),
        created_at_ms: clock.unix_ms(run.created_at),
        input: store(&run.input),
        waited_for: record.waiters.iter().any(|waiter| waiter.stop_on_disconnect),
        key: record.key,
        retry_of: record.retry_of,
        traceparent: record.trace.context.as_ref().map(|context| context.parent(run.id)),
        handles: record.handles,
        parent: record.parent.map(|parent| parent.run),
    })
}

/// What is written of a block that is done, or waits for another attempt; `None` for any other.
pub(super) fn block(run: RunId, index: u16, block: &BlockControlObject<Payload>, clock: &Clock) -> Option<Entry> {
    match (block.status, block.retry_at(), block.failure.as_deref()) {
        (BlockStatus::Completed | BlockStatus::Skipped | BlockStatus::Failed, ..) => {
            Some(Entry::BlockEnded { run, block: index, done: done(block, clock, usize::MAX) })
        }
        (BlockStatus::Pending, Some(at), Some(failure)) => Some(Entry::Backoff {
            run,
            block: index,
            attempt: block.attempt.0,
            retries: block.retries,
            failure: failure.clone(),
            retry_at_ms: clock.unix_ms(at),
        }),
        (BlockStatus::Pending | BlockStatus::Running, ..) => None,
    }
}

fn done(block: &BlockControlObject<Payload>, clock: &Clock, output_bytes_max: usize) -> BlockDone {
    let at = |time: Option<runlet_kernel::Time>| time.map_or(0, |time| clock.unix_ms(time));
    let kept = block
        .output
        .as_ref()
        .filter(|output| output_bytes_max == usize::MAX || output.heap_bytes() <= output_bytes_max);
    BlockDone {
        attempt: block.attempt.0,
        retries: block.retries,
        status: block.status,
        output: kept.map(store),
        failure: block.failure.as_deref().cloned(),
        started_at_ms: at(block.started_at),
        ended_at_ms: at(block.ended_at),
    }
}

/// A run as it ended. Of one that COMPLETED large outputs on the way are not kept; of any other everything is, since it may
/// be retried from any block.
pub(super) fn ended(run: &WorkflowControlBlock<Payload>, record: &RunRecord, clock: &Clock) -> Box<Ended> {
    let bytes_max = if run.state == RunState::Completed { HISTORY_OUTPUT_BYTES_MAX } else { usize::MAX };
    let is_done = |block: &BlockControlObject<Payload>| {
        matches!(block.status, BlockStatus::Completed | BlockStatus::Skipped | BlockStatus::Failed)
    };
    let blocks = (0_u16..)
        .zip(&run.blocks)
        .filter(|(index, block)| is_done(block) && !run.plan.blocks[usize::from(*index)].trigger);
    // The last block's output is the run's, and stands there already, if there is such a block.
    let last = run.blocks.iter().rposition(|block| block.output.is_some());
    let stands = last.is_some_and(|last| !run.plan.blocks[last].trigger);
    let blocks = blocks.map(|(index, block)| {
        let is_last = Some(usize::from(index)) == last;
        (index, done(block, clock, if is_last { usize::MAX } else { bytes_max }))
    });
    Box::new(Ended {
        run: run.id,
        state: run.state,
        ended_at_ms: clock.unix_ms(run.updated_at),
        error: run.error.as_deref().map(|error| StoredError {
            block: error.block.as_ref().map(Arc::to_string),
            attempt: error.attempt.0,
            failure: error.failure.clone(),
        }),
        output: run.output.as_ref().filter(|_| !stands).map(store),
        blocks: blocks.collect(),
        log: record.log.lines(),
        trace: record.trace.spans(run),
        worker: record.worker.as_ref().map(Account::to_json).map(|json| json.to_string()),
        lane: Some(run.lane),
        pid: record.worker.as_ref().and_then(Account::pid),
    })
}
