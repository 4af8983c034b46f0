//! What a run did, as `runlet trace` prints it: each attempt of a block and each call with its time and its outcome.

use serde::{Deserialize, Serialize};

/// One attempt of a block, or one call it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSpan {
    /// Number within the run, from 1, in the order in which spans began.
    pub sequence: u64,
    /// Id of the block.
    pub block: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The attempt itself, or a call.
    pub what: TraceWhat,
    /// When it began, in microseconds since the run was submitted.
    pub offset_us: u64,
    /// Of an attempt that a worker executed: how long it took from its beginning until the worker began with it, in
    /// microseconds. Absent while it goes on, and of what no worker executed.
    pub handover_us: Option<u64>,
    /// How long it took, in microseconds; absent while it goes on.
    pub elapsed_us: Option<u64>,
    /// How it ended; absent while it goes on.
    pub outcome: Option<TraceOutcome>,
    /// Where it stands in a trace of the world around; absent if the run is part of none.
    pub place: Option<TracePlace>,
}

/// The place of a span in a trace that others see too, as W3C Trace Context names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePlace {
    /// `trace-id`; never 0.
    pub trace_id: u128,
    /// `parent-id` of whatever this span asks for; never 0.
    pub span_id: u64,
}

/// What a span is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceWhat {
    /// An attempt of a block, from its dispatch to its end, waiting included.
    Block,
    /// A call, in words: `fetch GET example.org`.
    Call(String),
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceOutcome {
    /// The block has an output.
    Completed,
    /// The block's `when` was false.
    Skipped,
    /// The call was answered, in words: `200, 5120 bytes`.
    Answered(String),
    /// It failed; the cause in one sentence.
    Failed(String),
    /// It was given up, since its run or its attempt had ended otherwise.
    GivenUp,
    /// Its run was stopped; by whom or what, in words.
    Stopped(String),
}
