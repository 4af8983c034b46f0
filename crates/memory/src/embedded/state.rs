//! All that the embedded store holds, and what is done with it in one go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use runlet_journal::{MemoryChange as Stored, StoredAnswer, StoredKeyValue, StoredMemory, StoredNamespace};
use runlet_proto::codec;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    LockWish, MemoryCall, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply, Message, NamespaceSummary, ReceiveCall,
    SendCall,
};
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::channel::Channel;
use super::space::{Scene, Space};
use crate::limits::{CHANNELS_MAX, NAMESPACES_MAX};
use crate::store::{By, Quota, Token, Verdict};
use crate::{check, failure};

/// The state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) quota: Quota,
    pub(super) spaces: BTreeMap<String, Space>,
    pub(super) channels: BTreeMap<String, Channel>,
    /// What runs have, so that it can be given up with them.
    runs: HashMap<RunId, Shares>,
    /// What the journal is to keep.
    pub(super) stored: Vec<Stored>,
}

/// What a run has.
#[derive(Debug, Default)]
struct Shares {
    locks: BTreeSet<String>,
    /// Namespaces whose lock it lost.
    lost: BTreeSet<String>,
    messages: BTreeSet<(String, u64)>,
    answers: Answers,
}

/// What is remembered of a call that must not be done twice.
#[derive(Debug, Serialize, Deserialize)]
enum Answered {
    Memory(MemoryReply),
    Sent(u64),
    Received(u64),
}

impl State {
    pub(super) fn restore(quota: Quota, stored: StoredMemory) -> Self {
        let mut state = Self {
            quota,
            spaces: BTreeMap::new(),
            channels: BTreeMap::new(),
            runs: HashMap::new(),
            stored: Vec::new(),
        };
        let StoredMemory { namespaces, lost, keys, channels, messages, answers } = stored;
        for StoredNamespace { name, version, holder } in namespaces {
            if let Some((run, _)) = holder {
                state.runs.entry(run).or_default().locks.insert(name.clone());
            }
            let space = state.spaces.entry(name).or_default();
            (space.version, space.lock.holder) = (version, holder);
        }
        for (name, run) in lost {
            state.runs.entry(run).or_default().lost.insert(name.clone());
            state.spaces.entry(name).or_default().lock.lost.insert(run);
        }
        for StoredKeyValue { namespace, key, value, version, expires_at_ms } in keys {
            state.spaces.entry(namespace).or_default().restore(key, value, version, expires_at_ms);
        }
        for (name, last) in channels {
            state.channels.entry(name).or_default().last = last;
        }
        for message in messages {
            state.channels.entry(message.channel.clone()).or_default().restore(message);
        }
        for (name, channel) in &state.channels {
            for (id, run) in channel.delivered() {
                state.runs.entry(run).or_default().messages.insert((name.clone(), id));
            }
        }
        for StoredAnswer { run, block, retries, call, answer } in answers {
            state.runs.entry(run).or_default().answers.note(Token { block, retries, call }, answer);
        }
        state
    }

    /// The runs that have anything.
    pub(super) fn sharers(&self) -> Vec<RunId> {
        self.runs.keys().copied().collect()
    }

    /// An operation, if it need not wait. `place`: in the line for the lock.
    pub(super) fn memory(
        &mut self,
        call: &MemoryCall,
        by: By,
        place: Option<u64>,
        now_ms: u64,
    ) -> Option<Result<MemoryReply, Failure>> {
        if let Some(Answered::Memory(reply)) = self.answered(by).filter(|_| call.op.has_effect()) {
            return Some(Ok(reply));
        }
        if call.op.writes() || call.lock.is_some() {
            if let Err(failure) = self.space(&call.namespace) {
                return Some(Err(failure));
            }
        } else if !self.spaces.contains_key(&call.namespace) {
            // Reading makes none.
            return nothing(&call.op);
        }
        if let (Some(wish), Some(run)) = (call.lock, by.run) {
            match self.lock(&call.namespace, run, wish, place, now_ms) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            }
        }
        let space = self.spaces.get_mut(&call.namespace)?;
        match (&call.op, by.run) {
            (MemoryOp::Watch { key, version, .. }, _) if space.version_of(key, now_ms) == *version => return None,
            (MemoryOp::Unlock, Some(run)) => {
                self.unlock(&call.namespace, run);
                return Some(Ok(MemoryReply::Value(None)));
            }
            (_, _) => {}
        }
        let mut scene = Scene { namespace: &call.namespace, now_ms, quota: &self.quota, stored: &mut self.stored };
        let reply = space.perform(&call.op, &mut scene);
        if let Ok(reply) = &reply
            && call.op.has_effect()
        {
            self.note_answer(by, || Answered::Memory(reply.clone()));
        }
        Some(reply)
    }

    /// A namespace, made if there is room for another.
    fn space(&mut self, name: &str) -> Result<&mut Space, Failure> {
        if !self.spaces.contains_key(name) {
            if self.spaces.len() >= NAMESPACES_MAX {
                // Those that were only locked, watched or refused something do not count.
                self.spaces.retain(|_, space| !space.is_unused());
            }
            if self.spaces.len() >= NAMESPACES_MAX {
                return Err(failure::too_many("namespaces", NAMESPACES_MAX));
            }
            self.spaces.insert(name.to_owned(), Space::default());
        }
        self.spaces.get_mut(name).ok_or_else(|| failure::internal("a namespace is gone"))
    }

    fn channel(&mut self, name: &str) -> Result<&mut Channel, Failure> {
        if !self.channels.contains_key(name) {
            if self.channels.len() >= CHANNELS_MAX {
                // Those that were only waited for do not count.
                self.channels.retain(|_, channel| !channel.is_unused());
            }
            if self.channels.len() >= CHANNELS_MAX {
                return Err(failure::too_many("channels", CHANNELS_MAX));
            }
            self.channels.insert(name.to_owned(), Channel::default());
        }
        self.channels.get_mut(name).ok_or_else(|| failure::internal("a channel is gone"))
    }

    /// Takes a lock, or begins its time anew; false if another run has it, or comes first.
    fn lock(
        &mut self,
        name: &str,
        run: RunId,
        wish: LockWish,
        place: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, Failure> {
        let space = self.spaces.get_mut(name).ok_or_else(|| failure::internal("a namespace is gone"))?;
        let lock = &mut space.lock;
        if lock.lost.remove(&run) {
            if let Some(shares) = self.runs.get_mut(&run) {
                shares.lost.remove(name);
            }
            self.stored.push(Stored::Lost { namespace: name.to_owned(), run, untold: false });
            return Err(failure::lock_lost(name));
        }
        match lock.holder {
            Some((holder, _)) if holder == run => {}
            Some((_, until_ms)) if until_ms > now_ms => return Ok(false),
            Some(_) | None if !lock.line.is_first(place) => return Ok(false),
            Some((expired, _)) => {
                lock.lost.insert(expired);
                let shares = self.runs.entry(expired).or_default();
                shares.locks.remove(name);
                shares.lost.insert(name.to_owned());
                self.stored.push(Stored::Lost { namespace: name.to_owned(), run: expired, untold: true });
            }
            None => {}
        }
        let holder = Some((run, now_ms.saturating_add(wish.ttl_ms)));
        lock.holder = holder;
        self.runs.entry(run).or_default().locks.insert(name.to_owned());
        self.stored.push(Stored::Locked { namespace: name.to_owned(), holder });
        Ok(true)
    }

    fn unlock(&mut self, name: &str, run: RunId) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if space.lock.holder.is_some_and(|(holder, _)| holder == run) {
            space.lock.holder = None;
            space.lock.line.tell_first();
            self.stored.push(Stored::Locked { namespace: name.to_owned(), holder: None });
            if let Some(shares) = self.runs.get_mut(&run) {
                shares.locks.remove(name);
            }
        }
    }

    pub(super) fn send(&mut self, call: SendCall, by: By, now_ms: u64) -> Result<u64, Failure> {
        if let Some(Answered::Sent(id)) = self.answered(by) {
            return Ok(id);
        }
        check::send(&call, &self.quota)?;
        let (quota, mut stored) = (self.quota, std::mem::take(&mut self.stored));
        let sent = self
            .channel(&call.channel)
            .and_then(|channel| channel.send(&call.channel, call.message, now_ms, &quota, &mut stored));
        self.stored = stored;
        let id = sent?;
        self.note_answer(by, || Answered::Sent(id));
        Ok(id)
    }

    /// A message, if there is one and nobody comes first.
    pub(super) fn receive(
        &mut self,
        call: &ReceiveCall,
        by: By,
        place: Option<u64>,
    ) -> Option<Result<Message, Failure>> {
        let run = by.run?;
        if let Some(Answered::Received(id)) = self.answered(by)
            && let Some(message) = self.channels.get(&call.channel).and_then(|channel| channel.held(id, run))
        {
            return Some(Ok(message));
        }
        // One that is not there has nothing yet: it is made when somebody waits for it or sends.
        let channel = self.channels.get_mut(&call.channel)?;
        let message = channel.receive(&call.channel, run, place, call.deliveries_max, &mut self.stored)?;
        self.runs.entry(run).or_default().messages.insert((call.channel.clone(), message.id));
        self.note_answer(by, || Answered::Received(message.id));
        Some(Ok(message))
    }

    pub(super) fn settle(&mut self, channel: &str, id: u64, run: RunId, verdict: &Verdict) -> bool {
        if let Some(shares) = self.runs.get_mut(&run) {
            shares.messages.remove(&(channel.to_owned(), id));
        }
        let found = self.channels.get_mut(channel);
        found.is_some_and(|found| found.settle(channel, id, run, verdict, &mut self.stored))
    }

    /// A run has ended: its messages are decided on, its locks are free, its answers are forgotten.
    pub(super) fn release(&mut self, run: RunId, verdict: &Verdict) {
        let Some(Shares { locks, lost, messages, answers }) = self.runs.remove(&run) else { return };
        for (channel, id) in messages {
            self.settle(&channel, id, run, verdict);
        }
        for name in locks {
            self.unlock(&name, run);
        }
        for name in lost {
            if let Some(space) = self.spaces.get_mut(&name) {
                space.lock.lost.remove(&run);
            }
            self.stored.push(Stored::Lost { namespace: name, run, untold: false });
        }
        if !answers.is_empty() {
            self.stored.push(Stored::Forgotten(run));
        }
    }

    /// What a call was answered that is made again.
    fn answered(&self, by: By) -> Option<Answered> {
        let answer = self.runs.get(&by.run?)?.answers.get(by.token?)?;
        codec::decode(answer).ok()
    }

    fn note_answer(&mut self, by: By, answer: impl FnOnce() -> Answered) {
        let (Some(run), Some(token)) = (by.run, by.token) else { return };
        let mut bytes = Vec::new();
        if codec::encode(&answer(), &mut bytes).is_err() {
            // Larger than what the codec reads, which no answer of this store is.
            return;
        }
        let (answer, Token { block, retries, call }) = (Bytes::from(bytes), token);
        let outdated = self.runs.entry(run).or_default().answers.note(token, answer.clone());
        self.stored.push(Stored::Answered(StoredAnswer { run, block, retries, call, answer }));
        let dropped = |Token { block, retries, call }| Stored::Outdated { run, block, retries, call };
        self.stored.extend(outdated.into_iter().map(dropped));
    }

    /// What people ask.
    pub(super) fn look(&mut self, question: MemoryQuestion, now_ms: u64) -> Result<MemoryFound, Failure> {
        match question {
            MemoryQuestion::Namespaces => {
                self.sweep(now_ms);
                Ok(MemoryFound::Namespaces(self.namespaces(now_ms)))
            }
            MemoryQuestion::Call(call) => {
                check::looked(&call)?;
                check::memory(&call, By::default(), &self.quota)?;
                let reply = self.memory(&call, By::default(), None, now_ms);
                let reply = reply.unwrap_or_else(|| Err(failure::internal("it would have to wait")));
                reply.map(MemoryFound::Reply)
            }
            MemoryQuestion::Channels => {
                let channels = self.channels.iter().filter(|(_, channel)| !channel.is_empty());
                Ok(MemoryFound::Channels(channels.map(|(name, channel)| channel.summary(name)).collect()))
            }
            MemoryQuestion::Send(call) => self.send(call, By::default(), now_ms).map(MemoryFound::Sent),
            MemoryQuestion::Peek { channel, limit } => {
                check::channel(&channel)?;
                let found = self.channels.get(&channel).map(|found| found.look(&channel, false, limit));
                Ok(MemoryFound::Messages(found.unwrap_or_default()))
            }
            MemoryQuestion::Dead { channel, limit } => {
                channel.as_deref().map_or(Ok(()), check::channel)?;
                let of = |name: &String| channel.as_ref().is_none_or(|only| only == name);
                let channels = self.channels.iter().filter(|(name, _)| of(name));
                let dead = channels.flat_map(|(name, channel)| channel.look(name, true, limit));
                Ok(MemoryFound::Messages(dead.take(limit as usize).collect()))
            }
            MemoryQuestion::Revive { channel, id } => {
                let found = self.channels.get_mut(&channel);
                let done = found.is_some_and(|found| found.revive(&channel, id, now_ms, &mut self.stored));
                Ok(MemoryFound::Done(done))
            }
            MemoryQuestion::Bury { channel, id } => {
                let found = self.channels.get_mut(&channel);
                let body = found.and_then(|found| found.bury(&channel, id, &mut self.stored));
                Ok(MemoryFound::Done(body.is_some()))
            }
        }
    }

    fn namespaces(&self, now_ms: u64) -> Vec<NamespaceSummary> {
        let summary = |(name, space): (&String, &Space)| {
            let lock = space.lock.holder.filter(|(_, until_ms)| *until_ms > now_ms);
            (space.keys() > 0 || lock.is_some()).then(|| NamespaceSummary {
                name: name.clone(),
                keys: space.keys() as u64,
                bytes: space.bytes,
                locked_by: lock.map(|(run, _)| run),
                locked_for_ms: lock.map(|(_, until_ms)| until_ms - now_ms),
            })
        };
        self.spaces.iter().filter_map(summary).collect()
    }

    /// Removes keys whose time is over; when the next one's is.
    pub(super) fn sweep(&mut self, now_ms: u64) -> Option<u64> {
        for (name, space) in &mut self.spaces {
            let mut scene = Scene { namespace: name, now_ms, quota: &self.quota, stored: &mut self.stored };
            space.expire(&mut scene);
        }
        self.spaces.values().filter_map(Space::next_expiry).min()
    }
}

/// What is read of a namespace that is not there; `None`: it is waited for.
fn nothing(op: &MemoryOp) -> Option<Result<MemoryReply, Failure>> {
    match op {
        MemoryOp::Watch { version: 0, .. } => None,
        MemoryOp::List { .. } => Some(Ok(MemoryReply::Items { items: Vec::new(), more: false })),
        MemoryOp::Watch { .. }
        | MemoryOp::Get { .. }
        | MemoryOp::Set { .. }
        | MemoryOp::Delete { .. }
        | MemoryOp::Add { .. }
        | MemoryOp::Append { .. }
        | MemoryOp::Take { .. }
        | MemoryOp::CompareAndSet { .. }
        | MemoryOp::Unlock => Some(Ok(MemoryReply::Value(None))),
    }
}
