//! What runs of this supervisor have in the store: it renews the leases of their messages, and gives up all of it with them.
//!
//! The server knows it too (`runlet:{r:RUN}`), so that the next supervisor goes on with what a run has that it takes up.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use tokio::time::sleep;

use super::{RedisStore, Shared};
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
    /// Keys of answers.
    pub(super) answers: BTreeSet<String>,
}

impl Shares {
    pub(super) fn of(&self, run: RunId, change: impl FnOnce(&mut Of)) {
        change(self.lock().entry(run).or_default());
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
    /// Notes one thing, in the server's words.
    fn note(&mut self, what: &str) {
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
            (Some("answer"), Some(key), None) => {
                self.answers.insert(key.to_owned());
            }
            (_, _, _) => {}
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
        self.shared.shares.of(run, |_| {});
        tokio::spawn(async move {
            match store.known_of(run).await {
                // It may have ended meanwhile; then it has been released.
                Ok(had) => {
                    if let Some(of) = store.shared.shares.lock().get_mut(&run) {
                        had.iter().for_each(|what| of.note(what));
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
    pub(super) async fn note_share(&self, run: RunId, what: String) -> Result<(), Failure> {
        self.shared.shares.of(run, |of| of.note(&what));
        let mut pipeline = redis::pipe();
        pipeline.cmd("SADD").arg(key_of(run)).arg(what).ignore();
        pipeline
            .cmd("PEXPIRE")
            .arg(key_of(run))
            .arg(u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX))
            .ignore();
        self.run_pipeline::<()>(&pipeline).await
    }

    pub(super) async fn do_release(&self, run: RunId, verdict: Verdict) -> Result<(), Failure> {
        let of = self.shared.shares.lock().remove(&run);
        let Some(mut of) = of else { return Ok(()) };
        // An earlier supervisor may have taken some of it, and not all of that is known here yet.
        self.known_of(run).await?.iter().for_each(|what| of.note(what));
        let Of { messages, locks, answers } = of;
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
        for key in answers {
            self.run_command::<()>(redis::cmd("UNLINK").arg(key)).await?;
        }
        Ok(())
    }
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
