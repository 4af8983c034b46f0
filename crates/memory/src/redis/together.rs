//! Calls that need one round trip each, carried out with one for all of them: what a client costs for a call (a task, a timer,
//! a wake-up) is paid once. Whatever is not as it is most often goes the way of a single call, which waits and tries again.

use std::collections::BTreeSet;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use runlet_proto::failure::Failure;
use runlet_proto::memory::{MemoryCall, MemoryOp, MemoryReply};

use super::memory::{answer_share, get_command, unpack};
use super::names::Kind;
use super::shares::add_note;
use super::write::{Write, Written, packed_of};
use super::{RedisStore, safety};
use crate::check;
use crate::store::By;

/// A call that one round trip answers, as a rule.
#[derive(Debug)]
pub struct Prompt {
    call: MemoryCall,
    by: By,
    command: Cmd,
}

/// How a call is to be made.
#[derive(Debug)]
pub enum Way {
    /// By [`RedisStore::together`], with others.
    Together(Prompt),
    /// By [`crate::SharedMemory::memory`]: it may have to wait, or something is wrong with it.
    Alone(MemoryCall),
}

/// What became of a call.
#[derive(Debug)]
pub enum Prompted {
    /// It was answered.
    Answered(Result<MemoryReply, Failure>),
    /// It was not done, or may be done again: [`crate::SharedMemory::memory`] does it.
    Left(MemoryCall),
}

impl RedisStore {
    /// Makes a call ready to be carried out together with others, if it waits for nothing and nobody, its namespace is known,
    /// and the server was there when it was last asked.
    #[must_use]
    pub fn way_of(&self, call: MemoryCall, by: By) -> Way {
        let MemoryCall { namespace, op, lock } = &call;
        let may_wait = lock.is_some() || self.shared.link.is_away();
        if may_wait || check::memory(&call, by, &self.shared.quota).is_err() {
            return Way::Alone(call);
        }
        let (by, command) = match (Write::of(op), op) {
            (Some(write), _) if self.is_noted(Kind::Namespace, namespace) => {
                let by = write.by(by);
                (by, self.write_command(namespace, by, &write))
            }
            (None, MemoryOp::Get { key }) => (By::default(), get_command(namespace, key)),
            (_, _) => return Way::Alone(call),
        };
        if let (Some(run), Some(_)) = (by.run, by.token) {
            // Now: later the run may have ended, and what it has been released.
            self.shared.shares.note(run, &answer_share(namespace, by));
        }
        Way::Together(Prompt { call, by, command })
    }

    /// Carries out calls in their order; what became of each, in the same order. Waits for the server once, and not at all if
    /// it is away by now.
    pub async fn together(&self, prompts: Vec<Prompt>) -> Vec<Prompted> {
        if self.shared.link.is_away() {
            return prompts.into_iter().map(|prompt| Prompted::Left(prompt.call)).collect();
        }
        let mut pipeline = redis::Pipeline::with_capacity(prompts.len());
        pipeline.ignore_errors();
        let mut asked = Vec::with_capacity(prompts.len());
        for Prompt { call, by, command } in prompts {
            if let (Some(run), Some(_)) = (by.run, by.token) {
                add_note(&mut pipeline, run, &answer_share(&call.namespace, by));
            }
            pipeline.add_command(command);
            asked.push((call, by));
        }
        let command = |mut connection| {
            let pipeline = &pipeline;
            async move { pipeline.query_async(&mut connection).await }
        };
        let answers: RedisResult<Vec<RedisResult<Value>>> = self.shared.link.try_once(command).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => return asked.into_iter().map(|(call, by)| self.not_answered(call, by, &error)).collect(),
        };
        self.note_names_again(&asked);
        asked.into_iter().zip(answers).map(|((call, by), answer)| self.prompted(call, by, answer)).collect()
    }

    /// As [`RedisStore::note_name_again`], while the answers go their way.
    fn note_names_again(&self, asked: &[(MemoryCall, By)]) {
        let is_forgotten = |call: &MemoryCall| call.op.writes() && !self.is_noted(Kind::Namespace, &call.namespace);
        let forgotten = asked.iter().filter(|(call, _)| is_forgotten(call));
        let namespaces: BTreeSet<&str> = forgotten.map(|(call, _)| &*call.namespace).collect();
        for namespace in namespaces {
            let (store, namespace) = (self.clone(), namespace.to_owned());
            tokio::spawn(async move { store.note_name_again(Kind::Namespace, &namespace).await });
        }
    }

    fn prompted(&self, call: MemoryCall, by: By, answer: RedisResult<Value>) -> Prompted {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.not_answered(call, by, &error),
        };
        let MemoryCall { namespace, op, .. } = &call;
        let Some(write) = Write::of(op) else {
            let key = if let MemoryOp::Get { key } = op { key } else { "" };
            let item = packed_of(Some(answer)).map(|packed| unpack(key, packed)).transpose();
            return Prompted::Answered(item.map(MemoryReply::Value));
        };
        let written = Written::of(answer);
        if written.is_to_be_computed(&write) {
            return Prompted::Left(call);
        }
        Prompted::Answered(written.reply(namespace, &write, &self.shared.quota))
    }

    /// What an error means for a call.
    fn not_answered(&self, call: MemoryCall, by: By, error: &RedisError) -> Prompted {
        // Who does it alone has the script loaded.
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
            return Prompted::Left(call);
        }
        match self.shared.link.may_repeat(safety(by, call.op.has_effect()), error) {
            Ok(()) => Prompted::Left(call),
            Err(failure) => Prompted::Answered(Err(failure)),
        }
    }
}
