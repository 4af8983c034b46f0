//! The Workflow Control Block as people see it: JSON in the founding document's words, and the lines of a listing.

use runlet_kernel::{RunError, Time, WorkflowControlBlock};
use runlet_proto::control::{LogLine, RunSummary};
use runlet_proto::ids::BlockIndex;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::core::Payload;
use crate::heavy::account::Account;
use crate::lane::{self, MovedBlocks};
use crate::limits::INSPECT_OUTPUT_BYTES_MAX;
use crate::registry::Program;

/// A Unix time in milliseconds as RFC 3339 text in UTC.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let stamp = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map(|stamp| format!("{stamp:.3}")).unwrap_or_default()
}

/// One line of a listing.
pub(crate) fn summary(control_block: &WorkflowControlBlock<Payload>, clock: &Clock, now: Time) -> RunSummary {
    let current = control_block.blocks.get(control_block.current_block_index.as_usize());
    RunSummary {
        id: control_block.id,
        workflow: control_block.plan.workflow.to_string(),
        version: control_block.plan.version.to_string(),
        state: control_block.state,
        blocked_on: control_block.blocked_on(now).map(|on| on.to_string()),
        lane: control_block.lane,
        priority: control_block.priority,
        block: current.map(|block| block.id.to_string()),
        attempt: current.map_or(0, |block| block.attempt.0),
        created_at_ms: clock.unix_ms(control_block.created_at),
        updated_at_ms: clock.unix_ms(control_block.updated_at),
        error: control_block.error.as_deref().map(error_text),
        pid: None,
        cpu_us: None,
        resident_bytes: None,
    }
}

/// The whole control block. `program` names the kinds of the blocks: a live run's own, or what is deployed still of an
/// ended run's; without it they are null.
pub(crate) fn inspect(
    control_block: &WorkflowControlBlock<Payload>,
    program: Option<&Program>,
    log: &[LogLine],
    worker: Option<&Account>,
    moved: &MovedBlocks,
    clock: &Clock,
    now: Time,
) -> Value {
    let blocks = (0..control_block.blocks.len()).map(|index| block_json(index, program, moved, control_block, clock));
    let error = control_block.error.as_ref().map(|error| {
        json!({
            "block": error.block.as_deref(),
            "attempt": error.attempt.0,
            "code": error.failure.code,
            "message": error.failure.message,
            "help": error.failure.help,
        })
    });
    json!({
        "id": control_block.id.to_string(),
        "type": control_block.blocks.first().map(|block| &*block.id),
        "workflow": &*control_block.plan.workflow,
        "version": &*control_block.plan.version,
        "state": control_block.state.as_str(),
        "blockedOn": control_block.blocked_on(now).map(|on| on.to_string()),
        "lane": control_block.lane.to_string(),
        "priority": control_block.priority.level(),
        "input": payload_json(Some(&control_block.input)),
        "output": payload_json(control_block.output.as_ref()),
        "currentBlockIndex": control_block.current_block_index.0,
        "dependencies": control_block.dependencies().collect::<Vec<_>>(),
        "error": error,
        "createdAt": rfc3339(clock.unix_ms(control_block.created_at)),
        "updatedAt": rfc3339(clock.unix_ms(control_block.updated_at)),
        "blocks": blocks.collect::<Vec<_>>(),
        "worker": worker.map(Account::to_json),
        "log": log,
    })
}

fn block_json(
    index: usize,
    program: Option<&Program>,
    moved: &MovedBlocks,
    control_block: &WorkflowControlBlock<Payload>,
    clock: &Clock,
) -> Value {
    let block = &control_block.blocks[index];
    let kind = program.and_then(|program| program.definition.blocks.get(index)).map(|block| block.config.kind());
    let moved = u16::try_from(index).ok().and_then(|index| moved.get(&BlockIndex(index))).copied();
    let lane_reason = lane::reason(program, index, block.lane(), moved);
    let at = |time: Option<Time>| time.map(|time| rfc3339(clock.unix_ms(time)));
    let elapsed_ms = block.started_at.zip(block.ended_at).map(|(start, end)| (end - start).0 as f64 / 1_000.0);
    let dependencies: Vec<&str> = u16::try_from(index)
        .map(|index| control_block.block_dependencies(BlockIndex(index)).collect())
        .unwrap_or_default();
    json!({
        "id": &*block.id,
        "type": kind,
        "status": block.status.as_str(),
        "lane": block.lane().to_string(),
        "laneReason": lane_reason,
        "waitsOn": block.waits_on(),
        "input": block_input(&dependencies, control_block),
        "output": payload_json(block.output.as_ref()),
        "retries": block.retries,
        "attempt": block.attempt.0,
        "dependencies": dependencies,
        "startedAt": at(block.started_at),
        "endedAt": at(block.ended_at),
        "elapsedMs": elapsed_ms,
        "error": block.failure.as_deref().map(|failure| json!({
            "code": failure.code,
            "message": failure.message,
            "help": failure.help,
        })),
    })
}

/// Where a block's input comes from is told, not repeated: it is the output of its dependencies.
fn block_input(dependencies: &[&str], control_block: &WorkflowControlBlock<Payload>) -> Value {
    match dependencies {
        [] => payload_json(Some(&control_block.input)),
        dependencies => json!({ "outputOf": dependencies }),
    }
}

/// Why a run did not complete, in one sentence that names block and attempt.
pub(crate) fn error_text(error: &RunError) -> String {
    match &error.block {
        Some(block) => format!("block `{block}`, attempt {}: {}", error.attempt.0, error.failure.message),
        None => error.failure.message.clone(),
    }
}

/// A payload, unless it is over [`INSPECT_OUTPUT_BYTES_MAX`]: then its size alone.
pub(crate) fn payload_json(payload: Option<&Payload>) -> Value {
    let Some(payload) = payload else { return Value::Null };
    match payload.heap_bytes() {
        bytes if bytes > INSPECT_OUTPUT_BYTES_MAX => json!({ "omitted": "too large to show", "bytes": bytes }),
        _ => (*payload.to_json()).clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
