//! Shared memory, as people look at it and change it.

use runlet_memory::SharedMemory;
use runlet_proto::control::{RefusalKind, Reply};
use runlet_proto::failure::Failure;
use runlet_proto::memory::{MemoryChange, MemoryFound, MemoryQuestion, MemoryWatch};
use tokio::sync::broadcast;

use crate::core::{Core, Pending};
use crate::inbound::Inbound;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::RequestId;
use crate::shared::Store;

impl Core {
    /// Answers a question; what it changed is on disk before that.
    pub(crate) fn memory(&mut self, from: RequestId, question: MemoryQuestion) {
        let writes = match &question {
            MemoryQuestion::Call(call) => call.op.writes(),
            MemoryQuestion::Send(_) | MemoryQuestion::Revive { .. } | MemoryQuestion::Bury { .. } => true,
            MemoryQuestion::Namespaces
            | MemoryQuestion::Channels
            | MemoryQuestion::Peek { .. }
            | MemoryQuestion::Dead { .. } => false,
        };
        if let Some(failure) = self.no_room_for_memory().filter(|_| writes) {
            return self.refuse(from, refused(failure));
        }
        match self.store.clone() {
            Store::Embedded(store) => {
                let found = store.look_now(question);
                let mut entry = self.keep_memory();
                if entry > 0 {
                    // Somebody waits for it.
                    entry = self.durable.journal().flush();
                }
                match found {
                    Ok(found) => self.send_when_on_disk(entry, from, Reply::Memory(found), None),
                    Err(failure) => self.refuse(from, refused(failure)),
                }
            }
            Store::Redis(store) => {
                let loop_queue = self.loop_queue.clone();
                let task = tokio::spawn(async move {
                    let found = store.look(question).await;
                    let _ = loop_queue.send(Inbound::Found { to: from, found }).await;
                });
                self.asked.insert(from, task.abort_handle());
                self.expect_reply(from, Pending::Memory);
            }
        }
    }

    /// The answer of a store that was asked by a future.
    pub(crate) fn found(&mut self, to: RequestId, found: Result<MemoryFound, Failure>) {
        self.asked.remove(&to);
        self.forget_pending(to);
        match found {
            Ok(found) => self.send(to, Reply::Memory(found)),
            Err(failure) => self.refuse(to, refused(failure)),
        }
    }

    /// Tells of every change of a namespace from now on.
    pub(crate) fn watch_memory(&mut self, from: RequestId, watch: MemoryWatch) {
        let MemoryWatch { namespace, prefix } = watch;
        let (loop_queue, store) = (self.loop_queue.clone(), self.store.clone());
        let task = tokio::spawn(async move {
            let subscribed = match store {
                Store::Embedded(store) => store.subscribe(&namespace).await,
                Store::Redis(store) => store.subscribe(&namespace).await,
            };
            let mut changes = match subscribed {
                Ok(changes) => changes,
                Err(failure) => {
                    let _ = loop_queue.send(Inbound::Found { to: from, found: Err(failure) }).await;
                    return;
                }
            };
            loop {
                let change = match changes.recv().await {
                    Ok(change) if change.key.is_empty() || change.key.starts_with(&prefix) => change,
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Lagged(_)) => missed(&namespace),
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                if loop_queue.send(Inbound::MemoryChanged { to: from, change }).await.is_err() {
                    return;
                }
            }
        });
        self.asked.insert(from, task.abort_handle());
        self.expect_reply(from, Pending::Memory);
    }

    /// Something changed that a client watches.
    pub(crate) fn memory_changed(&self, to: RequestId, change: MemoryChange) {
        if self.asked.contains_key(&to) {
            self.send(to, Reply::MemoryChange(change));
        }
    }
}

fn missed(namespace: &str) -> MemoryChange {
    MemoryChange { namespace: namespace.to_owned(), key: String::new(), version: 0, value: None }
}

fn refused(failure: Failure) -> runlet_proto::control::Refusal {
    let kind = match failure.code.as_str() {
        "bad-name" | "bad-value" | "too-large" => RefusalKind::Invalid,
        "memory-unavailable" => RefusalKind::Overloaded,
        _ => RefusalKind::Conflict,
    };
    let refusal = refusal(kind, failure.message);
    match failure.help {
        Some(help) => refusal.with_help(help),
        None => refusal,
    }
}
