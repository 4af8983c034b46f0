//! One channel: messages that wait for a receiver, that were delivered, and that are dead.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use runlet_journal::{MemoryChange as Stored, MessageState, StoredMessage};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{ChannelSummary, Message, MessageSummary};

use super::line::Line;
use crate::failure;
use crate::limits::{LIST_BYTES_MAX, LIST_ITEMS_MAX};
use crate::store::{Quota, Verdict};

/// A channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// The highest number there ever was.
    pub(super) last: u64,
    messages: BTreeMap<u64, Kept>,
    ready: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    bytes: u64,
    pub(super) line: Line,
}

#[derive(Debug)]
struct Kept {
    body: Bytes,
    sent_at_ms: u64,
    deliveries: u32,
    deliveries_max: u32,
    run: Option<RunId>,
    state: MessageState,
}

impl Channel {
    /// Takes up a message as it was stored.
    pub(super) fn restore(&mut self, message: StoredMessage) {
        let StoredMessage { channel: _, id, body, sent_at_ms, deliveries, run, state, deliveries_max } = message;
        let body = body.unwrap_or_default();
        self.last = self.last.max(id);
        self.bytes += body.len() as u64;
        match state {
            MessageState::Ready => drop(self.ready.insert(id)),
            MessageState::Dead => drop(self.dead.insert(id)),
            MessageState::Delivered => {}
        }
        self.messages.insert(id, Kept { body, sent_at_ms, deliveries, deliveries_max, run, state });
    }

    pub(super) fn send(
        &mut self,
        name: &str,
        body: Bytes,
        now_ms: u64,
        quota: &Quota,
        stored: &mut Vec<Stored>,
    ) -> Result<u64, Failure> {
        let (messages, bytes) = (self.messages.len() as u64, self.bytes + body.len() as u64);
        if messages >= quota.messages_max || bytes > quota.message_bytes_max {
            return Err(failure::channel_full(name, messages, self.bytes));
        }
        Ok(self.put(name, body, now_ms, stored))
    }

    /// Puts a message at the end; its number.
    fn put(&mut self, name: &str, body: Bytes, now_ms: u64, stored: &mut Vec<Stored>) -> u64 {
        self.last += 1;
        self.bytes += body.len() as u64;
        let kept =
            Kept { body, sent_at_ms: now_ms, deliveries: 0, deliveries_max: 0, run: None, state: MessageState::Ready };
        stored.push(kept.stored(name, self.last, true));
        self.messages.insert(self.last, kept);
        self.ready.insert(self.last);
        self.line.tell_first();
        self.last
    }

    /// Delivers the first message to a run whose place in the line it is.
    pub(super) fn receive(
        &mut self,
        name: &str,
        run: RunId,
        place: Option<u64>,
        deliveries_max: u32,
        stored: &mut Vec<Stored>,
    ) -> Option<Message> {
        if !self.line.is_first(place) {
            return None;
        }
        let id = self.ready.pop_first()?;
        let kept = self.messages.get_mut(&id)?;
        kept.deliveries += 1;
        (kept.deliveries_max, kept.run, kept.state) = (deliveries_max, Some(run), MessageState::Delivered);
        stored.push(kept.stored(name, id, false));
        Some(kept.message(id))
    }

    /// The message that a run has, as it received it.
    pub(super) fn held(&self, id: u64, run: RunId) -> Option<Message> {
        self.messages.get(&id).filter(|kept| kept.is_with(run)).map(|kept| kept.message(id))
    }

    /// Decides about a message that a run has; false if it has it no more.
    pub(super) fn settle(
        &mut self,
        name: &str,
        id: u64,
        run: RunId,
        verdict: &Verdict,
        stored: &mut Vec<Stored>,
    ) -> bool {
        let Some(kept) = self.messages.get_mut(&id).filter(|kept| kept.is_with(run)) else { return false };
        match verdict {
            Verdict::Acknowledge => {
                self.bytes -= kept.body.len() as u64;
                self.messages.remove(&id);
                stored.push(Stored::Done { channel: name.to_owned(), id });
                return true;
            }
            Verdict::GiveBack if kept.deliveries >= kept.deliveries_max => {
                kept.state = MessageState::Dead;
                self.dead.insert(id);
            }
            Verdict::GiveBack => {
                kept.state = MessageState::Ready;
                self.ready.insert(id);
            }
        }
        stored.push(kept.stored(name, id, false));
        self.line.tell_first();
        true
    }

    /// Takes a dead message out.
    pub(super) fn bury(&mut self, name: &str, id: u64, stored: &mut Vec<Stored>) -> Option<Bytes> {
        if !self.dead.remove(&id) {
            return None;
        }
        let kept = self.messages.remove(&id)?;
        self.bytes -= kept.body.len() as u64;
        stored.push(Stored::Done { channel: name.to_owned(), id });
        Some(kept.body)
    }

    /// Puts a dead message at the end, as a new one. It had its room before, so no bound can refuse it and lose it.
    pub(super) fn revive(&mut self, name: &str, id: u64, now_ms: u64, stored: &mut Vec<Stored>) -> bool {
        let Some(body) = self.bury(name, id, stored) else { return false };
        self.put(name, body, now_ms, stored);
        true
    }

    /// What waits for a receiver, or is dead, the oldest first.
    pub(super) fn look(&self, name: &str, dead: bool, limit: u32) -> Vec<MessageSummary> {
        let ids = if dead { &self.dead } else { &self.ready };
        let mut bytes = 0;
        let kept = ids.iter().filter_map(|id| Some((*id, self.messages.get(id)?)));
        let kept = kept.take(LIST_ITEMS_MAX.min(limit as usize)).take_while(|(_, kept)| {
            bytes += kept.body.len();
            // One is given however large it is.
            bytes <= LIST_BYTES_MAX || bytes == kept.body.len()
        });
        kept.map(|(id, kept)| MessageSummary {
            channel: name.to_owned(),
            id,
            body: kept.body.clone(),
            sent_at_ms: kept.sent_at_ms,
            deliveries: kept.deliveries,
            run: kept.run,
        })
        .collect()
    }

    pub(super) fn summary(&self, name: &str) -> ChannelSummary {
        let (ready, dead, all) = (self.ready.len() as u64, self.dead.len() as u64, self.messages.len() as u64);
        ChannelSummary {
            name: name.to_owned(),
            ready,
            delivered: all - ready - dead,
            dead,
            bytes: self.bytes,
            receivers: self.line.len() as u64,
        }
    }

    /// The messages that runs have.
    pub(super) fn delivered(&self) -> impl Iterator<Item = (u64, RunId)> {
        self.messages
            .iter()
            .filter(|(_, kept)| kept.state == MessageState::Delivered)
            .filter_map(|(id, kept)| Some((*id, kept.run?)))
    }

    /// Whether nothing was ever in it and nobody waits for it.
    pub(super) fn is_unused(&self) -> bool {
        self.last == 0 && self.line.len() == 0
    }

    /// Whether nobody would miss it in a listing.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.line.len() == 0
    }
}

impl Kept {
    fn is_with(&self, run: RunId) -> bool {
        self.state == MessageState::Delivered && self.run == Some(run)
    }

    fn message(&self, id: u64) -> Message {
        Message { id, body: self.body.clone(), sent_at_ms: self.sent_at_ms, deliveries: self.deliveries }
    }

    fn stored(&self, channel: &str, id: u64, whole: bool) -> Stored {
        let Self { body, sent_at_ms, deliveries, deliveries_max, run, state } = self;
        Stored::Message(StoredMessage {
            channel: channel.to_owned(),
            id,
            body: whole.then(|| body.clone()),
            sent_at_ms: *sent_at_ms,
            deliveries: *deliveries,
            run: *run,
            state: *state,
            deliveries_max: *deliveries_max,
        })
    }
}
