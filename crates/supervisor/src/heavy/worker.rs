//! One worker, as the supervisor knows it: what it is told, how it is held, and how it ends.

use std::collections::VecDeque;
use std::sync::Arc;

use nix::sys::signal::Signal;
use runlet_proto::control::SourceText;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::worker::{Confinement, PROGRAM_SIGNALS, ToWorker};
use tokio::sync::mpsc;

use super::cause::{Killed, Sent};
use super::cgroup::{Group, Limits, Meter, Spent};
use super::hold;
use super::link::{Heard, Told};
use super::process::{Exit, Process};
use super::workers::Hungry;
use super::zygote::{Init, Kind};
use crate::inbound::AttemptId;
use crate::limits::WORKER_TASKS_MAX;
use crate::registry::Program;

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Dropped when the worker is to end.
    pub(super) told: Option<mpsc::Sender<Told>>,
    pub(super) process: Option<Arc<Process>>,
    /// Kept for as long as this worker is in its pid namespace.
    pub(super) init: Option<Arc<Init>>,
    /// What it was born in, as far as is known.
    pub(super) group: Option<Group>,
    pub(super) confinement: Option<Confinement>,
    /// What it said when it was ready, as long as its process is not known.
    pub(super) said_ready: Option<Confinement>,
    /// What it has read in advance: it is given runs of this only.
    pub(super) prepared: Option<Program>,
    pub(super) run: Option<Job>,
    /// If it was forked for a run with programs.
    pub(super) with_programs: Option<WithPrograms>,
    pub(super) stop: Stop,
    /// What was read from it since it was stopped.
    pub(super) heard: VecDeque<Heard>,
    pub(super) killed: Option<Killed>,
    /// What users had it sent.
    pub(super) sent: Sent,
    pub(super) closed: bool,
    pub(super) exit: Option<Exit>,
}

/// What a worker of a run with programs has beside any other.
#[derive(Debug)]
pub(super) struct WithPrograms {
    /// What it begins with once it is ready.
    pub(super) first: Option<Hungry>,
    /// Why it is given nothing.
    pub(super) unfit: Option<Failure>,
    /// Whether it was asked to end, and has time to.
    pub(super) ending: bool,
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

impl Job {
    /// What the control group of its worker limits it to.
    pub(super) fn limits(&self) -> Limits {
        let tasks_max = WORKER_TASKS_MAX + self.processes_max.unwrap_or(0);
        Limits { memory_bytes_max: self.memory_bytes_max, tasks_max }
    }
}

/// Whether a worker is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
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
    /// What it had read in advance.
    pub(super) prepared: Option<Program>,
    pub(super) exit: Exit,
    /// What its control group says of it.
    pub(super) spent: Option<Spent>,
    pub(super) killed: Option<Killed>,
    pub(super) sent: Sent,
}

impl Worker {
    pub(super) fn new(told: mpsc::Sender<Told>, group: Option<Group>) -> Self {
        Self {
            told: Some(told),
            process: None,
            init: None,
            group,
            confinement: None,
            said_ready: None,
            prepared: None,
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

    /// Has it read a definition before there is a run of it.
    pub(super) fn prepare(&mut self, program: &Program) {
        let source = SourceText::clone(&program.source);
        if self.tell(Told::Message(ToWorker::Prepare(Box::new(source)))) {
            self.prepared = Some(program.clone());
        }
    }

    /// The kind of zygote it comes from.
    pub(super) fn kind(&self) -> Kind {
        if self.with_programs.is_some() { Kind::WithPrograms } else { Kind::Plain }
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

    pub(super) fn is_usable(&self) -> bool {
        !(self.is_dying() || self.closed || self.exit.is_some())
    }

    /// Takes its CPU away while it computes `attempt`. False when that can be done only once its process is known;
    /// [`Workers::forked`] tells then.
    pub(super) fn stop(&mut self, attempt: AttemptId) -> bool {
        let Some(process) = &self.process else {
            self.stop = Stop::Wanted(attempt);
            return false;
        };
        hold::stop(process, self.group.as_mut(), self.with_programs.is_some());
        self.stop = Stop::Stopped;
        true
    }

    /// Gives it its CPU back.
    pub(super) fn go_on(&mut self) {
        if let (Stop::Stopped, Some(process)) = (self.stop, &self.process) {
            hold::go_on(process, self.group.as_mut(), self.with_programs.is_some());
        }
        self.stop = Stop::Goes;
    }

    /// Sends it a signal of a user. Its process id, or none if there is no process yet or any more.
    pub(super) fn send(&mut self, signal: Signal) -> Option<i32> {
        let process = self.process.as_ref().filter(|_| self.exit.is_none())?;
        if self.with_programs.is_some() && PROGRAM_SIGNALS.contains(&(signal as i32)) {
            // A program is to hear it too.
            process.signal_group(signal);
        } else {
            process.signal(signal);
        }
        let pid = process.pid();
        self.sent.note(signal);
        Some(pid)
    }

    /// Asks what it runs to end, and it to end with that. False when there is nobody to be asked, since it runs nothing.
    pub(super) fn ask_to_end(&mut self) -> bool {
        let (Some(with), Some(process)) = (&mut self.with_programs, &self.process) else { return false };
        if self.killed.is_some() {
            return false;
        }
        with.ending = true;
        // What is held does not hear it before it goes on.
        process.signal_group(Signal::SIGTERM);
        hold::go_on(process, self.group.as_mut(), true);
        self.killed = Some(Killed::NoLongerNeeded);
        self.told = None;
        self.heard.clear();
        true
    }

    /// Whether it was asked to end and has not been killed.
    pub(super) fn is_ending(&self) -> bool {
        self.with_programs.as_ref().is_some_and(|with| with.ending)
    }

    /// Has its control group, if it has one, limit it.
    ///
    /// # Errors
    /// When the system refuses. The worker is of no use then.
    pub(super) fn limit(&mut self, limits: Limits) -> std::io::Result<()> {
        self.group.as_mut().map_or(Ok(()), |group| group.limit(limits))
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
            hold::end(process, self.group.as_mut(), self.with_programs.is_some());
        }
    }
}
