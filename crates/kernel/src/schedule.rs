//! Who runs next: queueing, dispatch, and who has to give way.

use runlet_proto::ids::BlockIndex;
use runlet_proto::state::{Lane, RunState};

use crate::action::{Action, Observation};
use crate::control::Place;
use crate::kernel::{Kernel, Timer};
use crate::rank::Rank;
use crate::slots::{Holder, HolderId, Verdict, Waiting};
use crate::table::{Admission, Key};
use crate::time::Time;
use crate::transition::{BlockEvent, Phase};

impl<P: Clone> Kernel<P> {
    /// Lets a ready or woken block stand in line for a slot; a brief one begins at once. While its run is paused or not
    /// admitted it stands nowhere, and is asked again when that changes.
    pub(crate) fn enqueue(&mut self, key: Key, block: BlockIndex) {
        let run = self.table.get(key);
        if run.admission != Admission::Admitted || run.control.state == RunState::Paused {
            return;
        }
        if self.is_brief(key, block) {
            self.begin(key, block, false);
        } else if self.lane_of(key, block) == Lane::Light {
            self.enqueue_light(key, block);
        } else {
            let id = run.control.id;
            self.memory.hold(id).queue.push_back(block);
            self.table.block_mut(key, block).place = Place::Worker;
            self.offer_worker(key);
        }
    }

    /// A light attempt that is to begin again does so once it has a place to be parked at.
    fn enqueue_light(&mut self, key: Key, block: BlockIndex) {
        let control = self.table.block(key, block);
        if control.again && !control.parking {
            let priority = self.table.get(key).control.priority;
            let place = self.parking.push(self.now, priority, key, block);
            self.table.block_mut(key, block).place = Place::Parking(place);
        } else {
            self.push_ready(key, block);
        }
    }

    /// [`Self::enqueue`] for everything of a run that could go on, in its order: what has begun goes to the front of the
    /// line, the last of it first.
    pub(crate) fn enqueue_all(&mut self, key: Key) {
        for block in self.table.get(key).indices().rev() {
            if self.stands_nowhere(key, block) && self.has_begun(key, block) {
                self.enqueue(key, block);
            }
        }
        for block in self.table.get(key).indices() {
            if self.stands_nowhere(key, block) {
                self.enqueue(key, block);
            }
        }
    }

    /// Whether a block could go on and stands in no line.
    fn stands_nowhere(&self, key: Key, block: BlockIndex) -> bool {
        let control = self.table.block(key, block);
        matches!(control.phase, Phase::Ready | Phase::Woken) && control.place == Place::Nowhere
    }

    /// Whether it is a light attempt that goes on, not one that starts.
    fn has_begun(&self, key: Key, block: BlockIndex) -> bool {
        self.table.block(key, block).phase == Phase::Woken && self.lane_of(key, block) == Lane::Light
    }

    /// Takes a block out of the queue it stands in, if any.
    pub(crate) fn dequeue(&mut self, key: Key, block: BlockIndex) {
        if self.leave(key, block) == Place::Nowhere {
            return;
        }
        if self.lane_of(key, block) == Lane::Heavy {
            let id = self.table.get(key).control.id;
            let hold = self.memory.hold(id);
            hold.queue.retain(|queued| *queued != block);
            hold.offered = hold.offered.filter(|offered| *offered != block);
            self.offer_worker(key);
        }
    }

    /// Puts the next heavy block of a run in line, if its worker is free.
    pub(crate) fn offer_worker(&mut self, key: Key) {
        let run = self.table.get(key);
        let (id, priority, bytes) = (run.control.id, run.control.priority, run.control.plan.heavy_memory_bytes);
        let Some(block) = self.memory.offer(id) else { return };
        if self.memory.would_fit(id, bytes) {
            self.push_ready(key, block);
        } else {
            let place = self.memory.park(key, block, bytes, priority, self.now);
            self.table.block_mut(key, block).place = Place::Memory(place);
        }
    }

    /// The worker of a run is to die: the block that stands in line for it goes back to the others.
    pub(crate) fn withdraw_offer(&mut self, key: Key) {
        let id = self.table.get(key).control.id;
        let hold = self.memory.hold(id);
        let Some(block) = hold.offered.take() else { return };
        hold.queue.push_front(block);
        self.leave(key, block);
        self.table.block_mut(key, block).place = Place::Worker;
    }

    /// Takes the slot back from an attempt that stopped by itself.
    pub(crate) fn release_slot(&mut self, key: Key, block: BlockIndex) {
        let now = self.now;
        let control = self.table.block_mut(key, block);
        let Some(holder) = control.holder.take() else { return };
        control.used = control.used + (now - self.slots.get(holder).since);
        self.slots.release(holder);
        if self.table.block(key, block).lane == Lane::Heavy {
            let id = self.table.get(key).control.id;
            self.memory.hold(id).running = None;
            self.offer_worker(key);
        }
    }

    /// Hands out what is free, then sees who has to give way to those who still wait.
    pub(crate) fn schedule(&mut self) {
        self.hand_out_places();
        while self.slots.free() > 0 && self.dispatch_next() {}
        self.preempt();
    }

    /// Lets those who wait for a place to be parked at stand in line for a slot.
    fn hand_out_places(&mut self) {
        while let Some(next) = self.parking.next(self.now) {
            self.parking.remove(next.place);
            let (key, block) = next.value;
            self.table.block_mut(key, block).parking = self.parking.take();
            self.push_ready(key, block);
        }
    }

    /// The attempt is not to be parked any more.
    pub(crate) fn give_place_back(&mut self, key: Key, block: BlockIndex) {
        if std::mem::take(&mut self.table.block_mut(key, block).parking) {
            self.parking.give_back();
        }
    }

    pub(crate) fn is_brief(&self, key: Key, block: BlockIndex) -> bool {
        self.table.get(key).control.plan.blocks[block.as_usize()].brief
    }

    /// Where the attempt under way is, or the next one will begin. What is brief is light, whatever its plan says, and so is what
    /// is gated.
    pub(crate) fn lane_of(&self, key: Key, block: BlockIndex) -> Lane {
        let run = self.table.get(key);
        let plan = &run.control.plan.blocks[block.as_usize()];
        let control = &run.control.blocks[block.as_usize()];
        match (control.phase.is_under_way(), plan.brief || plan.gated, run.promoted) {
            (true, _, _) => control.lane,
            (false, true, _) => Lane::Light,
            (false, false, true) => Lane::Heavy,
            (false, false, false) => plan.lane,
        }
    }

    /// Takes a block's entry out of wherever it stands.
    fn leave(&mut self, key: Key, block: BlockIndex) -> Place {
        let place = std::mem::replace(&mut self.table.block_mut(key, block).place, Place::Nowhere);
        match place {
            Place::Ready(entry) => {
                self.ready.remove(entry);
            }
            Place::Memory(entry) => self.memory.unpark(entry),
            Place::Parking(entry) => self.parking.remove(entry),
            Place::Nowhere | Place::Worker => {}
        }
        place
    }

    /// A light attempt that has begun goes before those of its workflow that have not: inside a workflow the order is first
    /// in, first out, and half-done work holds a thread and memory. A heavy one goes behind them, so that they share.
    fn push_ready(&mut self, key: Key, block: BlockIndex) {
        let begun = self.has_begun(key, block);
        let run = self.table.get(key);
        let rank = Rank::new(run.control.priority, self.is_long(key, block));
        let entry = match begun {
            true => self.ready.push_front(self.now, rank, run.workflow, (key, block)),
            false => self.ready.push(self.now, rank, run.workflow, (key, block)),
        };
        self.table.block_mut(key, block).place = Place::Ready(entry);
    }

    /// Whether the attempt under way has used up a quantum.
    fn is_long(&self, key: Key, block: BlockIndex) -> bool {
        self.table.block(key, block).used >= self.config.quantum
    }

    /// Gives a free slot to whoever's turn it is; whether there was anybody.
    fn dispatch_next(&mut self) -> bool {
        loop {
            if self.dispatch_from_memory_line() {
                return true;
            }
            let Some(turn) = self.ready.pop(self.now) else { return false };
            let (key, block) = turn.value;
            let control = &self.table.get(key).control;
            let (id, priority, bytes) = (control.id, control.priority, control.plan.heavy_memory_bytes);
            if self.lane_of(key, block) == Lane::Light || self.memory.admit(id, bytes, priority, self.now) {
                self.begin(key, block, turn.aged);
                self.settle(key);
                return true;
            }
            // Its turn has come, its memory has not: it waits on without being passed, and the slot goes to another.
            let place = self.memory.park(key, block, bytes, priority, turn.since);
            self.table.block_mut(key, block).place = Place::Memory(place);
        }
    }

    /// Those whose turn had come and who only waited for memory go before their equals.
    fn dispatch_from_memory_line(&mut self) -> bool {
        let Some(first) = self.memory.first_that_fits(self.now) else { return false };
        let oldest = self.ready.oldest().is_none_or(|since| first.since <= since);
        let by_age = first.aged && oldest;
        let outranked = self.ready.top().is_some_and(|top| top > Rank::new(first.priority, false));
        if !by_age && (outranked || self.ready.is_turn_of_aged(self.now)) {
            return false;
        }
        self.ready.passed_over();
        let (key, block) = (first.value.key, first.value.block);
        self.memory.admit_first(&first, self.table.get(key).control.id);
        self.begin(key, block, first.aged);
        self.settle(key);
        true
    }

    /// Starts an attempt, or goes on with it.
    fn begin(&mut self, key: Key, block: BlockIndex, aged: bool) {
        let (now, brief, lane) = (self.now, self.is_brief(key, block), self.lane_of(key, block));
        let long = self.is_long(key, block);
        let run = self.table.get_mut(key);
        run.control.current_block_index = block;
        let (id, workflow, priority) = (run.control.id, run.workflow, run.control.priority);
        let control = &mut run.control.blocks[block.as_usize()];
        (control.place, control.lane) = (Place::Nowhere, lane);
        let fresh = control.phase == Phase::Ready;
        if fresh {
            control.attempt = control.attempt.next();
            (control.started_at, control.ended_at) = (Some(now), None);
        }
        let (attempt, again) = (control.attempt, std::mem::take(&mut control.again));
        if !brief {
            let pinned = lane == Lane::Light && control.called && !control.parking;
            let holder = Holder { key, block, workflow, lane, priority, long, pinned, since: now, aged, asked: None };
            control.holder = Some(self.slots.take(holder));
            if lane == Lane::Heavy {
                let hold = self.memory.hold(id);
                (hold.offered, hold.running, hold.interrupted) = (None, Some(block), None);
            }
        }
        if !fresh {
            self.advance(key, block, BlockEvent::Continue);
            self.actions.push_back(match again {
                true => Action::Dispatch { run: id, block, attempt, lane },
                false => Action::Continue { run: id, block, attempt, lane },
            });
            return;
        }
        self.advance(key, block, BlockEvent::Start);
        self.actions.push_back(Action::Dispatch { run: id, block, attempt, lane });
        self.observe(key, Some(block), || Observation::Started(attempt));
        if let Some(limit) = self.table.get(key).control.plan.blocks[block.as_usize()].timeout {
            let timer = self.timers.set(now + limit, Timer::Block(key, block, attempt));
            self.table.block_mut(key, block).timer = Some(timer);
        }
    }

    /// Asks holders for their slots on behalf of those who wait, and sets the quantum timer. Without anybody waiting there
    /// is neither.
    fn preempt(&mut self) {
        self.quantum_due = loop {
            match self.verdict() {
                Verdict::Preempt(holder) => self.ask_back(holder),
                Verdict::Wait(due) => break due,
            }
        };
    }

    /// Whether a holder has to give way as things are, or when to ask again.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.slots.free() > 0 {
            return Verdict::Wait(None);
        }
        let parked = self.memory.first_that_fits(self.now).map(|first| (first.priority, first.since));
        let waits_since = [self.ready.oldest(), parked.map(|(_, since)| since)].into_iter().flatten().min();
        let Some(waits_since) = waits_since else { return Verdict::Wait(None) };
        let (now, quantum) = (self.now, self.config.quantum);
        let promised = self.slots.promised(now, quantum);
        let Some(rank) = self.waiting_at(promised, parked.map(|(priority, _)| Rank::new(priority, false))) else {
            // Everybody who waits was promised a slot; a promise that is not kept is looked at again.
            return Verdict::Wait(self.slots.promise_due(now, quantum));
        };
        let aged_at = waits_since + self.config.ageing;
        let workflow = if parked.is_none() { self.ready.only_workflow(rank) } else { None };
        let waiting = Waiting { rank, workflow, aged: aged_at <= now, places: !self.parking.is_full() };
        match self.slots.verdict(waiting, now, quantum) {
            Verdict::Preempt(holder) => Verdict::Preempt(holder),
            Verdict::Wait(due) => Verdict::Wait(earliest(due, Some(aged_at).filter(|at| *at > now))),
        }
    }

    /// Asks a holder for its slot. A light one without a place to be parked at drops what it has done.
    pub(crate) fn ask_back(&mut self, holder: HolderId) {
        let held = self.slots.get_mut(holder);
        held.asked = Some(self.now);
        let (key, block) = (held.key, held.block);
        self.advance(key, block, BlockEvent::Preempt);
        let run = self.table.get(key).control.id;
        let control = self.table.block_mut(key, block);
        let (attempt, lane) = (control.attempt, control.lane);
        let keep = lane == Lane::Heavy || control.parking || self.parking.take();
        (control.parking, control.again) = (keep && lane == Lane::Light, !keep);
        self.actions.push_back(Action::Preempt { run, block, attempt, lane, keep });
    }

    /// Rank of the waiting entry that has `before` others ahead of it.
    fn waiting_at(&self, before: usize, parked: Option<Rank>) -> Option<Rank> {
        let mut ahead = 0;
        Rank::descending().find(|rank| {
            ahead += self.ready.count(*rank) + usize::from(parked == Some(*rank));
            ahead > before
        })
    }
}

fn earliest(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
