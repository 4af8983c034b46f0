//! A request's body, read whole within its bounds.

use std::cell::Cell;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::limits::BODIES_BYTES_MAX;
use crate::problem::{Kind, Problem};

/// Bytes of bodies one thread holds in memory.
#[derive(Debug, Default)]
pub(crate) struct Held(Cell<usize>);

/// A body's share of them; given back when it is dropped.
#[derive(Debug)]
struct Share<'a> {
    held: &'a Held,
    bytes: usize,
}

impl Share<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let total = self.held.0.get() + bytes;
        if total > BODIES_BYTES_MAX {
            return Err(Problem::new(Kind::Overloaded, "too many request bodies are in memory").closing());
        }
        self.held.0.set(total);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.held.0.set(self.held.0.get() - self.bytes);
    }
}

/// Reads a body. One that is announced too long is refused before any of it is read, one that turns out too long as soon
/// as it does.
pub(crate) async fn read<B>(body: B, bytes_max: u64, limit: Duration, held: &Held) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    if body.size_hint().lower() > bytes_max {
        return Err(too_large(bytes_max));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let slow = || {
        let detail = format!("the request's body did not arrive within {} ms", limit.as_millis());
        Problem::new(Kind::RequestTimeout, detail).closing()
    };
    timeout(limit, collect(body, bytes_max, held)).await.unwrap_or_else(|_| Err(slow()))
}

async fn collect<B>(mut body: B, bytes_max: u64, held: &Held) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut share = Share { held, bytes: 0 };
    // A body that arrives in one piece, as small ones do, is not copied.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else {
            continue; // Trailers are no part of the body.
        };
        if (first.len() + whole.len() + data.len()) as u64 > bytes_max {
            return Err(too_large(bytes_max));
        }
        share.grow(data.len())?;
        if whole.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn too_large(bytes_max: u64) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("the request's body is longer than the {bytes_max} bytes this hook takes"))
        .closing()
}

fn broken(error: &hyper::Error) -> Problem {
    Problem::new(Kind::BadHead, format!("the request's body is malformed: {error}")).closing()
}
