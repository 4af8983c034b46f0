//! One seed: a kernel, its executors and a virtual clock, driven by weighted chance, then allowed to come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use runlet_kernel::coverage::Coverage;
use runlet_kernel::{Action, BlockResult, Config, Event, Kernel, Plan, Rejected, Span, Submit, Time};
use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, Priority, RunId};
use runlet_proto::state::Lane;

use crate::executors::{Doing, Executors, Who};
use crate::plans;
use crate::rng::Rng;

/// The world of one seed.
pub(crate) struct World {
    pub(crate) kernel: Kernel<u64>,
    /// What the kernels took that are gone.
    pub(crate) coverage: Coverage,
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    plans: Vec<Arc<Plan>>,
    pub(crate) executors: Executors,
    /// Answers on their way, by their time of arrival.
    pub(crate) mail: BTreeMap<(Time, u64), Event<u64>>,
    /// Answers that arrived, to arrive again.
    pub(crate) old: Vec<Event<u64>>,
    count: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = plans::config(&mut rng);
        Self {
            kernel: Kernel::new(config),
            coverage: Coverage::default(),
            config,
            now: Time(0),
            plans: plans::plans(&mut rng),
            executors: Executors::default(),
            mail: BTreeMap::new(),
            old: Vec::new(),
            count: 0,
            rng,
        }
    }

    /// Lets chance reign.
    pub(crate) fn live(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.rng.below(100) {
                0..15 => self.submit(),
                15..55 => self.executor_acts(),
                55..75 => self.time_passes(),
                75..79 => self.old_answer(),
                79..82 => self.nonsense(),
                82..86 => self.with_run(|run, _| Event::Pause { run }),
                86..91 => self.with_run(|run, _| Event::Resume { run }),
                91..94 => self.with_run(|run, rng| Event::Renice { run, priority: plans::priority(rng) }),
                94..96 => self.with_run(|run, _| Event::Stop { run, reason: "the user said so".into() }),
                96..97 => self.with_run(|run, _| Event::Promote { run }),
                97..98 => self.worker_dies(),
                98..99 if self.rng.percent(60) => self.crash(),
                98..99 => self.worker_dies(),
                _ => self.forget(),
            }
        }
    }

    /// Everybody behaves, and time passes as it must: whatever is live has to end, and to return all that it held.
    pub(crate) fn rest(&mut self) {
        for run in self.executors.runs.iter().filter(|(_, known)| known.paused).map(|(run, _)| *run).collect::<Vec<_>>()
        {
            self.handle(&Event::Resume { run });
        }
        for round in 0.. {
            assert!(round < 20_000, "no rest: {:#?}\n{:#?}", self.kernel.counts(), self.executors.attempts);
            let answers: Vec<_> =
                self.executors.attempts.iter().map(|(who, executor)| (*who, executor.doing)).collect();
            self.mail.clear();
            for (who, doing) in &answers {
                match doing {
                    Doing::Running | Doing::GivenUpRunning | Doing::GivenUp => {
                        self.handle(&finished(*who, BlockResult::Completed(round)));
                    }
                    Doing::Waiting => self.handle(&Event::Woken { run: who.0, block: who.1, attempt: who.2 }),
                    Doing::Queued => {}
                }
            }
            match self.kernel.poll_timeout() {
                Some(_) if answers.iter().any(|(_, doing)| *doing != Doing::Queued) => self.pass(Span(1)),
                Some(due) => self.pass(due - self.now),
                None if answers.is_empty() => break,
                None => {}
            }
        }
        let counts = self.kernel.counts();
        let left = (counts.live, counts.timers, counts.awaiting_memory, counts.awaiting_admission);
        let parked = (counts.parked_attempts, counts.awaiting_parking);
        assert_eq!((left, parked), ((0, 0, 0, 0), (0, 0)), "somebody waits for ever: {counts:#?}");
        assert_eq!((counts.slots_free, counts.heavy_memory_used), (counts.slots, 0), "something was not returned");
        assert_eq!(counts.ready.iter().sum::<usize>(), 0, "something is still ready");
        let lost = self.executors.runs.iter().find(|(_, known)| known.ended.is_none());
        assert!(lost.is_none(), "a run was lost: {lost:?}");
        assert_eq!(self.kernel.poll_timeout(), None, "an idle kernel wants to be woken");
    }

    fn submit(&mut self) {
        self.count += 1;
        let Some(plan) = self.rng.pick(&self.plans).cloned() else { return };
        let run = RunId::from_u128(u128::from(self.count));
        let priority = self.rng.percent(30).then(|| plans::priority(&mut self.rng));
        let (observe, record) = (self.rng.percent(20), self.rng.percent(50));
        let input = self.count;
        self.handle(&Event::Submit(Submit { run, plan, input, priority, observe, record, restored: None }));
    }

    /// A random attempt makes up its mind; what it says arrives now, later, or never.
    fn executor_acts(&mut self) {
        let all: Vec<_> = self.executors.attempts.keys().copied().collect();
        let Some(who) = self.rng.pick(&all).copied() else { return };
        let executor = self.executors.attempts.get_mut(&who).expect("it was just listed");
        // What hangs is killed when it is given up, and its end reported.
        let stuck = executor.hangs && matches!(executor.doing, Doing::Running | Doing::Waiting);
        if stuck || executor.answered || executor.doing == Doing::Queued {
            return;
        }
        if self.rng.percent(4) {
            executor.hangs = true;
            return;
        }
        executor.answered = true;
        let (doing, asked) = (executor.doing, executor.asked);
        let event = match (doing, self.rng.below(100)) {
            (Doing::Running, 0..30) => waiting(who),
            (Doing::Running, 30..70) if asked => yielded(who),
            (Doing::Running, 70..76) => moved(who),
            (Doing::Waiting, 0..80) => woken(who),
            _ => finished(who, result(&mut self.rng)),
        };
        let delay = if self.rng.percent(60) { 0 } else { self.rng.below(120) };
        self.count += 1;
        self.mail.insert((self.now + Span(delay), self.count), event);
        self.deliver();
    }

    fn time_passes(&mut self) {
        let due = self.kernel.poll_timeout().map(|due| due - self.now);
        let span = match due {
            Some(due) if self.rng.percent(60) => due.min(Span(500)),
            _ => Span(self.rng.below(80)),
        };
        self.pass(span);
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now + span;
        self.deliver();
        if self.kernel.poll_timeout().is_some_and(|due| due <= self.now) {
            self.kernel.handle_timeout(self.now);
            self.settle();
            let due = self.kernel.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now), "{due:?} is due again at {:?}", self.now);
        }
    }

    fn deliver(&mut self) {
        while let Some((key, _)) = self.mail.first_key_value().filter(|((at, _), _)| *at <= self.now) {
            let key = *key;
            let event = self.mail.remove(&key).expect("it was just found");
            self.old.push(event.clone());
            self.handle(&event);
        }
    }

    /// An answer arrives a second time.
    fn old_answer(&mut self) {
        if let Some(event) = self.rng.pick(&self.old).cloned() {
            self.handle(&event);
        }
    }

    /// Something that no supervisor would say.
    fn nonsense(&mut self) {
        let who = (RunId::from_u128(u128::MAX), BlockIndex(0), Attempt(1));
        self.handle(&finished(who, BlockResult::Skipped));
        let all: Vec<_> = self.executors.attempts.keys().copied().collect();
        let Some(&(run, block, attempt)) = self.rng.pick(&all) else { return };
        self.handle(&waiting((run, block, attempt.next())));
        self.handle(&yielded((run, BlockIndex(u16::MAX), attempt)));
        self.handle(&woken((run, block, Attempt(attempt.0 - 1))));
    }

    fn with_run(&mut self, event: impl FnOnce(RunId, &mut Rng) -> Event<u64>) {
        let runs: Vec<_> = self.executors.runs.keys().copied().collect();
        if let Some(run) = self.rng.pick(&runs).copied() {
            let event = event(run, &mut self.rng);
            self.handle(&event);
        }
    }

    fn worker_dies(&mut self) {
        let heavy = self.executors.attempts.iter().filter(|(_, executor)| executor.lane == Lane::Heavy);
        let heavy: Vec<_> = heavy.map(|(who, _)| who.0).collect();
        if let Some(run) = self.rng.pick(&heavy).copied() {
            let failure = Failure::upstream("worker-lost", "killed by signal 9");
            let last = self.rng.percent(20);
            self.handle(&Event::WorkerLost { run, failure, random: u32::MAX, last });
        }
    }

    fn forget(&mut self) {
        for (run, known) in &self.executors.runs {
            let control = self.kernel.forget(*run);
            assert!(control.is_none() || known.ended.is_some(), "a live run was forgotten");
        }
        self.settle();
    }

    /// Hands an event in, and compares what the kernel makes of it with what the executors know.
    pub(crate) fn handle(&mut self, event: &Event<u64>) {
        let stale = self.kernel.counts().stale;
        let taken = self.kernel.handle(self.now, event.clone());
        self.learn(event, &taken, stale);
        self.settle();
    }

    fn learn(&mut self, event: &Event<u64>, taken: &Result<(), Rejected>, stale: u64) {
        match event {
            Event::Submit(submit) => match taken {
                Ok(()) if submit.restored.is_some() => {}
                Ok(()) => self.executors.submitted(submit.run, &submit.plan),
                Err(Rejected::Full { limit }) => assert_eq!(self.kernel.counts().live, *limit),
                Err(Rejected::OverMemoryBudget { need_bytes, .. }) => {
                    assert!(*need_bytes > self.config.heavy_memory_bytes, "refused, though it fits");
                }
                Err(other) => panic!("{event:?}: {other}"),
            },
            Event::Waiting { run, block, attempt, .. } => {
                self.stops((*run, *block, *attempt), Doing::Waiting, taken, stale);
            }
            Event::Moved { run, block, attempt } => self.moves((*run, *block, *attempt), taken, stale),
            Event::Yielded { run, block, attempt } => self.stops((*run, *block, *attempt), Doing::Queued, taken, stale),
            Event::Woken { run, block, attempt } => {
                let executor = self.executors.attempts.get_mut(&(*run, *block, *attempt));
                match executor.map(|executor| (executor.doing, executor)) {
                    Some((Doing::Waiting, executor)) => (executor.doing, executor.answered) = (Doing::Queued, false),
                    Some((Doing::Running | Doing::Queued, _)) => assert!(taken.is_err(), "{event:?} was taken"),
                    Some((Doing::GivenUp | Doing::GivenUpRunning, _)) | None => self.was_stale(event, taken, stale),
                }
            }
            Event::Finished { run, block, attempt, .. } => {
                let who = (*run, *block, *attempt);
                if self.executors.attempts.contains_key(&who) {
                    assert_eq!((taken, self.kernel.counts().stale), (&Ok(()), stale), "{event:?}");
                    // Before the actions: what ended is not to be given up.
                    self.executors.remove(who);
                } else {
                    self.was_stale(event, taken, stale);
                }
            }
            Event::WorkerLost { run, .. } => self.executors.lose_worker(*run),
            Event::Pause { run } if taken.is_ok() => self.known(*run).paused = true,
            Event::Resume { run } if taken.is_ok() => self.known(*run).paused = false,
            Event::Pause { run } | Event::Resume { run } | Event::Stop { run, .. } | Event::Renice { run, .. } => {
                let known = self.known(*run);
                let possible = known.ended.is_none() && !matches!(event, Event::Pause { .. } | Event::Resume { .. });
                assert_eq!(taken.is_ok(), possible, "{event:?}: {taken:?}");
            }
            Event::Promote { .. } => {}
        }
    }

    /// An attempt gave its slot back.
    fn stops(&mut self, who: Who, doing: Doing, taken: &Result<(), Rejected>, stale: u64) {
        let Some(executor) = self.executors.attempts.get_mut(&who) else {
            return self.was_stale(&waiting(who), taken, stale);
        };
        executor.answered = false;
        match (executor.doing, executor.lane) {
            (Doing::Running, _) if doing == Doing::Queued && !executor.asked => {
                assert!(matches!(taken, Err(Rejected::Illegal { .. })), "nobody asked for the slot: {taken:?}");
            }
            (Doing::Running, _) => {
                let waits = doing == Doing::Waiting;
                executor.doing = doing;
                executor.called |= waits;
                executor.kept &= !waits;
                executor.drops &= !waits;
            }
            (Doing::GivenUpRunning, Lane::Heavy) => executor.doing = Doing::GivenUp,
            (Doing::GivenUpRunning, Lane::Light) => self.executors.remove(who),
            (Doing::GivenUp, _) => {}
            (Doing::Waiting | Doing::Queued, _) => assert!(matches!(taken, Err(Rejected::Illegal { .. })), "{taken:?}"),
        }
    }

    /// An attempt gave its slot back, to begin again in the other lane.
    fn moves(&mut self, who: Who, taken: &Result<(), Rejected>, stale: u64) {
        let Some(executor) = self.executors.attempts.get_mut(&who) else {
            return self.was_stale(&moved(who), taken, stale);
        };
        executor.answered = false;
        match (executor.doing, executor.lane) {
            (Doing::GivenUpRunning, Lane::Heavy) => executor.doing = Doing::GivenUp,
            (Doing::GivenUpRunning, Lane::Light) => self.executors.remove(who),
            (Doing::GivenUp, _) => {}
            (Doing::Running, Lane::Light) if taken.is_ok() => {
                assert!((!executor.called || executor.gated) && !executor.brief, "{who:?} cannot begin again");
                (executor.doing, executor.lane, executor.called) = (Doing::Queued, Lane::Heavy, false);
                (executor.asked, executor.kept, executor.drops, executor.moves) = (false, false, true, true);
            }
            (Doing::Running, Lane::Light) if (!executor.called || executor.gated) && !executor.brief => {
                assert!(matches!(taken, Err(Rejected::OverMemoryBudget { .. })), "{taken:?}");
            }
            (Doing::Running | Doing::Waiting | Doing::Queued, _) => assert!(taken.is_err(), "{who:?} was moved"),
        }
    }

    fn was_stale(&self, event: &Event<u64>, taken: &Result<(), Rejected>, stale: u64) {
        assert_eq!((taken, self.kernel.counts().stale), (&Ok(()), stale + 1), "{event:?} came too late");
    }

    fn known(&mut self, run: RunId) -> &mut crate::executors::KnownRun {
        self.executors.runs.get_mut(&run).expect("it was picked from these")
    }

    /// Performs what the kernel asks for, then checks everything.
    fn settle(&mut self) {
        let mut lowest = None;
        while let Some(action) = self.kernel.poll_action() {
            self.executors.perform(&self.kernel, &action);
            if let Action::Dispatch { run, block, .. } | Action::Continue { run, block, .. } = action
                && !self.executors.runs[&run].plan.blocks[block.as_usize()].brief
            {
                let priority = self.kernel.run(run).expect("it is live").priority;
                lowest = Some(lowest.map_or(priority, |lowest: Priority| lowest.min(priority)));
            }
            if let Action::Ended { run, .. } = action {
                self.executors.forget_memory(run);
            }
        }
        self.kernel.check_invariants();
        let Config { slots, heavy_memory_bytes, parked_attempts_max, .. } = self.config;
        self.executors.check(slots.get(), heavy_memory_bytes, parked_attempts_max.get());
        if let Some(lowest) = lowest.filter(|_| self.config.ageing == plans::NEVER) {
            let above = &self.kernel.counts().ready[usize::from(lowest.level()) + 1..];
            assert_eq!(above.iter().sum::<usize>(), 0, "priority {lowest} was dispatched before a higher one");
        }
    }
}

fn waiting((run, block, attempt): Who) -> Event<u64> {
    Event::Waiting { run, block, attempt, on: "fetch example.org".into() }
}

fn woken((run, block, attempt): Who) -> Event<u64> {
    Event::Woken { run, block, attempt }
}

fn moved((run, block, attempt): Who) -> Event<u64> {
    Event::Moved { run, block, attempt }
}

fn yielded((run, block, attempt): Who) -> Event<u64> {
    Event::Yielded { run, block, attempt }
}

fn finished((run, block, attempt): Who, result: BlockResult<u64>) -> Event<u64> {
    Event::Finished { run, block, attempt, result, random: attempt.0.wrapping_mul(0x9E37_79B9) }
}

fn result(rng: &mut Rng) -> BlockResult<u64> {
    match rng.below(10) {
        0..6 => BlockResult::Completed(rng.next()),
        6 => BlockResult::Skipped,
        7 => BlockResult::Failed(Failure::workflow("template", "`x` is undefined")),
        _ => BlockResult::Failed(Failure::upstream("connect", "connection refused")),
    }
}
