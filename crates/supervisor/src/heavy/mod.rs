//! The heavy lane: blocks executed by worker processes, one worker for a run.
//!
//! What a pool thread is to a light attempt, a worker is to a heavy one. The kernel decides in both cases; here its decisions
//! become messages and signals, and what the worker says becomes events. Everything a worker says is judged first
//! ([`judge`]): it executes what others chose, and may not be what it was.

pub(crate) mod account;
mod births;
mod cause;
pub mod cgroup;
mod ends;
mod favourites;
mod hold;
mod judge;
pub(crate) mod leftovers;
pub(crate) mod link;
mod orphans;
mod parcel;
pub(crate) mod process;
mod programs;
pub(crate) mod quarantine;
pub(crate) mod usage;
mod worker;
pub(crate) mod workers;
pub(crate) mod zygote;

use std::time::Duration;

use nix::sys::signal::Signal;
use runlet_blocks::CallId;
use runlet_kernel::Event;
use runlet_proto::call::Answer;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::worker::{FromWorker, Program, ToWorker};
use runlet_workflow::limits::RUN_PROCESSES_DEFAULT;

use self::account::Account;
use self::cause::Killed;
use self::link::{Heard, Told};
use self::worker::Job;
use self::workers::{Hungry, WorkerId};
use crate::attempt::Active;
use crate::core::Core;
use crate::inbound::AttemptId;
use crate::limits::{CALLS_AT_ONCE_MAX, HEAVY_CPU_S_DEFAULT};
use crate::run_record::RunRecord;

impl Core {
    /// Begins a heavy attempt, in the run's worker or, for its first, in one that is idle or still to be forked.
    pub(crate) fn begin_heavy(&mut self, attempt: AttemptId) {
        let Some(assignment) = self.assignment(attempt).map(Box::new) else {
            let failure = Failure::workflow("internal", "the run is unknown to the supervisor");
            return self.finish(attempt, Err(failure));
        };
        self.trace_begin(attempt);
        self.let_go(attempt.run);
        self.attempts.insert(attempt, Active::in_worker());
        if let Some((_, worker)) = self.workers.of_run_mut(attempt.run) {
            if let Some(failure) = worker.with_programs.as_ref().and_then(|with| with.unfit.clone()) {
                self.attempts.remove(&attempt);
                return self.finish(attempt, Err(failure));
            }
            if !worker.tell(Told::Begin(attempt.attempt, assignment)) {
                worker.kill(Killed::Protocol("it does not read what it is told".into()));
            }
            return;
        }
        match self.programs_of(attempt) {
            Some(Ok(programs)) => return self.fork_with_programs(attempt, assignment, programs),
            Some(Err(failure)) => {
                self.attempts.remove(&attempt);
                return self.finish(attempt, Err(failure));
            }
            None => {}
        }
        self.workers.hungry.push_back(Hungry { attempt, assignment });
        self.feed();
        if self.workers.hungry.is_empty() {
            self.refill_later();
        } else {
            self.refill();
        }
    }

    /// Gives idle workers to attempts that wait for one.
    fn feed(&mut self) {
        while let Some(hungry) = self.next_hungry() {
            // Given up meanwhile; the kernel has been told.
            let job = self.job_of(hungry.attempt.run).filter(|_| self.attempts.contains_key(&hungry.attempt));
            let Some(job) = job else { continue };
            let program = self.runs.get(&job.run).map(|record| record.program.clone());
            let Some((program, worker)) =
                program.and_then(|read| self.workers.next_for(&read).map(|next| (read, next)))
            else {
                self.workers.hungry.push_front(hungry);
                return;
            };
            if let Some(level) = self.workers.level(worker).filter(|level| *level < self.level_required) {
                self.attempts.remove(&hungry.attempt);
                self.finish(hungry.attempt, Err(cause::too_weak(level, self.level_required)));
                continue;
            }
            if let Err(error) = self.workers.limit(worker, job.limits()) {
                self.attempts.remove(&hungry.attempt);
                self.finish(hungry.attempt, Err(cause::not_limited(&error)));
                continue;
            }
            self.workers.give(worker, job);
            self.workers.favourites.note(&program);
            self.hand_over(worker, hungry);
        }
    }

    /// What a worker of this run works on; `None` if there is no such run.
    fn job_of(&self, run: RunId) -> Option<Job> {
        let program = &self.runs.get(&run)?.program;
        let definition = &program.definition;
        let cpu_s_max = definition.limits.cpu.map_or(HEAVY_CPU_S_DEFAULT, |cpu| cpu.as_secs());
        let processes = definition.limits.processes.unwrap_or(RUN_PROCESSES_DEFAULT);
        let processes_max = definition.programs().next().map(|_| processes);
        Some(Job { run, memory_bytes_max: program.plan.heavy_memory_bytes, cpu_s_max, processes_max })
    }

    /// Tells a worker, which has nothing to do yet, of its run and the attempt it begins with.
    fn hand_over(&mut self, worker: WorkerId, first: Hungry) {
        let Some(record) = self.runs.get_mut(&first.attempt.run) else { return };
        let Some((worker, job)) = self.workers.get_mut(worker).and_then(|found| found.run.map(|job| (found, job)))
        else {
            return;
        };
        let program = Program {
            source: (*record.program.source).clone(),
            memory_bytes_max: job.memory_bytes_max,
            cpu_s_max: job.cpu_s_max,
        };
        record.worker = Some(Account {
            pid: worker.pid(),
            meter: worker.meter(),
            confinement: worker.confinement.unwrap_or_default(),
            memory_bytes_max: job.memory_bytes_max,
            cpu_s_max: job.cpu_s_max,
            processes_max: job.processes_max,
            cpu_before: record.worker.as_ref().map_or(Duration::ZERO, Account::cpu_of_ended),
            exit: None,
            killed: None,
            spent: None,
            during: None,
            deaths: record.deaths.causes().to_vec(),
        });
        let told = worker.tell(Told::Message(ToWorker::Run(Box::new(program))))
            && worker.tell(Told::Begin(first.attempt.attempt, first.assignment));
        debug_assert!(told, "an idle worker has room for two messages");
    }

    /// The first attempt that waits for a worker and was not preempted while it did.
    fn next_hungry(&mut self) -> Option<Hungry> {
        let parked = |id: &AttemptId| self.attempts.get(id).is_some_and(|active| active.parked);
        let at = self.workers.hungry.iter().position(|hungry| !parked(&hungry.attempt))?;
        self.workers.hungry.remove(at)
    }

    /// A worker said something.
    pub(crate) fn heard_from_worker(&mut self, worker: WorkerId, heard: Heard) {
        let Some(found) = self.workers.get_mut(worker).filter(|found| !found.is_dying()) else { return };
        if let Heard::Message(FromWorker::Ready(confinement)) = heard {
            if found.confinement.is_some() || found.said_ready.is_some() {
                return found.kill(Killed::Protocol("it said twice that it is ready".into()));
            }
            if found.process.is_none() {
                // What no zygote has told of cannot be held, killed or waited for: it is given nothing before it can.
                found.said_ready = Some(confinement);
                return;
            }
            if found.with_programs.is_none() {
                self.workers.ready(worker, confinement);
                self.tell_if_too_weak(worker);
                self.feed();
                return self.workers.prepare();
            }
            if !found.is_stopped() {
                return self.ready_with_programs(worker, confinement);
            }
        }
        if found.is_stopped() {
            // What it said before it stopped is the business of its next turn.
            return found.heard.push_back(heard);
        }
        if let Err(what) = self.follow_worker(worker, heard)
            && let Some(found) = self.workers.get_mut(worker)
        {
            tracing::warn!(pid = found.pid(), what, "a worker is killed");
            found.kill(Killed::Protocol(what));
        }
    }

    /// Says once that heavy runs will be refused, before one comes.
    fn tell_if_too_weak(&mut self, worker: WorkerId) {
        let level = self.workers.level(worker).filter(|level| *level < self.level_required);
        if let Some(level) = level.filter(|_| !std::mem::replace(&mut self.workers.too_weak_told, true)) {
            tracing::error!(
                level,
                required = self.level_required,
                "no heavy run will be executed: workers are confined less than --require-isolation asks for; see `runlet doctor`"
            );
        }
    }

    /// Does what follows from a message, or says what is wrong with it.
    fn follow_worker(&mut self, worker: WorkerId, heard: Heard) -> Result<(), String> {
        let job = self.workers.get_mut(worker).and_then(|found| found.run);
        let run = job.ok_or("it spoke before it was asked to")?.run;
        match heard {
            Heard::Finished(block, attempt, result, began_ns) => {
                let attempt = self.attempt_of(AttemptId { run, block, attempt })?;
                if let Some(began_ns) = began_ns {
                    self.trace_handed_over(attempt, began_ns);
                }
                self.attempts.remove(&attempt);
                self.finish(attempt, result);
            }
            Heard::Message(FromWorker::Waiting { block, attempt, calls }) => {
                let attempt = self.attempt_of(AttemptId { run, block, attempt })?;
                let record = self.runs.get(&run).ok_or("its run is over")?;
                let calls = judge::calls(&record.program.definition, block, calls)?;
                let Some(mut active) = self.attempts.remove(&attempt) else { return Ok(()) };
                // What is answered and was not told yet is waited for too.
                let under_way = active.unanswered + active.answers.len();
                if under_way + calls.len() == 0 {
                    self.attempts.insert(attempt, active);
                    return Err("it waits for nothing".into());
                }
                if under_way + calls.len() > CALLS_AT_ONCE_MAX {
                    self.attempts.insert(attempt, active);
                    return Err(format!("it has {} calls under way at once", under_way + calls.len()));
                }
                active.computing = false;
                self.wait(attempt, active, calls);
            }
            Heard::Message(FromWorker::Log { block, attempt, level, text }) => {
                let attempt = self.attempt_of(AttemptId { run, block, attempt })?;
                self.log(attempt, level, text);
                if let Some(most) = self.runs.get(&run).and_then(RunRecord::log_limit_exceeded)
                    && let Some(found) = self.workers.get_mut(worker)
                {
                    found.kill(Killed::LogLimit(most));
                }
            }
            Heard::Message(FromWorker::Ready(_) | FromWorker::Finished { .. }) => {
                return Err("it said something out of turn".into());
            }
        }
        Ok(())
    }

    /// The attempt, if it is one that this run's worker executes.
    fn attempt_of(&self, attempt: AttemptId) -> Result<AttemptId, String> {
        let active = self.attempts.get(&attempt).filter(|active| active.computing);
        active.map(|_| attempt).ok_or_else(|| "it spoke of an attempt that is not its own".into())
    }

    /// Hands the answer to a call to the worker that waits for it.
    pub(crate) fn answer_worker(&mut self, id: AttemptId, call: CallId, answer: Answer) {
        let AttemptId { run, block, attempt } = id;
        let Some((_, worker)) = self.workers.of_run_mut(run) else { return };
        if !worker.tell(Told::Message(ToWorker::Answer { block, attempt, call: call.0, answer })) {
            worker.kill(Killed::Protocol("it does not read what it is told".into()));
        }
    }

    /// Takes the CPU from a worker.
    pub(crate) fn preempt_heavy(&mut self, attempt: AttemptId) {
        let Some((_, worker)) = self.workers.of_run_mut(attempt.run) else {
            // Its worker is still to come: it gives back a slot that it has not used, and is fed at its next turn.
            if self.workers.hungry.iter().any(|hungry| hungry.attempt == attempt) {
                self.stopped(attempt);
            }
            return;
        };
        if worker.stop(attempt) {
            self.stopped(attempt);
        }
    }

    /// A worker was stopped in this attempt, which has thereby given its slot back.
    fn stopped(&mut self, id: AttemptId) {
        if let Some(active) = self.attempts.get_mut(&id) {
            active.parked = true;
            let AttemptId { run, block, attempt } = id;
            self.report(Event::Yielded { run, block, attempt });
        }
    }

    /// Gives a worker its CPU back, and follows what it had said before it lost it.
    pub(crate) fn go_on_heavy(&mut self, run: RunId) {
        let Some((worker, found)) = self.workers.of_run_mut(run) else { return self.feed() };
        found.go_on();
        for heard in std::mem::take(&mut found.heard) {
            self.heard_from_worker(worker, heard);
        }
    }

    /// Gives a heavy attempt up: its worker is ended, and reported when it is gone.
    pub(crate) fn cancel_heavy(&mut self, attempt: AttemptId) {
        let runs_program = self.runs_program(attempt.run);
        self.attempts.remove(&attempt);
        self.trace_give_up(attempt);
        if self.workers.of_run_mut(attempt.run).is_some() {
            return self.end_attempts_of(attempt.run, runs_program);
        }
        self.workers.hungry.retain(|hungry| hungry.attempt != attempt);
        self.finish(attempt, Err(Failure::workflow("cancelled", "the attempt was given up")));
    }

    /// Sends a signal of a user to the run's worker; its process id, if there is such a worker.
    pub(crate) fn signal_worker(&mut self, run: RunId, signal: Signal) -> Option<i32> {
        self.workers.of_run_mut(run)?.1.send(signal)
    }
}
