//! What workflows share: the store, the calls to it, and what the journal keeps of the embedded one.
//!
//! The embedded store answers on the loop, in place. What it changed is appended to the journal before anything that follows
//! from the answer: the journal is one sequence, so whatever is on disk of a run or of an effect of it, what it did to memory
//! before is too. Redis is asked by futures, and is as durable as it is configured.

mod received;
mod together;

use std::sync::Arc;

use runlet_blocks::CallId;
use runlet_journal::{Entry, MemoryChange, StoredMemory};
use runlet_kernel::Time;
use runlet_memory::{By, Embedded, Quota, RedisStore, SharedMemory};
use runlet_proto::call::{Answer, Call};
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::ids::RunId;
use runlet_proto::memory::{MemoryCall, ReceiveCall, SendCall};

pub(crate) use self::received::Received;
pub(crate) use self::together::{Asked, Together};
use crate::clock::Clock;
use crate::config;
use crate::core::Core;
use crate::durable::Writing;
use crate::execute::Started;
use crate::inbound::AttemptId;
use crate::run_record::RunRecord;

/// The store.
#[derive(Clone)]
pub(crate) enum Store {
    /// In this process.
    Embedded(Embedded),
    /// In a Redis or Valkey server, where other supervisors meet it.
    Redis(RedisStore),
}

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`memory.url` cannot be used: {0}")]
pub struct StoreError(String);

impl Store {
    /// The store that the configuration names. What is stored in an embedded one is restored later.
    pub(crate) fn open(config: &config::Memory, clock: Clock) -> Result<Self, StoreError> {
        if config.url == config::Memory::EMBEDDED {
            return Ok(Self::Embedded(embedded(config, clock, StoredMemory::default())));
        }
        RedisStore::new(&config.url, quota(config)).map(Self::Redis).map_err(StoreError)
    }
}

impl Store {
    /// Where it lies, and whether it is there.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Embedded(_) => "embedded".to_owned(),
            Self::Redis(store) => match store.away() {
                None => format!("redis at {}", store.address()),
                Some((since, why)) => format!("redis at {}, away for {} s: {why}", store.address(), since.as_secs()),
            },
        }
    }
}

fn embedded(config: &config::Memory, clock: Clock, stored: StoredMemory) -> Embedded {
    Embedded::restore(quota(config), Arc::new(move || clock.unix_ms(clock.now())), stored)
}

fn quota(config: &config::Memory) -> Quota {
    let config::Memory { keys_max, bytes_max, value_bytes_max, messages_max, message_bytes_max, .. } = *config;
    Quota { keys_max, bytes_max, value_bytes_max, messages_max, message_bytes_max }
}

/// The failure of a call to a namespace that the workflow does not declare, or only for reading.
fn undeclared(namespace: &str) -> Failure {
    Failure::workflow(
        "memory-undeclared",
        format!("the workflow does not declare the namespace `{namespace}` for this"),
    )
    .with_help(format!("write \"memory\": [\"{namespace}\"] beside its `blocks`"))
}

impl Core {
    /// Takes up what an earlier supervisor kept, after the runs that go on.
    pub(crate) fn restore_memory(&mut self, stored: StoredMemory, damaged: &[String]) {
        for why in damaged {
            tracing::error!(why, "a part of shared memory in the journal is damaged and left out");
        }
        match &mut self.store {
            Store::Embedded(store) => {
                *store = embedded(&self.memory_config, self.clock, stored);
                self.sweep_due = None;
                store.release_unless(|run| self.runs.contains_key(&run));
                self.keep_memory();
            }
            Store::Redis(store) => {
                if !(stored.keys.is_empty() && stored.messages.is_empty()) {
                    tracing::warn!(
                        keys = stored.keys.len(),
                        messages = stored.messages.len(),
                        "the journal has an embedded store, which is not used while `memory.url` names another"
                    );
                }
                self.runs.keys().for_each(|run| store.adopt(*run));
            }
        }
    }

    /// Appends what has changed in the embedded store. The number of the entry; 0 if nothing has.
    pub(crate) fn keep_memory(&mut self) -> u64 {
        let Store::Embedded(store) = &self.store else { return 0 };
        if !store.has_changes() {
            return 0;
        }
        let changes = store.take_changes();
        // Nothing else brings the next expiry nearer; when one that is gone would have been due, it is looked up again.
        if changes.iter().any(|change| matches!(change, MemoryChange::Set { expires_at_ms: Some(_), .. })) {
            self.sweep_due = None;
        }
        self.append_relaxed(vec![Entry::Memory(changes)])
    }

    /// When keys are to be removed whose time is over, in the kernel's time.
    pub(crate) fn next_sweep(&mut self) -> Option<Time> {
        let Store::Embedded(store) = &self.store else { return None };
        if self.sweep_due.is_none() {
            // Changed since it was looked up, or never looked up: what is due is removed with it.
            let due = store.sweep().map(|at_ms| self.clock.of_unix_ms(at_ms));
            self.sweep_due = Some(due);
        }
        self.sweep_due.flatten()
    }

    /// Removes keys whose time is over.
    pub(crate) fn sweep_memory(&mut self) {
        if self.next_sweep().is_some_and(|due| due <= self.clock.now()) {
            self.sweep_due = None;
            self.next_sweep();
            self.keep_memory();
        }
    }

    /// Who makes a call.
    fn by(&self, attempt: AttemptId, id: CallId) -> By {
        let token = self.is_written(attempt.run).then(|| self.token_of(attempt, id));
        By { run: Some(attempt.run), token }
    }

    /// What a run that waits for a call is BLOCKED on. Who has a lock, the embedded store says at once.
    pub(crate) fn waits_on(&self, call: &Call) -> String {
        let on = call.blocked_on();
        match (call, &self.store) {
            (Call::Memory(MemoryCall { namespace, lock: Some(_), .. }), Store::Embedded(store)) => {
                store.holder(namespace).map_or_else(|| on.clone(), |holder| format!("{on}, held by {holder}"))
            }
            (_, _) => on,
        }
    }

    /// Why nothing can be written into the embedded store now.
    pub(crate) fn no_room_for_memory(&self) -> Option<Failure> {
        let Store::Embedded(_) = &self.store else { return None };
        let refusal = self.no_room(Writing::AtTheEnd)?;
        let failure =
            Failure::workflow("memory-unavailable", format!("shared memory takes nothing now: {}", refusal.message));
        Some(Failure { class: FailureClass::Upstream, retryable: true, help: refusal.help, ..failure })
    }

    /// Notes that a run shares something, so that it is released in the end.
    fn shares(&mut self, run: RunId) {
        if let Some(record) = self.runs.get_mut(&run) {
            record.shares = true;
        }
    }

    /// An operation on a namespace.
    pub(crate) fn call_memory(&mut self, attempt: AttemptId, id: CallId, call: MemoryCall) -> Started {
        let writes = call.op.writes();
        // Judged when the definition was read; what comes here is made of it.
        let declared = |record: &RunRecord| record.program.definition.may_use(&call.namespace, writes);
        let refused = match self.runs.get(&attempt.run).is_some_and(declared) {
            true => self.no_room_for_memory().filter(|_| writes),
            false => Some(undeclared(&call.namespace)),
        };
        if let Some(failure) = refused {
            return Started::Answered(Answer::Failed(failure));
        }
        if writes || call.lock.is_some() {
            self.shares(attempt.run);
        }
        let by = self.by(attempt, id);
        if let Store::Embedded(store) = &self.store
            && let Some(answered) = store.try_memory(&call, by)
        {
            self.keep_memory();
            return Started::Answered(answered.map_or_else(Answer::Failed, Answer::Memory));
        }
        self.ask_store(attempt, id, call, by)
    }

    /// Has the store do an operation that may have to wait there.
    fn ask_alone(&self, attempt: AttemptId, id: CallId, call: MemoryCall, by: By) -> Started {
        let store = self.store.clone();
        self.answer_later(attempt, id, async move {
            let answered = match store {
                Store::Embedded(store) => store.memory(call, by).await,
                Store::Redis(store) => store.memory(call, by).await,
            };
            answered.map_or_else(Answer::Failed, Answer::Memory)
        })
    }

    /// A message for a channel.
    pub(crate) fn call_send(&mut self, attempt: AttemptId, id: CallId, call: SendCall) -> Started {
        if let Some(failure) = self.no_room_for_memory() {
            return Started::Answered(Answer::Failed(failure));
        }
        self.shares(attempt.run);
        let by = self.by(attempt, id);
        match self.store.clone() {
            Store::Embedded(store) => {
                let sent = store.try_send(call, by);
                self.keep_memory();
                Started::Answered(sent.map_or_else(Answer::Failed, Answer::Sent))
            }
            Store::Redis(store) => self.answer_later(attempt, id, async move {
                store.send(call, by).await.map_or_else(Answer::Failed, Answer::Sent)
            }),
        }
    }

    /// A message from a channel. A run that receives one is written from then on: what it has acknowledged must not be lost
    /// with it.
    pub(crate) fn call_receive(&mut self, attempt: AttemptId, id: CallId, call: ReceiveCall) -> Started {
        self.write_from_now_on(attempt.run);
        self.shares(attempt.run);
        let by = self.by(attempt, id);
        if let Some(record) = self.runs.get_mut(&attempt.run) {
            record.received.push(Received::awaited(attempt, id, &call));
        }
        if let Store::Embedded(store) = &self.store
            && let Some(received) = store.try_receive(&call, by)
        {
            self.keep_memory();
            return Started::Answered(received.map_or_else(Answer::Failed, Answer::Received));
        }
        let store = self.store.clone();
        self.answer_later(attempt, id, async move {
            let received = match store {
                Store::Embedded(store) => store.receive(call, by).await,
                Store::Redis(store) => store.receive(call, by).await,
            };
            received.map_or_else(Answer::Failed, Answer::Received)
        })
    }
}
