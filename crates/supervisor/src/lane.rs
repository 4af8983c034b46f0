//! In which lane a block runs, and why. What the definition says is the kernel's plan already; what only shows when a
//! block is about to run, or runs, is decided here: a page that is large, and a workflow that overran its budget of CPU time
//! among threads that others share.

use std::collections::HashMap;
use std::sync::Arc;

use runlet_blocks::{Assignment, Output};
use runlet_kernel::{Event, Span, Time};
use runlet_proto::ids::BlockIndex;
use runlet_proto::state::Lane;
use runlet_workflow::BlockConfig;
use runlet_workflow::definition::Isolation;

use crate::core::Core;
use crate::inbound::AttemptId;
use crate::limits::{
    LIGHT_CPU_BUDGET, LIGHT_PAGE_BYTES_MAX, MOVED_BYTES_MAX, OVERRAN_FORGOTTEN_AFTER, OVERRAN_WORKFLOWS_MAX,
};
use crate::registry::Program;

/// Why an attempt that was planned for the light lane was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Its page is over [`LIGHT_PAGE_BYTES_MAX`].
    LargePage { bytes: usize },
    /// It used up [`LIGHT_CPU_BUDGET`] and began again.
    Overran,
    /// Its workflow did, a while ago.
    WorkflowOverran,
}

/// The blocks of a run that were moved.
pub(crate) type MovedBlocks = HashMap<BlockIndex, Moved>;

/// Versions of workflows that overran their budget lately.
#[derive(Debug, Default)]
pub(crate) struct Overran {
    at: HashMap<Arc<str>, Time>,
}

impl Overran {
    /// Remembers a version for [`OVERRAN_FORGOTTEN_AFTER`]; at [`OVERRAN_WORKFLOWS_MAX`] the oldest is forgotten.
    fn note(&mut self, version: &Arc<str>, now: Time) {
        if self.at.len() >= OVERRAN_WORKFLOWS_MAX && !self.at.contains_key(version) {
            let oldest = self.at.iter().min_by_key(|(_, at)| **at).map(|(version, _)| Arc::clone(version));
            oldest.and_then(|oldest| self.at.remove(&oldest));
        }
        self.at.insert(Arc::clone(version), now);
    }

    fn remembers(&self, version: &Arc<str>, now: Time) -> bool {
        let lasts = Span(u64::try_from(OVERRAN_FORGOTTEN_AFTER.as_micros()).unwrap_or(u64::MAX));
        self.at.get(version).is_some_and(|at| now < *at + lasts)
    }
}

impl Core {
    /// Whether a light attempt of this block can begin again in a worker.
    pub(crate) fn may_move(&self, program: &Program, block: BlockIndex) -> bool {
        let (Some(planned), Some(read)) =
            (program.plan.blocks.get(block.as_usize()), program.definition.blocks.get(block.as_usize()))
        else {
            return false;
        };
        // A fetch is a call whatever its lane, and may not be made twice.
        let computes = matches!(read.config, BlockConfig::HtmlScraper(_) | BlockConfig::Response(_));
        computes
            && !planned.brief
            && program.definition.isolation == Isolation::Auto
            && self.zygote_program.is_some()
            && program.plan.heavy_memory_bytes <= self.heavy_memory_bytes
    }

    /// Why an attempt that is about to begin on a thread belongs in a worker, if it does.
    pub(crate) fn belongs_in_worker(&self, attempt: AttemptId, assignment: &Assignment) -> Option<Moved> {
        let program = &self.runs.get(&attempt.run)?.program;
        let block = program.definition.blocks.get(attempt.block.as_usize())?;
        // With an `input` of its own the page is made by a template, and not known yet.
        let scrapes = matches!(block.config, BlockConfig::HtmlScraper(_)) && block.input.is_none();
        let bytes = if scrapes { assignment.input.heap_bytes() } else { 0 };
        let reason = match bytes {
            bytes if bytes > LIGHT_PAGE_BYTES_MAX => Moved::LargePage { bytes },
            _ if self.overran.remembers(&program.plan.version, self.clock.now()) => Moved::WorkflowOverran,
            _ => return None,
        };
        (self.may_move(program, attempt.block) && sent_bytes(assignment) <= MOVED_BYTES_MAX).then_some(reason)
    }

    /// Has an attempt that computes nothing now begin again in a worker.
    pub(crate) fn move_to_worker(&mut self, id: AttemptId, reason: Moved) {
        self.attempts.remove(&id);
        self.metrics.promoted(reason);
        // It may wait for memory now.
        self.let_go(id.run);
        if let Some(record) = self.runs.get_mut(&id.run) {
            record.moved.insert(id.block, reason);
        }
        let AttemptId { run, block, attempt } = id;
        self.report(Event::Moved { run, block, attempt });
    }

    /// An attempt used up its budget on a pool thread; it was `dropped` there, or goes on since it cannot begin again.
    pub(crate) fn overran(&mut self, attempt: AttemptId, dropped: bool) {
        if let Some(record) = self.runs.get(&attempt.run) {
            let plan = &record.program.plan;
            tracing::info!(run = %attempt.run, workflow = %plan.workflow, budget = ?LIGHT_CPU_BUDGET, "a light block overran");
            self.overran.note(&plan.version, self.clock.now());
        }
        if dropped {
            self.move_to_worker(attempt, Moved::Overran);
        }
    }
}

/// What would be sent to a worker, about.
fn sent_bytes(assignment: &Assignment) -> usize {
    let scope = assignment.scope.as_ref().map_or(0, |scope| {
        let bytes = |value: &Arc<serde_json::Value>| Output::Json(Arc::clone(value)).heap_bytes();
        let blocks: usize = scope.blocks.iter().map(|(_, value)| bytes(value)).sum();
        blocks + bytes(&scope.input) + scope.hook.as_ref().map_or(0, bytes)
    });
    scope + assignment.input.heap_bytes()
}

/// Why a block is in its lane, for people. Without its program only what was decided while it ran is known.
pub(crate) fn reason(program: Option<&Program>, index: usize, lane: Lane, moved: Option<Moved>) -> Option<String> {
    if let Some(moved) = moved {
        return Some(match moved {
            Moved::LargePage { bytes } => {
                format!(
                    "its page has {bytes} bytes, and one over {LIGHT_PAGE_BYTES_MAX} is scraped in a process of its own"
                )
            }
            Moved::Overran => {
                format!("it used up {LIGHT_CPU_BUDGET:?} of CPU time on a thread that others share, and began again")
            }
            Moved::WorkflowOverran => format!(
                "the workflow used up {LIGHT_CPU_BUDGET:?} of CPU time in one block within the last {OVERRAN_FORGOTTEN_AFTER:?}"
            ),
        });
    }
    let program = program?;
    let (read, planned) = (program.definition.blocks.get(index)?, program.plan.blocks.get(index)?);
    let reason = match (&read.config, lane, program.definition.isolation) {
        (BlockConfig::Hook(_), _, _) => "it starts the run",
        (BlockConfig::Exec(_), Lane::Heavy, _) => "a program that the operator allows runs in processes of its own",
        (BlockConfig::Transform(_), Lane::Heavy, _) => "a program may loop for ever or take any memory",
        (_, Lane::Heavy, _) => "the workflow says `isolation: process`",
        (_, Lane::Light, _) if planned.brief => "it takes microseconds",
        (_, Lane::Light, Isolation::Thread) => "the workflow says `isolation: thread`",
        (_, Lane::Light, Isolation::Auto | Isolation::Process) => "nothing it does needs a process",
    };
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overran_is_remembered_for_a_while_and_within_a_bound() {
        let mut overran = Overran::default();
        let version = |at: usize| Arc::from(format!("v{at}"));
        for at in 0..=OVERRAN_WORKFLOWS_MAX {
            overran.note(&version(at), Time(at as u64));
        }
        assert_eq!(overran.at.len(), OVERRAN_WORKFLOWS_MAX);
        let now = Time(OVERRAN_WORKFLOWS_MAX as u64);
        assert!(!overran.remembers(&version(0), now), "the oldest went");
        assert!(overran.remembers(&version(1), now));
        let later = Time(u64::try_from(OVERRAN_FORGOTTEN_AFTER.as_micros()).unwrap_or(u64::MAX) + 1);
        assert!(!overran.remembers(&version(1), later));
        assert!(overran.remembers(&version(2), later));
    }
}
