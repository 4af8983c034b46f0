//! Figures of the whole kernel, for `ps`, metrics and tests.

use std::sync::Arc;

use runlet_proto::ids::Priority;

use crate::kernel::Kernel;

/// How much of everything there is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Runs that have not ended.
    pub live: usize,
    /// Runs that have ended and were not forgotten.
    pub ended: usize,
    /// Blocks that wait for a slot, by priority from 0 to 9.
    pub ready: [usize; Priority::LEVELS],
    /// Heavy blocks whose turn has come and that wait for memory.
    pub awaiting_memory: usize,
    /// Light blocks that have begun, dropped what they had done, and wait for a place to be parked at.
    pub awaiting_parking: usize,
    /// Places that are taken by light attempts that have used up a quantum.
    pub parked_attempts: usize,
    /// Runs that wait for another run of their workflow to end.
    pub awaiting_admission: usize,
    /// CPU slots in all.
    pub slots: usize,
    /// CPU slots that nobody holds.
    pub slots_free: usize,
    /// CPU slots of attempts that were given up and have not been reported finished.
    pub slots_given_up: usize,
    /// Memory that heavy runs hold, in bytes.
    pub heavy_memory_used: u64,
    /// Memory they may hold, in bytes.
    pub heavy_memory_budget: u64,
    /// Timers that are set.
    pub timers: usize,
    /// Answers that came too late and were dropped, since the kernel began.
    pub stale: u64,
    /// Live runs by workflow; workflows without any are left out.
    pub workflows: Vec<(Arc<str>, usize)>,
}

impl<P: Clone> Kernel<P> {
    /// Takes the figures. Costs a look at every workflow, not at every run.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let busy = self.workflows.iter().filter(|workflow| workflow.live > 0);
        Counts {
            live: self.table.live,
            ended: self.table.len() - self.table.live,
            ready: self.ready.counts(),
            awaiting_memory: self.memory.waiting(),
            awaiting_parking: self.parking.waiting(),
            parked_attempts: self.parking.taken(),
            awaiting_admission: self.workflows.iter().map(|workflow| workflow.line.len()).sum(),
            slots: self.slots.total(),
            slots_free: self.slots.free(),
            slots_given_up: self.slots.given_up(),
            heavy_memory_used: self.memory.used(),
            heavy_memory_budget: self.memory.budget(),
            timers: self.timers.len(),
            stale: self.stale,
            workflows: busy.map(|workflow| (Arc::clone(&workflow.name), workflow.live)).collect(),
        }
    }
}
