//! What the supervisor counts for whoever measures it.
//!
//! The loop owns it all: whole numbers and fixed buckets, no lock and, but for the first run of a workflow, no allocation.
//! Whatever can be looked up when somebody asks is not counted here; `families.rs` does that.

mod families;
mod histogram;
mod process;

use std::collections::HashMap;
use std::sync::Arc;

use runlet_kernel::{BlockControlObject, WorkflowControlBlock};
use runlet_proto::ids::RunId;
use runlet_proto::state::{BlockStatus, Lane, RunState};
use runlet_workflow::BlockConfig;

use self::histogram::Histogram;
use crate::core::{Core, Ended, Payload};
use crate::inbound::AttemptId;
use crate::lane::Moved;
use crate::limits::METRICS_WORKFLOWS_MAX;

/// Kinds of blocks, in the order of [`kind_index`].
const KINDS: [&str; 10] =
    ["hook", "fetch", "html-scraper", "transform", "exec", "response", "workflow", "memory", "send", "receive"];

/// Why attempts are moved to the heavy lane, in the order of [`reason_index`].
const REASONS: [&str; 3] = ["large-page", "overran", "workflow-overran"];

/// Causes of workers' ends: the codes of `heavy/cause.rs`. The last stands for any other.
const CAUSES: [&str; 11] = [
    "cancelled",
    "log-limit",
    "out-of-memory",
    "cpu-limit",
    "seccomp",
    "worker-signal",
    "worker-protocol",
    "worker-confine",
    "worker-exit",
    "worker-lost",
    OTHER,
];

/// The label of what has none of its own.
const OTHER: &str = "other";

/// What was counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    ended: EndedRuns,
    runs: Histogram,
    /// Attempts by kind of block and lane.
    attempts: [[Histogram; 2]; KINDS.len()],
    queue_waits: Histogram,
    handovers: Histogram,
    worker_ends: [u64; CAUSES.len()],
    preemptions: [u64; 2],
    promotions: [u64; REASONS.len()],
}

/// Runs that ended, by workflow within [`METRICS_WORKFLOWS_MAX`].
#[derive(Debug, Default)]
struct EndedRuns {
    by_workflow: HashMap<Arc<str>, Ended>,
    other: Ended,
}

impl EndedRuns {
    /// Counts one. Only what is deployed gets a row: names of definitions that are run once have no end.
    fn count(&mut self, workflow: &Arc<str>, state: RunState, is_deployed: impl FnOnce() -> bool) {
        if let Some(ended) = self.by_workflow.get_mut(workflow) {
            return ended.count(state);
        }
        // A workflow that is called as the rest is counted with it: no two samples may have the same labels.
        if self.by_workflow.len() < METRICS_WORKFLOWS_MAX && &**workflow != OTHER && is_deployed() {
            return self.by_workflow.entry(Arc::clone(workflow)).or_default().count(state);
        }
        self.other.count(state);
    }
}

impl Metrics {
    /// The slot was taken from an attempt.
    pub(crate) const fn preempted(&mut self, lane: Lane) {
        self.preemptions[lane_index(lane)] += 1;
    }

    /// An attempt was moved to the heavy lane.
    pub(crate) const fn promoted(&mut self, reason: Moved) {
        self.promotions[reason_index(reason)] += 1;
    }

    /// A worker ended; `code` is the failure that this is.
    pub(crate) fn worker_ended(&mut self, code: &str) {
        let cause = CAUSES.iter().position(|cause| *cause == code).unwrap_or(CAUSES.len() - 1);
        self.worker_ends[cause] += 1;
    }
}

impl Core {
    /// A run ended.
    pub(crate) fn measure_run<P>(&mut self, run: &WorkflowControlBlock<P>) {
        let workflow = &run.plan.workflow;
        self.metrics.runs.observe(run.updated_at - run.created_at);
        self.metrics.ended.count(workflow, run.state, || self.registry.get(workflow).is_some());
    }

    /// An attempt begins. The first of a run tells how long the run waited for its turn.
    pub(crate) fn measure_begin(&mut self, run: RunId) {
        let Some(record) = self.runs.get_mut(&run) else { return };
        if std::mem::replace(&mut record.has_begun, true) {
            return;
        }
        if let Some(control_block) = self.kernel.run(run) {
            self.metrics.queue_waits.observe(self.clock.now() - control_block.created_at);
        }
    }

    /// An attempt ends by itself. One that the kernel gave up was measured then.
    pub(crate) fn measure_end(&mut self, id: AttemptId) {
        self.measure_attempt(id, |block| block.status == BlockStatus::Running && block.attempt == id.attempt);
    }

    /// The kernel gives an attempt up.
    pub(crate) fn measure_given_up(&mut self, id: AttemptId) {
        self.measure_attempt(id, |_| true);
    }

    fn measure_attempt(&mut self, id: AttemptId, counts: impl FnOnce(&BlockControlObject<Payload>) -> bool) {
        let block = self.kernel.run(id.run).and_then(|run| run.blocks.get(id.block.as_usize()));
        let config = self.runs.get(&id.run).and_then(|run| run.program.definition.blocks.get(id.block.as_usize()));
        if let (Some(block), Some(config)) = (block, config)
            && let Some(began) = block.started_at
            && counts(block)
        {
            let histogram = &mut self.metrics.attempts[kind_index(&config.config)][lane_index(block.lane())];
            histogram.observe(self.clock.now() - began);
        }
    }

    /// A worker says that it began at this time with an attempt that ends now. It may say anything.
    pub(crate) fn measure_handover(&mut self, id: AttemptId, began_ns: u64) {
        let block = self.kernel.run(id.run).and_then(|run| run.blocks.get(id.block.as_usize()));
        if let Some(dispatched) = block.and_then(|block| block.started_at) {
            let began = self.clock.of_monotonic_ns(began_ns).min(self.clock.now());
            self.metrics.handovers.observe(began - dispatched);
        }
    }
}

const fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Light => 0,
        Lane::Heavy => 1,
    }
}

const fn kind_index(config: &BlockConfig) -> usize {
    match config {
        BlockConfig::Hook(_) => 0,
        BlockConfig::Fetch(_) => 1,
        BlockConfig::HtmlScraper(_) => 2,
        BlockConfig::Transform(_) => 3,
        BlockConfig::Exec(_) => 4,
        BlockConfig::Response(_) => 5,
        BlockConfig::Workflow(_) => 6,
        BlockConfig::Memory(_) => 7,
        BlockConfig::Send(_) => 8,
        BlockConfig::Receive(_) => 9,
    }
}

const fn reason_index(reason: Moved) -> usize {
    match reason {
        Moved::LargePage { .. } => 0,
        Moved::Overran => 1,
        Moved::WorkflowOverran => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_have_rows_of_their_own_up_to_a_bound() {
        let mut ended = EndedRuns::default();
        for number in 0..METRICS_WORKFLOWS_MAX + 5 {
            ended.count(&format!("w{number}").into(), RunState::Completed, || true);
        }
        ended.count(&"w0".into(), RunState::Failed, || false);
        assert_eq!((ended.by_workflow.len(), ended.other.completed), (METRICS_WORKFLOWS_MAX, 5));
        let first = ended.by_workflow.get("w0").copied().expect("it came first");
        assert_eq!((first.completed, first.failed), (1, 1));
    }

    #[test]
    fn what_is_not_deployed_and_what_is_called_other_is_counted_with_the_rest() {
        let mut ended = EndedRuns::default();
        ended.count(&"once".into(), RunState::Stopped, || false);
        ended.count(&OTHER.into(), RunState::Completed, || true);
        assert!(ended.by_workflow.is_empty());
        assert_eq!((ended.other.stopped, ended.other.completed), (1, 1));
    }

    #[test]
    fn a_cause_without_a_name_here_is_counted_all_the_same() {
        let mut metrics = Metrics::default();
        metrics.worker_ended("cpu-limit");
        metrics.worker_ended("something new");
        assert_eq!((metrics.worker_ends[3], metrics.worker_ends[CAUSES.len() - 1]), (1, 1));
    }

    #[test]
    fn every_kind_of_block_has_its_place() {
        let text = r#"{ "memory": ["m"], "blocks": [
            { "type": "hook", "path": "a" },
            { "type": "fetch", "parameter": { "url": "http://localhost" } },
            { "type": "transform", "parameter": { "jq": "." } },
            { "type": "workflow", "parameter": { "name": "b" } },
            { "type": "memory", "parameter": { "op": "get", "key": "a" } },
            { "type": "send", "parameter": { "channel": "c" } },
            { "type": "receive", "parameter": { "channel": "c" } },
            { "type": "response" }
        ] }"#;
        let definition = runlet_workflow::parse("a.json", text).expect("a valid definition");
        assert!(definition.blocks.iter().all(|block| KINDS[kind_index(&block.config)] == block.config.kind()));
    }
}
