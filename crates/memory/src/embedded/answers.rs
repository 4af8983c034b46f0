//! What a run was answered, so that a call that is made again is answered the same. When there are too many, those go that
//! came first: only the calls of blocks that are under way can be made again.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::limits::ANSWERS_PER_RUN_MAX;
use crate::store::Token;

/// The answers of one run.
#[derive(Debug, Default)]
pub(super) struct Answers {
    answers: HashMap<Token, (u64, Bytes)>,
    /// The tokens in the order in which they were answered.
    order: BTreeMap<u64, Token>,
    last: u64,
}

impl Answers {
    pub(super) fn get(&self, token: Token) -> Option<&Bytes> {
        self.answers.get(&token).map(|(_, answer)| answer)
    }

    /// Remembers an answer, which replaces an earlier one to the same call.
    pub(super) fn note(&mut self, token: Token, answer: Bytes) {
        self.last += 1;
        if let Some((before, _)) = self.answers.insert(token, (self.last, answer)) {
            self.order.remove(&before);
        }
        self.order.insert(self.last, token);
        while self.order.len() > ANSWERS_PER_RUN_MAX {
            let Some((_, first)) = self.order.pop_first() else { return };
            self.answers.remove(&first);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}
