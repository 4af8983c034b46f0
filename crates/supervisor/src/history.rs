//! Ended runs, remembered within bounds: the newest stay.

use std::collections::VecDeque;

use runlet_kernel::WorkflowControlBlock;
use runlet_proto::ids::RunId;
use serde_json::Value;

use crate::core::Payload;
use crate::heavy::account::Account;
use crate::lane::MovedBlocks;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_OUTPUT_BYTES_MAX, HISTORY_RUNS_MAX};
use crate::run_record::{RunLog, RunRecord};
use crate::trace::Trace;

/// What is remembered of one run.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) control_block: WorkflowControlBlock<Payload>,
    pub(crate) log: RunLog,
    pub(crate) trace: Trace,
    /// Its last worker, if it had one.
    pub(crate) worker: Option<Account>,
    /// Its blocks that were moved to the heavy lane.
    pub(crate) moved: MovedBlocks,
    /// The run that it made again.
    pub(crate) retry_of: Option<RunId>,
    /// The run whose failure it was begun for.
    pub(crate) handles: Option<RunId>,
    /// The run whose block began it.
    pub(crate) parent: Option<RunId>,
    /// Whether an input or output was too large to be remembered.
    pub(crate) shortened: bool,
    bytes: usize,
}

/// The ended runs, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    runs: VecDeque<Remembered>,
    bytes: usize,
}

impl History {
    /// Takes a run in, and lets the oldest go as the bounds demand.
    pub(crate) fn remember(&mut self, mut control_block: WorkflowControlBlock<Payload>, record: RunRecord) {
        let RunRecord { log, trace, worker, moved, retry_of, handles, parent, .. } = record;
        let parent = parent.map(|parent| parent.run);
        let (payload_bytes, shortened) = shorten(&mut control_block);
        let bytes = payload_bytes + log.bytes() + trace.bytes();
        self.bytes += bytes;
        let remembered =
            Remembered { control_block, log, trace, worker, moved, retry_of, handles, parent, shortened, bytes };
        self.runs.push_back(remembered);
        while self.runs.len() > HISTORY_RUNS_MAX || self.bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = self.runs.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
    }

    /// The remembered runs, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Remembered> {
        self.runs.iter().rev()
    }

    /// The account of the worker of a remembered run, which may end after the run.
    pub(crate) fn worker_mut(&mut self, run: RunId) -> Option<&mut Account> {
        self.runs.iter_mut().rev().find(|remembered| remembered.control_block.id == run)?.worker.as_mut()
    }

    /// One remembered run.
    pub(crate) fn get(&self, run: RunId) -> Option<&Remembered> {
        self.iter().find(|remembered| remembered.control_block.id == run)
    }
}

/// Forgets what is over [`HISTORY_OUTPUT_BYTES_MAX`]; answers the bytes that stay and whether anything went. One payload
/// is often held in several places (output of one block, input of the next, output of the run); each holder counts it,
/// so the bound errs on the small side.
fn shorten(control_block: &mut WorkflowControlBlock<Payload>) -> (usize, bool) {
    let mut bytes = 0;
    let mut shortened = false;
    let mut keep = |payload: Option<Payload>| {
        let payload = payload?;
        let size = payload.heap_bytes();
        if size > HISTORY_OUTPUT_BYTES_MAX {
            shortened = true;
            return None;
        }
        bytes += size;
        Some(payload)
    };
    let input = std::mem::replace(&mut control_block.input, Payload::json(Value::Null));
    control_block.input = keep(Some(input)).unwrap_or_else(|| Payload::json(Value::Null));
    control_block.output = keep(control_block.output.take());
    for block in &mut control_block.blocks {
        block.output = keep(block.output.take());
    }
    (bytes, shortened)
}
