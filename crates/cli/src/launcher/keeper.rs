//! Keeps one child alive until it is told to end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::child::{Child, Program};
use crate::output::note;

/// What is wanted of a kept child; each wish outdoes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    /// Live.
    Live,
    /// End in order.
    Stop,
    /// End at once.
    Kill,
}

/// A child that is started again whenever it dies.
#[derive(Debug)]
pub(super) struct Kept {
    wish: watch::Sender<Wish>,
    ended: watch::Receiver<bool>,
    _keeper: JoinHandle<()>,
}

impl Kept {
    /// Asks for the end.
    pub(super) fn stop(&self) {
        self.want(Wish::Stop);
    }

    /// Asks for the end at once.
    pub(super) fn kill(&self) {
        self.want(Wish::Kill);
    }

    /// Waits until the child is gone for good.
    pub(super) async fn ended(&self) {
        // An error means that the keeper is gone, and its child with it.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    fn want(&self, wish: Wish) {
        self.wish.send_modify(|current| *current = wish.max(*current));
    }
}

/// Keeps `child` alive, and starts `program` again when it dies. What it knew is in its journal.
pub(super) fn keep(program: Program, child: Child, stop_timeout: Duration) -> Kept {
    let (wish, wishes) = watch::channel(Wish::Live);
    let (end, ended) = watch::channel(false);
    let mut keeper = Keeper { program, stop_timeout, wishes, backoff: Backoff::new() };
    let handle = tokio::spawn(async move {
        keeper.keep(child).await;
        end.send_replace(true);
    });
    Kept { wish, ended, _keeper: handle }
}

struct Keeper {
    program: Program,
    stop_timeout: Duration,
    wishes: watch::Receiver<Wish>,
    backoff: Backoff,
}

impl Keeper {
    async fn keep(&mut self, mut child: Child) {
        loop {
            let cause = tokio::select! {
                status = child.wait() => match status {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                },
                () = wished(&mut self.wishes, Wish::Stop) => return self.end(child).await,
            };
            let Some(next) = self.start_again(child.lived(), &cause).await else { return };
            child = next;
        }
    }

    /// Tries until it works; `None` when the end was wished for meanwhile.
    async fn start_again(&mut self, lived: Duration, cause: &str) -> Option<Child> {
        let name = self.program.name();
        let mut delay = self.backoff.after(lived);
        note(&format!("the {name} ended unasked ({cause}); starting it again in {} ms", delay.as_millis()));
        loop {
            tokio::select! {
                () = sleep(delay) => {}
                () = wished(&mut self.wishes, Wish::Stop) => return None,
            }
            let started = tokio::select! {
                started = Child::start(&self.program) => started,
                () = wished(&mut self.wishes, Wish::Stop) => return None,
            };
            match started {
                Ok((child, _)) => {
                    note(&format!("the {name} is up again"));
                    return Some(child);
                }
                Err(error) => {
                    error.report();
                    delay = self.backoff.after(Duration::ZERO);
                    note(&format!("trying again in {} ms", delay.as_millis()));
                }
            }
        }
    }

    async fn end(&mut self, mut child: Child) {
        child.terminate();
        let in_time = tokio::select! {
            ended = timeout(self.stop_timeout, child.wait()) => ended.is_ok(),
            () = wished(&mut self.wishes, Wish::Kill) => false,
        };
        if !in_time {
            note(&format!("killing the {}", self.program.name()));
            child.kill().await;
        }
    }
}

/// Waits until at least `wish` is wanted.
async fn wished(wishes: &mut watch::Receiver<Wish>, wish: Wish) {
    // The sender lives as long as the launcher; without it nothing is wanted any more.
    let _ = wishes.wait_for(|current| *current >= wish).await;
}
