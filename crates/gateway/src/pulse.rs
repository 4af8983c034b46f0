//! Whether the serving threads live: a service manager is told so only when every one of them has just said it.

use std::time::Duration;

use runlet_ipc::Manager;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// Asks the threads.
#[derive(Debug)]
pub(crate) struct Pulse {
    round: watch::Sender<u64>,
    answers: mpsc::Receiver<u64>,
    threads: usize,
}

/// One thread's side of it.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    round: watch::Receiver<u64>,
    answers: mpsc::Sender<u64>,
}

impl Pulse {
    /// Of as many threads. Until it is kept nobody is asked, and nobody wakes up for it.
    pub(crate) fn new(threads: usize) -> (Self, Beat) {
        let (round, asked) = watch::channel(0);
        let (sender, answers) = mpsc::channel(threads);
        (Self { round, answers, threads }, Beat { round: asked, answers: sender })
    }

    /// Asks again and again, and tells the manager each time all have answered. One that hangs stops it for good: the manager then
    /// ends the process, which is what it waits for. Ends when a thread has ended.
    pub(crate) async fn keep(mut self, every: Duration, manager: Manager) {
        for round in 1.. {
            sleep(every).await;
            if !self.all_answer(round).await {
                return;
            }
            manager.alive();
        }
    }

    /// Waits until every thread has answered; `false` when one has ended.
    async fn all_answer(&mut self, round: u64) -> bool {
        self.round.send_replace(round);
        let mut missing = self.threads;
        while missing > 0 {
            match self.answers.recv().await {
                Some(answered) if answered == round => missing -= 1,
                Some(_) => {}
                None => return false,
            }
        }
        true
    }
}

impl Beat {
    /// Answers from within the thread's own loop, as long as that turns.
    pub(crate) async fn keep(mut self) {
        while self.round.changed().await.is_ok() {
            let round = *self.round.borrow_and_update();
            if self.answers.send(round).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_thread_that_hangs_is_no_sign_of_life() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut pulse, beat) = Pulse::new(2);
            let hangs = beat.clone();
            let second = tokio::spawn(beat.clone().keep());
            tokio::spawn(beat.keep());
            assert!(pulse.all_answer(1).await && pulse.all_answer(2).await);
            second.abort();
            // Whoever answers has had every chance to.
            let others = async {
                for _ in 0..1_000 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                _ = pulse.all_answer(3) => panic!("one of two has not answered"),
                () = others => {}
            }
            drop(hangs);
        });
    }
}
