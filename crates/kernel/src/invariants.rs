//! What is true between two events, checked by tests and simulation.

use runlet_proto::state::{Lane, RunState};

use crate::control::Place;
use crate::kernel::Kernel;
use crate::slots::Verdict;
use crate::table::{Admission, Key, Run};
use crate::transition::Phase;

impl<P: Clone> Kernel<P> {
    /// Checks everything that must hold between two events.
    ///
    /// # Panics
    /// With a description, if something does not hold.
    pub fn check_invariants(&self) {
        self.ready.check_invariants();
        self.timers.check_invariants();
        let (mut timers, mut queued, mut parked) = (0, 0, 0);
        for (key, run) in self.table.iter() {
            self.check_run(key, run);
            timers += usize::from(run.timer.is_some());
            timers += run.control.blocks.iter().filter(|block| block.timer.is_some()).count();
            parked += run.control.blocks.iter().filter(|block| block.parking).count();
            queued += run.control.blocks.iter().filter(|block| matches!(block.place, Place::Ready(_))).count();
        }
        assert_eq!(self.timers.len(), timers, "a timer belongs to nobody");
        assert_eq!(self.ready.len(), queued, "a queue entry belongs to nobody");
        assert_eq!(self.parking.taken(), parked, "places to park at are not conserved");
        assert!(parked <= self.config.parked_attempts_max.get(), "{parked} attempts are parked");
        assert!(self.parking.next(self.now).is_none(), "a place is free, and an attempt waits for it");
        self.check_slots();
        self.check_memory_use();
        self.check_workflows();
    }

    fn check_run(&self, key: Key, run: &Run<P>) {
        let control = &run.control;
        let id = control.id;
        let count = |phases: &[Phase]| control.blocks.iter().filter(|block| phases.contains(&block.phase)).count();
        assert_eq!(usize::from(run.ready), count(&[Phase::Ready, Phase::Woken]), "{id}: ready blocks");
        assert_eq!(usize::from(run.running), count(&[Phase::Running, Phase::Yielding]), "{id}: running blocks");
        assert_eq!(self.table.find(id), Some(key), "{id} is not found by its id");
        let done = count(&[Phase::Completed, Phase::Skipped]);
        assert_eq!(usize::from(run.left), control.blocks.len() - done, "{id}: blocks left");
        match (control.state, run.running, run.ready) {
            (RunState::Running, 1.., _) | (RunState::Ready, 0, 1..) | (RunState::Blocked, 0, 0) => {}
            (RunState::Paused, _, _) => {}
            (RunState::Completed | RunState::Failed | RunState::Stopped, 0, 0) => {
                assert!(run.timer.is_none(), "{id} ended and still has a deadline");
            }
            (state, running, ready) => panic!("{id} is {state} with {running} running and {ready} ready blocks"),
        }
        if control.state == RunState::Blocked {
            assert!(control.blocked_on(self.now).is_some(), "{id} is BLOCKED on nothing");
        }
        assert_eq!(control.state == RunState::Completed, control.output.is_some(), "{id}: output");
        assert_eq!(
            matches!(control.state, RunState::Failed | RunState::Stopped),
            control.error.is_some(),
            "{id}: error"
        );
        for block in run.indices() {
            self.check_block(run, &control.blocks[block.as_usize()], self.is_brief(key, block));
        }
    }

    fn check_block(&self, run: &Run<P>, block: &crate::BlockControlObject<P>, brief: bool) {
        let at = format!("block {} of {}", block.id, run.control.id);
        let stands = !matches!(block.place, Place::Nowhere);
        let ready = matches!(block.phase, Phase::Ready | Phase::Woken);
        let open = run.admission == Admission::Admitted && run.control.state != RunState::Paused;
        assert_eq!(stands, ready && open, "{at}: {:?} stands {:?}", block.phase, block.place);
        assert!(!(stands && brief), "{at} is brief and stands in a queue");
        let running = matches!(block.phase, Phase::Running | Phase::Yielding);
        assert_eq!(block.holder.is_some(), running && !brief, "{at}: {:?} and its slot", block.phase);
        assert_eq!(block.waits_on.is_some(), block.phase == Phase::Waiting, "{at}: {:?} and its wait", block.phase);
        assert_eq!(block.status, block.phase.status(), "{at}: status");
        assert!(block.phase != Phase::Backoff || block.timer.is_some(), "{at} is never tried again");
        assert_eq!(block.output.is_some(), block.phase == Phase::Completed, "{at}: output");
        let kept = block.phase == Phase::Woken && block.lane == Lane::Light && !block.again && !block.called && !brief;
        assert!(!kept || block.parking, "{at} is held half-done without a place");
        assert!(!block.parking || block.lane == Lane::Light, "{at} is heavy and has a place to be parked at");
        assert!(!block.parking || block.phase.is_under_way(), "{at} is over and has a place to be parked at");
        assert!(!block.parking || block.phase != Phase::Waiting, "{at} waits and has a place to be parked at");
        let in_line = matches!(block.place, Place::Parking(_));
        assert!(!in_line || (block.again && !block.parking), "{at} waits for a place that it does not need");
        if stands && matches!(block.place, Place::Ready(_)) {
            assert!(self.slots.free() == 0, "{at} is ready, and a slot is free");
        }
    }

    fn check_slots(&self) {
        let held = self.slots.holders().count();
        assert_eq!(self.slots.free() + held + self.slots.given_up(), self.slots.total(), "slots are not conserved");
        for holder in self.slots.holders() {
            let control = &self.table.get(holder.key).control;
            let block = &control.blocks[holder.block.as_usize()];
            assert!(
                block.holder.is_some(),
                "a slot is held by block {} of {}, which does not know",
                block.id,
                control.id
            );
            assert_eq!(holder.priority, control.priority, "the slot of {} has another priority", control.id);
            assert_eq!(
                holder.asked.is_some(),
                block.phase == Phase::Yielding,
                "the slot of {} was asked for",
                control.id
            );
        }
        let heavy: usize = self.memory.holds().map(|(_, hold)| hold.slots_given_up()).sum();
        assert_eq!(self.slots.given_up(), self.slots.light_given_up() + heavy, "slots given up");
        assert!(matches!(self.verdict(), Verdict::Wait(_)), "somebody who waits outranks a holder that was not asked");
        assert!(self.quantum_due.is_none() || self.slots.free() == 0, "a quantum is timed with a slot free");
    }

    fn check_memory_use(&self) {
        let used: u64 = self.memory.holds().map(|(_, hold)| hold.reserved).sum();
        assert_eq!(self.memory.used(), used, "heavy memory is not conserved");
        assert!(used <= self.memory.budget(), "heavy runs hold {used} bytes, more than there are");
        for (run, hold) in self.memory.holds().filter(|(_, hold)| hold.interrupted.is_some()) {
            assert!(hold.running.is_none(), "the worker of {run} runs one block and was stopped in another");
            assert!(
                hold.offered.is_none_or(|block| Some(block) == hold.interrupted),
                "the worker of {run} is promised twice"
            );
        }
        let idle = self.slots.free() > 0 && self.memory.first_that_fits(self.now).is_some();
        assert!(!idle, "a slot and memory are free, and a run waits for them");
        for (_, run) in self.table.iter() {
            let heavy = run.control.blocks.iter().filter(|b| b.holder.is_some() && b.lane == Lane::Heavy).count();
            assert!(heavy <= 1, "the worker of {} executes {heavy} attempts", run.control.id);
        }
    }

    fn check_workflows(&self) {
        let (mut live, mut in_line) = (0, 0);
        for workflow in self.workflows.iter() {
            live += workflow.live;
            in_line += workflow.line.len();
        }
        let of = |wanted: fn(&Run<P>) -> bool| {
            self.table.iter().filter(|(_, run)| !run.control.state.is_terminal() && wanted(run)).count()
        };
        assert_eq!((live, live), (self.table.live, of(|_| true)), "live runs");
        assert_eq!(in_line, of(|run| matches!(run.admission, Admission::InLine(_))), "runs that wait for admission");
        for (_, run) in self.table.iter().filter(|(_, run)| !run.control.state.is_terminal()) {
            let workflow = self.workflows.get(run.workflow);
            assert_eq!(workflow.name, run.control.plan.workflow, "{} counts for another workflow", run.control.id);
        }
    }
}
