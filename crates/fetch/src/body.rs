//! Reading a response body: into one buffer, within the call's limit and the shared budget, decompressed on the way.

use std::io;

use bytes::Bytes;

use crate::budget::Share;
use crate::coding::{Chain, Wants};
use crate::limits;

/// Where the bytes come from; reqwest's response, or a list in a test.
pub(crate) trait Source {
    /// The next piece, `None` after the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, reqwest::Error>> + Send;
}

impl Source for reqwest::Response {
    async fn next(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        self.chunk().await
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection failed in the middle.
    #[error(transparent)]
    Read(#[from] reqwest::Error),
    /// More bytes than the call allows.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// The compressed stream is broken.
    #[error("the compressed body is broken: {0}")]
    Coding(#[from] io::Error),
    /// The compressed stream stops before its end.
    #[error("the compressed body stops before its end")]
    CodingCutShort,
}

/// Reads to the end. The announced length only sizes the first allocation; more than `bytes_max` stops the reading at once.
pub(crate) async fn collect(
    source: &mut impl Source,
    chain: &mut Chain,
    announced: Option<u64>,
    bytes_max: usize,
    share: &mut Share<'_>,
) -> Result<Vec<u8>, BodyError> {
    let announced = announced.filter(|_| chain.is_empty());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(BodyError::TooLarge);
    }
    let mut buffer = Buffer { bytes: Vec::new(), bytes_max, share };
    if let Some(bytes) = announced {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        buffer.make_room(bytes.min(limits::BODY_BYTES_ANNOUNCED_MAX)).await;
    }
    while let Some(piece) = source.next().await? {
        if chain.is_empty() {
            buffer.append(&piece).await?;
        } else {
            buffer.decode(&piece, chain).await?;
        }
    }
    if !chain.is_empty() && !chain.is_complete() {
        return Err(BodyError::CodingCutShort);
    }
    Ok(buffer.bytes)
}

/// The growing body.
struct Buffer<'a, 'b> {
    bytes: Vec<u8>,
    bytes_max: usize,
    share: &'a mut Share<'b>,
}

impl Buffer<'_, '_> {
    async fn append(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        if piece.len() > self.bytes_max - self.bytes.len() {
            return Err(BodyError::TooLarge);
        }
        self.make_room(piece.len()).await;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    async fn decode(&mut self, mut piece: &[u8], chain: &mut Chain) -> Result<(), BodyError> {
        let mut next_turn = self.bytes.len().saturating_add(limits::DECOMPRESS_BYTES_PER_TURN);
        loop {
            // One byte more than is allowed: only that tells a body at its limit from one beyond it.
            let room_max = self.bytes_max.saturating_add(1) - self.bytes.len();
            self.make_room(limits::DECOMPRESS_STEP_BYTES.min(room_max)).await;
            let room = (self.bytes.capacity() - self.bytes.len()).min(room_max);
            let wants = chain.step(&mut piece, &mut self.bytes, room)?;
            if self.bytes.len() > self.bytes_max {
                return Err(BodyError::TooLarge);
            }
            match wants {
                Wants::Input => return Ok(()),
                Wants::Room if self.bytes.len() >= next_turn => {
                    next_turn = self.bytes.len().saturating_add(limits::DECOMPRESS_BYTES_PER_TURN);
                    tokio::task::yield_now().await;
                }
                Wants::Room => {}
            }
        }
    }

    /// Makes sure that so many more bytes fit; the capacity doubles, so that growing costs one copy of the body in all.
    async fn make_room(&mut self, more: usize) {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        if capacity - len >= more {
            return;
        }
        let needed = len.saturating_add(more);
        let doubled = capacity.saturating_mul(2).min(self.bytes_max).max(limits::BODY_BYTES_FIRST);
        let wanted = match capacity {
            0 => needed,
            _ => needed.max(doubled),
        };
        self.share.grow_to(wanted).await;
        self.bytes.reserve_exact(wanted - len);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::collections::VecDeque;

    use http::header::HeaderMap;

    use super::*;
    use crate::budget::Budget;
    use crate::coding;

    impl Source for VecDeque<Bytes> {
        async fn next(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
            Ok(self.pop_front())
        }
    }

    async fn read(pieces: &[&[u8]], announced: Option<u64>, max: usize) -> Result<Vec<u8>, BodyError> {
        let mut source: VecDeque<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
        let budget = Budget::new(1 << 20);
        let mut chain = coding::chain(&HeaderMap::new()).unwrap();
        collect(&mut source, &mut chain, announced, max, &mut budget.share()).await
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_read() {
        assert_eq!(read(&[b"ab", b"c"], None, 3).await.unwrap(), b"abc");
        assert_eq!(read(&[], None, 0).await.unwrap(), b"");
        assert!(matches!(read(&[b"ab", b"cd"], None, 3).await, Err(BodyError::TooLarge)));
        assert!(matches!(read(&[b"a"], None, 0).await, Err(BodyError::TooLarge)));
    }

    #[tokio::test]
    async fn an_announced_length_is_no_promise() {
        assert_eq!(read(&[b"abc"], Some(2), 10).await.unwrap(), b"abc");
        assert!(matches!(read(&[b"abc"], Some(11), 10).await, Err(BodyError::TooLarge)));
        let body = read(&[b"abc"], Some(u64::from(u32::MAX)), usize::MAX).await.unwrap();
        assert!(body.capacity() <= limits::BODY_BYTES_ANNOUNCED_MAX);
    }

    #[tokio::test]
    async fn an_exact_announcement_needs_one_allocation() {
        let page = vec![b'x'; 100_000];
        let pieces: Vec<&[u8]> = page.chunks(7_000).collect();
        let body = read(&pieces, Some(page.len() as u64), usize::MAX).await.unwrap();
        assert_eq!((body.len(), body.capacity()), (page.len(), page.len()));
    }
}
