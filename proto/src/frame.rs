//! The frame around every message: a little-endian `u32` length, then that many bytes.

/// Bytes of the length in front of every frame.
pub const HEADER_BYTES: usize = 4;

/// Longest payload of one frame: 16 MiB. A longer announced length is refused before anything is allocated for it.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The announced length is over [`FRAME_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {announced_bytes} bytes was announced; the limit is {FRAME_BYTES_MAX}")]
pub struct FrameTooLong {
    /// What the header said.
    pub announced_bytes: u64,
}

/// The header of a payload of `payload_bytes` bytes.
///
/// # Errors
/// [`FrameTooLong`] over the limit.
pub fn header(payload_bytes: usize) -> Result<[u8; HEADER_BYTES], FrameTooLong> {
    match u32::try_from(payload_bytes) {
        Ok(length) if payload_bytes <= FRAME_BYTES_MAX => Ok(length.to_le_bytes()),
        Ok(_) | Err(_) => Err(FrameTooLong { announced_bytes: payload_bytes as u64 }),
    }
}

/// The payload length a header announces, in bytes.
///
/// # Errors
/// [`FrameTooLong`] over the limit.
pub fn payload_bytes(header: [u8; HEADER_BYTES]) -> Result<usize, FrameTooLong> {
    let announced = u32::from_le_bytes(header);
    match usize::try_from(announced) {
        Ok(length) if length <= FRAME_BYTES_MAX => Ok(length),
        Ok(_) | Err(_) => Err(FrameTooLong { announced_bytes: u64::from(announced) }),
    }
}
