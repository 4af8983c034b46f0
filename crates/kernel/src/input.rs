//! The input of a block: what the blocks it depends on produced.

use runlet_proto::ids::{BlockIndex, RunId};

use crate::control::WorkflowControlBlock;
use crate::kernel::Kernel;
use crate::shape::open_dependencies;
use crate::transition::Phase;

/// What a block works on. A SKIPPED block is transparent: whoever depends on it gets what it would have got itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockInput<'a, P> {
    /// Of a block without dependencies, the input of the run; of a block with one, that block's output.
    Single(&'a P),
    /// Of a block with several dependencies, their outputs by their ids, in the order in which the block names them. A
    /// skipped block with one dependency passes that one's output on under its own id; a skipped block with several is
    /// replaced by them, each under the id of its own. No id stands twice.
    Many(Vec<(&'a str, &'a P)>),
}

impl<P: Clone> Kernel<P> {
    /// Input of a block. `None` if there is no such run or block, or what the block depends on is not done.
    #[must_use]
    pub fn block_input(&self, run: RunId, block: BlockIndex) -> Option<BlockInput<'_, P>> {
        self.run(run)?.block_input(block)
    }
}

/// Where the output that counts for a dependency comes from.
enum Source<'a, P> {
    Single(&'a P),
    /// A skipped block with several dependencies.
    Several(BlockIndex),
}

impl<P> WorkflowControlBlock<P> {
    /// Input of a block. `None` if there is no such block, or what it depends on is not done.
    #[must_use]
    pub fn block_input(&self, block: BlockIndex) -> Option<BlockInput<'_, P>> {
        match self.input_of(block)? {
            Source::Single(payload) => Some(BlockInput::Single(payload)),
            Source::Several(block) => self.gather(block).map(BlockInput::Many),
        }
    }

    /// What a block gets, through any number of skipped blocks with one dependency.
    fn input_of(&self, mut block: BlockIndex) -> Option<Source<'_, P>> {
        loop {
            block = match open_dependencies(self.plan.blocks.get(block.as_usize())?) {
                [] => return Some(Source::Single(&self.input)),
                [dependency] => *dependency,
                [_, _, ..] => return Some(Source::Several(block)),
            };
            let control = &self.blocks[block.as_usize()];
            match control.phase {
                Phase::Completed => return control.output.as_ref().map(Source::Single),
                Phase::Skipped => {}
                Phase::Pending
                | Phase::Ready
                | Phase::Running
                | Phase::Yielding
                | Phase::Waiting
                | Phase::Woken
                | Phase::Backoff
                | Phase::Failed => return None,
            }
        }
    }

    /// The outputs of a block's several dependencies.
    fn gather(&self, block: BlockIndex) -> Option<Vec<(&str, &P)>> {
        let mut gathered = Vec::new();
        // Of which block a place was taken or opened: each once, so that a lattice of skipped blocks costs no more than
        // its edges.
        let mut seen = vec![false; self.blocks.len()];
        let mut open: Vec<BlockIndex> = self.dependencies_backwards(block).collect();
        while let Some(dependency) = open.pop() {
            if std::mem::replace(&mut seen[dependency.as_usize()], true) {
                continue;
            }
            let control = &self.blocks[dependency.as_usize()];
            let source = match (&control.output, control.phase) {
                (Some(output), _) => Source::Single(output),
                (None, Phase::Skipped) => self.input_of(dependency)?,
                (None, _) => return None,
            };
            match source {
                Source::Single(payload) => gathered.push((&*control.id, payload)),
                Source::Several(block) => open.extend(self.dependencies_backwards(block)),
            }
        }
        Some(gathered)
    }

    fn dependencies_backwards(&self, block: BlockIndex) -> impl Iterator<Item = BlockIndex> + '_ {
        open_dependencies(&self.plan.blocks[block.as_usize()]).iter().rev().copied()
    }
}
