//! One thread's requests to the supervisor: many at once over one control connection, told apart by their ids.
//!
//! Everything here belongs to one thread; nothing is locked. Requests are encoded into one buffer, and the task in
//! `link_task.rs` sends whatever has gathered when its turn comes: all requests of one turn go out in one write.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use runlet_proto::codec::{EncodeError, encode_frame};
use runlet_proto::control::{ClientMessage, Refusal, Reply, Request, ServerMessage};
use runlet_proto::frame::FRAME_BYTES_MAX;
use runlet_proto::hook::{HookAnswer, OnDisconnect, Route};
use serde::Serialize;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::limits::{OUTBOX_BYTES_MAX, OVERDUE_ANSWER_TIMEOUT, REPLY_TIMEOUT_MAX};
use crate::message::HookMessage;
use crate::table::Table;

/// Id of the request that follows the routes. Those of hooks are larger: see [`Inner::next_id`].
pub(crate) const WATCH_ID: u64 = 0;

/// Low bits of a hook request's id: its place among those that wait.
const SLOT_BITS: u32 = 20;

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// There is no connection to the supervisor.
    Away,
    /// Too many requests wait.
    Full,
    /// The request does not fit into one message.
    TooLong,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The run's answer.
    Answer(HookAnswer),
    /// There is no run.
    Refused(Refusal),
    /// There was no answer in time.
    Overdue,
    /// The connection was lost; what became of the run is unknown.
    Lost,
}

/// The connection as the requests see it.
#[derive(Debug)]
pub(crate) struct Link {
    inner: RefCell<Inner>,
    /// Wakes the task that sends.
    outgoing: Notify,
    /// Wakes who waits for the first routes, or for the news that there is nobody to send them.
    settled: Notify,
    in_flight_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// The routes; `None` without a connection that has sent some.
    table: Option<Rc<Table>>,
    waiting: Slab<Waiting>,
    sequence: u64,
    frames: Vec<u8>,
    /// No waiting request is overdue before this; often it is earlier than needed, as requests that end do not move it.
    soonest: Option<Instant>,
    closing: bool,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    deadline: Instant,
    /// How long it may wait.
    timeout: Duration,
    /// Whether the supervisor was told that it has waited long enough.
    told: bool,
    /// Whether the run is to be stopped when nobody waits for it any more.
    abandon: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Sent(Option<Waker>),
    Ended(Outcome),
}

impl Link {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self {
            inner: RefCell::default(),
            outgoing: Notify::new(),
            settled: Notify::new(),
            in_flight_max: in_flight_max.min(1 << SLOT_BITS),
        }
    }

    /// The routes; `None` while the supervisor is away.
    pub(crate) fn table(&self) -> Option<Rc<Table>> {
        self.inner.borrow().table.clone()
    }

    /// Sends a hook's request; `message` is given its id.
    pub(crate) fn request<'a>(
        self: &Rc<Self>,
        route: &Route,
        message: impl FnOnce(u64) -> HookMessage<'a>,
    ) -> Result<Awaited, Unsent> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.table.is_none() {
            return Err(Unsent::Away);
        }
        if inner.waiting.len() >= self.in_flight_max || inner.frames.len() >= OUTBOX_BYTES_MAX {
            return Err(Unsent::Full);
        }
        let id = inner.next_id();
        self.push(inner, &message(id)).map_err(|error| match error {
            EncodeError::TooLong(_) | EncodeError::Unsupported(_) => Unsent::TooLong,
        })?;
        let timeout = Duration::from_millis(route.timeout_ms).min(REPLY_TIMEOUT_MAX);
        let deadline = Instant::now() + timeout;
        let abandon = route.on_disconnect == OnDisconnect::Stop;
        let slot =
            inner.waiting.insert(Waiting { id, deadline, timeout, told: false, abandon, state: State::Sent(None) });
        debug_assert_eq!(slot, slot_of(id));
        if inner.soonest.is_none_or(|soonest| deadline < soonest) {
            inner.soonest = Some(deadline);
        }
        Ok(Awaited { link: Rc::clone(self), id })
    }

    /// Takes what the supervisor sent; an error ends the connection.
    pub(crate) fn receive(&self, message: ServerMessage) -> Result<(), String> {
        let inner = &mut *self.inner.borrow_mut();
        if message.id == WATCH_ID {
            inner.table = Some(Rc::new(routes(message.reply)?));
            self.settled.notify_one();
            return Ok(());
        }
        let outcome = if let Reply::Hook(answer) = message.reply {
            Outcome::Answer(answer)
        } else if let Reply::Refused(refusal) = message.reply {
            Outcome::Refused(refusal)
        } else {
            return Err(unexpected(&message.reply));
        };
        // An answer nobody waits for belongs to a request that was abandoned while it was under way.
        if let Some(waiting) = inner.waiting.get_mut(slot_of(message.id)).filter(|waiting| waiting.id == message.id) {
            waiting.end(outcome);
        }
        Ok(())
    }

    /// Waits until it is known whether the supervisor is there: its first routes, or a failed attempt to reach it.
    pub(crate) async fn settled(&self) {
        self.settled.notified().await;
    }

    /// When a waiting request may be overdue; whoever sends what has gathered keeps the one timer of all of them.
    pub(crate) fn soonest(&self) -> Option<Instant> {
        self.inner.borrow().soonest
    }

    /// Tells the supervisor of the requests that are overdue, which then answers them; ends those it has not answered a while
    /// after that.
    pub(crate) fn end_overdue(&self, now: Instant) {
        let inner = &mut *self.inner.borrow_mut();
        let (mut overdue, mut given_up) = (Vec::new(), Vec::new());
        inner.soonest = None;
        for (_, waiting) in &mut inner.waiting {
            if matches!(waiting.state, State::Ended(_)) {
                continue;
            }
            if waiting.deadline <= now && waiting.told {
                waiting.end(Outcome::Overdue);
                given_up.extend(waiting.abandon.then_some(waiting.id));
                continue;
            }
            if waiting.deadline <= now {
                waiting.told = true;
                waiting.deadline = now + OVERDUE_ANSWER_TIMEOUT;
                overdue.push((waiting.id, waiting.timeout));
            }
            if inner.soonest.is_none_or(|soonest| waiting.deadline < soonest) {
                inner.soonest = Some(waiting.deadline);
            }
        }
        for (id, timeout) in overdue {
            let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            self.tell(inner, id, Request::Overdue { id, after_ms });
        }
        for id in given_up {
            self.tell(inner, id, Request::Abandon { id });
        }
    }

    /// The connection is gone, or could not be made: nothing is served, and whoever waits learns it.
    pub(crate) fn lost(&self) {
        self.settled.notify_one();
        let inner = &mut *self.inner.borrow_mut();
        inner.table = None;
        inner.frames = Vec::new();
        inner.soonest = None;
        for (_, waiting) in &mut inner.waiting {
            if matches!(waiting.state, State::Sent(_)) {
                waiting.end(Outcome::Lost);
            }
        }
    }

    /// No further requests: the connection is closed once everything is sent.
    pub(crate) fn close(&self) {
        self.inner.borrow_mut().closing = true;
        self.outgoing.notify_one();
    }

    /// Whether [`Link::close`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.inner.borrow().closing
    }

    /// Waits for frames to send and swaps them with `spare`; `false` when there will be no more.
    pub(crate) async fn gathered(&self, spare: &mut Vec<u8>) -> bool {
        loop {
            {
                let mut inner = self.inner.borrow_mut();
                if !inner.frames.is_empty() {
                    std::mem::swap(&mut inner.frames, spare);
                    return true;
                }
                if inner.closing {
                    return false;
                }
            }
            self.outgoing.notified().await;
        }
    }

    /// Ends when [`Link::close`] is called; for pauses in which nothing is sent.
    pub(crate) async fn closed(&self) {
        while !self.is_closing() {
            self.outgoing.notified().await;
        }
    }

    fn push<T: Serialize>(&self, inner: &mut Inner, message: &T) -> Result<(), EncodeError> {
        if inner.frames.is_empty() {
            self.outgoing.notify_one();
        }
        encode_frame(message, &mut inner.frames)
    }

    /// Tells the supervisor something about a request it has.
    fn tell(&self, inner: &mut Inner, id: u64, request: Request) {
        if inner.table.is_none() {
            return;
        }
        if let Err(error) = self.push(inner, &ClientMessage { id, request }) {
            warn!(%error, "the supervisor could not be told about a request");
        }
    }
}

impl Inner {
    /// An id for the next request: a number that never comes back, and below it the slot the request will take.
    fn next_id(&mut self) -> u64 {
        self.sequence += 1;
        (self.sequence << SLOT_BITS) | self.waiting.vacant_key() as u64
    }
}

impl Waiting {
    fn end(&mut self, outcome: Outcome) {
        if let State::Sent(Some(waker)) = std::mem::replace(&mut self.state, State::Ended(outcome)) {
            waker.wake();
        }
    }
}

const fn slot_of(id: u64) -> usize {
    (id & ((1 << SLOT_BITS) - 1)) as usize
}

fn routes(reply: Reply) -> Result<Table, String> {
    if let Reply::Routes(routes) = reply {
        debug!(generation = routes.generation, routes = routes.routes.len(), "the routes changed");
        Ok(Table::new(routes))
    } else if let Reply::Refused(refusal) = reply {
        Err(format!("it does not tell its routes: {}", refusal.message))
    } else {
        Err(unexpected(&reply))
    }
}

fn unexpected(reply: &Reply) -> String {
    let text = format!("{reply:?}");
    let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    format!("it sent a reply of an unexpected kind: {name}")
}

/// Longest body that is certain to fit into a message, head and all.
pub(crate) const fn body_bytes_max(head_bytes_max: usize) -> usize {
    // Lengths, names and the decoded parameters repeat parts of the head, in at most some times its size.
    FRAME_BYTES_MAX.saturating_sub(16 * head_bytes_max)
}

/// A request that was sent; ends with its answer, or when it is overdue. Dropped before it ended, it tells the supervisor that nobody waits any more, unless the hook
/// wants its runs to go on.
#[derive(Debug)]
pub(crate) struct Awaited {
    link: Rc<Link>,
    id: u64,
}

impl Future for Awaited {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let inner = &mut *self.link.inner.borrow_mut();
        let slot = slot_of(self.id);
        let waiting = inner.waiting.get_mut(slot).expect("a slot is freed by its own future alone");
        match std::mem::replace(&mut waiting.state, State::Ended(Outcome::Lost)) {
            State::Ended(outcome) => Poll::Ready(outcome),
            State::Sent(Some(waker)) if waker.will_wake(cx.waker()) => {
                waiting.state = State::Sent(Some(waker));
                Poll::Pending
            }
            State::Sent(_) => {
                waiting.state = State::Sent(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let inner = &mut *self.link.inner.borrow_mut();
        let waiting = inner.waiting.remove(slot_of(self.id));
        if waiting.abandon && matches!(waiting.state, State::Sent(_)) {
            self.link.tell(inner, self.id, Request::Abandon { id: self.id });
        }
    }
}
