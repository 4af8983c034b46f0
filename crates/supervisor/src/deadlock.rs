//! Runs that wait for each other in a ring, found at the moment at which the ring would close.
//!
//! A run waits for another whose output a block wants (`children.rs`) or which it depends on (`dependencies.rs`); and one that
//! its workflow's `concurrency` keeps out waits for any of those that it lets in; and one that needs a process waits for
//! memory, which others hold until they end. A run is taken to wait for memory as soon as it lives, if a heavy block of it is to
//! come: otherwise all memory could be given to runs whose children have not come to their heavy blocks yet (Dijkstra's
//! banker). That a run may come to hold memory itself while it waits, in a branch beside, is not seen. What waits for something else (a server, a message, a lock with its time to live, a retry) may go on at any time.

use std::collections::HashMap;
use std::sync::Arc;

use runlet_kernel::{BlockControlObject, PlanBlock, WorkflowControlBlock};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::state::{BlockStatus, Lane};
use runlet_workflow::definition::Block;

use crate::core::{Core, Payload};
use crate::registry::Program;

/// What has to happen before a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wait {
    /// This run ends.
    Run(RunId),
    /// A run of this workflow ends, so that there is a place for another.
    Place(Arc<str>),
    /// Runs end that hold memory, so that there are so many bytes of it.
    Memory(u64),
}

/// Who waits for what, as far as it has been looked at.
#[derive(Debug, Default)]
struct Waits {
    of: HashMap<RunId, Vec<Wait>>,
    holders: HashMap<Arc<str>, Vec<RunId>>,
    /// Who holds memory, and how much; nobody, if nobody waits for it.
    memory: Vec<(RunId, u64)>,
}

impl Core {
    /// Whether a run may wait for the next one of a program, which is to begin.
    pub(crate) fn check_for_deadlock(&self, run: RunId, program: &Program) -> Result<(), Failure> {
        self.check_for_place(run, program)?;
        self.check_for_memory(run, program)
    }

    /// The same for the memory that run needs.
    pub(crate) fn check_for_memory(&self, run: RunId, program: &Program) -> Result<(), Failure> {
        let (bytes, budget) = (program.plan.heavy_memory_bytes, self.kernel.heavy_memory_budget());
        let held: u64 = self.kernel.heavy_holds().map(|(_, bytes)| bytes).sum();
        let is_free = budget.saturating_sub(held) >= bytes;
        let mut blocks = program.plan.blocks.iter().zip(&program.definition.blocks);
        if is_free || !blocks.any(|(planned, read)| needs_memory(planned, read)) || !self.may_close_ring(run) {
            return Ok(());
        }
        let Some(ring) = self.ring(run, Wait::Memory(bytes)) else { return Ok(()) };
        let message = format!(
            "deadlock: {ring} would hold the memory, {} MiB, that the process of the next run of `{}` needs",
            bytes.div_ceil(1 << 20),
            program.plan.workflow
        );
        Err(Failure::workflow("deadlock", message).with_help(
            "allow heavy runs more (--heavy-memory), let this one need less (\"limits\": {\"memory\": …}), or let the block not wait for its run (\"wait\": false)",
        ))
    }

    fn check_for_place(&self, run: RunId, program: &Program) -> Result<(), Failure> {
        let Some(most) = program.plan.concurrency else { return Ok(()) };
        if !self.may_close_ring(run) {
            return Ok(());
        }
        let workflow = &program.plan.workflow;
        let holders = self.holders(workflow);
        if holders.len() < most.get() as usize {
            return Ok(());
        }
        let Some(ring) = self.ring(run, Wait::Place(Arc::clone(workflow))) else { return Ok(()) };
        let message = format!(
            "deadlock: {ring} wait for each other, and the next run of `{workflow}` would wait for one of them, since its `concurrency` is {most}"
        );
        Err(Failure::workflow("deadlock", message)
            .with_help("raise the `concurrency`, or let the block not wait for its run (\"wait\": false)"))
    }

    /// Whether a run may wait until another ends.
    pub(crate) fn check_for_ring(&self, run: RunId, other: RunId) -> Result<(), Failure> {
        if run != other && !self.may_close_ring(run) {
            return Ok(());
        }
        let Some(ring) = self.ring(run, Wait::Run(other)) else { return Ok(()) };
        let message = format!("deadlock: {ring} wait for each other");
        Err(Failure::workflow("deadlock", message)
            .with_help("take one of the dependencies away, so that one of them begins first; if they wait for memory, allow heavy runs more (--heavy-memory)"))
    }

    /// Whether another run may wait for this one, or for what it holds: without that no ring goes through it, however many live.
    fn may_close_ring(&self, run: RunId) -> bool {
        let has_place = |run: RunId| self.kernel.run(run).is_some_and(|run| run.plan.concurrency.is_some());
        self.children.contains_key(&run)
            || has_place(run)
            || self.kernel.heavy_holds().any(|(holder, _)| holder == run)
            || self.gates.runs_waited_for().any(|(_, awaited)| awaited == run)
    }

    /// The runs that would wait for each other for ever if this one waited for that, in words, if there are such.
    fn ring(&self, run: RunId, wait: Wait) -> Option<String> {
        let mut waits = self.waits_from(run, wait);
        // Whatever may end, ends; what is left when nothing more does so never will.
        loop {
            let may_end = |run: &RunId, of: &Vec<Wait>| {
                of.iter().all(|wait| match wait {
                    Wait::Run(other) => other != run && !waits.of.contains_key(other),
                    Wait::Place(workflow) => waits.holders.get(workflow).is_none_or(|holders| {
                        holders.is_empty() || holders.iter().any(|holder| !waits.of.contains_key(holder))
                    }),
                    Wait::Memory(bytes) => {
                        let stuck = waits.memory.iter().filter(|(holder, _)| waits.of.contains_key(holder));
                        let stuck: u64 = stuck.map(|(_, bytes)| bytes).sum();
                        self.kernel.heavy_memory_budget().saturating_sub(stuck) >= *bytes
                    }
                })
            };
            let ending: Vec<RunId> =
                waits.of.iter().filter(|(run, of)| may_end(run, of)).map(|(run, _)| *run).collect();
            if ending.is_empty() {
                break;
            }
            ending.iter().for_each(|run| drop(waits.of.remove(run)));
        }
        waits.of.contains_key(&run).then(|| self.ring_in_words(run, &waits))
    }

    /// What a run waits for, and what these do, and so on, if it waited for this too.
    fn waits_from(&self, run: RunId, wait: Wait) -> Waits {
        let mut direct: HashMap<RunId, Vec<Wait>> = HashMap::new();
        for (child, waiting) in &self.children {
            direct.entry(waiting.attempt.run).or_default().push(Wait::Run(*child));
        }
        for (waiting, other) in self.gates.runs_waited_for() {
            direct.entry(waiting).or_default().push(Wait::Run(other));
        }
        direct.entry(run).or_default().push(wait);
        let mut waits = Waits::default();
        let mut open = vec![run];
        while let Some(next) = open.pop() {
            let Some(control_block) = self.kernel.run(next).filter(|run| !run.state.is_terminal()) else { continue };
            if waits.of.contains_key(&next) {
                continue;
            }
            let mut of = direct.remove(&next).unwrap_or_default();
            if !self.kernel.is_admitted(next) {
                of.push(Wait::Place(Arc::clone(&control_block.plan.workflow)));
            }
            if self.is_to_need_memory(control_block) {
                of.push(Wait::Memory(control_block.plan.heavy_memory_bytes));
            }
            for wait in &of {
                match wait {
                    Wait::Memory(_) => {
                        waits.memory = self.kernel.heavy_holds().collect();
                        open.extend(waits.memory.iter().map(|(holder, _)| *holder));
                    }
                    Wait::Run(other) => open.push(*other),
                    Wait::Place(workflow) => {
                        let holders =
                            waits.holders.entry(Arc::clone(workflow)).or_insert_with(|| self.holders(workflow));
                        open.extend(holders.iter());
                    }
                }
            }
            waits.of.insert(next, of);
        }
        waits
    }

    /// Whether a run that holds no memory has a heavy block to come.
    fn is_to_need_memory(&self, run: &WorkflowControlBlock<Payload>) -> bool {
        let Some(record) = self.runs.get(&run.id) else { return false };
        let mut blocks = run.blocks.iter().zip(&run.plan.blocks).zip(&record.program.definition.blocks);
        let is_to_come = |control: &BlockControlObject<Payload>| {
            matches!(control.status, BlockStatus::Pending | BlockStatus::Running)
        };
        blocks.any(|((control, planned), read)| is_to_come(control) && needs_memory(planned, read))
            && !self.kernel.heavy_holds().any(|(holder, _)| holder == run.id)
    }

    /// The runs of a workflow that its `concurrency` counts.
    fn holders(&self, workflow: &str) -> Vec<RunId> {
        let of_it = self.kernel.runs().filter(|run| &*run.plan.workflow == workflow);
        of_it.map(|run| run.id).filter(|run| self.kernel.is_admitted(*run)).collect()
    }

    /// Follows what each waits for until one comes a second time.
    fn ring_in_words(&self, run: RunId, waits: &Waits) -> String {
        let mut path = vec![run];
        loop {
            let stuck = |other: &RunId| waits.of.contains_key(other);
            let last = path[path.len() - 1];
            let next = waits.of.get(&last).into_iter().flatten().find_map(|wait| match wait {
                Wait::Run(other) => Some(*other).filter(stuck),
                Wait::Place(workflow) => waits.holders.get(workflow)?.iter().copied().find(stuck),
                Wait::Memory(_) => {
                    let mut others = waits.memory.iter().map(|(holder, _)| *holder).filter(|holder| *holder != last);
                    others.find(stuck)
                }
            });
            match next {
                Some(next) if !path.contains(&next) => path.push(next),
                Some(_) | None => break,
            }
        }
        let name = |run: &RunId| self.kernel.run(*run).map_or_else(String::new, |run| run.plan.workflow.to_string());
        path.iter().map(|run| format!("`{}` ({run})", name(run))).collect::<Vec<_>>().join(" → ")
    }
}

/// Whether a block will be executed by a process, whatever becomes of others.
fn needs_memory(planned: &PlanBlock, read: &Block) -> bool {
    planned.lane == Lane::Heavy && read.when.is_none()
}
