//! Calls to a Redis server that are made at about the same time go there together: one task for all of them, one write, one
//! wake-up of the loop for the answers.

use runlet_blocks::CallId;
use runlet_fetch::Held;
use runlet_memory::{By, Prompt, Prompted, RedisStore, Way};
use runlet_proto::call::Answer;
use runlet_proto::memory::MemoryCall;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Store;
use crate::core::Core;
use crate::execute::Started;
use crate::inbound::{AttemptId, Inbound};
use crate::limits::{TOGETHER_MAX, TOGETHER_QUEUE_MAX, TOGETHER_UNDER_WAY_MAX};

/// What became of a call, and whose it is.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    pub(crate) attempt: AttemptId,
    pub(crate) call: CallId,
    pub(crate) what: T,
}

/// The queue of calls that go together.
pub(crate) type Together = mpsc::Sender<Asked<Prompt>>;

impl Store {
    /// Begins to take calls that go together, if the store is a server.
    pub(crate) fn together(&self, loop_queue: &mpsc::Sender<Inbound>) -> Option<Together> {
        let Self::Redis(store) = self else { return None };
        let (sender, queue) = mpsc::channel(TOGETHER_QUEUE_MAX);
        tokio::spawn(carry_out(store.clone(), queue, loop_queue.clone()));
        Some(sender)
    }
}

/// Carries out what is queued. While some are under way the next gather: the more there are, the more go together.
async fn carry_out(store: RedisStore, mut queue: mpsc::Receiver<Asked<Prompt>>, loop_queue: mpsc::Sender<Inbound>) {
    let mut under_way = JoinSet::new();
    let mut some = Vec::new();
    while queue.recv_many(&mut some, TOGETHER_MAX).await > 0 {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= TOGETHER_UNDER_WAY_MAX {
            under_way.join_next().await;
        }
        under_way.spawn(ask(store.clone(), std::mem::take(&mut some), loop_queue.clone()));
    }
}

async fn ask(store: RedisStore, some: Vec<Asked<Prompt>>, loop_queue: mpsc::Sender<Inbound>) {
    let (whose, prompts): (Vec<_>, Vec<_>) =
        some.into_iter().map(|asked| ((asked.attempt, asked.call), asked.what)).unzip();
    let prompted = store.together(prompts).await;
    let answered =
        whose.into_iter().zip(prompted).map(|((attempt, call), what)| Asked { attempt, call, what }).collect();
    // The loop is gone only when the process ends.
    let _ = loop_queue.send(Inbound::AnsweredTogether(answered)).await;
}

impl Core {
    /// Makes a call that is not answered at once: with others, if it is to a server, one round trip answers it and there is
    /// room for it; otherwise alone.
    pub(super) fn ask_store(&self, attempt: AttemptId, id: CallId, call: MemoryCall, by: By) -> Started {
        let (Some(together), Store::Redis(store)) = (&self.together, &self.store) else {
            return self.ask_alone(attempt, id, call, by);
        };
        let Ok(place) = together.try_reserve() else { return self.ask_alone(attempt, id, call, by) };
        match store.way_of(call, by) {
            Way::Together(prompt) => {
                place.send(Asked { attempt, call: id, what: prompt });
                Started::Queued
            }
            Way::Alone(call) => self.ask_alone(attempt, id, call, by),
        }
    }

    /// Calls that went together are answered. What is left of them is asked alone, unless nobody waits for it any more.
    pub(crate) fn answered_together(&mut self, answered: Vec<Asked<Prompted>>) {
        for Asked { attempt, call, what } in answered {
            let answer = match what {
                Prompted::Answered(answer) => answer.map_or_else(Answer::Failed, Answer::Memory),
                Prompted::Left(left) => {
                    let by = self.by(attempt, call);
                    if self.attempts.contains_key(&attempt)
                        && let Started::UnderWay(task) = self.ask_alone(attempt, call, left, by)
                        && let Some(active) = self.attempts.get_mut(&attempt)
                    {
                        active.calls.push(task);
                    }
                    continue;
                }
            };
            self.answered(attempt, call, answer, Held::default());
        }
    }
}
