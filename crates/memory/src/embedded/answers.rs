//! What a run was answered, so that a call that is made again is answered the same. When there are too many, those go that
//! came first: only the calls of blocks that are under way can be made again.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::limits::{ANSWER_BYTES_PER_RUN_MAX, ANSWERS_PER_RUN_MAX};
use crate::store::Token;

/// The answers of one run.
#[derive(Debug, Default)]
pub(super) struct Answers {
    answers: HashMap<Token, (u64, Bytes)>,
    /// The tokens in the order in which they were answered.
    order: BTreeMap<u64, Token>,
    last: u64,
    bytes: usize,
}

impl Answers {
    pub(super) fn get(&self, token: Token) -> Option<&Bytes> {
        self.answers.get(&token).map(|(_, answer)| answer)
    }

    /// Remembers an answer, which replaces an earlier one to the same call; those that had to make room for it. The newest
    /// is kept whatever its size.
    pub(super) fn note(&mut self, token: Token, answer: Bytes) -> Vec<Token> {
        self.last += 1;
        self.bytes += answer.len();
        if let Some((before, replaced)) = self.answers.insert(token, (self.last, answer)) {
            self.order.remove(&before);
            self.bytes -= replaced.len();
        }
        self.order.insert(self.last, token);
        let mut outdated = Vec::new();
        while self.order.len() > ANSWERS_PER_RUN_MAX || (self.bytes > ANSWER_BYTES_PER_RUN_MAX && self.order.len() > 1)
        {
            let Some((_, first)) = self.order.pop_first() else { break };
            self.bytes -= self.answers.remove(&first).map_or(0, |(_, answer)| answer.len());
            outdated.push(first);
        }
        outdated
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}
