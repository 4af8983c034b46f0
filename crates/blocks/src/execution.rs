//! One attempt of one block, as a state machine its caller drives.

use std::sync::Arc;

use runlet_proto::call::{Answer, Call};
use runlet_proto::failure::Failure;
use runlet_proto::ids::BlockIndex;
use runlet_workflow::Definition;
use runlet_workflow::template::Scope;

use crate::output::Output;

/// What is to be executed.
#[derive(Debug)]
pub struct Assignment {
    /// The definition the run began with.
    pub definition: Arc<Definition>,
    /// Which of its blocks.
    pub block: BlockIndex,
    /// The block's input: its dependencies' output.
    pub input: Output,
    /// Values for templates; `None` only when `Execution::needs_scope` said that none are needed.
    pub scope: Option<Scope>,
}

/// Numbers the calls of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// Why the execution is resumed.
#[derive(Debug)]
pub enum Resume {
    /// For the first time.
    Start,
    /// A call was answered.
    Answer(CallId, Answer),
}

/// Where the execution stopped.
#[derive(Debug)]
pub enum Step {
    /// It waits for the answer to any outstanding call; these are new. Each will be resumed with once.
    Wait(Vec<(CallId, Call)>),
    /// It ended.
    Done(Result<Outcome, Failure>),
}

/// How an attempt ended well.
#[derive(Debug)]
pub enum Outcome {
    /// With an output.
    Completed(Output),
    /// Its `when` was false.
    Skipped,
}

/// How much compute a resumption may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Microseconds: may be done in place by the supervisor's loop.
    Brief,
    /// More: belongs on a pool thread.
    Compute,
}

/// One attempt of one block.
#[derive(Debug)]
pub struct Execution {}
