//! What users and the supervisor ask of a live run: stop, pause, resume, renice, promote.

use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::{Attempt, Priority, RunId};
use runlet_proto::state::Lane;

use crate::control::{Place, RunError};
use crate::kernel::Kernel;
use crate::rejected::Rejected;
use crate::table::Admission;
use crate::transition::{Phase, RunEvent};

impl<P: Clone> Kernel<P> {
    pub(crate) fn stop(&mut self, run: RunId, reason: &str) -> Result<(), Rejected> {
        let key = self.live(run)?;
        let failure = Failure { class: FailureClass::Stopped, ..Failure::workflow("stopped", reason) };
        let under_way = self.table.get(key).control.blocks.iter().find(|block| block.phase.is_under_way());
        let block = under_way.map(|block| block.id.clone());
        let attempt = under_way.map_or_else(Attempt::default, |block| block.attempt);
        self.end_run(key, RunEvent::Stop, Some(RunError { block, attempt, failure }));
        Ok(())
    }

    /// Holds a run: what is ready leaves the queue, what runs is asked for its slot, what waits may be woken but does not go
    /// on. Deadlines go on counting, of the run as of its attempts; so do the delays of retries.
    pub(crate) fn pause(&mut self, run: RunId) -> Result<(), Rejected> {
        let key = self.live(run)?;
        if !self.step_run(key, RunEvent::Pause) {
            return Err(Rejected::AlreadyPaused { run });
        }
        if let Admission::InLine(place) = self.table.get(key).admission {
            let workflow = self.table.get(key).workflow;
            self.workflows.get_mut(workflow).line.remove(place);
            self.table.get_mut(key).admission = Admission::Held;
            // It may have been first, and needed more room than the one behind it.
            self.admit_next(workflow);
        }
        // Taking out a heavy block puts the next one of the run in line, which is then taken out in its turn.
        for block in self.table.get(key).indices() {
            self.dequeue(key, block);
        }
        for block in self.table.get(key).indices() {
            let control = self.table.block(key, block);
            if let (Phase::Running, Some(holder)) = (control.phase, control.holder)
                && !(self.slots.get(holder).pinned && self.parking.is_full())
            {
                self.ask_back(holder);
            }
        }
        Ok(())
    }

    pub(crate) fn resume(&mut self, run: RunId) -> Result<(), Rejected> {
        let key = self.live(run)?;
        if !self.step_run(key, RunEvent::Resume) {
            return Err(Rejected::NotPaused { run, state: self.table.get(key).control.state });
        }
        if self.table.get(key).admission == Admission::Held {
            self.ask_admission(key);
        }
        self.enqueue_all(key);
        self.settle(key);
        Ok(())
    }

    /// Changes the priority of everything a live run has in a queue or on a slot.
    pub(crate) fn renice(&mut self, run: RunId, priority: Priority) -> Result<(), Rejected> {
        let key = self.live(run)?;
        let entry = self.table.get_mut(key);
        entry.control.priority = priority;
        entry.control.updated_at = self.now;
        if let Admission::InLine(place) = entry.admission {
            let workflow = entry.workflow;
            self.workflows.get_mut(workflow).line.reprioritise(place, priority);
        }
        for block in self.table.get(key).indices() {
            let control = self.table.block(key, block);
            let (place, holder) = (control.place, control.holder);
            match place {
                Place::Ready(entry) => self.ready.reprioritise(entry, priority),
                Place::Memory(entry) => self.memory.reprioritise(entry, priority),
                Place::Parking(entry) => self.parking.reprioritise(entry, priority),
                Place::Nowhere | Place::Worker => {}
            }
            if let Some(holder) = holder {
                self.slots.get_mut(holder).priority = priority;
            }
        }
        let workflow = self.table.get(key).workflow;
        self.admit_next(workflow);
        Ok(())
    }

    /// From now on every attempt of the run that is not brief begins in the heavy lane. A second time changes nothing.
    pub(crate) fn promote(&mut self, run: RunId) -> Result<(), Rejected> {
        let key = self.live(run)?;
        self.check_memory(&self.table.get(key).control.plan)?;
        if self.table.get(key).promoted {
            return Ok(());
        }
        // Out of the queues of the old lane first: where a block stands depends on its lane.
        for block in self.table.get(key).indices() {
            if self.table.block(key, block).phase == Phase::Ready {
                self.dequeue(key, block);
            }
        }
        let entry = self.table.get_mut(key);
        entry.promoted = true;
        entry.control.lane = Lane::Heavy;
        entry.control.updated_at = self.now;
        self.enqueue_all(key);
        self.settle(key);
        Ok(())
    }
}
