//! The workers there are: coming, idle, at work, dying.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::Signal;
use runlet_blocks::Assignment;
use runlet_proto::ids::RunId;
use runlet_proto::worker::Confinement;
use tokio::sync::mpsc;

use super::cause::Killed;
use super::cgroup::{Group, Groups, Limits};
use super::favourites::Favourites;
use super::link::Told;
use super::process::{Exit, How, Process};
use super::worker::{Gone, Job, Stop, WithPrograms, Worker};
use super::zygote::{Init, Kind, Zygotes};
use crate::inbound::AttemptId;
use crate::limits::{WORKERS_PER_FAVOURITE, WORKERS_SPARE};
use crate::registry::Program;

/// Numbers the workers of one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u64);

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    pub(super) zygotes: Zygotes,
    /// Zygotes that ended since a worker was last ready.
    pub(super) zygotes_lost: u32,
    /// Whether it was told that workers are confined too little.
    pub(super) too_weak_told: bool,
    /// Whether a zygote has ended that may have forked what it did not tell of.
    pub(super) orphans_wanted: bool,
    /// Whether the pool is to be filled up again soon.
    pub(super) refill_due: bool,
    /// The control groups they live in, if they have any.
    pub(crate) groups: Option<Groups>,
    numbers: u64,
    all: HashMap<WorkerId, Worker>,
    /// Ready and without a run.
    idle: VecDeque<WorkerId>,
    of_run: HashMap<RunId, WorkerId>,
    /// What idle workers read in advance.
    pub(super) favourites: Favourites,
    /// Attempts that were dispatched before there was a worker for their run.
    pub(super) hungry: VecDeque<Hungry>,
}

/// An attempt that waits for a worker.
#[derive(Debug)]
pub(crate) struct Hungry {
    pub(super) attempt: AttemptId,
    pub(super) assignment: Box<Assignment>,
}

/// How many workers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// With a run.
    pub(crate) busy: usize,
    /// Idle or about to be.
    pub(crate) spare: usize,
    /// Told to end, and still there.
    pub(crate) ending: usize,
}

impl Workers {
    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Worker> {
        self.all.get_mut(&worker)
    }

    pub(super) fn of_run_mut(&mut self, run: RunId) -> Option<(WorkerId, &mut Worker)> {
        let worker = *self.of_run.get(&run)?;
        self.all.get_mut(&worker).map(|found| (worker, found))
    }

    /// The process of the worker of a run.
    pub(crate) fn pid_of_run(&self, run: RunId) -> Option<i32> {
        self.all.get(self.of_run.get(&run)?)?.pid()
    }

    /// How many are idle or about to be.
    pub(super) fn spare(&self) -> usize {
        self.all.values().filter(|worker| worker.run.is_none() && !worker.is_dying()).count()
    }

    /// How many there are, by what they do.
    pub(crate) fn numbers(&self) -> Numbers {
        let ending = self.all.values().filter(|worker| worker.is_dying()).count();
        let spare = self.spare();
        Numbers { busy: self.all.len() - ending - spare, spare, ending }
    }

    /// All processes that are there, for the shutdown.
    pub(super) fn kill_all(&mut self) {
        for worker in self.all.values_mut() {
            worker.kill(Killed::NoLongerNeeded);
        }
    }

    pub(super) fn next_id(&mut self) -> WorkerId {
        self.numbers += 1;
        WorkerId(self.numbers)
    }

    pub(super) fn insert(&mut self, worker: WorkerId, told: mpsc::Sender<Told>, group: Option<Group>) {
        self.all.insert(worker, Worker::new(told, group));
    }

    /// It has confined itself, and waits for a run.
    pub(super) fn ready(&mut self, worker: WorkerId, confinement: Confinement) {
        self.confined(worker, confinement);
        self.zygotes_lost = 0;
        self.idle.push_back(worker);
    }

    /// Notes how it has confined itself. Whether it is limited by a control group is not for itself to say.
    pub(super) fn confined(&mut self, worker: WorkerId, confinement: Confinement) {
        let Some(found) = self.all.get_mut(&worker) else { return };
        let not_in_it = found.group.take_if(|group| !group.has_been_used());
        let cgroup_limits = found.group.as_ref().is_some_and(Group::is_limited);
        found.confinement = Some(Confinement { cgroup_limits, ..confinement });
        if let (Some(_), Some(groups)) = (&not_in_it, &mut self.groups) {
            groups.give_up(
                "a worker is not born in its own: the system refuses clone3(2), or who is forked from here into it",
            );
        }
        self.give_back(not_in_it);
    }

    /// Takes back what no worker is in any more.
    pub(super) fn give_back(&mut self, group: Option<Group>) {
        if let (Some(group), Some(groups)) = (group, &mut self.groups) {
            groups.give_back(group);
        }
    }

    /// The idle worker for a run of this definition: one that has read it, else one that has read none.
    pub(super) fn next_for(&mut self, program: &Program) -> Option<WorkerId> {
        let all = &self.all;
        self.idle.retain(|worker| all.get(worker).is_some_and(Worker::is_usable));
        let prepared = |worker: &WorkerId| all.get(worker).and_then(|found| found.prepared.as_ref());
        let has_read = |worker: &&WorkerId| prepared(worker).is_some_and(|read| read.is_same_version(program));
        let has_read_none = |worker: &&WorkerId| prepared(worker).is_none();
        self.idle.iter().find(has_read).or_else(|| self.idle.iter().find(has_read_none)).copied()
    }

    /// Has the control group of an idle worker limit it to what a run may have, if it has one.
    ///
    /// # Errors
    /// When the system refuses. The worker is of no use then.
    pub(super) fn limit(&mut self, worker: WorkerId, limits: Limits) -> std::io::Result<()> {
        let Some(found) = self.all.get_mut(&worker) else { return Ok(()) };
        found.limit(limits).inspect_err(|_| found.kill(Killed::NoLongerNeeded))
    }

    /// How far a worker is confined.
    pub(super) fn level(&self, worker: WorkerId) -> Option<u8> {
        self.all.get(&worker)?.confinement.map(|confinement| confinement.level())
    }

    /// Makes an idle worker a run's own.
    pub(super) fn give(&mut self, worker: WorkerId, job: Job) {
        self.idle.retain(|idle| *idle != worker);
        if let Some(found) = self.all.get_mut(&worker) {
            found.run = Some(job);
            self.of_run.insert(job.run, worker);
        }
    }

    /// How many are to be idle, beside those that are waited for.
    pub(super) fn spare_wanted(&self) -> usize {
        WORKERS_SPARE + self.favourites.iter().count() * WORKERS_PER_FAVOURITE
    }

    /// Has idle workers read what comes again and again, and ends those that have read what does not.
    pub(super) fn prepare(&mut self) {
        let Self { all, idle, favourites, .. } = self;
        let mut lacking: Vec<_> = favourites.iter().map(|program| (program, WORKERS_PER_FAVOURITE)).collect();
        for worker in idle.iter() {
            let Some(found) = all.get_mut(worker).filter(|found| found.is_usable()) else { continue };
            let Some(read) = &found.prepared else { continue };
            match lacking.iter_mut().find(|(program, _)| program.is_same_version(read)) {
                Some((_, places)) => *places = places.saturating_sub(1),
                None => found.kill(Killed::NoLongerNeeded),
            }
        }
        let lacking = lacking.into_iter().flat_map(|(program, places)| std::iter::repeat_n(program, places));
        let fresh =
            |worker: &&WorkerId| all.get(worker).is_some_and(|found| found.is_usable() && found.prepared.is_none());
        // So many are there for any definition that comes.
        let fresh: Vec<_> = idle.iter().filter(fresh).skip(WORKERS_SPARE).copied().collect();
        for (worker, program) in fresh.into_iter().zip(lacking) {
            if let Some(found) = all.get_mut(&worker) {
                found.prepare(program);
            }
        }
    }

    /// The pid namespace of the zygote's workers has its first process.
    pub(super) fn init_forked(&mut self, pid: i32, process: Option<OwnedFd>) {
        let process = process.map(|process| Process::new(pid, process));
        match (self.zygotes.of(Kind::Plain), process) {
            (Some(zygote), Some(Ok(process))) => zygote.init = Some(Arc::new(Init::new(process))),
            // Nobody is left to hold it, or it cannot be held: it ends with this supervisor.
            (None, _) | (_, Some(Err(_)) | None) => {}
        }
    }

    /// Makes a worker that is still to come a run's own; it begins with `first`.
    pub(super) fn reserve(&mut self, worker: WorkerId, job: Job, first: Hungry) {
        if let Some(found) = self.all.get_mut(&worker) {
            found.run = Some(job);
            found.with_programs = Some(WithPrograms { first: Some(first), unfit: None, ending: false });
            self.of_run.insert(job.run, worker);
        }
    }

    /// Its process is known. The attempt it was stopped in now, if that was wanted before.
    pub(super) fn forked(&mut self, worker: WorkerId, process: Arc<Process>) -> Option<AttemptId> {
        let found = self.all.get_mut(&worker)?;
        if found.is_dying() {
            process.signal(Signal::SIGKILL);
        }
        found.process = Some(process);
        if found.with_programs.is_none() {
            found.init = self.zygotes.of(Kind::Plain).as_ref().and_then(|zygote| zygote.init.clone());
        }
        let Stop::Wanted(attempt) = found.stop else { return None };
        found.stop(attempt).then_some(attempt)
    }

    /// Whether its connection has ended and its process has not.
    pub(super) fn lives_on(&self, worker: WorkerId) -> bool {
        self.all.get(&worker).is_some_and(|found| found.closed && found.exit.is_none())
    }

    /// The kind of zygote it is asked of.
    pub(super) fn kind_of(&self, worker: WorkerId) -> Kind {
        self.all.get(&worker).map_or(Kind::Plain, Worker::kind)
    }

    /// Its connection ended. What it is if it is gone with that.
    pub(super) fn closed(&mut self, worker: WorkerId) -> Option<Gone> {
        self.all.get_mut(&worker)?.closed = true;
        self.gone(worker)
    }

    /// Its process ended.
    pub(super) fn exited(&mut self, worker: WorkerId, exit: Exit) -> Option<Gone> {
        self.all.get_mut(&worker)?.exit = Some(exit);
        self.gone(worker)
    }

    /// Workers that were asked for and whose process is not known.
    pub(super) fn unborn(&self, kind: Kind) -> Vec<WorkerId> {
        self.all
            .iter()
            .filter(|(_, worker)| worker.process.is_none() && worker.kind() == kind)
            .map(|(&worker, _)| worker)
            .collect()
    }

    /// Whether a zygote was asked for a worker and has not answered.
    pub(super) fn expects_births(&self) -> bool {
        self.all.values().any(|worker| worker.process.is_none() && worker.exit.is_none())
    }

    /// All children of this process that are known.
    pub(super) fn pids(&self) -> HashSet<i32> {
        let workers = self.all.values().flat_map(|worker| {
            let init = worker.init.as_ref().map(|init| init.pid());
            worker.pid().into_iter().chain(init)
        });
        let zygotes = self.zygotes.iter().flat_map(|zygote| {
            let init = zygote.init.as_ref().map(|init| init.pid());
            zygote.pid().into_iter().chain(init)
        });
        workers.chain(zygotes).collect()
    }

    /// Only when both its process and its connection have ended has everything it said been heard.
    fn gone(&mut self, worker: WorkerId) -> Option<Gone> {
        let found = self.all.get(&worker)?;
        let exit = found.exit.filter(|_| found.closed)?;
        let found = self.all.remove(&worker)?;
        if let Some(job) = found.run
            && self.of_run.get(&job.run) == Some(&worker)
        {
            self.of_run.remove(&job.run);
        }
        let (pid, spent) = (found.pid(), found.group.as_ref().map(|group| group.meter().spent()));
        match (found.group, exit.how) {
            // Nobody waits for a process that may have been made all the same.
            (Some(mut group), How::Unknown) => {
                group.kill();
                self.give_back(Some(group));
            }
            (group, How::Code(_) | How::Signal(_)) => self.give_back(group),
            (None, How::Unknown) => {}
        }
        // Of those it started and never waited for, only the group knows.
        let exit = Exit { cpu: spent.map_or(exit.cpu, |spent| spent.cpu.max(exit.cpu)), ..exit };
        Some(Gone {
            pid,
            run: found.run,
            prepared: found.prepared,
            exit,
            spent,
            killed: found.killed,
            sent: found.sent,
        })
    }
}
