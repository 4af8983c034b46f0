//! Workers of runs that execute programs: forked for their run, confined to what its programs need, and ended with a grace.
//!
//! Such a worker is never idle. What it needs beyond any other's confinement ([`unfit`]) is looked at when it is ready, before
//! it is told anything.

use runlet_blocks::Assignment;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::worker::{self, Confinement, Task};

use super::cause::{self, Killed};
use super::workers::{Hungry, WorkerId};
use crate::attempt::Active;
use crate::core::Core;
use crate::inbound::{AttemptId, Inbound};
use crate::limits::PROGRAM_STOP_GRACE;

impl Core {
    /// What the worker of this run may run; `None` if it runs no programs.
    pub(super) fn programs_of(&self, attempt: AttemptId) -> Option<Result<worker::Programs, Failure>> {
        let record = self.runs.get(&attempt.run)?;
        self.programs.of(&record.program.definition).transpose()
    }

    /// Has a worker forked for an attempt.
    pub(super) fn fork_with_programs(
        &mut self,
        attempt: AttemptId,
        assignment: Box<Assignment>,
        programs: worker::Programs,
    ) {
        let Some(job) = self.job_of(attempt.run) else { return };
        let forked = self.fork_worker(Task::ServePrograms(programs));
        match forked {
            Ok(worker) => self.workers.reserve(worker, job, Hungry { attempt, assignment }),
            Err(error) => {
                tracing::error!(%error, "no worker could be made");
                self.attempts.remove(&attempt);
                self.finish(
                    attempt,
                    Err(Failure::workflow("worker-lost", format!("no worker could be made: {error}"))),
                );
            }
        }
    }

    /// A worker with programs has confined itself: it is told what waits for it, or why that is not executed.
    pub(super) fn ready_with_programs(&mut self, worker: WorkerId, confinement: Confinement) {
        self.workers.confined(worker, confinement);
        let job = self.workers.get_mut(worker).and_then(|found| found.run.map(|job| (found, job)));
        let limited = job.map_or(Ok(()), |(found, job)| found.limit(job.limits()));
        let unfit = unfit(&confinement, self.level_required);
        let unfit = limited.err().map(|error| cause::not_limited(&error)).or(unfit);
        let Some(found) = self.workers.get_mut(worker) else { return };
        let Some(with) = &mut found.with_programs else { return };
        with.unfit.clone_from(&unfit);
        let Some(first) = with.first.take() else { return };
        match unfit {
            None => self.hand_over(worker, first),
            Some(failure) => {
                self.attempts.remove(&first.attempt);
                self.finish(first.attempt, Err(failure));
            }
        }
    }

    /// Whether the worker of a run executes a program now.
    pub(super) fn runs_program(&self, run: RunId) -> bool {
        let Some(record) = self.runs.get(&run) else { return false };
        let programs: Vec<usize> = record.program.definition.programs().map(|(index, _)| index).collect();
        let runs = |(id, active): (&AttemptId, &Active)| {
            id.run == run && active.heavy && active.computing && programs.contains(&id.block.as_usize())
        };
        // Most runs have none, and are not looked for among the attempts of all others.
        !programs.is_empty() && self.attempts.iter().any(runs)
    }

    /// Ends the worker of a run, whose attempts were given up. A program that runs is asked to end before it is killed.
    pub(super) fn end_attempts_of(&mut self, run: RunId, runs_program: bool) {
        let Some((worker, found)) = self.workers.of_run_mut(run).filter(|(_, found)| !found.is_ending()) else {
            return;
        };
        if !(runs_program && found.ask_to_end()) {
            return found.kill(Killed::NoLongerNeeded);
        }
        let loop_queue = self.loop_queue.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PROGRAM_STOP_GRACE).await;
            let _ = loop_queue.send(Inbound::GraceOver { worker }).await;
        });
    }

    /// A worker that was asked to end has had its time; if it has ended, nothing is left of it.
    pub(crate) fn grace_over(&mut self, worker: WorkerId) {
        if let Some(found) = self.workers.get_mut(worker) {
            found.kill(Killed::NoLongerNeeded);
        }
    }
}

/// Why a worker that is confined like this executes no programs.
fn unfit(confinement: &Confinement, level_required: u8) -> Option<Failure> {
    let level = confinement.level();
    if level < level_required {
        let message = format!(
            "a worker with programs is confined at level {level} on this host, and level {level_required} is required of one"
        );
        return Some(Failure::workflow("isolation", message).with_help(
            "such a worker keeps the root directory and reaches level 2; --require-isolation says how much is enough",
        ));
    }
    let missing = confinement.missing_for_programs();
    let message = format!("a program is executed in a worker only with {}", missing.join("; with "));
    (!missing.is_empty()).then(|| {
        Failure::workflow("isolation", message).with_help(
            "`runlet doctor` shows what this host gives; an ordinary user must be allowed to make user namespaces",
        )
    })
}
