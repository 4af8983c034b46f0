//! Messages that runs have received: when they are acknowledged, and when they are given back.

use runlet_blocks::CallId;
use runlet_memory::{SharedMemory, Verdict};
use runlet_proto::call::Answer;
use runlet_proto::ids::{BlockIndex, RunId};
use runlet_proto::memory::{Acknowledge, ReceiveCall};
use runlet_proto::state::RunState;

use super::Store;
use crate::core::Core;
use crate::inbound::AttemptId;
use crate::run_record::RunRecord;

/// A message that a run has received, or waits for.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    attempt: AttemptId,
    call: CallId,
    channel: String,
    acknowledge: Acknowledge,
    /// Its number in the channel, once it has come.
    id: Option<u64>,
    /// Whether the attempt that received it completed its block.
    completed: bool,
}

impl Received {
    /// One that is waited for.
    pub(super) fn awaited(attempt: AttemptId, call: CallId, receive: &ReceiveCall) -> Self {
        let ReceiveCall { channel, acknowledge, .. } = receive;
        Self { attempt, call, channel: channel.clone(), acknowledge: *acknowledge, id: None, completed: false }
    }
}

impl Core {
    /// A call was answered: if it was a message, it is the attempt's. One that came too late is given back.
    pub(crate) fn note_received(&mut self, attempt: AttemptId, call: CallId, answer: &Answer, is_under_way: bool) {
        let Answer::Received(message) = answer else { return };
        let Some(record) = self.runs.get_mut(&attempt.run) else { return };
        let of_call = |received: &Received| received.attempt == attempt && received.call == call;
        let Some(at) = record.received.iter().position(of_call) else { return };
        record.received[at].id = Some(message.id);
        if !is_under_way {
            let received = record.received.swap_remove(at);
            self.settle_received(attempt.run, vec![received], &Verdict::GiveBack, 0);
        }
    }

    /// An attempt is over. What it received is acknowledged when its block's end is on disk; if it failed, it is given back.
    pub(crate) fn attempt_is_over(&mut self, attempt: AttemptId, completed: bool) {
        let Some(record) = self.runs.get_mut(&attempt.run).filter(|record| !record.received.is_empty()) else { return };
        let (of_it, others): (Vec<_>, _) =
            std::mem::take(&mut record.received).into_iter().partition(|received| received.attempt == attempt);
        record.received = others;
        if completed {
            let kept = of_it.into_iter().filter(|received| received.id.is_some());
            record.received.extend(kept.map(|received| Received { completed: true, ..received }));
            return;
        }
        self.settle_received(attempt.run, of_it, &Verdict::GiveBack, 0);
    }

    /// A block's end is in the journal, by this entry: what it received and is acknowledged with it now is.
    pub(crate) fn acknowledge_block(&mut self, run: RunId, block: BlockIndex, entry: u64) {
        let Some(record) = self.runs.get_mut(&run).filter(|record| !record.received.is_empty()) else { return };
        let is_due = |received: &mut Received| {
            received.completed && received.attempt.block == block && received.acknowledge == Acknowledge::Block
        };
        let due = record.received.extract_if(.., is_due).collect();
        self.settle_received(run, due, &Verdict::Acknowledge, entry);
    }

    /// A run has ended, and its end is in the journal by this entry: everything it shares is decided.
    pub(crate) fn release_shared(&mut self, run: RunId, state: RunState, record: &mut RunRecord, entry: u64) {
        if !record.shares {
            return;
        }
        let all = std::mem::take(&mut record.received);
        let (done, back) = all.into_iter().partition(|received| {
            let with_block = received.acknowledge == Acknowledge::Block;
            received.completed && (with_block || state == RunState::Completed)
        });
        self.settle_received(run, done, &Verdict::Acknowledge, entry);
        self.settle_received(run, back, &Verdict::GiveBack, 0);
        // What a run received before a crash is known to the store alone.
        let verdict = if state == RunState::Completed { Verdict::Acknowledge } else { Verdict::GiveBack };
        match self.store.clone() {
            Store::Embedded(store) => {
                store.release_now(run, &verdict);
                self.keep_memory();
            }
            Store::Redis(store) => {
                let on_disk = self.on_disk(entry);
                tokio::spawn(async move {
                    on_disk.reached().await;
                    if let Err(failure) = store.release(run, verdict).await {
                        tracing::warn!(%run, "what it had in shared memory is free when its time is over: {failure}");
                    }
                });
            }
        }
    }

    fn settle_received(&mut self, run: RunId, received: Vec<Received>, verdict: &Verdict, entry: u64) {
        let decided = received.into_iter().filter_map(|received| Some((received.channel, received.id?)));
        match self.store.clone() {
            Store::Embedded(store) => {
                // It comes after that entry in the journal, which is one sequence.
                for (channel, id) in decided {
                    let _ = store.settle_now(&channel, id, run, verdict);
                }
                self.keep_memory();
            }
            Store::Redis(store) => {
                let decided: Vec<_> = decided.collect();
                if decided.is_empty() {
                    return;
                }
                let (on_disk, verdict) = (self.on_disk(entry), verdict.clone());
                tokio::spawn(async move {
                    on_disk.reached().await;
                    for (channel, id) in decided {
                        if let Err(failure) = store.settle(channel.clone(), id, run, verdict.clone()).await {
                            tracing::warn!(%run, channel, id, "a message may be delivered again: {failure}");
                        }
                    }
                });
            }
        }
    }
}
