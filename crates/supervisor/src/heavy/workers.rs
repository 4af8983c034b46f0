//! The workers there are: coming, idle, at work, dying.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::Signal;
use runlet_blocks::Assignment;
use runlet_proto::ids::RunId;
use runlet_proto::worker::Confinement;
use tokio::sync::mpsc;

use super::cause::{Killed, Sent};
use super::cgroup::{Group, Groups, Limits, Meter, Spent};
use super::hold;
use super::link::{Heard, Told};
use super::process::{Exit, How, Process};
use super::zygote::{Init, Zygote};
use crate::inbound::AttemptId;

/// Numbers the workers of one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u64);

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    pub(super) zygote: Option<Zygote>,
    /// Zygotes that ended since a worker was last ready.
    pub(super) zygotes_lost: u32,
    /// The control groups they live in, if they have any.
    pub(crate) groups: Option<Groups>,
    numbers: u64,
    all: HashMap<WorkerId, Worker>,
    /// Ready and without a run.
    idle: VecDeque<WorkerId>,
    of_run: HashMap<RunId, WorkerId>,
    /// Attempts that were dispatched before there was a worker for their run.
    pub(super) hungry: VecDeque<Hungry>,
}

/// An attempt that waits for a worker.
#[derive(Debug)]
pub(crate) struct Hungry {
    pub(super) attempt: AttemptId,
    pub(super) assignment: Box<Assignment>,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Dropped when the worker is to end.
    told: Option<mpsc::Sender<Told>>,
    process: Option<Arc<Process>>,
    /// Kept for as long as this worker is in its pid namespace.
    init: Option<Arc<Init>>,
    /// What it was born in, as far as is known.
    group: Option<Group>,
    pub(super) confinement: Option<Confinement>,
    pub(super) run: Option<Job>,
    stop: Stop,
    /// What was read from it since it was stopped.
    pub(super) heard: VecDeque<Heard>,
    killed: Option<Killed>,
    /// What users had it sent.
    sent: Sent,
    closed: bool,
    exit: Option<Exit>,
}

/// What a worker works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(super) run: RunId,
    pub(super) memory_bytes_max: u64,
    pub(super) cpu_s_max: u64,
}

/// Whether a worker is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Goes,
    /// It is to be stopped in this attempt and its process is not known yet.
    Wanted(AttemptId),
    Stopped,
}

/// A worker that is gone.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(super) pid: Option<i32>,
    pub(super) run: Option<Job>,
    pub(super) exit: Exit,
    /// What its control group says of it.
    pub(super) spent: Option<Spent>,
    pub(super) killed: Option<Killed>,
    pub(super) sent: Sent,
}

impl Worker {
    fn new(told: mpsc::Sender<Told>, group: Option<Group>) -> Self {
        Self {
            told: Some(told),
            process: None,
            init: None,
            group,
            confinement: None,
            run: None,
            stop: Stop::Goes,
            heard: VecDeque::new(),
            killed: None,
            sent: Sent::default(),
            closed: false,
            exit: None,
        }
    }

    /// Tells it something. False when it does not read what it is told.
    pub(super) fn tell(&self, told: Told) -> bool {
        self.told.as_ref().is_none_or(|sender| sender.try_send(told).is_ok())
    }

    pub(super) fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(|process| process.pid())
    }

    /// Counts what it uses, with all it starts.
    pub(super) fn meter(&self) -> Option<Meter> {
        self.group.as_ref().map(|group| group.meter().clone())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop == Stop::Stopped
    }

    pub(super) fn is_dying(&self) -> bool {
        self.killed.is_some()
    }

    fn is_usable(&self) -> bool {
        !(self.is_dying() || self.closed || self.exit.is_some())
    }

    /// Takes its CPU away while it computes `attempt`. False when that can be done only once its process is known;
    /// [`Workers::forked`] tells then.
    pub(super) fn stop(&mut self, attempt: AttemptId) -> bool {
        let Some(process) = &self.process else {
            self.stop = Stop::Wanted(attempt);
            return false;
        };
        hold::stop(process, self.group.as_mut());
        self.stop = Stop::Stopped;
        true
    }

    /// Gives it its CPU back.
    pub(super) fn go_on(&mut self) {
        if let (Stop::Stopped, Some(process)) = (self.stop, &self.process) {
            hold::go_on(process, self.group.as_mut());
        }
        self.stop = Stop::Goes;
    }

    /// Sends it a signal of a user. Its process id, or none if there is no process yet or any more.
    pub(super) fn send(&mut self, signal: Signal) -> Option<i32> {
        let process = self.process.as_ref().filter(|_| self.exit.is_none())?;
        process.signal(signal);
        self.sent.note(signal);
        Some(process.pid())
    }

    /// Ends it. The first reason counts.
    pub(super) fn kill(&mut self, why: Killed) {
        self.killed.get_or_insert(why);
        self.told = None;
        self.heard.clear();
        if let Some(process) = &self.process {
            hold::end(process, self.group.as_ref());
        }
    }
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

    /// It has confined itself. Whether it is limited by a control group is not for itself to say.
    pub(super) fn ready(&mut self, worker: WorkerId, confinement: Confinement) {
        let Some(found) = self.all.get_mut(&worker) else { return };
        let not_in_it = found.group.take_if(|group| !group.has_been_used());
        let cgroup_limits = found.group.as_ref().is_some_and(Group::is_limited);
        found.confinement = Some(Confinement { cgroup_limits, ..confinement });
        self.zygotes_lost = 0;
        self.idle.push_back(worker);
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

    /// Has the control group of the worker that is taken next limit it to what the run may have, if it has one.
    ///
    /// # Errors
    /// When the system refuses. The worker is of no use then.
    pub(super) fn limit_next(&mut self, limits: Limits) -> std::io::Result<()> {
        let usable = |worker: &&WorkerId| self.all.get(worker).is_some_and(Worker::is_usable);
        let next = self.idle.iter().find(usable).copied();
        let Some(found) = next.and_then(|next| self.all.get_mut(&next)) else { return Ok(()) };
        let limited = found.group.as_mut().map_or(Ok(()), |group| group.limit(limits));
        limited.inspect_err(|_| found.kill(Killed::NoLongerNeeded))
    }

    /// How far the worker that is taken next is confined.
    pub(super) fn next_level(&self) -> Option<u8> {
        let next = self.idle.iter().find_map(|worker| self.all.get(worker))?;
        next.confinement.map(|confinement| confinement.level())
    }

    /// An idle worker, which is the run's from now on.
    pub(super) fn take_idle(&mut self, job: Job) -> Option<WorkerId> {
        loop {
            let worker = self.idle.pop_front()?;
            let Some(found) = self.all.get_mut(&worker) else { continue };
            if !found.is_usable() {
                continue;
            }
            found.run = Some(job);
            self.of_run.insert(job.run, worker);
            return Some(worker);
        }
    }

    /// The pid namespace of the zygote's workers has its first process.
    pub(super) fn init_forked(&mut self, pid: i32, process: Option<OwnedFd>) {
        let process = process.map(|process| Process::new(pid, process));
        match (&mut self.zygote, process) {
            (Some(zygote), Some(Ok(process))) => zygote.init = Some(Arc::new(Init::new(process))),
            // Nobody is left to hold it, or it cannot be held: it ends with this supervisor.
            (None, _) | (_, Some(Err(_)) | None) => {}
        }
    }

    /// Its process is known. The attempt it was stopped in now, if that was wanted before.
    pub(super) fn forked(&mut self, worker: WorkerId, process: Arc<Process>) -> Option<AttemptId> {
        let found = self.all.get_mut(&worker)?;
        if found.is_dying() {
            process.signal(Signal::SIGKILL);
        }
        found.process = Some(process);
        found.init = self.zygote.as_ref().and_then(|zygote| zygote.init.clone());
        let Stop::Wanted(attempt) = found.stop else { return None };
        found.stop(attempt).then_some(attempt)
    }

    /// Whether its connection has ended and its process has not.
    pub(super) fn lives_on(&self, worker: WorkerId) -> bool {
        self.all.get(&worker).is_some_and(|found| found.closed && found.exit.is_none())
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
    pub(super) fn unborn(&self) -> Vec<WorkerId> {
        self.all.iter().filter(|(_, worker)| worker.process.is_none()).map(|(&worker, _)| worker).collect()
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
            // Nobody waits for a process that may have been made all the same, and until then it counts.
            (Some(group), How::Unknown) => group.kill(),
            (group, How::Code(_) | How::Signal(_)) => self.give_back(group),
            (None, How::Unknown) => {}
        }
        // Of those it started and never waited for, only the group knows.
        let exit = Exit { cpu: spent.map_or(exit.cpu, |spent| spent.cpu.max(exit.cpu)), ..exit };
        Some(Gone { pid, run: found.run, exit, spent, killed: found.killed, sent: found.sent })
    }
}
