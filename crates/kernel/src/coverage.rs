//! Which edges of the transition tables were taken: two bit sets, so that keeping them costs next to nothing.

use runlet_proto::state::RunState;

use crate::transition::{BlockEvent, Phase, RunEvent, next_phase, next_state};

const STATES: [RunState; 7] = [
    RunState::Ready,
    RunState::Running,
    RunState::Blocked,
    RunState::Paused,
    RunState::Completed,
    RunState::Failed,
    RunState::Stopped,
];

/// The edges taken so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    runs: u64,
    blocks: [u16; Phase::ALL.len()],
}

impl Coverage {
    pub(crate) const fn run(&mut self, state: RunState, event: RunEvent) {
        self.runs |= 1 << (state as usize * RunEvent::ALL.len() + event as usize);
    }

    pub(crate) const fn block(&mut self, phase: Phase, event: BlockEvent) {
        self.blocks[phase as usize] |= 1 << event as usize;
    }

    /// Adds the edges that another kernel took.
    pub fn merge(&mut self, other: &Self) {
        self.runs |= other.runs;
        self.blocks.iter_mut().zip(other.blocks).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// The legal edges that were never taken, written `Ready × Runs`.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let runs = STATES.into_iter().flat_map(|state| RunEvent::ALL.map(|event| (state, event)));
        let blocks = Phase::ALL.into_iter().flat_map(|phase| BlockEvent::ALL.map(|event| (phase, event)));
        let runs = runs.filter(|&(state, event)| {
            let mut edge = Self::default();
            edge.run(state, event);
            next_state(state, event).is_ok() && edge.runs & self.runs == 0
        });
        let blocks = blocks.filter(|&(phase, event)| {
            next_phase(phase, event).is_ok() && self.blocks[phase as usize] & (1 << event as usize) == 0
        });
        let runs = runs.map(|(state, event)| format!("run {state:?} × {event:?}"));
        runs.chain(blocks.map(|(phase, event)| format!("block {phase:?} × {event:?}"))).collect()
    }
}
