//! How workers end: by themselves, with their run, or by what they did; and what that is to the run.

use runlet_kernel::Event;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;

use super::cause::{self, Killed};
use super::process::{Exit, How};
use super::usage;
use super::worker::{Gone, Job};
use super::workers::WorkerId;
use super::zygote::Zygotes;
use crate::attempt::Active;
use crate::core::Core;
use crate::execute::block_name;
use crate::inbound::{AttemptId, Inbound};
use crate::limits::CLOSED_WORKER_ENDS_WITHIN;

impl Core {
    /// The run is over, and its worker with it.
    pub(crate) fn end_worker_of(&mut self, run: RunId) {
        if let Some((_, worker)) = self.workers.of_run_mut(run).filter(|(_, worker)| !worker.is_ending()) {
            worker.kill(Killed::NoLongerNeeded);
        }
    }

    /// A worker's connection ended, by its own end or by what it sent.
    pub(crate) fn worker_closed(&mut self, worker: WorkerId, error: Option<String>) {
        if let (Some(error), Some(found)) = (error, self.workers.get_mut(worker)) {
            tracing::warn!(pid = found.pid(), %error, "a worker is killed: it sent what is no message");
            found.kill(Killed::Protocol(format!("it sent what is no message: {error}")));
        }
        if let Some(gone) = self.workers.closed(worker) {
            return self.worker_gone(&gone);
        }
        // A process that ends closes its connection first. One that goes on without is of no use any more.
        self.look_again_at(worker);
    }

    fn look_again_at(&self, worker: WorkerId) {
        let loop_queue = self.loop_queue.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CLOSED_WORKER_ENDS_WITHIN).await;
            let _ = loop_queue.send(Inbound::WorkerOverdue { worker }).await;
        });
    }

    /// A worker should have ended by now.
    pub(crate) fn worker_overdue(&mut self, worker: WorkerId) {
        if self.workers.lives_on(worker)
            && let Some(found) = self.workers.get_mut(worker)
        {
            if found.pid().is_some_and(usage::is_exiting) {
                // What it died of is not what it is held up by.
                return self.look_again_at(worker);
            }
            found.kill(Killed::Protocol("it closed its connection and went on".into()));
        }
    }

    /// A worker's process ended.
    pub(crate) fn worker_exited(&mut self, worker: WorkerId, exit: Exit) {
        if let Some(gone) = self.workers.exited(worker, exit) {
            self.worker_gone(&gone);
        }
    }

    fn worker_gone(&mut self, gone: &Gone) {
        let Some(Job { run, memory_bytes_max, cpu_s_max, processes_max: _ }) = gone.run else {
            if gone.killed.is_none() {
                tracing::warn!(exit = ?gone.exit, "an idle worker ended");
                if let Some(program) = &gone.prepared {
                    self.workers.favourites.forget(program);
                }
                self.fail_hungry("a worker ended before it could be used");
            }
            return;
        };
        let account = match self.runs.get_mut(&run) {
            Some(record) => record.worker.as_mut(),
            None => self.history.worker_mut(run),
        };
        if let Some(account) = account {
            (account.pid, account.exit) = (gone.pid, Some(gone.exit));
            (account.meter, account.spent) = (None, gone.spent);
            account.killed.clone_from(&gone.killed);
        }
        let out_of_memory = cause::killed_for_memory(&gone.exit, gone.killed.as_ref(), gone.spent, memory_bytes_max);
        let usual = || cause::failure(&gone.exit, gone.killed.as_ref(), gone.sent, memory_bytes_max, cpu_s_max);
        let failure = out_of_memory.unwrap_or_else(usual);
        self.metrics.worker_ended(&failure.code);
        let deaths = |core: &Self| core.runs.get(&run).map_or(0, |record| record.deaths.causes().len());
        let before = deaths(self);
        let (failure, last) = self.count_death(run, gone, failure);
        if deaths(self) > before {
            self.write_death(run);
        }
        let lost = self.attempts.extract_if(|id, active| id.run == run && active.heavy);
        for attempt in lost.map(|(id, _)| id).collect::<Vec<_>>() {
            self.trace_end(attempt, Err(&failure));
            self.abandon_children(attempt);
            self.attempt_is_over(attempt, false);
            self.gates.forget(attempt);
        }
        let random = (self.run_ids.next_random() >> 32) as u32;
        self.report(Event::WorkerLost { run, failure, random, last });
    }

    /// Holds a worker's end against its run, if it is the run's doing. The failure that it is, and whether it is the last.
    fn count_death(&mut self, run: RunId, gone: &Gone, failure: Failure) -> (Failure, bool) {
        let computing = |id: &AttemptId, active: &Active| id.run == run && active.heavy && active.computing;
        let during = self.attempts.iter().find(|(id, active)| computing(id, active)).map(|(id, _)| *id);
        let Some(record) = self.runs.get_mut(&run) else { return (failure, false) };
        let failure = match (&gone.killed, gone.exit.how) {
            (Some(Killed::NoLongerNeeded | Killed::LogLimit(_)), _) => failure,
            (None, How::Unknown) => Failure { retryable: true, ..failure },
            (Some(Killed::Protocol(_)), _) | (None, How::Code(_) | How::Signal(_)) => record.deaths.count(failure),
        };
        if let Some(account) = &mut record.worker {
            account.during = during.and_then(|id| Some((block_name(&record.program, id.block)?, id.attempt)));
            account.deaths = record.deaths.causes().to_vec();
        }
        (failure, record.deaths.is_last())
    }

    /// Ends every worker, when the supervisor ends.
    pub(crate) fn end_workers(&mut self) {
        self.workers.kill_all();
        self.workers.zygotes = Zygotes::default();
    }
}
