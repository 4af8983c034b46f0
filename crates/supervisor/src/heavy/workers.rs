//! The workers there are: coming, idle, at work, dying.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use nix::sys::signal::Signal;
use runlet_blocks::Assignment;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::worker::Confinement;
use tokio::sync::mpsc;

use super::cause::{Killed, Sent};
use super::link::{Heard, Told};
use super::process::{Exit, Process};
use super::zygote::Zygote;
use crate::inbound::AttemptId;

/// Numbers the workers of one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u64);

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    pub(super) zygote: Option<Zygote>,
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
    pub(super) confinement: Option<Confinement>,
    pub(super) run: Option<Job>,
    /// If it was forked for a run with programs.
    pub(super) with_programs: Option<WithPrograms>,
    stop: Stop,
    /// What was read from it since it was stopped.
    pub(super) heard: VecDeque<Heard>,
    killed: Option<Killed>,
    /// What users had it sent.
    sent: Sent,
    closed: bool,
    exit: Option<Exit>,
}

/// What a worker of a run with programs has beside any other.
#[derive(Debug)]
pub(super) struct WithPrograms {
    /// What it begins with once it is ready.
    pub(super) first: Option<Hungry>,
    /// Why it is given nothing.
    pub(super) unfit: Option<Failure>,
    /// Whether it was asked to end, and has time to.
    ending: bool,
}

/// What a worker works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(super) run: RunId,
    pub(super) memory_bytes_max: u64,
    pub(super) cpu_s_max: u64,
    /// Processes that its programs may have at once, if it runs any.
    pub(super) processes_max: Option<u32>,
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
    pub(super) killed: Option<Killed>,
    pub(super) sent: Sent,
}

impl Worker {
    fn new(told: mpsc::Sender<Told>) -> Self {
        Self {
            told: Some(told),
            process: None,
            confinement: None,
            run: None,
            with_programs: None,
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

    pub(super) fn is_stopped(&self) -> bool {
        self.stop == Stop::Stopped
    }

    pub(super) fn is_dying(&self) -> bool {
        self.killed.is_some()
    }

    /// Takes its CPU away while it computes `attempt`. False when that can be done only once its process is known;
    /// [`Workers::forked`] tells then.
    pub(super) fn stop(&mut self, attempt: AttemptId) -> bool {
        let Some(process) = &self.process else {
            self.stop = Stop::Wanted(attempt);
            return false;
        };
        self.signal(process, Signal::SIGSTOP);
        self.stop = Stop::Stopped;
        true
    }

    /// Gives it its CPU back.
    pub(super) fn go_on(&mut self) {
        if let (Stop::Stopped, Some(process)) = (self.stop, &self.process) {
            self.signal(process, Signal::SIGCONT);
        }
        self.stop = Stop::Goes;
    }

    /// Sends it a signal of a user. Its process id, or none if there is no process yet or any more.
    pub(super) fn send(&mut self, signal: Signal) -> Option<i32> {
        let process = self.process.as_ref().filter(|_| self.exit.is_none())?;
        if signal == Signal::SIGTERM {
            // A program is to hear it too; the worker that runs one does not end by it.
            self.signal(process, signal);
        } else {
            process.signal(signal);
        }
        let pid = process.pid();
        self.sent.note(signal);
        Some(pid)
    }

    /// Signals it, and with it what it runs.
    fn signal(&self, process: &Process, signal: Signal) {
        match self.with_programs {
            Some(_) => process.signal_group(signal),
            None => process.signal(signal),
        }
    }

    /// Asks what it runs to end, and it to end with that. False when there is nobody to be asked, since it runs nothing.
    pub(super) fn ask_to_end(&mut self) -> bool {
        let (Some(with), Some(process)) = (&mut self.with_programs, &self.process) else { return false };
        if self.killed.is_some() {
            return false;
        }
        with.ending = true;
        // What is stopped does not hear it before it goes on.
        process.signal_group(Signal::SIGTERM);
        process.signal_group(Signal::SIGCONT);
        self.killed = Some(Killed::NoLongerNeeded);
        self.told = None;
        self.heard.clear();
        true
    }

    /// Whether it was asked to end and has not been killed.
    pub(super) fn is_ending(&self) -> bool {
        self.with_programs.as_ref().is_some_and(|with| with.ending)
    }

    /// Ends it. The first reason counts.
    pub(super) fn kill(&mut self, why: Killed) {
        if let Some(with) = &mut self.with_programs {
            (with.first, with.ending) = (None, false);
        }
        self.killed.get_or_insert(why);
        self.told = None;
        self.heard.clear();
        if let Some(process) = &self.process {
            process.signal(Signal::SIGKILL);
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

    pub(super) fn insert(&mut self, worker: WorkerId, told: mpsc::Sender<Told>) {
        self.all.insert(worker, Worker::new(told));
    }

    /// It has confined itself.
    pub(super) fn ready(&mut self, worker: WorkerId, confinement: Confinement) {
        if let Some(found) = self.all.get_mut(&worker) {
            found.confinement = Some(confinement);
            self.idle.push_back(worker);
        }
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
            if found.is_dying() || found.closed || found.exit.is_some() {
                continue;
            }
            found.run = Some(job);
            self.of_run.insert(job.run, worker);
            return Some(worker);
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
        Some(Gone { pid: found.pid(), run: found.run, exit, killed: found.killed, sent: found.sent })
    }
}
