//! Messages to bytes and back. The only file that names bincode.
//!
//! bincode 2.0.1 with the legacy (fixed-width, little-endian) layout. It carries neither `serde_json::Value` nor untagged
//! or flattened types: JSON crosses as text bytes. The successor with the same bytes is `wincode` (RUSTSEC-2025-0141).

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{FRAME_BYTES_MAX, FrameTooLong, HEADER_BYTES, header};

type Wire = Configuration<LittleEndian, Fixint, Limit<FRAME_BYTES_MAX>>;

const WIRE: Wire = bincode::config::legacy().with_limit::<FRAME_BYTES_MAX>();

/// A message that could not be put into a frame.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The message does not fit into one frame.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    /// The type cannot be carried by the codec: a mistake in the message types.
    #[error("message cannot be encoded: {0}")]
    Unsupported(String),
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// An unknown variant, a half message, a length beyond the frame, text that is not UTF-8.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A message followed by bytes that belong to nothing.
    #[error("{0} bytes follow the message inside its frame")]
    Trailing(usize),
}

/// Appends one whole frame (header and message) to `buffer`. On an error `buffer` is as it was before.
///
/// # Errors
/// [`EncodeError`] when the message is over the frame limit.
pub fn encode_frame<T: Serialize>(message: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    if let Err(error) = bincode::serde::encode_into_std_write(message, buffer, WIRE) {
        buffer.truncate(start);
        return Err(EncodeError::Unsupported(error.to_string()));
    }
    match header(buffer.len() - start - HEADER_BYTES) {
        Ok(bytes) => {
            buffer[start..start + HEADER_BYTES].copy_from_slice(&bytes);
            Ok(())
        }
        Err(error) => {
            buffer.truncate(start);
            Err(error.into())
        }
    }
}

/// Appends a message without a frame's header, as it is stored. On an error `buffer` is as it was before.
///
/// # Errors
/// [`EncodeError`] when the message would not fit into one frame, which is what [`decode`] reads.
pub fn encode<T: Serialize>(message: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = buffer.len();
    let encoded = bincode::serde::encode_into_std_write(message, buffer, WIRE);
    let result = match encoded {
        Ok(_) => header(buffer.len() - start).map(drop).map_err(EncodeError::from),
        Err(error) => Err(EncodeError::Unsupported(error.to_string())),
    };
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

/// Reads one message from a frame's payload; every byte must belong to it.
///
/// # Errors
/// [`DecodeError`] for anything but exactly one message. Never panics; no single allocation is made on the payload's own
/// word about a length beyond 1 MiB (serde's bound for sequences) or sixteen times the payload, whichever is more.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    // bincode allocates a text of an announced length before it looks whether the text is there, up to its limit, and the
    // limit is a constant of the type: so each size of payload is decoded under the smallest limit that fits it.
    match payload.len() {
        0..=0x1000 => decode_within::<T, 0x1000>(payload),
        0x1001..=0x1_0000 => decode_within::<T, 0x1_0000>(payload),
        0x1_0001..=0x10_0000 => decode_within::<T, 0x10_0000>(payload),
        _ => decode_within::<T, FRAME_BYTES_MAX>(payload),
    }
}

fn decode_within<T: DeserializeOwned, const BYTES_MAX: usize>(payload: &[u8]) -> Result<T, DecodeError> {
    let wire = bincode::config::legacy().with_limit::<BYTES_MAX>();
    let (message, read) =
        bincode::serde::decode_from_slice(payload, wire).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match payload.len() - read {
        0 => Ok(message),
        trailing => Err(DecodeError::Trailing(trailing)),
    }
}
