//! What a valid definition is, once parsed: immutable, every reference resolved, every template and selector compiled.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::block::BlockConfig;
use crate::block::exec::Exec;
use crate::limits;
use crate::template::{Expression, JsonTemplate};

/// One version of a workflow.
#[derive(Debug)]
pub struct Definition {
    /// Name: from the document, or the stem of its file.
    pub name: String,
    /// SHA-256 of the canonical JSON of the document, hexadecimal: comments, spacing and key order do not change it.
    pub version: String,
    /// For people.
    pub description: Option<String>,
    /// Scheduling priority, 0 to 9.
    pub priority: u8,
    /// Where its blocks are to run.
    pub isolation: Isolation,
    /// Limit for a whole run.
    pub timeout: Option<Duration>,
    /// Most runs of it under way at once.
    pub concurrency: Option<NonZeroU32>,
    /// Limits of its runs.
    pub limits: Limits,
    /// When its runs are written down.
    pub durability: Durability,
    /// What its blocks do after their last failed attempt, unless they say otherwise.
    pub on_error: OnError,
    /// The workflow that is started with the control block of each of its runs that FAILED.
    pub on_failure: Option<String>,
    /// Hosts that stand literally in it (lower case, no port): they may resolve to addresses that are not public.
    pub literal_hosts: Vec<String>,
    /// The namespaces of shared memory that its blocks may use.
    pub memory: Vec<Namespace>,
    /// The workflows that must have completed before its first blocks begin.
    pub dependencies: Vec<WorkflowDependency>,
    /// Its blocks, at least one.
    pub blocks: Vec<Block>,
}

impl Definition {
    /// Its `exec` blocks, with their positions.
    pub fn programs(&self) -> impl Iterator<Item = (usize, &Exec)> {
        self.blocks.iter().enumerate().filter_map(|(index, block)| match &block.config {
            BlockConfig::Exec(exec) => Some((index, exec)),
            BlockConfig::Hook(_)
            | BlockConfig::Fetch(_)
            | BlockConfig::HtmlScraper(_)
            | BlockConfig::Transform(_)
            | BlockConfig::Workflow(_)
            | BlockConfig::Memory(_)
            | BlockConfig::Send(_)
            | BlockConfig::Receive(_)
            | BlockConfig::Response(_) => None,
        })
    }

    /// The workflows that must have completed before a block begins: its own, and for a first one those of the workflow. A
    /// hook is held back by nothing: it has fired when there is a run.
    pub fn gates(&self, block: usize) -> impl Iterator<Item = &WorkflowDependency> {
        let block = &self.blocks[block];
        let is_hook = |block: &Block| matches!(block.config, BlockConfig::Hook(_));
        let is_first = !is_hook(block) && block.dependencies.iter().all(|before| is_hook(&self.blocks[*before]));
        let common = if is_first { &self.dependencies[..] } else { &[] };
        common.iter().chain(&block.workflows)
    }

    /// Whether it declares a namespace, for writing too if that is asked.
    #[must_use]
    pub fn may_use(&self, namespace: &str, writes: bool) -> bool {
        self.memory.iter().any(|declared| declared.name == namespace && (declared.write || !writes))
    }
}

/// A namespace of shared memory that a workflow uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Whether it may be written.
    pub write: bool,
}

/// A workflow that must have completed before something begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowDependency {
    /// Its name.
    pub workflow: String,
    /// How long ago its last COMPLETED run may have ended.
    pub max_age: Duration,
    /// Whether a run is started if none is young enough and none is live.
    pub start: bool,
    /// What happens if the run that is waited for does not complete.
    pub on_failure: OnDependencyFailure,
}

/// What happens if a run that is waited for does not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDependencyFailure {
    /// The block fails.
    Fail,
    /// The block begins all the same.
    Continue,
}

/// When a run is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `Relaxed` for runs whose client waits for their reply, `Strict` for all others.
    Auto,
    /// Before anybody is told of it.
    Strict,
    /// Without anybody waiting for the disk: when it ends, or before it does what must not be done twice.
    Relaxed,
    /// Never.
    None,
}

/// What becomes of a block that must not be executed twice, when nobody knows whether its last attempt had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// The run FAILED.
    Fail,
    /// It is executed again.
    Retry,
    /// It is SKIPPED and its input is passed on.
    Skip,
}

/// Where blocks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// As each block needs.
    Auto,
    /// Always on the light pool.
    Thread,
    /// Always in a process of their own.
    Process,
}

/// Limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time.
    pub cpu: Option<Duration>,
    /// Bytes that the output of one block may take.
    pub output_bytes: Option<u64>,
    /// Bytes that the blocks of one run may write to its log.
    pub log_bytes: Option<u64>,
    /// Processes that its programs may have at once.
    pub processes: Option<u32>,
}

/// One block.
#[derive(Debug)]
pub struct Block {
    /// Id, unique in the definition: as written, else its type, with `-2`, `-3`… where that is taken.
    pub id: String,
    /// Predefined input; without it a block takes the output of what it depends on.
    pub input: Option<JsonTemplate>,
    /// Positions of the blocks it waits for; without `dependencies` in the document, the block before it.
    pub dependencies: Vec<usize>,
    /// Workflows that must have completed before it begins.
    pub workflows: Vec<WorkflowDependency>,
    /// Limit for one attempt.
    pub timeout: Option<Duration>,
    /// Skips the block when it is false.
    pub when: Option<Expression>,
    /// Runs the block once for each element of this list.
    pub for_each: Option<ForEach>,
    /// What happens after a failed attempt.
    pub retry: Retry,
    /// What happens after the last failed attempt.
    pub on_error: OnError,
    /// What happens when nobody knows whether its last attempt had its effect.
    pub on_unknown: OnUnknown,
    /// Its kind and configuration.
    pub config: BlockConfig,
}

impl Block {
    /// Whether anything in it is a template, so that it needs a scope when it is executed.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.input.as_ref().is_some_and(|input| input.literal().is_none())
            || self.when.is_some()
            || self.for_each.is_some()
            || self.config.has_templates()
    }
}

/// `for_each` and `parallel`. Inside, `item` and `index` are names; the block's output is the list of outputs in order.
#[derive(Debug)]
pub struct ForEach {
    /// Must yield a list.
    pub items: Expression,
    /// How many elements may be under way at once, at least 1.
    pub parallel: usize,
}

/// A retry policy. The delay before attempt *n + 1* is `delay × backoff^(n-1)`, at most `delay_max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Delay before the second attempt.
    pub delay: Duration,
    /// Factor from one delay to the next, at least 1.
    pub backoff: f64,
    /// Longest delay.
    pub delay_max: Duration,
    /// Whether delays are spread at random.
    pub jitter: bool,
}

impl Retry {
    /// One attempt, no retry.
    pub const NEVER: Self =
        Self { attempts: 1, delay: Duration::ZERO, backoff: 1.0, delay_max: Duration::ZERO, jitter: false };

    /// What `"on_error": "retry"` means without a policy, and what a policy leaves out.
    pub const DEFAULT: Self = Self {
        attempts: limits::RETRY_ATTEMPTS_DEFAULT,
        delay: limits::RETRY_DELAY_DEFAULT,
        backoff: limits::RETRY_BACKOFF_DEFAULT,
        delay_max: limits::RETRY_DELAY_MAX_DEFAULT,
        jitter: true,
    };
}

/// What happens after the last failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The run fails.
    Fail,
    /// The block is SKIPPED and its input passed on.
    Skip,
}
