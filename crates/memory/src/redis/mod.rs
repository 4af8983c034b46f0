//! The store in a Redis server (7.0 and later) or Valkey, where several supervisors meet.
//!
//! **Layout.** All keys of a namespace have its name as their hash tag (`runlet:{m:prices}:…`), those of a channel the
//! channel's (`runlet:{c:orders}:…`), so that each script touches one slot of a cluster. A value is one string key with a time
//! to live of the server's own, so a `get` is a `GET`; whatever changes something is a script (`write.lua`, `lock.lua`,
//! `channel.lua`) that also keeps the totals the quotas are judged by, on the server's clock.
//!
//! **Waiting.** No command blocks the shared connection: scripts publish what others wait for, one connection of its own is
//! subscribed to it (`hub.rs`), and who waits looks again now and then, since a wake-up may be lost.
//!
//! **Durability.** What is stored is as durable as the server keeps it: `appendonly yes` with `appendfsync always` loses
//! nothing that was answered, `everysec` up to a second, a replica that takes over what had not reached it. It must not evict:
//! `maxmemory-policy noeviction`. A message that a run has is leased; a supervisor that dies gives it back when its lease is
//! over. A lock ends with its time to live.

mod channel;
mod hub;
mod link;
mod memory;
mod names;
mod shares;
mod together;
mod write;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{Script, ScriptInvocation};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    MemoryCall, MemoryChange, MemoryFound, MemoryQuestion, MemoryReply, Message, ReceiveCall, SendCall,
};
use tokio::sync::broadcast;
use tokio::time::Instant;

use self::hub::Hub;
use self::link::{Link, Safety};
use self::names::Told;
use self::shares::Shares;
pub use self::together::{Prompt, Prompted, Way};
use crate::limits::{ANSWER_KEPT, LEASE, PATIENCE, WAIT_RECHECK};
use crate::store::{By, Quota, SharedMemory, Token, Verdict};

static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));
static LOCK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lock.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("list.lua")));
static CHANNEL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("channel.lua")));
static NAMES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("names.lua")));

/// The names there are.
const NAMESPACES: &str = "runlet:namespaces";
const CHANNELS: &str = "runlet:channels";

/// How long the store waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How long a delivered message belongs to its run after its supervisor last said so.
    pub lease: Duration,
    /// How long until who waits looks again although nobody told it to.
    pub recheck: Duration,
    /// How long a call waits for a server that is away.
    pub patience: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { lease: LEASE, recheck: WAIT_RECHECK, patience: PATIENCE }
    }
}

/// The store. Cheap to clone: all clones are the same store.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    hub: Hub,
    quota: Quota,
    tuning: Tuning,
    /// What runs of this supervisor have.
    shares: Shares,
    /// Names that the server knows of.
    told: Told,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("server", &self.shared.link.address).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// A store at `redis://[user:password@]host[:port][/database]`, or `rediss://` with TLS. The server need not be there
    /// yet. To be called inside a runtime of tokio.
    ///
    /// # Errors
    /// What is wrong with the address, without its password.
    pub fn new(url: &str, quota: Quota) -> Result<Self, String> {
        Self::tuned(url, quota, Tuning::default())
    }

    /// As [`Self::new`], for tests.
    ///
    /// # Errors
    /// As there.
    #[doc(hidden)]
    pub fn tuned(url: &str, quota: Quota, tuning: Tuning) -> Result<Self, String> {
        let link = Link::new(url, tuning.patience)?;
        let hub = Hub::start(link.client.clone());
        let shared = Shared { link, hub, quota, tuning, shares: Shares::default(), told: Told::default() };
        let store = Self { shared: Arc::new(shared) };
        shares::keep_renewing(&store);
        Ok(store)
    }

    /// Where the server is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.link.address
    }

    /// Since when the server has not answered, and why; `None` if it has.
    #[must_use]
    pub fn away(&self) -> Option<(Duration, String)> {
        self.shared.link.away()
    }

    /// Has a script run; tried again until the deadline, if there is one, and no longer than the patience.
    async fn run_script<T: redis::FromRedisValue>(
        &self,
        safety: Safety,
        deadline: Option<Instant>,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        let command = |mut connection| async move { invocation.invoke_async(&mut connection).await };
        self.shared.link.run(safety, deadline, command).await
    }

    /// Has a command carried out that may be repeated.
    async fn run_command<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Failure> {
        self.run_command_until(None, command).await
    }

    /// As [`Self::run_command`], tried again until the deadline.
    async fn run_command_until<T: redis::FromRedisValue>(
        &self,
        deadline: Option<Instant>,
        command: &redis::Cmd,
    ) -> Result<T, Failure> {
        let command = |mut connection| async move { command.query_async(&mut connection).await };
        self.shared.link.run(Safety::Repeatable, deadline, command).await
    }

    /// Has several commands carried out at once that may be repeated.
    async fn run_pipeline<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T, Failure> {
        self.run_pipeline_until(None, pipeline).await
    }

    /// As [`Self::run_pipeline`], tried again until the deadline.
    async fn run_pipeline_until<T: redis::FromRedisValue>(
        &self,
        deadline: Option<Instant>,
        pipeline: &redis::Pipeline,
    ) -> Result<T, Failure> {
        let command = |mut connection| async move { pipeline.query_async(&mut connection).await };
        self.shared.link.run(Safety::Repeatable, deadline, command).await
    }
}

impl SharedMemory for RedisStore {
    async fn memory(&self, call: MemoryCall, by: By) -> Result<MemoryReply, Failure> {
        self.do_memory(call, by).await
    }

    async fn send(&self, call: SendCall, by: By) -> Result<u64, Failure> {
        self.do_send(call, by).await
    }

    async fn receive(&self, call: ReceiveCall, by: By) -> Result<Message, Failure> {
        self.do_receive(call, by).await
    }

    async fn settle(&self, channel: String, id: u64, run: RunId, verdict: Verdict) -> Result<bool, Failure> {
        self.do_settle(&channel, id, run, verdict).await
    }

    async fn release(&self, run: RunId, verdict: Verdict) -> Result<(), Failure> {
        self.do_release(run, verdict).await
    }

    async fn look(&self, question: MemoryQuestion) -> Result<MemoryFound, Failure> {
        self.do_look(question).await
    }

    async fn subscribe(&self, namespace: &str) -> Result<broadcast::Receiver<MemoryChange>, Failure> {
        self.do_subscribe(namespace).await
    }
}

/// How long the answer to a call is kept, in milliseconds; 0 for not at all.
fn answer_kept_ms(by: By) -> u64 {
    let kept = by.run.zip(by.token).map(|_| u64::try_from(ANSWER_KEPT.as_millis()).unwrap_or(u64::MAX));
    kept.unwrap_or(0)
}

/// The channel of wake-ups of this name. The server's are one for all its databases, so the database is in it.
fn wake_ups(prefix: &str, what: &str, database: i64) -> String {
    format!("{prefix}:{what}@{database}")
}

/// The name of the key of an answer, below that of what it is about.
fn answer_key(prefix: &str, by: By) -> String {
    match (by.run, by.token) {
        (Some(run), Some(Token { block, retries, call })) => format!("{prefix}:answer:{run}:{block}.{retries}.{call}"),
        (_, _) => format!("{prefix}:answer"),
    }
}

/// Whether a call may be repeated without knowing what became of it.
fn safety(by: By, has_effect: bool) -> Safety {
    if has_effect && answer_kept_ms(by) == 0 { Safety::Once } else { Safety::Repeatable }
}
