//! What follows from a plan and is needed for every run of it: checked once, then shared.

use runlet_proto::ids::BlockIndex;
use runlet_proto::state::Lane;

use crate::plan::{Plan, PlanError};

/// The reverse edges of a plan that was found schedulable.
#[derive(Debug)]
pub(crate) struct Shape {
    // The dependents of block i are `targets[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    targets: Vec<BlockIndex>,
    /// Whether a block asks for the heavy lane.
    pub(crate) heavy: bool,
}

impl Shape {
    pub(crate) fn of(plan: &Plan) -> Result<Self, PlanError> {
        let blocks = &plan.blocks;
        if blocks.is_empty() {
            return Err(PlanError::Empty);
        }
        if blocks.len() > BlockIndex::MAX_BLOCKS {
            return Err(PlanError::TooManyBlocks);
        }
        if u32::try_from(edges(plan).count()).is_err() {
            return Err(PlanError::TooManyDependencies);
        }
        let mut starts = vec![0u32; blocks.len() + 1];
        for (block, dependency) in edges(plan) {
            if dependency.as_usize() >= blocks.len() {
                return Err(PlanError::UnknownDependency {
                    block: block.as_usize(),
                    dependency: dependency.as_usize(),
                });
            }
            starts[dependency.as_usize() + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut targets = vec![BlockIndex(0); starts[blocks.len()] as usize];
        let mut filled = starts.clone();
        for (block, dependency) in edges(plan) {
            let place = &mut filled[dependency.as_usize()];
            targets[*place as usize] = block;
            *place += 1;
        }
        let heavy = blocks.iter().any(|block| block.lane == Lane::Heavy && !block.brief && !block.trigger);
        let shape = Self { starts, targets, heavy };
        shape.check_order(plan)?;
        Ok(shape)
    }

    /// Blocks that depend on `block`; twice, if they name it twice.
    pub(crate) fn dependents(&self, block: BlockIndex) -> &[BlockIndex] {
        let block = block.as_usize();
        &self.targets[self.starts[block] as usize..self.starts[block + 1] as usize]
    }

    /// Kahn's algorithm: what is never released stands on a cycle or behind one.
    fn check_order(&self, plan: &Plan) -> Result<(), PlanError> {
        let mut open: Vec<usize> = plan.blocks.iter().map(|block| open_dependencies(block).len()).collect();
        let mut free: Vec<BlockIndex> =
            (0..).map(BlockIndex).zip(&open).filter(|(_, open)| **open == 0).map(|(b, _)| b).collect();
        let mut done = 0;
        while let Some(block) = free.pop() {
            done += 1;
            for dependent in self.dependents(block) {
                open[dependent.as_usize()] -= 1;
                if open[dependent.as_usize()] == 0 {
                    free.push(*dependent);
                }
            }
        }
        match open.iter().position(|open| *open > 0) {
            Some(stuck) if done < open.len() => Err(PlanError::Cycle { block: on_cycle(plan, stuck, &open) }),
            Some(_) | None => Ok(()),
        }
    }
}

/// What a block waits for: a trigger waits for nothing, whatever it names.
pub(crate) fn open_dependencies(block: &crate::plan::PlanBlock) -> &[BlockIndex] {
    if block.trigger { &[] } else { &block.dependencies }
}

fn edges(plan: &Plan) -> impl Iterator<Item = (BlockIndex, BlockIndex)> {
    (0..)
        .map(BlockIndex)
        .zip(&plan.blocks)
        .flat_map(|(index, block)| open_dependencies(block).iter().map(move |d| (index, *d)))
}

/// From a block that is never released, follow dependencies that are not either: after as many steps as there are blocks
/// the walk is on the cycle itself.
fn on_cycle(plan: &Plan, stuck: usize, open: &[usize]) -> usize {
    (0..open.len()).fold(stuck, |at, _| {
        let dependencies = open_dependencies(&plan.blocks[at]);
        dependencies.iter().map(|d| d.as_usize()).find(|d| open[*d] > 0).unwrap_or(at)
    })
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::{block, chain, plan};

    use super::*;

    #[test]
    fn dependents_are_the_reverse_of_dependencies() {
        let diamond = plan("w", vec![block("a", &[]), block("b", &[0]), block("c", &[0]), block("d", &[1, 2])]);
        let shape = Shape::of(&diamond).expect("a diamond has no cycle");
        assert_eq!(shape.dependents(BlockIndex(0)), [BlockIndex(1), BlockIndex(2)]);
        assert_eq!(shape.dependents(BlockIndex(1)), [BlockIndex(3)]);
        assert_eq!(shape.dependents(BlockIndex(3)), []);
    }

    #[test]
    fn bad_plans_are_named() {
        assert_eq!(Shape::of(&plan("w", vec![])).err(), Some(PlanError::Empty));
        let missing = plan("w", vec![block("a", &[7])]);
        assert_eq!(Shape::of(&missing).err(), Some(PlanError::UnknownDependency { block: 0, dependency: 7 }));
        assert_eq!(Shape::of(&chain("w", 1_001)).err(), Some(PlanError::TooManyBlocks));
    }

    #[test]
    fn a_cycle_is_told_from_what_stands_behind_it() {
        let behind = plan("w", vec![block("behind", &[1]), block("one", &[2]), block("two", &[1])]);
        let found = Shape::of(&behind).err();
        assert!(matches!(found, Some(PlanError::Cycle { block: 1 | 2 })), "{found:?}");
        assert_eq!(Shape::of(&plan("w", vec![block("me", &[0])])).err(), Some(PlanError::Cycle { block: 0 }));
    }
}
