//! The stored form of entries: what lies in the blobs of the database, byte by byte, and which payloads become files.
//!
//! Every blob is a format byte, the codec's bytes of one structure, and the CRC-32 of both: SQLite has no checksums, and a
//! bit that flipped inside a text would be believed. A blob of format 1 has none and is still read. A record (of an ended
//! run) is the length of its head as four bytes, the head, and the end, each with its format byte. `tests/golden.rs` guards
//! the bytes: a structure that changes needs a new format, and code that still reads the old one.

use std::convert::Infallible;

use bytes::Bytes;
use runlet_proto::codec;
use runlet_proto::control::LogLine;
use runlet_proto::failure::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entry::{Began, BlockDone, Child, Ended, Stored, StoredSource};
use crate::limits::{OUTPUT_INLINE_BYTES_MAX, OUTPUT_SMALL_BYTES_MAX, RECORD_INLINE_BYTES_MAX};

/// The present format of blobs.
const FORMAT: u8 = 2;

/// The first one, which had no checksum.
const FORMAT_UNCHECKED: u8 = 1;

/// SHA-256 of a payload: the name of its file.
pub(crate) type Hash = [u8; 32];

/// A payload as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kept {
    /// There is none.
    Nothing,
    /// In place.
    Inline(Sort, Bytes),
    /// In a file.
    File(Sort, FileRef),
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sort {
    /// [`Stored::Json`].
    Json,
    /// [`Stored::Hook`].
    Hook,
    /// [`Stored::Reply`].
    Reply,
}

impl Sort {
    /// A payload of this sort.
    pub(crate) fn stored(self, bytes: Bytes) -> Stored {
        match self {
            Self::Json => Stored::Json(bytes),
            Self::Hook => Stored::Hook(bytes),
            Self::Reply => Stored::Reply(bytes),
        }
    }
}

/// A file of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FileRef {
    /// Its name.
    pub(crate) hash: Hash,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// An entry of an open run, after its head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change<P = Kept> {
    /// [`Entry::Intent`](crate::Entry::Intent).
    Intent { block: u16, attempt: u32, at_ms: u64 },
    /// [`Entry::BlockEnded`](crate::Entry::BlockEnded).
    BlockEnded { block: u16, done: BlockDone<P> },
    /// [`Entry::Backoff`](crate::Entry::Backoff).
    Backoff { block: u16, attempt: u32, retries: u32, failure: Failure, retry_at_ms: u64 },
    /// [`Entry::Held`](crate::Entry::Held).
    Held { paused: bool, priority: u8 },
    /// [`Entry::Log`](crate::Entry::Log).
    Log(LogLine),
    /// [`Entry::Died`](crate::Entry::Died).
    Died(String),
    /// [`Entry::ChildBegan`](crate::Entry::ChildBegan).
    ChildBegan(Child),
}

/// Decides for the payloads of one entry where they lie, and gathers those that become files.
#[derive(Debug)]
pub(crate) struct Keeper {
    inline_left: usize,
    files: Vec<(FileRef, Bytes)>,
}

impl Keeper {
    pub(crate) fn new() -> Self {
        Self { inline_left: RECORD_INLINE_BYTES_MAX, files: Vec::new() }
    }

    /// The files to be written before the entry.
    pub(crate) fn into_files(self) -> Vec<(FileRef, Bytes)> {
        self.files
    }

    pub(crate) fn began(&mut self, began: Began) -> Began<Kept> {
        never(began.map(&mut |stored| Ok(self.keep(stored))))
    }

    pub(crate) fn done(&mut self, done: BlockDone) -> BlockDone<Kept> {
        never(done.map(&mut |stored| Ok(self.keep(stored))))
    }

    pub(crate) fn ended(&mut self, ended: Ended) -> Ended<Kept> {
        never(ended.map(&mut |stored| Ok(self.keep(stored))))
    }

    fn keep(&mut self, stored: Stored) -> Kept {
        let (sort, bytes) = match stored {
            Stored::Nothing => return Kept::Nothing,
            Stored::Later(later) => return self.keep(later.make()),
            Stored::Json(bytes) => (Sort::Json, bytes),
            Stored::Hook(bytes) => (Sort::Hook, bytes),
            Stored::Reply(bytes) => (Sort::Reply, bytes),
        };
        let length = bytes.len();
        let fits = length <= OUTPUT_INLINE_BYTES_MAX && length <= self.inline_left;
        if fits || length <= OUTPUT_SMALL_BYTES_MAX {
            self.inline_left = self.inline_left.saturating_sub(length);
            return Kept::Inline(sort, bytes);
        }
        let file = FileRef { hash: Sha256::digest(&bytes).into(), bytes: length as u64 };
        self.files.push((file, bytes));
        Kept::File(sort, file)
    }
}

fn never<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// What is said of a checksum that differs.
pub(crate) const CHANGED: &str = "it is not what was written: its checksum differs";

/// The checksum of a definition as it is stored.
pub(crate) fn sum_of(source: &StoredSource) -> u32 {
    let StoredSource { workflow, version, file, text } = source;
    let mut sum = crc32fast::Hasher::new();
    for part in [workflow, version, file, text] {
        sum.update(&(part.len() as u64).to_le_bytes());
        sum.update(part.as_bytes());
    }
    sum.finalize()
}

/// One structure as a blob.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, codec::EncodeError> {
    let mut blob = vec![FORMAT];
    codec::encode(value, &mut blob)?;
    let sum = crc32fast::hash(&blob);
    blob.extend_from_slice(&sum.to_le_bytes());
    Ok(blob)
}

/// One structure from its blob, or why it is none.
pub(crate) fn decode<T: DeserializeOwned>(blob: &[u8]) -> Result<T, String> {
    match blob.split_first() {
        Some((&FORMAT, _)) => {
            let (whole, sum) = blob.split_last_chunk::<4>().ok_or("it is cut off")?;
            if crc32fast::hash(whole) != u32::from_le_bytes(*sum) {
                return Err(CHANGED.to_owned());
            }
            codec::decode(&whole[1..]).map_err(|error| error.to_string())
        }
        Some((&FORMAT_UNCHECKED, bytes)) => codec::decode(bytes).map_err(|error| error.to_string()),
        Some((format, _)) => Err(format!("its format is {format}, and this version of Runlet knows {FORMAT}")),
        None => Err("it is empty".to_owned()),
    }
}

/// The record of an ended run from the blobs of its head and its end.
pub(crate) fn record(head: &[u8], end: &[u8]) -> Vec<u8> {
    let length = u32::try_from(head.len()).expect("a blob is at most one frame, which is less than 4 GiB");
    let mut record = Vec::with_capacity(4 + head.len() + end.len());
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(head);
    record.extend_from_slice(end);
    record
}

/// The head and the end of an ended run from its record.
pub(crate) fn decode_record(record: &[u8]) -> Result<(Began<Kept>, Ended<Kept>), String> {
    let short = || "it is cut off".to_owned();
    let (length, rest) = record.split_first_chunk::<4>().ok_or_else(short)?;
    let (head, end) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    Ok((decode(head)?, decode(end)?))
}
