//! What runs of this supervisor have in the store: it renews the leases of their messages, and gives up all of it with them.
//!
//! The server knows it too (`runlet:{r:RUN}`), so that the next supervisor goes on with what a run has that it takes up.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Pipeline;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use tokio::time::{Instant, sleep};

use super::{RedisStore, Shared};
use crate::limits::{ANSWERS_PER_RUN_MAX, FORGOTTEN_AT_ONCE};
use crate::store::Verdict;

/// How long the server remembers what a run has.
const REMEMBERED: Duration = Duration::from_hours(7 * 24);

/// What runs have.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<RunId, Of>>);

/// What a run has.
#[derive(Debug, Default, Clone)]
pub(super) struct Of {
    /// Messages, by channel and number.
    pub(super) messages: BTreeSet<(String, u64)>,
    /// Namespaces whose lock it took.
    pub(super) locks: BTreeSet<String>,
    /// Keys of answers, at most [`ANSWERS_PER_RUN_MAX`]; those beyond end with their time.
    pub(super) answers: BTreeSet<String>,
    /// Whether an earlier supervisor may have taken something that is not known here yet.
    is_inherited: bool,
}

impl Shares {
    pub(super) fn of(&self, run: RunId, change: impl FnOnce(&mut Of)) {
        change(self.lock().entry(run).or_default());
    }

    /// Notes one thing that a run has, in the server's words; false if it has too many of its kind.
    pub(super) fn note(&self, run: RunId, what: &str) -> bool {
        let mut is_noted = true;
        self.of(run, |of| is_noted = of.note(what));
        is_noted
    }

    /// A message is a run's.
    pub(super) fn received(&self, run: RunId, channel: &str, id: u64) {
        self.of(run, |of| {
            of.messages.insert((channel.to_owned(), id));
        });
    }

    /// A message is a run's no more.
    pub(super) fn settled(&self, run: RunId, channel: &str, id: u64) {
        // A run that was released already is not begun anew by it.
        if let Some(of) = self.lock().get_mut(&run) {
            of.messages.remove(&(channel.to_owned(), id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Of>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn messages(&self) -> Vec<(RunId, String, Vec<u64>)> {
        let shares = self.lock();
        let mut all = Vec::new();
        for (run, of) in shares.iter() {
            let mut by_channel: HashMap<&str, Vec<u64>> = HashMap::new();
            for (channel, id) in &of.messages {
                by_channel.entry(channel).or_default().push(*id);
            }
            all.extend(by_channel.into_iter().map(|(channel, ids)| (*run, channel.to_owned(), ids)));
        }
        all
    }
}

impl Of {
    /// Notes one thing, in the server's words; false if there are too many of its kind.
    fn note(&mut self, what: &str) -> bool {
        let mut words = what.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("message"), Some(channel), Some(id)) => {
                if let Ok(id) = id.parse() {
                    self.messages.insert((channel.to_owned(), id));
                }
            }
            (Some("lock"), Some(namespace), None) => {
                self.locks.insert(namespace.to_owned());
            }
            (Some("answer"), Some(_), None) if self.answers.len() >= ANSWERS_PER_RUN_MAX => return false,
            (Some("answer"), Some(key), None) => {
                self.answers.insert(key.to_owned());
            }
            (_, _, _) => {}
        }
        true
    }
}

impl Of {
    /// Takes over what an earlier supervisor has noted.
    fn inherit(&mut self, had: &[String]) {
        if std::mem::take(&mut self.is_inherited) {
            for what in had {
                // What is beyond the bound ends with its time.
                let _ = self.note(what);
            }
        }
    }
}

/// Renews leases for as long as the store lives.
pub(super) fn keep_renewing(store: &RedisStore) {
    let (shared, every): (_, Duration) = (Arc::downgrade(&store.shared), store.shared.tuning.lease / 3);
    tokio::spawn(async move {
        loop {
            sleep(every).await;
            let Some(shared) = shared.upgrade() else { return };
            renew(RedisStore { shared }).await;
        }
    });
}

async fn renew(store: RedisStore) {
    for (run, channel, ids) in store.shared.shares.messages() {
        if let Err(failure) = store.renew(&channel, run, &ids).await {
            tracing::warn!(%run, channel, "the lease of a message was not renewed: {failure}");
        }
    }
}

impl RedisStore {
    /// A run that an earlier supervisor began goes on here: what it has is renewed and released as if this one had taken it.
    pub fn adopt(&self, run: RunId) {
        let store = self.clone();
        self.shared.shares.of(run, |of| of.is_inherited = true);
        tokio::spawn(async move {
            match store.known_of(run).await {
                // It may have ended meanwhile; then it has been released.
                Ok(had) => {
                    if let Some(of) = store.shared.shares.lock().get_mut(&run) {
                        of.inherit(&had);
                    }
                }
                Err(failure) => tracing::warn!(%run, "what it has in shared memory is not known: {failure}"),
            }
        });
    }

    /// What the server knows that a run has.
    async fn known_of(&self, run: RunId) -> Result<Vec<String>, Failure> {
        self.run_command(redis::cmd("SMEMBERS").arg(key_of(run))).await
    }

    /// Notes what a run has, here and at the server.
    pub(super) async fn note_share(&self, run: RunId, what: String, deadline: Option<Instant>) -> Result<(), Failure> {
        if self.shared.shares.note(run, &what) { self.note_at_server(run, &what, deadline).await } else { Ok(()) }
    }

    /// Notes what a run has, at the server only.
    pub(super) async fn note_at_server(
        &self,
        run: RunId,
        what: &str,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let mut pipeline = redis::pipe();
        add_note(&mut pipeline, run, what);
        self.run_pipeline_until::<()>(deadline, &pipeline).await
    }

    /// A message is a run's no more, whatever becomes of it: this supervisor does not renew its lease, nor does the next.
    pub(super) async fn forget_message(&self, run: RunId, channel: &str, id: u64) -> Result<(), Failure> {
        let what = format!("message {channel} {id}");
        self.run_command::<()>(redis::cmd("SREM").arg(key_of(run)).arg(what)).await
    }

    pub(super) async fn do_release(&self, run: RunId, verdict: Verdict) -> Result<(), Failure> {
        let of = self.shared.shares.lock().remove(&run);
        let Some(mut of) = of else { return Ok(()) };
        if of.is_inherited {
            of.inherit(&self.known_of(run).await?);
        }
        let Of { messages, locks, answers, is_inherited: _ } = of;
        for (channel, id) in messages {
            self.do_settle(&channel, id, run, verdict.clone()).await?;
        }
        for namespace in locks {
            self.release_lock(&namespace, run).await?;
        }
        let mut forget = redis::cmd("UNLINK");
        forget.arg(key_of(run));
        self.run_command::<()>(&forget).await?;
        // Each in its own slot.
        let answers: Vec<String> = answers.into_iter().collect();
        for some in answers.chunks(FORGOTTEN_AT_ONCE) {
            let mut forget = redis::pipe();
            for key in some {
                forget.cmd("UNLINK").arg(key).ignore();
            }
            self.run_pipeline::<()>(&forget).await?;
        }
        Ok(())
    }
}

/// Adds commands, whose answers do not matter, by which the server notes what a run has.
pub(super) fn add_note(pipeline: &mut Pipeline, run: RunId, what: &str) {
    let remembered_ms = u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX);
    pipeline.cmd("SADD").arg(key_of(run)).arg(what).ignore();
    pipeline.cmd("PEXPIRE").arg(key_of(run)).arg(remembered_ms).ignore();
}

/// What the server remembers of a run.
fn key_of(run: RunId) -> String {
    format!("runlet:{{r:{run}}}")
}

impl Drop for Shared {
    fn drop(&mut self) {
        tracing::debug!(server = self.link.address, "shared memory is left");
    }
}
