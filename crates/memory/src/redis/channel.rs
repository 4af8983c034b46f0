//! Operations on channels.

use std::time::Duration;

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    ChannelSummary, MemoryFound, MemoryQuestion, Message, MessageSummary, ReceiveCall, SendCall,
};
use tokio::sync::{broadcast, oneshot};
use tokio::time::{Instant, timeout_at};

use super::hub::WakeUp;
use super::link::Safety;
use super::names::Kind;
use super::{CHANNEL, RedisStore, answer_kept_ms, answer_key, safety, wake_ups};
use crate::limits::{LIST_BYTES_MAX, LIST_ITEMS_MAX};
use crate::store::{By, Verdict};
use crate::{check, failure};

pub(super) fn prefix(channel: &str) -> String {
    format!("runlet:{{c:{channel}}}")
}

/// A message that was delivered and is not in its receiver's hands yet: if it never is, it is given back.
struct Delivered {
    store: RedisStore,
    channel: String,
    run: RunId,
    message: Option<Message>,
}

impl Delivered {
    /// It is in its receiver's hands. Only now it is the run's: before, the end of the run does not acknowledge it.
    fn take(mut self) -> Option<Message> {
        let message = self.message.take()?;
        self.store.shared.shares.received(self.run, &self.channel, message.id);
        Some(message)
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        let (Some(message), Ok(runtime)) = (self.message.take(), tokio::runtime::Handle::try_current()) else { return };
        let (store, channel, run) = (self.store.clone(), std::mem::take(&mut self.channel), self.run);
        runtime.spawn(async move {
            if let Err(failure) = store.do_settle(&channel, message.id, run, Verdict::GiveBack).await {
                tracing::warn!(%run, channel, "a message comes again when its lease ends: {failure}");
            }
        });
    }
}

/// A message, or how long until the next lease of another ends.
type Tried = (Option<Delivered>, Option<Duration>);

/// What the script answers.
type Words = Vec<redis::Value>;

fn text(words: &Words, at: usize) -> String {
    words.get(at).and_then(|word| redis::from_redis_value_ref::<String>(word).ok()).unwrap_or_default()
}

fn number(words: &Words, at: usize) -> u64 {
    text(words, at).parse().unwrap_or_default()
}

impl RedisStore {
    /// What is done with a channel.
    async fn channel_script<T: redis::FromRedisValue>(
        &self,
        channel: &str,
        what: &str,
        by: By,
        (safety, deadline): (Safety, Option<Instant>),
        arguments: &[&[u8]],
    ) -> Result<T, Failure> {
        let prefix = prefix(channel);
        let mut invocation = CHANNEL.prepare_invoke();
        for part in ["bodies", "facts", "ready", "delivered", "dead", "totals"] {
            invocation.key(format!("{prefix}:{part}"));
        }
        invocation.key(answer_key(&prefix, by)).arg(what).arg(self.woken(channel)).arg(answer_kept_ms(by));
        for argument in arguments {
            invocation.arg(*argument);
        }
        self.run_script(safety, deadline, &invocation).await
    }

    /// The channel of its wake-ups.
    fn woken(&self, channel: &str) -> String {
        wake_ups(&prefix(channel), "sent", self.shared.link.database)
    }

    pub(super) async fn do_send(&self, call: SendCall, by: By) -> Result<u64, Failure> {
        let quota = &self.shared.quota;
        check::send(&call, quota)?;
        self.note_name(Kind::Channel, &call.channel, None).await?;
        self.note_answer(&call.channel, by, None).await?;
        let (messages_max, bytes_max) = (quota.messages_max.to_string(), quota.message_bytes_max.to_string());
        let arguments = [&call.message[..], messages_max.as_bytes(), bytes_max.as_bytes()];
        let words: Words = self.channel_script(&call.channel, "send", by, (safety(by, true), None), &arguments).await?;
        self.note_name_again(Kind::Channel, &call.channel).await;
        match text(&words, 0).as_str() {
            "ok" => Ok(number(&words, 1)),
            _ => Err(failure::channel_full(&call.channel, number(&words, 1), number(&words, 2))),
        }
    }

    async fn note_answer(&self, channel: &str, by: By, deadline: Option<Instant>) -> Result<(), Failure> {
        match (by.run, by.token) {
            (Some(run), Some(_)) => {
                self.note_share(run, format!("answer {}", answer_key(&prefix(channel), by)), deadline).await
            }
            (_, _) => Ok(()),
        }
    }

    pub(super) async fn do_receive(&self, call: ReceiveCall, by: By) -> Result<Message, Failure> {
        check::receive(&call, by)?;
        let run = by.run.ok_or_else(|| failure::internal("a message is received by nobody"))?;
        let deadline = call.timeout_ms.map(|timeout_ms| Instant::now() + Duration::from_millis(timeout_ms));
        self.note_name(Kind::Channel, &call.channel, deadline).await?;
        self.note_answer(&call.channel, by, deadline).await?;
        let mut listener: Option<broadcast::Receiver<WakeUp>> = None;
        loop {
            let (delivered, left) = self.try_receive(&call, run, by, deadline).await?;
            if let Some(message) = delivered.and_then(Delivered::take) {
                return Ok(message);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let timeout = Duration::from_millis(call.timeout_ms.unwrap_or_default());
                return Err(failure::nothing_received(&call.channel, timeout));
            }
            let Some(listener) = &mut listener else {
                // One may have been sent before this was listened to.
                listener = Some(self.shared.hub.listen(&self.woken(&call.channel)).await);
                continue;
            };
            let recheck = self.shared.tuning.recheck;
            let again_at = Instant::now() + left.map_or(recheck, |left| left.clamp(MOMENT, recheck));
            let again_at = deadline.map_or(again_at, |deadline| deadline.min(again_at));
            let _ = timeout_at(again_at, listener.recv()).await;
        }
    }

    /// Looks for a message. Once asked the server is heard out, even if nobody waits for it any more: what it has delivered
    /// is given back then.
    async fn try_receive(
        &self,
        call: &ReceiveCall,
        run: RunId,
        by: By,
        deadline: Option<Instant>,
    ) -> Result<Tried, Failure> {
        let (store, call) = (self.clone(), call.clone());
        let (answer, tried) = oneshot::channel();
        tokio::spawn(async move {
            // If nobody hears it, it is dropped here.
            let _ = answer.send(store.deliver(&call, run, by, deadline).await);
        });
        tried.await.unwrap_or_else(|_| Err(failure::internal("receiving was broken off")))
    }

    async fn deliver(
        &self,
        call: &ReceiveCall,
        run: RunId,
        by: By,
        deadline: Option<Instant>,
    ) -> Result<Tried, Failure> {
        let lease = self.shared.tuning.lease.as_millis().to_string();
        let (holder, most) = (run.to_string(), call.deliveries_max.to_string());
        let arguments = [holder.as_bytes(), most.as_bytes(), lease.as_bytes()];
        // If it was delivered and the answer was lost, its lease ends, or the token finds it.
        let safety = (Safety::Repeatable, deadline);
        let words: Words = self.channel_script(&call.channel, "receive", by, safety, &arguments).await?;
        if text(&words, 0) != "ok" {
            let left_ms = number(&words, 1);
            return Ok((None, (left_ms > 0).then(|| Duration::from_millis(left_ms))));
        }
        let (store, channel, message) = (self.clone(), call.channel.clone(), message_of(&words));
        let noted = format!("message {channel} {}", message.id);
        let delivered = Delivered { store, channel, run, message: Some(message) };
        self.note_at_server(run, &noted, deadline).await?;
        Ok((Some(delivered), None))
    }

    pub(super) async fn do_settle(
        &self,
        channel: &str,
        id: u64,
        run: RunId,
        verdict: Verdict,
    ) -> Result<bool, Failure> {
        self.shared.shares.settled(run, channel, id);
        let verdict = match verdict {
            Verdict::Acknowledge => "done",
            Verdict::GiveBack => "back",
        };
        let (number, holder) = (id.to_string(), run.to_string());
        let arguments = [number.as_bytes(), holder.as_bytes(), verdict.as_bytes()];
        let settle = self.channel_script::<Words>(channel, "settle", By::default(), REPEATABLE, &arguments);
        // What of it is not forgotten says `no` to the next supervisor.
        let (words, _) = tokio::join!(settle, self.forget_message(run, channel, id));
        Ok(text(&words?, 0) == "ok")
    }

    pub(super) async fn renew(&self, channel: &str, run: RunId, ids: &[u64]) -> Result<(), Failure> {
        let run = run.to_string();
        let lease = self.shared.tuning.lease.as_millis().to_string();
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        let mut arguments = vec![run.as_bytes(), lease.as_bytes()];
        arguments.extend(ids.iter().map(String::as_bytes));
        let _: Words = self.channel_script(channel, "renew", By::default(), REPEATABLE, &arguments).await?;
        Ok(())
    }

    pub(super) async fn do_look(&self, question: MemoryQuestion) -> Result<MemoryFound, Failure> {
        match question {
            MemoryQuestion::Namespaces => self.namespaces().await.map(MemoryFound::Namespaces),
            MemoryQuestion::Call(call) => {
                check::looked(&call)?;
                self.do_memory(call, By::default()).await.map(MemoryFound::Reply)
            }
            MemoryQuestion::Channels => self.channels().await.map(MemoryFound::Channels),
            MemoryQuestion::Send(call) => self.do_send(call, By::default()).await.map(MemoryFound::Sent),
            MemoryQuestion::Peek { channel, limit } => {
                check::channel(&channel)?;
                self.messages(&channel, "ready", limit).await.map(MemoryFound::Messages)
            }
            MemoryQuestion::Dead { channel, limit } => {
                channel.as_deref().map_or(Ok(()), check::channel)?;
                let channels = match channel {
                    Some(channel) => vec![channel],
                    None => self.names(Kind::Channel).await?,
                };
                let mut dead = Vec::new();
                for channel in channels {
                    dead.extend(self.messages(&channel, "dead", limit).await?);
                }
                dead.truncate(limit as usize);
                Ok(MemoryFound::Messages(dead))
            }
            MemoryQuestion::Revive { channel, id } => self.decide(&channel, "revive", id).await,
            MemoryQuestion::Bury { channel, id } => self.decide(&channel, "bury", id).await,
        }
    }

    async fn decide(&self, channel: &str, what: &str, id: u64) -> Result<MemoryFound, Failure> {
        check::channel(channel)?;
        let id = id.to_string();
        let words: Words = self.channel_script(channel, what, By::default(), REPEATABLE, &[id.as_bytes()]).await?;
        Ok(MemoryFound::Done(text(&words, 0) == "ok"))
    }

    async fn messages(&self, channel: &str, which: &str, limit: u32) -> Result<Vec<MessageSummary>, Failure> {
        let most = LIST_ITEMS_MAX.min(limit as usize).to_string();
        if most == "0" {
            return Ok(Vec::new());
        }
        let bytes_max = LIST_BYTES_MAX.to_string();
        let arguments = [which.as_bytes(), most.as_bytes(), bytes_max.as_bytes()];
        let found: Vec<Words> = self.channel_script(channel, "look", By::default(), REPEATABLE, &arguments).await?;
        let summary = |words: &Words| {
            let Message { id, body, sent_at_ms, deliveries } = message_of(words);
            let run = text(words, 5).parse().ok();
            MessageSummary { channel: channel.to_owned(), id, body, sent_at_ms, deliveries, run }
        };
        Ok(found.iter().map(summary).collect())
    }

    async fn channels(&self) -> Result<Vec<ChannelSummary>, Failure> {
        let mut found = Vec::new();
        for name in self.names(Kind::Channel).await? {
            let prefix = prefix(&name);
            let mut look = redis::pipe();
            for part in ["ready", "delivered", "dead"] {
                look.cmd("ZCARD").arg(format!("{prefix}:{part}"));
            }
            look.cmd("HGET").arg(format!("{prefix}:totals")).arg("bytes");
            let (ready, delivered, dead, bytes): (u64, u64, u64, Option<u64>) = self.run_pipeline(&look).await?;
            let receivers = self.shared.hub.listeners(&self.woken(&name)) as u64;
            if ready + delivered + dead + receivers > 0 {
                let bytes = bytes.unwrap_or(0);
                found.push(ChannelSummary { name, ready, delivered, dead, bytes, receivers });
            }
        }
        Ok(found)
    }
}

/// For what may be repeated for as long as the patience lasts.
const REPEATABLE: (Safety, Option<Instant>) = (Safety::Repeatable, None);

/// Shortest wait for a lease to end.
const MOMENT: Duration = Duration::from_millis(1);

/// `ok ID BODY SENT DELIVERIES RUN`.
fn message_of(words: &Words) -> Message {
    let body = words.get(2).and_then(|body| redis::from_redis_value_ref::<Vec<u8>>(body).ok()).unwrap_or_default();
    Message {
        id: number(words, 1),
        body: Bytes::from(body),
        sent_at_ms: number(words, 3),
        deliveries: u32::try_from(number(words, 4)).unwrap_or(u32::MAX),
    }
}
