//! The large parts of what a worker is told: they travel beside the message, in a file in memory that both have open, instead
//! of through the socket and four buffers.
//!
//! [`ToWorker::Parcel`] comes first, with a descriptor of the file, which can no longer change (memfd_create(2), seals). The
//! parts stand in it one after the other, and belong to the message that follows. The other direction has no such way: a
//! worker that could make files in memory could take memory that nobody counts.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Body, FetchReply};
use crate::memory::MemoryReply;
use crate::worker::{Begin, Payload, ToWorker, Values};

/// The longest part that stays in its message, in bytes.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// A part of the message that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, counted from 0 in the order in which the message names its parts.
    pub number: u32,
    /// Its length, in bytes.
    pub bytes: u64,
}

/// A parcel that does not fit the message that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// The message has no such part.
    #[error("the message has no part {0}")]
    Unknown(u32),
    /// The file is shorter than its parts.
    #[error("the file has {file_bytes} bytes and its parts have more")]
    Short {
        /// The file's length, in bytes.
        file_bytes: usize,
    },
    /// A text that is none.
    #[error("part {0} is no UTF-8")]
    NotText(u32),
}

/// Where a part stands in its message.
enum Place<'a> {
    Bytes(&'a mut Bytes),
    Text(&'a mut String),
}

impl Place<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    fn take(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => std::mem::take(bytes),
            Self::Text(text) => std::mem::take(text).into(),
        }
    }

    fn put(self, part: Bytes, number: u32) -> Result<(), ParcelError> {
        match self {
            Self::Bytes(bytes) => *bytes = part,
            Self::Text(text) => {
                let found = std::str::from_utf8(&part).map_err(|_| ParcelError::NotText(number))?;
                found.clone_into(text);
            }
        }
        Ok(())
    }
}

impl ToWorker {
    /// Takes out what is longer than [`INLINE_BYTES_MAX`].
    #[must_use]
    pub fn take_large_parts(&mut self) -> Vec<(Part, Bytes)> {
        let numbered = (0..).zip(self.places());
        let large = numbered.filter(|(_, place)| place.len() > INLINE_BYTES_MAX);
        large.map(|(number, place)| (Part { number, bytes: place.len() as u64 }, place.take())).collect()
    }

    /// Puts the parts back that `file` holds one after the other.
    ///
    /// # Errors
    /// [`ParcelError`]; some parts are where they belong then.
    pub fn put_parts(&mut self, parts: &[Part], mut file: Bytes) -> Result<(), ParcelError> {
        let file_bytes = file.len();
        let mut places: Vec<_> = self.places().into_iter().map(Some).collect();
        for Part { number, bytes } in parts {
            let place = usize::try_from(*number).ok().and_then(|at| places.get_mut(at)?.take());
            let place = place.ok_or(ParcelError::Unknown(*number))?;
            let length = usize::try_from(*bytes).ok().filter(|length| *length <= file.len());
            place.put(file.split_to(length.ok_or(ParcelError::Short { file_bytes })?), *number)?;
        }
        Ok(())
    }

    /// All that may be large, in the order that numbers it.
    fn places(&mut self) -> Vec<Place<'_>> {
        match self {
            Self::Begin(begin) => {
                let Begin { input, scope, .. } = &mut **begin;
                let input = match input {
                    Payload::Json(text) => text,
                    Payload::Hook(request) => &mut request.body,
                    Payload::Reply(reply) => &mut reply.body,
                };
                let scope = scope.iter_mut().flat_map(|Values { input, hook, blocks, run }| {
                    let blocks = blocks.iter_mut().map(|(_, output)| output);
                    [input, run].into_iter().chain(hook).chain(blocks)
                });
                std::iter::once(input).chain(scope).map(Place::Bytes).collect()
            }
            Self::Answer { answer: Answer::Fetch(reply), .. } => {
                let FetchReply { body, .. } = &mut **reply;
                vec![match body {
                    Body::Text { text, .. } => Place::Text(text),
                    Body::Bytes(bytes) => Place::Bytes(bytes),
                }]
            }
            Self::Answer { answer: Answer::Workflow { output, .. }, .. } => {
                output.iter_mut().map(Place::Bytes).collect()
            }
            Self::Answer { answer: Answer::Memory(MemoryReply::Value(item)), .. } => {
                item.iter_mut().map(|item| Place::Bytes(&mut item.value)).collect()
            }
            Self::Answer { answer: Answer::Memory(MemoryReply::Items { items, .. }), .. } => {
                items.iter_mut().map(|item| Place::Bytes(&mut item.value)).collect()
            }
            Self::Answer { answer: Answer::Received(message), .. } => vec![Place::Bytes(&mut message.body)],
            Self::Answer { answer: Answer::Failed(_) | Answer::Sent(_), .. }
            | Self::Run(_)
            | Self::Prepare(_)
            | Self::Parcel(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::ids::{Attempt, BlockIndex};

    fn begin(input: usize, block: usize) -> ToWorker {
        let long = |bytes| Bytes::from(vec![b'7'; bytes]);
        let scope = Values {
            input: long(3),
            hook: None,
            blocks: vec![("a".into(), long(block)), ("b".into(), long(4))],
            run: long(5),
        };
        ToWorker::Begin(Box::new(Begin {
            block: BlockIndex(0),
            attempt: Attempt(1),
            input: Payload::Json(long(input)),
            scope: Some(scope),
        }))
    }

    fn file(parts: &[(Part, Bytes)]) -> (Vec<Part>, Bytes) {
        let bytes: Vec<u8> = parts.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        (parts.iter().map(|(part, _)| *part).collect(), bytes.into())
    }

    #[test]
    fn what_is_taken_out_comes_back_to_its_place() {
        let sent = begin(INLINE_BYTES_MAX + 1, INLINE_BYTES_MAX + 2);
        let mut message = sent.clone();
        let (parts, file) = file(&message.take_large_parts());
        assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), 2 * INLINE_BYTES_MAX as u64 + 3);
        assert_ne!(message, sent);
        message.put_parts(&parts, file).unwrap();
        assert_eq!(message, sent);
        assert_eq!(begin(INLINE_BYTES_MAX, 0).take_large_parts(), []);
    }

    #[test]
    fn a_text_stays_a_text() {
        let body = |text: String| {
            let body = Body::Text { text, encoding: "UTF-8".into() };
            let reply =
                FetchReply { status: 200, url: String::new(), headers: vec![], body, redirects: vec![], elapsed_us: 0 };
            let answer = Answer::Fetch(Box::new(reply));
            ToWorker::Answer { block: BlockIndex(0), attempt: Attempt(1), call: 0, answer }
        };
        let sent = body("ä".repeat(INLINE_BYTES_MAX));
        let mut message = sent.clone();
        let (parts, file) = file(&message.take_large_parts());
        assert_eq!(message, body(String::new()));
        message.put_parts(&parts, file).unwrap();
        assert_eq!(message, sent);
        let not_text = Bytes::from_static(b"\xff");
        let part = Part { number: 0, bytes: 1 };
        assert_eq!(message.put_parts(&[part], not_text), Err(ParcelError::NotText(0)));
    }

    #[test]
    fn a_parcel_that_does_not_fit_is_told() {
        let part = |number, bytes| Part { number, bytes };
        let four = Bytes::from_static(b"1234");
        let mut message = begin(1, 1);
        assert_eq!(
            message.put_parts(&[part(0, 3), part(1, 2)], four.clone()),
            Err(ParcelError::Short { file_bytes: 4 })
        );
        assert_eq!(message.put_parts(&[part(0, u64::MAX)], four.clone()), Err(ParcelError::Short { file_bytes: 4 }));
        assert_eq!(message.put_parts(&[part(9, 1)], four.clone()), Err(ParcelError::Unknown(9)));
        assert_eq!(message.put_parts(&[part(0, 1), part(0, 1)], four), Err(ParcelError::Unknown(0)));
    }
}
