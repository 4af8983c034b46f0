//! Workflows as the scheduler knows them: live runs, concurrency, and tables derived from their plans.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::aged::AgedLine;
use crate::limits::{IDLE_WORKFLOWS_MAX, SHAPES_PER_WORKFLOW_MAX};
use crate::plan::{Plan, PlanError};
use crate::shape::Shape;
use crate::table::Key;
use crate::time::Span;

/// All workflows with live runs, and some that had one lately.
#[derive(Debug)]
pub(crate) struct Workflows {
    workflows: Slab<Workflow>,
    by_name: HashMap<Arc<str>, u32>,
    // Workflows in the order they became idle, at most `IDLE_WORKFLOWS_MAX`; the second figure tells whether they still
    // are, and since the same moment.
    idle: VecDeque<(u32, u64)>,
    became_idle: u64,
    ageing: Span,
}

/// One workflow, all its versions together.
#[derive(Debug)]
pub(crate) struct Workflow {
    pub(crate) name: Arc<str>,
    pub(crate) live: usize,
    /// Runs that `concurrency` counts.
    pub(crate) admitted: usize,
    /// Runs that wait for others to end.
    pub(crate) line: AgedLine<Key>,
    // The newest last.
    shapes: Vec<(Arc<Plan>, Arc<Shape>)>,
    idle_since: u64,
}

impl Workflows {
    pub(crate) fn new(ageing: Span) -> Self {
        Self { workflows: Slab::new(), by_name: HashMap::new(), idle: VecDeque::new(), became_idle: 0, ageing }
    }

    /// The workflow of a plan, and what follows from the plan.
    pub(crate) fn enter(&mut self, plan: &Arc<Plan>) -> Result<(u32, Arc<Shape>), PlanError> {
        if let Some(&id) = self.by_name.get(&plan.workflow) {
            let shape = self.workflows[id as usize].shape(plan)?;
            return Ok((id, shape));
        }
        let shape = Arc::new(Shape::of(plan)?);
        let id = self.workflows.insert(Workflow {
            name: Arc::clone(&plan.workflow),
            live: 0,
            admitted: 0,
            line: AgedLine::new(self.ageing),
            shapes: vec![(Arc::clone(plan), Arc::clone(&shape))],
            idle_since: 0,
        });
        let id = u32::try_from(id).expect("a workflow has a live run or is one of a few idle ones: fewer than 2^32");
        self.by_name.insert(Arc::clone(&plan.workflow), id);
        self.became_idle(id);
        Ok((id, shape))
    }

    /// A run of the workflow ended, or was refused after [`Self::enter`].
    pub(crate) fn left(&mut self, id: u32) {
        let workflow = &mut self.workflows[id as usize];
        workflow.live -= 1;
        if workflow.live == 0 {
            self.became_idle(id);
        }
    }

    pub(crate) fn get(&self, id: u32) -> &Workflow {
        &self.workflows[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Workflow {
        &mut self.workflows[id as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Workflow> {
        self.workflows.iter().map(|(_, workflow)| workflow)
    }

    fn became_idle(&mut self, id: u32) {
        self.became_idle += 1;
        self.workflows[id as usize].idle_since = self.became_idle;
        self.idle.push_back((id, self.became_idle));
        if self.idle.len() <= IDLE_WORKFLOWS_MAX {
            return;
        }
        let Some((id, since)) = self.idle.pop_front() else { return };
        let gone = self.workflows.get(id as usize).is_some_and(|w| w.live == 0 && w.idle_since == since);
        if gone {
            let workflow = self.workflows.remove(id as usize);
            self.by_name.remove(&workflow.name);
        }
    }
}

impl Workflow {
    fn shape(&mut self, plan: &Arc<Plan>) -> Result<Arc<Shape>, PlanError> {
        if let Some((_, shape)) = self.shapes.iter().rev().find(|(known, _)| Arc::ptr_eq(known, plan)) {
            return Ok(Arc::clone(shape));
        }
        let shape = Arc::new(Shape::of(plan)?);
        if self.shapes.len() == SHAPES_PER_WORKFLOW_MAX {
            self.shapes.remove(0);
        }
        self.shapes.push((Arc::clone(plan), Arc::clone(&shape)));
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::{block, plan};

    use super::*;

    #[test]
    fn derived_tables_are_shared_by_runs_of_a_version() {
        let mut workflows = Workflows::new(Span(0));
        let old = Arc::new(plan("w", vec![block("a", &[])]));
        let new = Arc::new(plan("w", vec![block("a", &[]), block("b", &[0])]));
        let enter = |workflows: &mut Workflows, plan| workflows.enter(plan).expect("the plan is good");
        let (id, shape) = enter(&mut workflows, &old);
        let (same, other) = enter(&mut workflows, &new);
        assert_eq!(id, same);
        assert!(!Arc::ptr_eq(&shape, &other));
        assert!(Arc::ptr_eq(&shape, &enter(&mut workflows, &old).1));
    }

    #[test]
    fn workflows_without_runs_are_bounded_and_those_with_runs_stay() {
        let mut workflows = Workflows::new(Span(0));
        for at in 0..IDLE_WORKFLOWS_MAX + 100 {
            let name = format!("w{at}");
            let (id, _) = workflows.enter(&Arc::new(plan(&name, vec![block("a", &[])]))).expect("the plan is good");
            workflows.get_mut(id).live += 1;
            // Every tenth has a run that does not end.
            if at % 10 != 0 {
                workflows.left(id);
            }
        }
        let (busy, idle): (Vec<_>, Vec<_>) = workflows.iter().partition(|workflow| workflow.live > 0);
        assert_eq!(busy.len(), (IDLE_WORKFLOWS_MAX + 100).div_ceil(10));
        assert!(idle.len() <= IDLE_WORKFLOWS_MAX, "{} idle workflows are kept", idle.len());
        assert!(workflows.idle.len() <= IDLE_WORKFLOWS_MAX);
        assert_eq!(workflows.by_name.len(), workflows.workflows.len());
    }
}
