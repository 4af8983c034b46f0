//! What waits to be sent to one client.
//!
//! Large replies of hooks wait as they are, shared with their runs, until there is room for their bytes: many of them at
//! once must cost neither their copies nor the connection, on which everybody else's replies travel too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runlet_proto::codec::{EncodeError, encode_frame};
use runlet_proto::control::{RefusalKind, Reply, ServerMessage};
use runlet_proto::hook::HookAnswer;
use tokio::sync::Notify;

use crate::limits::{ENCODED_BYTES_MAX, OUTBOX_BYTES_MAX, REPLIES_BYTES_MAX};
use crate::reply::{RefusalExt as _, refusal, too_large};

/// Replies on their way to one client: encoded by the loop, written by the connection in as few system calls as the
/// socket allows. Never makes the loop wait.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: Vec<u8>,
    /// Replies of hooks that found no room in `frames`, in order.
    replies: VecDeque<ServerMessage>,
    /// Bytes of their bodies.
    replies_bytes: usize,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::new(State::default()), changed: Notify::new() }))
    }

    /// Queues one message. A hook's reply for which there is no room is refused at [`REPLIES_BYTES_MAX`]; a client that
    /// lets other messages gather is disconnected at [`OUTBOX_BYTES_MAX`].
    pub(crate) fn push(&self, message: &ServerMessage) -> Result<(), EncodeError> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        let was_empty = state.frames.is_empty();
        let bytes = body_bytes(message);
        if bytes == 0 || state.frames.len() + bytes <= ENCODED_BYTES_MAX || was_empty {
            encode_frame(message, &mut state.frames)?;
        } else if state.replies_bytes + bytes <= REPLIES_BYTES_MAX {
            state.replies_bytes += bytes;
            state.replies.push_back(message.clone());
        } else {
            encode_frame(&no_room(message.id), &mut state.frames)?;
        }
        if state.frames.len() > OUTBOX_BYTES_MAX {
            *state = State { closed: true, ..State::default() };
        }
        if was_empty || state.closed {
            self.0.changed.notify_one();
        }
        Ok(())
    }

    /// Lets the writer end once everything queued is written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_one();
    }

    /// What is to be written next (swapped with `spare`, so that two buffers serve for ever), or `None` once the
    /// connection is to be closed.
    pub(crate) async fn take(&self, spare: &mut Vec<u8>) -> Option<()> {
        loop {
            {
                let mut state = self.lock();
                state.fill();
                if !state.frames.is_empty() {
                    std::mem::swap(&mut state.frames, spare);
                    return Some(());
                }
                if state.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Encodes the replies that waited, as far as there is room.
    fn fill(&mut self) {
        while let Some(message) = self.replies.front() {
            let bytes = body_bytes(message);
            if !self.frames.is_empty() && self.frames.len() + bytes > ENCODED_BYTES_MAX {
                return;
            }
            if let Err(error) = encode_frame(message, &mut self.frames) {
                let refused = ServerMessage { id: message.id, reply: Reply::Refused(too_large(&error)) };
                if let Err(error) = encode_frame(&refused, &mut self.frames) {
                    tracing::error!(%error, "a refusal could not be encoded");
                }
            }
            self.replies_bytes -= bytes;
            self.replies.pop_front();
        }
    }
}

/// Bytes of the body of a hook's reply; 0 for any other message.
fn body_bytes(message: &ServerMessage) -> usize {
    if let Reply::Hook(HookAnswer::Reply(reply)) = &message.reply { reply.body.len() } else { 0 }
}

fn no_room(id: u64) -> ServerMessage {
    let refusal = refusal(RefusalKind::Overloaded, "too many large replies wait for their clients")
        .with_help("try again in a moment");
    ServerMessage { id, reply: Reply::Refused(refusal) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is to panic")]

    use bytes::Bytes;
    use runlet_proto::codec::decode;
    use runlet_proto::frame::{FRAME_BYTES_MAX, HEADER_BYTES};
    use runlet_proto::hook::HttpReply;

    use super::*;

    const BODY_BYTES: usize = FRAME_BYTES_MAX / 2;

    fn message(id: usize, body: &Bytes) -> ServerMessage {
        let reply = HttpReply { status: 200, headers: Vec::new(), body: body.clone() };
        ServerMessage { id: id as u64, reply: Reply::Hook(HookAnswer::Reply(Arc::new(reply))) }
    }

    /// Everything that leaves a closed outbox: replies and refusals, by id.
    async fn drain(outbox: &Outbox) -> (Vec<u64>, Vec<u64>) {
        outbox.close();
        let (mut replied, mut refused, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        while outbox.take(&mut frames).await.is_some() {
            assert!(frames.len() <= ENCODED_BYTES_MAX + FRAME_BYTES_MAX, "{} bytes at once", frames.len());
            let mut rest = frames.as_slice();
            while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
                let (frame, after) = after.split_at(u32::from_le_bytes(*header) as usize);
                let message: ServerMessage = decode(frame).unwrap();
                if matches!(message.reply, Reply::Refused(_)) { &mut refused } else { &mut replied }.push(message.id);
                rest = after;
            }
            frames.clear();
        }
        (replied, refused)
    }

    #[tokio::test]
    async fn many_large_replies_wait_for_room_and_small_ones_pass() {
        let (outbox, large) = (Outbox::new(), Bytes::from(vec![0; BODY_BYTES]));
        for id in 0..10 {
            outbox.push(&message(id, &large)).unwrap();
        }
        let accepted = ServerMessage { id: 10, reply: no_room(10).reply };
        outbox.push(&accepted).unwrap();
        let (mut replied, refused) = drain(&outbox).await;
        replied.sort_unstable();
        assert_eq!((replied, refused), ((0..10).collect(), vec![10]));
    }

    #[tokio::test]
    async fn replies_without_any_room_are_refused_one_by_one() {
        let (outbox, large) = (Outbox::new(), Bytes::from(vec![0; BODY_BYTES]));
        let fit = ENCODED_BYTES_MAX / BODY_BYTES + REPLIES_BYTES_MAX / BODY_BYTES;
        for id in 0..fit + 3 {
            outbox.push(&message(id, &large)).unwrap();
        }
        let (replied, refused) = drain(&outbox).await;
        assert_eq!(replied.len() + refused.len(), fit + 3, "everybody has an answer");
        assert!((3..=4).contains(&refused.len()), "{refused:?}");
    }
}
