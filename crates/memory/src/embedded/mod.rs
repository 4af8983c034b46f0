//! The store in the supervisor's own memory. Everything is done at once, under one lock that is held for microseconds; what
//! has to wait joins a line and looks again when it is told to.
//!
//! What has changed is handed over in its order ([`Embedded::take_changes`]) to whoever keeps it, which is the supervisor's
//! journal.

mod answers;
mod channel;
mod line;
mod space;
mod state;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runlet_journal::{MemoryChange as Stored, StoredMemory};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    LockWish, MemoryCall, MemoryChange, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply, Message, ReceiveCall,
    SendCall,
};
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::line::{Line, Place};
use self::state::State;
use crate::limits::WATCH_BACKLOG_MAX;
use crate::store::{By, Quota, SharedMemory, Verdict};
use crate::{check, failure};

/// Tells the time in milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The embedded store. Cheap to clone: all clones are the same store.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: AtomicBool,
    clock: Clock,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

/// The state, for one operation; when it is over, whoever keeps the changes is told that there are some.
struct Entered<'a> {
    state: MutexGuard<'a, State>,
    changed: &'a AtomicBool,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !self.state.stored.is_empty() {
            self.changed.store(true, Ordering::Release);
        }
    }
}

impl Embedded {
    /// A store with what was kept of an earlier one.
    #[must_use]
    pub fn restore(quota: Quota, clock: Clock, stored: StoredMemory) -> Self {
        let state = Mutex::new(State::restore(quota, stored));
        Self { shared: Arc::new(Shared { state, changed: AtomicBool::new(false), clock }) }
    }

    fn enter(&self) -> Entered<'_> {
        // Nothing panics while the state is half changed.
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        Entered { state, changed: &self.shared.changed }
    }

    fn now_ms(&self) -> u64 {
        (self.shared.clock)()
    }

    /// Whether anything has changed since [`Self::take_changes`].
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.shared.changed.load(Ordering::Acquire)
    }

    /// What has changed, in its order.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Stored> {
        let mut entered = self.enter();
        self.shared.changed.store(false, Ordering::Release);
        std::mem::take(&mut entered.state.stored)
    }

    /// Gives up what runs have that do not go on.
    pub fn release_unless(&self, goes_on: impl Fn(RunId) -> bool) {
        let mut entered = self.enter();
        for run in entered.state.sharers().into_iter().filter(|run| !goes_on(*run)) {
            entered.state.release(run, &Verdict::GiveBack);
        }
    }

    /// [`SharedMemory::memory`], if it need not wait.
    #[must_use]
    pub fn try_memory(&self, call: &MemoryCall, by: By) -> Option<Result<MemoryReply, Failure>> {
        let mut entered = self.enter();
        if let Err(failure) = check::memory(call, by, &entered.state.quota) {
            return Some(Err(failure));
        }
        entered.state.memory(call, by, None, self.now_ms())
    }

    /// [`SharedMemory::send`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send(&self, call: SendCall, by: By) -> Result<u64, Failure> {
        self.enter().state.send(call, by, self.now_ms())
    }

    /// [`SharedMemory::receive`], if it need not wait.
    #[must_use]
    pub fn try_receive(&self, call: &ReceiveCall, by: By) -> Option<Result<Message, Failure>> {
        match check::receive(call, by) {
            Ok(()) => self.enter().state.receive(call, by, None),
            Err(failure) => Some(Err(failure)),
        }
    }

    /// [`SharedMemory::settle`].
    #[must_use]
    pub fn settle_now(&self, channel: &str, id: u64, run: RunId, verdict: &Verdict) -> bool {
        self.enter().state.settle(channel, id, run, verdict)
    }

    /// [`SharedMemory::release`].
    pub fn release_now(&self, run: RunId, verdict: &Verdict) {
        self.enter().state.release(run, verdict);
    }

    /// [`SharedMemory::look`].
    ///
    /// # Errors
    /// As there.
    pub fn look_now(&self, question: MemoryQuestion) -> Result<MemoryFound, Failure> {
        self.enter().state.look(question, self.now_ms())
    }

    /// Removes keys whose time is over; when the next one's is, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn sweep(&self) -> Option<u64> {
        self.enter().state.sweep(self.now_ms())
    }

    /// The run that has a namespace's lock.
    #[must_use]
    pub fn holder(&self, namespace: &str) -> Option<RunId> {
        let now_ms = self.now_ms();
        let entered = self.enter();
        let (run, until_ms) = entered.state.spaces.get(namespace)?.lock.holder?;
        (until_ms > now_ms).then_some(run)
    }

    /// Waits for the lock that an operation wants.
    async fn memory_with_lock(&self, call: MemoryCall, by: By, wish: LockWish) -> Result<MemoryReply, Failure> {
        let timeout = Duration::from_millis(wish.timeout_ms);
        let deadline = Instant::now() + timeout;
        let place = Standing::join(self, WhichLine::Lock(call.namespace.clone()));
        loop {
            let now_ms = self.now_ms();
            let free_at = {
                let mut entered = self.enter();
                if let Some(reply) = entered.state.memory(&call, by, Some(place.place.number), now_ms) {
                    return reply;
                }
                // Nobody tells that the time of a lock is over.
                let lock = entered.state.spaces.get(&call.namespace).and_then(|space| space.lock.holder);
                lock.map(|(_, until_ms)| Instant::now() + Duration::from_millis(until_ms.saturating_sub(now_ms).max(1)))
            };
            let again_at = free_at.map_or(deadline, |free_at| free_at.min(deadline));
            tokio::select! {
                () = place.place.told.notified() => {}
                () = sleep_until(again_at) => {}
            }
            if Instant::now() >= deadline {
                let last = self.enter().state.memory(&call, by, Some(place.place.number), self.now_ms());
                return last.unwrap_or_else(|| {
                    Err(failure::lock_timeout(&call.namespace, timeout, self.holder(&call.namespace)))
                });
            }
        }
    }

    /// Waits for another version of a key.
    async fn watch(&self, call: MemoryCall, by: By, key: &str, timeout_ms: u64) -> Result<MemoryReply, Failure> {
        let timeout = Duration::from_millis(timeout_ms);
        let deadline = Instant::now() + timeout;
        let watching = Watching::begin(self, &call.namespace, key);
        loop {
            let told = watching.told.notified();
            tokio::pin!(told);
            // From here on it is told, so that nothing happens unseen between looking and waiting.
            told.as_mut().enable();
            if let Some(reply) = self.enter().state.memory(&call, by, None, self.now_ms()) {
                return reply;
            }
            if timeout_at(deadline, told).await.is_err() {
                return Err(failure::unchanged(key, timeout));
            }
        }
    }
}

impl SharedMemory for Embedded {
    async fn memory(&self, call: MemoryCall, by: By) -> Result<MemoryReply, Failure> {
        if let Some(reply) = self.try_memory(&call, by) {
            return reply;
        }
        match (&call.op, call.lock) {
            (MemoryOp::Watch { key, timeout_ms, .. }, lock) => {
                let (key, timeout_ms) = (key.clone(), *timeout_ms);
                if let Some(wish) = lock {
                    // The lock first, in its own line; the change is waited for only with it.
                    let op = MemoryOp::Get { key: key.clone() };
                    let locking = MemoryCall { namespace: call.namespace.clone(), op, lock };
                    self.memory_with_lock(locking, by, wish).await?;
                }
                self.watch(MemoryCall { lock: None, ..call }, by, &key, timeout_ms).await
            }
            (_, Some(wish)) => self.memory_with_lock(call, by, wish).await,
            (_, None) => Err(failure::internal("it waits for nothing")),
        }
    }

    async fn send(&self, call: SendCall, by: By) -> Result<u64, Failure> {
        self.try_send(call, by)
    }

    async fn receive(&self, call: ReceiveCall, by: By) -> Result<Message, Failure> {
        if let Some(received) = self.try_receive(&call, by) {
            return received;
        }
        let deadline = call.timeout_ms.map(|timeout_ms| Instant::now() + Duration::from_millis(timeout_ms));
        let place = Standing::join(self, WhichLine::Channel(call.channel.clone()));
        loop {
            if let Some(received) = self.enter().state.receive(&call, by, Some(place.place.number)) {
                return received;
            }
            let told = place.place.told.notified();
            match deadline {
                None => told.await,
                Some(deadline) => {
                    if timeout_at(deadline, told).await.is_err() {
                        let timeout = Duration::from_millis(call.timeout_ms.unwrap_or_default());
                        return Err(failure::nothing_received(&call.channel, timeout));
                    }
                }
            }
        }
    }

    async fn settle(&self, channel: String, id: u64, run: RunId, verdict: Verdict) -> Result<bool, Failure> {
        Ok(self.settle_now(&channel, id, run, &verdict))
    }

    async fn release(&self, run: RunId, verdict: Verdict) -> Result<(), Failure> {
        self.release_now(run, &verdict);
        Ok(())
    }

    async fn look(&self, question: MemoryQuestion) -> Result<MemoryFound, Failure> {
        self.look_now(question)
    }

    async fn subscribe(&self, namespace: &str) -> Result<broadcast::Receiver<MemoryChange>, Failure> {
        check::namespace(namespace)?;
        let mut entered = self.enter();
        let space = entered.state.spaces.entry(namespace.to_owned()).or_default();
        let changes = space.changes.get_or_insert_with(|| broadcast::channel(WATCH_BACKLOG_MAX).0);
        Ok(changes.subscribe())
    }
}

/// Which line somebody stands in.
enum WhichLine {
    Lock(String),
    Channel(String),
}

/// A place in a line, left when it is dropped.
struct Standing<'a> {
    store: &'a Embedded,
    line: WhichLine,
    place: Place,
}

impl<'a> Standing<'a> {
    fn join(store: &'a Embedded, line: WhichLine) -> Self {
        let place = line.of(&mut store.enter().state).join();
        Self { store, line, place }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.line.of(&mut self.store.enter().state).leave(self.place.number);
    }
}

impl WhichLine {
    fn of<'a>(&self, state: &'a mut State) -> &'a mut Line {
        match self {
            Self::Lock(namespace) => &mut state.spaces.entry(namespace.clone()).or_default().lock.line,
            Self::Channel(channel) => &mut state.channels.entry(channel.clone()).or_default().line,
        }
    }
}

/// Somebody who is told of a key's changes, until it is dropped.
struct Watching<'a> {
    store: &'a Embedded,
    namespace: String,
    key: String,
    told: Arc<Notify>,
}

impl<'a> Watching<'a> {
    fn begin(store: &'a Embedded, namespace: &str, key: &str) -> Self {
        let mut entered = store.enter();
        let space = entered.state.spaces.entry(namespace.to_owned()).or_default();
        let told = Arc::clone(space.watched.entry(key.to_owned()).or_default());
        Self { store, namespace: namespace.to_owned(), key: key.to_owned(), told }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut entered = self.store.enter();
        let Some(space) = entered.state.spaces.get_mut(&self.namespace) else { return };
        // This one, and the one in the table.
        if Arc::strong_count(&self.told) <= 2 {
            space.watched.remove(&self.key);
        }
    }
}
