//! How workers come to be: asked of a zygote, so that one is idle when a run needs it.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use runlet_proto::failure::Failure;
use runlet_proto::worker::{Forked, FromWorker, Task};

use super::cause::Killed;
use super::cgroup::{Group, Groups};
use super::link::{self, Heard};
use super::orphans;
use super::process::{Exit, Process};
use super::workers::WorkerId;
use super::zygote::{Kind, Recipe, Zygote, ZygoteName};
use crate::core::Core;
use crate::inbound::Inbound;
use crate::limits::{REFILL_AFTER, ZYGOTES_LOST_MAX};

impl Core {
    /// Has the pool filled up again once what a worker was just told has gone out to it; as long as others wait idle, not
    /// before that worker has had the CPU for a while, which forking would take from it.
    pub(super) fn refill_later(&mut self) {
        if std::mem::replace(&mut self.workers.refill_due, true) {
            return;
        }
        let pause = (self.workers.spare() > 0).then_some(REFILL_AFTER);
        let loop_queue = self.loop_queue.clone();
        // Even without a pause it runs after the tasks that are ready now, which write to the worker.
        tokio::spawn(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let _ = loop_queue.send(Inbound::Refill).await;
        });
    }

    /// Has workers forked, so that there is one for each attempt that waits and a few to spare.
    pub(crate) fn refill(&mut self) {
        self.workers.refill_due = false;
        let wanted = self.workers.hungry.len() + self.workers.spare_wanted();
        while self.workers.spare() < wanted {
            if let Err(error) = self.fork_worker(Task::Serve) {
                tracing::error!(%error, "no worker could be made");
                return self.fail_hungry(&format!("no worker could be made: {error}"));
            }
        }
    }

    /// Asks for a worker for this task. A zygote that turns out to have ended is replaced, once.
    ///
    /// # Errors
    /// When none can be asked for.
    pub(super) fn fork_worker(&mut self, task: Task) -> std::io::Result<WorkerId> {
        let kind = Kind::of(&task);
        match self.ask_zygote(kind, task.clone()) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.forget_zygote(kind);
                self.ask_zygote(kind, task)
            }
            asked => asked,
        }
    }

    fn ask_zygote(&mut self, kind: Kind, task: Task) -> std::io::Result<WorkerId> {
        let program = self
            .zygote_program
            .clone()
            .ok_or_else(|| std::io::Error::other("this supervisor was started without the means to make processes"))?;
        let worker = self.workers.next_id();
        let name = ZygoteName { kind, number: worker.0 };
        let zygote = match self.workers.zygotes.of(kind) {
            Some(zygote) => zygote,
            none => {
                let groups = self.workers.groups.as_ref().map(Groups::directory);
                let by = Recipe { program: &program, state: &self.state_id, groups, nice: self.worker_nice };
                none.insert(Zygote::start(name, &by, self.loop_queue.clone())?)
            }
        };
        let group = self.workers.groups.as_mut().and_then(Groups::take);
        let socket = zygote.fork(worker, task, group.as_ref().map(Group::number));
        match socket.and_then(|socket| link::start(worker, socket, self.loop_queue.clone())) {
            Ok(told) => self.workers.insert(worker, told, group),
            Err(error) => {
                self.workers.give_back(group);
                return Err(error);
            }
        }
        Ok(worker)
    }

    pub(super) fn fail_hungry(&mut self, why: &str) {
        for hungry in std::mem::take(&mut self.workers.hungry) {
            if self.attempts.remove(&hungry.attempt).is_some() {
                let failure = Failure::workflow("worker-lost", why)
                    .with_help("raise the limits on processes and file descriptors of the supervisor");
                self.finish(hungry.attempt, Err(failure));
            }
        }
    }

    /// The zygote answered.
    pub(crate) fn forked(&mut self, forked: Forked, process: Option<OwnedFd>) {
        let (worker, process) = match (forked, process) {
            (Forked::Worker { worker, pid, .. }, Some(process)) => (WorkerId(worker), Process::new(pid, process)),
            (Forked::Worker { worker, .. }, None) => (WorkerId(worker), Err(ErrorKind::InvalidData.into())),
            (Forked::Failed { worker, errno }, _) => (WorkerId(worker), Err(std::io::Error::from_raw_os_error(errno))),
            (Forked::Init { pid }, process) => return self.workers.init_forked(pid, process),
            (Forked::Itself { worker }, _) => return self.zygote_became(WorkerId(worker)),
        };
        self.born(worker, process);
    }

    /// Where nothing can be forked in the way that is needed, each worker is a zygote that was started for it.
    fn zygote_became(&mut self, worker: WorkerId) {
        let kind = self.workers.kind_of(worker);
        let Some(zygote) = self.workers.zygotes.of(kind).take() else { return };
        self.born(worker, zygote.into_worker());
        self.forget_unborn(kind);
        self.refill();
    }

    /// A process is there for a worker, or none could be made.
    fn born(&mut self, worker: WorkerId, process: std::io::Result<Process>) {
        match process {
            Ok(process) => {
                let process = Arc::new(process);
                let loop_queue = self.loop_queue.clone();
                tokio::spawn({
                    let process = Arc::clone(&process);
                    async move {
                        let exit = process.wait().await;
                        let _ = loop_queue.send(Inbound::WorkerExited { worker, exit }).await;
                    }
                });
                if let Some(attempt) = self.workers.forked(worker, process) {
                    self.stopped(attempt);
                }
                let said = self.workers.get_mut(worker).and_then(|found| found.said_ready.take());
                if let Some(confinement) = said {
                    self.heard_from_worker(worker, Heard::Message(FromWorker::Ready(confinement)));
                }
                if self.workers.orphans_wanted {
                    let known = self.workers.pids();
                    self.end_orphans(&known);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the zygote could not fork a worker");
                self.worker_exited(worker, Exit::UNKNOWN);
                self.fail_hungry(&format!("no worker could be made: {error}"));
            }
        }
    }

    /// The zygote is gone. Its workers live on; those it was still asked for will never be.
    pub(crate) fn zygote_lost(&mut self, zygote: ZygoteName, error: Option<std::io::Error>) {
        let kind = zygote.kind;
        if self.workers.zygotes.of(kind).as_ref().is_none_or(|current| current.name != zygote) {
            // It has been replaced already.
            return;
        }
        tracing::warn!(
            error = error.map(tracing::field::display),
            "the zygote is gone; a new one is started when it is needed"
        );
        self.forget_zygote(kind);
        if kind == Kind::WithPrograms {
            return;
        }
        self.workers.zygotes_lost += 1;
        if self.workers.zygotes_lost >= ZYGOTES_LOST_MAX {
            self.workers.zygotes_lost = 0;
            self.fail_hungry("the process that makes workers ended again and again");
        } else if !self.workers.hungry.is_empty() {
            self.refill();
        }
    }

    fn forget_zygote(&mut self, kind: Kind) {
        // With the first process of its namespace, which ends with it and is waited for.
        let known = self.workers.pids();
        *self.workers.zygotes.of(kind) = None;
        self.forget_unborn(kind);
        self.workers.orphans_wanted = true;
        self.end_orphans(&known);
    }

    /// Ends the children that nobody knows: what a zygote forked and could not tell of any more. Not while another may be about
    /// to tell of one.
    fn end_orphans(&mut self, known: &HashSet<i32>) {
        if self.workers.orphans_wanted && !self.workers.expects_births() {
            self.workers.orphans_wanted = false;
            orphans::end(known);
        }
    }

    /// Gives up the workers that a zygote was asked for and did not make.
    fn forget_unborn(&mut self, kind: Kind) {
        for worker in self.workers.unborn(kind) {
            // One that had no run yet is nobody's loss.
            if let Some(found) = self.workers.get_mut(worker).filter(|found| found.run.is_none()) {
                found.kill(Killed::NoLongerNeeded);
            }
            self.worker_exited(worker, Exit::UNKNOWN);
        }
    }
}
