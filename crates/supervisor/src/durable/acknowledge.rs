//! Who waits until something is on disk: replies, calls, readers; and what becomes of them when the disk is full.

use std::collections::VecDeque;

use runlet_journal::Heard;
use runlet_kernel::Event;
use runlet_proto::control::{Refusal, RefusalKind, Reply};
use runlet_proto::ids::RunId;
use tokio::sync::watch;

use super::Writing;
use crate::core::Core;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::RequestId;

/// A reply that waits.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    entry: u64,
    to: RequestId,
    reply: Reply,
    /// The run that is told of. What is told of none is done already.
    run: Option<RunId>,
}

impl Core {
    /// What whoever reads the journal waits for: all that was appended so far.
    pub(crate) fn all_on_disk(&self) -> OnDisk {
        self.on_disk(self.durable.journal.flush())
    }

    /// What whoever needs an entry to be on disk waits for.
    pub(crate) fn on_disk(&self, entry: u64) -> OnDisk {
        OnDisk { entry, on_disk: self.durable.on_disk.clone() }
    }

    /// Sends a reply once an entry is on disk.
    pub(crate) fn send_when_on_disk(&mut self, entry: u64, to: RequestId, reply: Reply, run: Option<RunId>) {
        if *self.durable.on_disk.borrow() >= entry {
            return self.send(to, reply);
        }
        if let Some(reply) = self.durable.hold(to, reply) {
            self.durable.held.borrow_mut().insert(to, Vec::new());
            self.durable.waiting.push_back(Acknowledgement { entry, to, reply, run });
        }
    }

    /// The writer said something.
    pub(crate) fn heard_from_journal(&mut self, heard: Heard) {
        match heard {
            Heard::Durable { up_to } => {
                while let Some(next) = self.durable.waiting.front().filter(|next| next.entry <= up_to) {
                    let to = next.to;
                    let Some(acknowledgement) = self.durable.waiting.pop_front() else { return };
                    let held = self.durable.held.borrow_mut().remove(&to).unwrap_or_default();
                    self.send(to, acknowledgement.reply);
                    held.into_iter().for_each(|reply| self.send(to, reply));
                }
            }
            Heard::Full { refused } => self.disk_is_full(&refused),
            Heard::Room => {
                tracing::info!("there is room on the disk again: runs are accepted");
                self.durable.full = false;
            }
            Heard::Failed(why) => self.journal_failed(why),
        }
    }

    /// Runs that nobody was told of are refused, those that were accepted go on.
    fn disk_is_full(&mut self, refused: &[RunId]) {
        if !std::mem::replace(&mut self.durable.full, true) {
            tracing::error!("the disk is full: no run is accepted until there is room for the journal");
        }
        for run in refused {
            let told = self.refuse_waiting(Some(*run), &disk_full());
            if let Some(record) = self.runs.get_mut(run) {
                record.writing = Writing::Never;
                if let Some(key) = record.key.take() {
                    self.durable.keys.forget(&key);
                }
                // Who was told before that it is accepted is told how it ends.
                record.followers.retain(|follower| !told.contains(follower));
                for waiter in std::mem::take(&mut record.waiters) {
                    self.forget_pending(waiter.request);
                    self.refuse(waiter.request, disk_full());
                }
            }
            if self.kernel.run(*run).is_some_and(|run| !run.state.is_terminal()) {
                self.report(Event::Stop { run: *run, reason: "there is no room for it on the disk".into() });
            }
        }
        self.refuse_waiting(None, &not_written());
    }

    /// Refuses what waits for the disk, of a run or of none; who was refused.
    fn refuse_waiting(&mut self, run: Option<RunId>, refusal: &Refusal) -> Vec<RequestId> {
        let (refused, waiting): (VecDeque<_>, _) =
            self.durable.waiting.drain(..).partition(|waits: &Acknowledgement| waits.run == run);
        self.durable.waiting = waiting;
        let refused: Vec<_> = refused.iter().map(|waits| waits.to).collect();
        for to in &refused {
            self.durable.held.borrow_mut().remove(to);
            self.forget_pending(*to);
            self.refuse(*to, refusal.clone());
        }
        refused
    }
}

/// The refusal of something that is done and cannot be undone.
fn not_written() -> Refusal {
    refusal(RefusalKind::NoRoom, "the disk is full: it is done, and a crash before there is room would undo it")
        .with_help("make room on the disk of the state directory, and give the command again")
}

pub(super) fn disk_full() -> Refusal {
    refusal(RefusalKind::NoRoom, "the disk is full: the run could not be written down")
        .with_help("make room on the disk of the state directory; `runlet gc` removes what is old")
}

/// An entry that is to be on disk.
#[derive(Debug)]
pub(crate) struct OnDisk {
    entry: u64,
    on_disk: watch::Receiver<u64>,
}

impl OnDisk {
    /// Waits for it. A journal that fails ends the supervisor, and with it this.
    pub(crate) async fn reached(mut self) {
        if self.on_disk.wait_for(|up_to| *up_to >= self.entry).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
