//! Operations on namespaces.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, ServerErrorKind};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{Item, LockWish, MemoryCall, MemoryChange, MemoryOp, MemoryReply, NamespaceSummary};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout_at};

use super::hub::WakeUp;
use super::link::Safety;
use super::names::Kind;
use super::write::{Write, Written, packed_of};
use super::{LIST, LOCK, RedisStore, WRITE, answer_kept_ms, answer_key, safety, wake_ups};
use crate::limits::{COMPUTE_PAUSE_MAX, COMPUTE_TRIES_MAX, LIST_BYTES_MAX, LIST_ITEMS_MAX, WATCH_BACKLOG_MAX};
use crate::store::By;
use crate::{check, failure, value};

/// Asks for the value of a key.
pub(super) fn get_command(namespace: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(format!("{}:v:{key}", prefix(namespace)));
    command
}

/// What a run has, once an answer is kept for it, in the words of [`super::shares`].
pub(super) fn answer_share(namespace: &str, by: By) -> String {
    format!("answer {}", answer_key(&prefix(namespace), by))
}

pub(super) fn prefix(namespace: &str) -> String {
    format!("runlet:{{m:{namespace}}}")
}

impl RedisStore {
    pub(super) async fn do_memory(&self, call: MemoryCall, by: By) -> Result<MemoryReply, Failure> {
        check::memory(&call, by, &self.shared.quota)?;
        let MemoryCall { namespace, op, lock } = call;
        if let (Some(wish), Some(run)) = (lock, by.run) {
            self.lock(&namespace, run, wish).await?;
        }
        let writes = op.writes();
        if writes {
            self.note_name(Kind::Namespace, &namespace, None).await?;
        }
        let reply = self.perform(&namespace, op, by).await;
        if writes {
            self.note_name_again(Kind::Namespace, &namespace).await;
        }
        reply
    }

    async fn perform(&self, namespace: &str, op: MemoryOp, by: By) -> Result<MemoryReply, Failure> {
        if let Some(write) = Write::of(&op) {
            return self.write(namespace, by, write).await;
        }
        match op {
            MemoryOp::Get { key } => self.get(namespace, &key, None).await.map(MemoryReply::Value),
            MemoryOp::List { prefix, after, limit } => self.list(namespace, &prefix, after.as_deref(), limit).await,
            MemoryOp::Watch { key, version, timeout_ms } => self.watch(namespace, &key, version, timeout_ms).await,
            MemoryOp::Unlock => {
                if let Some(run) = by.run {
                    self.lock_script("unlock", namespace, run, 0, None).await?;
                }
                Ok(MemoryReply::Value(None))
            }
            MemoryOp::Set { .. }
            | MemoryOp::CompareAndSet { .. }
            | MemoryOp::Append { .. }
            | MemoryOp::Add { .. }
            | MemoryOp::Take { .. }
            | MemoryOp::Delete { .. } => Err(failure::internal("a write was not recognised")),
        }
    }

    async fn get(&self, namespace: &str, key: &str, deadline: Option<Instant>) -> Result<Option<Item>, Failure> {
        let packed: Option<Vec<u8>> = self.run_command_until(deadline, &get_command(namespace, key)).await?;
        packed.map(|packed| unpack(key, packed)).transpose()
    }

    /// Has one key changed. What the script cannot compute is computed here, and written if nobody came first.
    async fn write(&self, namespace: &str, by: By, write: Write<'_>) -> Result<MemoryReply, Failure> {
        let key = write.key;
        let by = write.by(by);
        if let (Some(run), Some(_)) = (by.run, by.token) {
            self.note_share(run, answer_share(namespace, by), None).await?;
        }
        let mut written = self.script(namespace, by, &write, write.has_effect).await?;
        let mut tries = 0;
        while written.is_to_be_computed(&write) {
            tries += 1;
            if tries > COMPUTE_TRIES_MAX {
                return Err(failure::busy(key));
            }
            // The first time at once: most often nobody else is there.
            if tries > 1 {
                sleep(pause_of(tries)).await;
            }
            let is_fresh = written.word == "compute" && tries == 1;
            let before = if is_fresh { packed_of(written.given) } else { self.packed(namespace, key).await? };
            let before = before.map(|packed| unpack(key, packed)).transpose()?;
            let sum = value::add(key, before.as_ref().map(|item| &item.value[..]), write.value)?;
            let version = before.map_or(0, |item| item.version);
            let computed = Write { op: "if", value: &sum, version, ttl: write.ttl.clone(), ..write };
            written = self.script(namespace, by, &computed, write.has_effect).await?;
        }
        written.reply(namespace, &write, &self.shared.quota)
    }

    async fn packed(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.run_command(&get_command(namespace, key)).await
    }

    async fn script(&self, namespace: &str, by: By, write: &Write<'_>, has_effect: bool) -> Result<Written, Failure> {
        let command = self.write_command(namespace, by, write);
        let run = |mut connection: ConnectionManager| {
            let command = &command;
            async move {
                match command.query_async(&mut connection).await {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        WRITE.load_async(&mut connection).await?;
                        command.query_async(&mut connection).await
                    }
                    answered => answered,
                }
            }
        };
        self.shared.link.run(safety(by, has_effect), None, run).await.map(Written::of)
    }

    /// The script's call.
    pub(super) fn write_command(&self, namespace: &str, by: By, write: &Write<'_>) -> Cmd {
        let (prefix, quota) = (prefix(namespace), &self.shared.quota);
        let Write { op, key, value, version, ttl, has_effect: _ } = write;
        let mut command = redis::cmd("EVALSHA");
        command.arg(WRITE.get_hash()).arg(6).arg(format!("{prefix}:v:{key}"));
        for what in ["keys", "sizes", "expiries", "totals"] {
            command.arg(format!("{prefix}:{what}"));
        }
        command.arg(answer_key(&prefix, by)).arg(*op).arg(*key).arg(*value).arg(*version).arg(ttl);
        command.arg(quota.keys_max).arg(quota.bytes_max).arg(quota.value_bytes_max).arg(self.changes(namespace));
        command.arg(answer_kept_ms(by));
        command
    }

    async fn list(
        &self,
        namespace: &str,
        start: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<MemoryReply, Failure> {
        let prefix = prefix(namespace);
        let from = match after {
            Some(after) if after >= start => format!("({after}"),
            Some(_) | None => format!("[{start}"),
        };
        let mut invocation = LIST.prepare_invoke();
        invocation.key(format!("{prefix}:keys")).arg(format!("{prefix}:v:")).arg(from).arg(start);
        invocation.arg(LIST_ITEMS_MAX.min(limit as usize)).arg(LIST_BYTES_MAX);
        let found: Vec<Vec<u8>> = self.run_script(Safety::Repeatable, None, &invocation).await?;
        let mut found = found.into_iter();
        let more = found.next().is_some_and(|more| more == b"1");
        let mut items = Vec::with_capacity(found.len() / 2);
        while let (Some(key), Some(packed)) = (found.next(), found.next()) {
            items.push(unpack(&String::from_utf8_lossy(&key), packed)?);
        }
        Ok(MemoryReply::Items { items, more })
    }

    async fn watch(&self, namespace: &str, key: &str, version: u64, timeout_ms: u64) -> Result<MemoryReply, Failure> {
        let timeout = Duration::from_millis(timeout_ms);
        let deadline = Instant::now() + timeout;
        let mut changes = self.shared.hub.listen(&self.changes(namespace)).await;
        loop {
            let item = self.get(namespace, key, Some(deadline)).await?;
            if item.as_ref().map_or(0, |item| item.version) != version {
                return Ok(MemoryReply::Value(item));
            }
            if Instant::now() >= deadline {
                return Err(failure::unchanged(key, timeout));
            }
            let again_at = deadline.min(Instant::now() + self.shared.tuning.recheck);
            let told = async {
                while let Ok(Some(change)) = changes.recv().await {
                    if parse_change(namespace, &change).is_none_or(|change| change.key == key) {
                        return;
                    }
                }
            };
            let _ = timeout_at(again_at, told).await;
        }
    }

    async fn lock(&self, namespace: &str, run: RunId, wish: LockWish) -> Result<(), Failure> {
        let timeout = Duration::from_millis(wish.timeout_ms);
        let deadline = Instant::now() + timeout;
        self.note_name(Kind::Namespace, namespace, Some(deadline)).await?;
        self.note_share(run, format!("lock {namespace}"), Some(deadline)).await?;
        let mut woken: Option<broadcast::Receiver<WakeUp>> = None;
        loop {
            let (word, holder, left_ms) = self.lock_script("lock", namespace, run, wish.ttl_ms, Some(deadline)).await?;
            match word.as_str() {
                "ok" => return Ok(()),
                "lost" => return Err(failure::lock_lost(namespace)),
                _ => {}
            }
            if Instant::now() >= deadline {
                let holder = holder.and_then(|holder| holder.parse().ok());
                return Err(failure::lock_timeout(namespace, timeout, holder));
            }
            let Some(woken) = &mut woken else {
                // It may have been given back before this was listened to.
                woken = Some(self.shared.hub.listen(&self.free(namespace)).await);
                continue;
            };
            let left = Duration::from_millis(left_ms.unwrap_or(0).max(1));
            let again_at = deadline.min(Instant::now() + left.min(self.shared.tuning.recheck));
            let _ = timeout_at(again_at, woken.recv()).await;
        }
    }

    /// Gives a lock back for good: the run has ended.
    pub(super) async fn release_lock(&self, namespace: &str, run: RunId) -> Result<(), Failure> {
        self.lock_script("release", namespace, run, 0, None).await.map(drop)
    }

    async fn lock_script(
        &self,
        what: &str,
        namespace: &str,
        run: RunId,
        ttl_ms: u64,
        deadline: Option<Instant>,
    ) -> Result<(String, Option<String>, Option<u64>), Failure> {
        let prefix = prefix(namespace);
        let mut invocation = LOCK.prepare_invoke();
        invocation.key(format!("{prefix}:lock")).key(format!("{prefix}:lost"));
        invocation.arg(what).arg(run.to_string()).arg(ttl_ms).arg(self.free(namespace));
        let answer: Vec<redis::Value> = self.run_script(Safety::Repeatable, deadline, &invocation).await?;
        let mut answer = answer.into_iter();
        let mut text = || answer.next().and_then(|word| redis::from_redis_value::<String>(word).ok());
        Ok((text().unwrap_or_default(), text(), text().and_then(|left| left.parse().ok())))
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<NamespaceSummary>, Failure> {
        let mut found = Vec::new();
        for name in self.names(Kind::Namespace).await? {
            let sweep = Write::new("sweep", "", b"");
            self.script(&name, By::default(), &sweep, false).await?;
            let prefix = prefix(&name);
            let mut look = redis::pipe();
            look.cmd("ZCARD").arg(format!("{prefix}:keys"));
            look.cmd("HGET").arg(format!("{prefix}:totals")).arg("bytes");
            look.cmd("GET").arg(format!("{prefix}:lock"));
            look.cmd("TIME");
            let (keys, bytes, lock, time): (u64, Option<u64>, Option<String>, (u64, u64)) =
                self.run_pipeline(&look).await?;
            let now_ms = time.0 * 1_000 + time.1 / 1_000;
            let lock = lock.as_deref().and_then(|lock| lock.split_once(' '));
            let lock = lock.and_then(|(run, until)| Some((run.parse().ok()?, until.parse::<u64>().ok()?)));
            let lock = lock.filter(|(_, until_ms)| *until_ms > now_ms);
            if keys == 0 && lock.is_none() {
                continue;
            }
            found.push(NamespaceSummary {
                name,
                keys,
                bytes: bytes.unwrap_or(0),
                locked_by: lock.map(|(run, _)| run),
                locked_for_ms: lock.map(|(_, until_ms)| until_ms - now_ms),
            });
        }
        Ok(found)
    }

    pub(super) async fn do_subscribe(&self, namespace: &str) -> Result<broadcast::Receiver<MemoryChange>, Failure> {
        check::namespace(namespace)?;
        let mut changes = self.shared.hub.listen(&self.changes(namespace)).await;
        let (sender, receiver) = broadcast::channel(WATCH_BACKLOG_MAX);
        let namespace = namespace.to_owned();
        tokio::spawn(async move {
            loop {
                let told = tokio::select! {
                    told = changes.recv() => told,
                    () = sender.closed() => return,
                };
                let change = match told {
                    Ok(Some(change)) => parse_change(&namespace, &change),
                    Ok(None) | Err(broadcast::error::RecvError::Lagged(_)) => Some(missed(&namespace)),
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                if change.is_some_and(|change| sender.send(change).is_err()) {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    fn changes(&self, namespace: &str) -> String {
        wake_ups(&prefix(namespace), "changes", self.shared.link.database)
    }

    fn free(&self, namespace: &str) -> String {
        wake_ups(&prefix(namespace), "free", self.shared.link.database)
    }
}

/// How long to wait before a value is computed for the so-many-th time: anything up to a bound that doubles each time.
fn pause_of(tries: usize) -> Duration {
    let bound = Duration::from_millis(1_u64 << tries.min(16)).min(COMPUTE_PAUSE_MAX);
    // Each state is seeded at random.
    let drawn = RandomState::new().hash_one(tries) % u64::try_from(bound.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(drawn)
}

/// A watcher may have missed something.
fn missed(namespace: &str) -> MemoryChange {
    MemoryChange { namespace: namespace.to_owned(), key: String::new(), version: 0, value: None }
}

/// `VERSION LENGTH KEY VALUE`, the value without a space before it.
fn parse_change(namespace: &str, text: &Arc<[u8]>) -> Option<MemoryChange> {
    let space = |text: &[u8]| text.iter().position(|byte| *byte == b' ');
    let (version, rest) = text.split_at_checked(space(text)?)?;
    let rest = &rest[1..];
    let (length, rest) = rest.split_at_checked(space(rest)?)?;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let (version, length) = (number(version)?, usize::try_from(number(length)?).ok()?);
    let (key, value) = rest[1..].split_at_checked(length)?;
    let key = String::from_utf8(key.to_vec()).ok()?;
    let value = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
    Some(MemoryChange { namespace: namespace.to_owned(), key, version, value })
}

/// `VERSION EXPIRY JSON`.
pub(super) fn unpack(key: &str, packed: Vec<u8>) -> Result<Item, Failure> {
    let strange = || failure::internal(format!("what the store has for key `{key}` was not written by Runlet"));
    let packed = Bytes::from(packed);
    let first = packed.iter().position(|byte| *byte == b' ').ok_or_else(strange)?;
    let second = packed[first + 1..].iter().position(|byte| *byte == b' ').ok_or_else(strange)? + first + 1;
    let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
    let version = number(&packed[..first]).ok_or_else(strange)?;
    let expires_at_ms = number(&packed[first + 1..second]).ok_or_else(strange)?;
    Ok(Item {
        key: key.to_owned(),
        value: packed.slice(second + 1..),
        version,
        expires_at_ms: (expires_at_ms > 0).then_some(expires_at_ms),
    })
}
