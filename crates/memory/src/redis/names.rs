//! The names of namespaces and channels that there are: a bounded set each, in a slot of its own, so not written by the scripts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::Pipeline;
use runlet_proto::failure::Failure;
use tokio::time::Instant;

use super::link::Safety;
use super::{CHANNELS, NAMES, NAMESPACES, RedisStore};
use crate::failure;
use crate::limits::{CHANNELS_MAX, NAME_NOTED, NAMESPACES_MAX};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Namespace,
    Channel,
}

impl Kind {
    fn registry(self) -> &'static str {
        match self {
            Self::Namespace => NAMESPACES,
            Self::Channel => CHANNELS,
        }
    }

    fn many(self) -> (&'static str, usize) {
        match self {
            Self::Namespace => ("namespaces", NAMESPACES_MAX),
            Self::Channel => ("channels", CHANNELS_MAX),
        }
    }
}

/// Names that the server was told of lately.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    /// How often the server had come back then: it may have come back without them.
    returns: u64,
    at: HashMap<Kind, HashMap<String, Instant>>,
}

impl Told {
    fn is_fresh(&self, kind: Kind, name: &str, returns: u64) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = told.at.get(&kind).and_then(|at| at.get(name));
        told.returns == returns && at.is_some_and(|at| at.elapsed() < NAME_NOTED)
    }

    fn note(&self, kind: Kind, name: &str, returns: u64) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.returns != returns {
            told.at.clear();
            told.returns = returns;
        }
        let at = told.at.entry(kind).or_default();
        if at.len() >= kind.many().1 {
            at.retain(|_, at| at.elapsed() < NAME_NOTED);
        }
        at.insert(name.to_owned(), Instant::now());
    }
}

impl RedisStore {
    /// Whether the server was told of a name lately, and has not come back since.
    pub(super) fn is_noted(&self, kind: Kind, name: &str) -> bool {
        self.shared.told.is_fresh(kind, name, self.shared.link.returns())
    }

    /// Sees to it that a name is among those of the server. Failure: `quota`, if there are too many others.
    pub(super) async fn note_name(&self, kind: Kind, name: &str, deadline: Option<Instant>) -> Result<(), Failure> {
        let returns = self.shared.link.returns();
        if self.is_noted(kind, name) {
            return Ok(());
        }
        if !self.add_name(kind, name, deadline).await? {
            self.forget_empty(kind).await?;
            if !self.add_name(kind, name, deadline).await? {
                let (what, most) = kind.many();
                return Err(failure::too_many(what, most));
            }
        }
        self.shared.told.note(kind, name, returns);
        Ok(())
    }

    /// As [`Self::note_name`], after something was written: if the server was away meanwhile, it may have come back without
    /// the name. What was written stays, whatever becomes of this.
    pub(super) async fn note_name_again(&self, kind: Kind, name: &str) {
        if let Err(failure) = self.note_name(kind, name, None).await {
            tracing::warn!(name, "it is not listed for now: {failure}");
        }
    }

    async fn add_name(&self, kind: Kind, name: &str, deadline: Option<Instant>) -> Result<bool, Failure> {
        let mut invocation = NAMES.prepare_invoke();
        invocation.key(kind.registry()).arg(name).arg(kind.many().1);
        self.run_script(Safety::Repeatable, deadline, &invocation).await
    }

    pub(super) async fn names(&self, kind: Kind) -> Result<Vec<String>, Failure> {
        let mut names: Vec<String> = self.run_command(redis::cmd("SMEMBERS").arg(kind.registry())).await?;
        names.sort_unstable();
        Ok(names)
    }

    /// Forgets the names of what is empty. One that is filled meanwhile is noted again soon, by who fills it.
    async fn forget_empty(&self, kind: Kind) -> Result<(), Failure> {
        let names = self.names(kind).await?;
        if names.is_empty() {
            return Ok(());
        }
        let (seconds, micros): (u64, u64) = self.run_command(&redis::cmd("TIME")).await?;
        let now_ms = seconds * 1_000 + micros / 1_000;
        let mut look = redis::pipe();
        for name in &names {
            ask_what_it_holds(&mut look, kind, name, now_ms);
        }
        let counts: Vec<u64> = self.run_pipeline(&look).await?;
        let mut forget = redis::cmd("SREM");
        forget.arg(kind.registry());
        let mut is_any = false;
        for (name, held) in names.iter().zip(counts.chunks(3)) {
            let &[all, expired, others] = held else { continue };
            if all.saturating_sub(expired) + others == 0 {
                forget.arg(name);
                is_any = true;
            }
        }
        if is_any { self.run_command(&forget).await } else { Ok(()) }
    }
}

/// Asks for three numbers: what it holds, how much of it has expired, and what else it is kept for.
fn ask_what_it_holds(look: &mut Pipeline, kind: Kind, name: &str, now_ms: u64) {
    match kind {
        Kind::Namespace => {
            let prefix = super::memory::prefix(name);
            look.cmd("ZCARD").arg(format!("{prefix}:keys"));
            look.cmd("ZCOUNT").arg(format!("{prefix}:expiries")).arg("-inf").arg(now_ms);
            look.cmd("EXISTS").arg(format!("{prefix}:lock"));
        }
        Kind::Channel => {
            let prefix = super::channel::prefix(name);
            look.cmd("HLEN").arg(format!("{prefix}:bodies"));
            // Messages do not expire.
            look.cmd("ZCOUNT").arg(format!("{prefix}:expiries")).arg("-inf").arg(now_ms);
            look.cmd("EXISTS").arg(format!("{prefix}:delivered"));
        }
    }
}
