//! Undoing `content-encoding`: gzip, deflate, brotli and zstd, also several of them one after another.
//!
//! A decoder is stepped by hand, from the bytes at hand into the room at hand, so that the body's limit and the shared
//! budget hold at every moment: a bomb of a few kilobytes is stopped when its output reaches the limit.

use std::io;

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::header::{self, HeaderMap};

use crate::limits;

/// The codings of a response, in the order in which they are undone. Empty if the body is as it is.
///
/// # Errors
/// A sentence about a coding that is not known, or about too many of them.
pub(crate) fn chain(headers: &HeaderMap) -> Result<Chain, String> {
    let mut stages = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes());
        for name in value.split(',').map(str::trim) {
            match Coding::named(name)? {
                Some(coding) => stages.push(Stage::new(coding)),
                None => continue,
            }
        }
    }
    if stages.len() > limits::CODINGS_MAX {
        return Err(format!("{} content codings on one body; {} are allowed", stages.len(), limits::CODINGS_MAX));
    }
    // The header lists them in the order in which they were applied (RFC 9110, section 8.4).
    stages.reverse();
    Ok(Chain { stages })
}

/// Decoders that feed each other.
#[derive(Debug)]
pub(crate) struct Chain {
    stages: Vec<Stage>,
}

/// What a chain asks for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// More of the body.
    Input,
    /// Room for more output.
    Room,
}

impl Chain {
    /// The chain of a body that is taken as it is.
    pub(crate) fn none() -> Self {
        Self { stages: Vec::new() }
    }

    /// Whether there is nothing to undo.
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes from `input`, which is moved past what was taken, to the end of `out`, at most one step's worth.
    pub(crate) fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>, room: usize) -> io::Result<Wants> {
        let filled = out.len();
        let room = room.min(limits::DECOMPRESS_STEP_BYTES);
        out.resize(filled + room, 0);
        let step = self.run(input, &mut out[filled..]);
        out.truncate(filled + step.as_ref().map_or(0, |&(written, _)| written));
        step.map(|(_, wants)| wants)
    }

    /// Runs every stage, the last one into `out`, until that is full or nothing moves any more.
    fn run(&mut self, input: &mut &[u8], out: &mut [u8]) -> io::Result<(usize, Wants)> {
        let Some((last, before)) = self.stages.split_last_mut() else {
            return Err(io::Error::other("a chain without stages decodes nothing"));
        };
        let mut written = 0;
        loop {
            let mut moved = false;
            for at in 0..before.len() {
                let (left, right) = before.split_at_mut(at);
                let stage = &mut right[0];
                stage.waiting.drain(..stage.taken);
                stage.taken = 0;
                let mut waiting = std::mem::take(&mut stage.waiting);
                let full = waiting.len();
                waiting.resize(limits::DECOMPRESS_STEP_BYTES.max(full), 0);
                let made = match left.last_mut() {
                    None => stage.feed(input, &mut waiting[full..]),
                    Some(previous) => stage.feed_from(previous, &mut waiting[full..]),
                };
                waiting.truncate(full + made.as_ref().map_or(0, |made| made.bytes));
                stage.waiting = waiting;
                moved |= made?.moved;
            }
            let made = match before.last_mut() {
                None => last.feed(input, &mut out[written..])?,
                Some(previous) => last.feed_from(previous, &mut out[written..])?,
            };
            written += made.bytes;
            if written == out.len() {
                return Ok((written, Wants::Room));
            }
            if !moved && !made.moved {
                return Ok((written, Wants::Input));
            }
        }
    }

    /// Whether every decoder saw the end of its stream; a body that was cut short did not let them. To be asked after the
    /// last byte, when the chain wants input.
    pub(crate) fn is_complete(&mut self) -> bool {
        self.stages.iter_mut().all(Stage::is_complete)
    }
}

/// A coding of the IANA registry that is undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn named(name: &str) -> Result<Option<Self>, String> {
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            "br" => Ok(Some(Self::Brotli)),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(format!("the content coding {:?} is not known", name.chars().take(40).collect::<String>())),
        }
    }

    /// The decoder; the first byte tells the two things apart that are called deflate: zlib (RFC 9110, section 8.4.1.2)
    /// and, from servers that got it wrong, the bare stream.
    fn decoder(self, first: u8) -> Box<dyn DecodeV2 + Send + Sync> {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new()),
            Self::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new()),
            Self::Deflate => Box::new(DeflateDecoder::new()),
            Self::Brotli => Box::new(BrotliDecoder::new()),
            Self::Zstd => {
                Box::new(ZstdDecoder::new_with_params(&[DParameter::window_log_max(limits::ZSTD_WINDOW_LOG_MAX)]))
            }
        }
    }

    /// Whether this byte, right after the end of a stream, begins another one: gzip members and zstd frames may follow
    /// each other (RFC 1952, section 2.2; RFC 8878, section 3.1). Anything else there is ignored, as browsers do.
    fn begins_another(self, byte: u8) -> bool {
        match self {
            Self::Gzip => byte == 0x1f,
            Self::Zstd => byte == 0x28 || byte & 0xf0 == 0x50,
            Self::Deflate | Self::Brotli => false,
        }
    }
}

/// One decoder and what it made for the next.
struct Stage {
    coding: Coding,
    decoder: Option<Box<dyn DecodeV2 + Send + Sync>>,
    ended: bool,
    /// Whether the decoder may hold output for which there was no room. It must not be asked without cause: zstd takes
    /// repeated questions without input for an error.
    held_back: bool,
    /// Output that the next stage has not taken yet, and how much of it was taken.
    waiting: Vec<u8>,
    taken: usize,
}

/// What one turn of a stage did.
#[derive(Debug, Clone, Copy)]
struct Made {
    bytes: usize,
    moved: bool,
}

impl Stage {
    fn new(coding: Coding) -> Self {
        Self { coding, decoder: None, ended: false, held_back: false, waiting: Vec::new(), taken: 0 }
    }

    fn feed_from(&mut self, previous: &mut Self, out: &mut [u8]) -> io::Result<Made> {
        let mut input = &previous.waiting[previous.taken..];
        let before = input.len();
        let made = self.feed(&mut input, out);
        previous.taken += before - input.len();
        made
    }

    /// Decodes until the input is used up or the room is full.
    fn feed(&mut self, input: &mut &[u8], out: &mut [u8]) -> io::Result<Made> {
        let offered = input.len();
        let mut room = WriteBuffer::new_initialized(out);
        while !room.has_no_spare_space() {
            if self.ended {
                match input.first() {
                    Some(&byte) if self.coding.begins_another(byte) => {
                        if let Some(decoder) = &mut self.decoder {
                            decoder.reinit()?;
                        }
                        self.ended = false;
                    }
                    Some(_) => *input = &[],
                    None => break,
                }
                continue;
            }
            let Some(&first) = input.first() else {
                match &mut self.decoder {
                    Some(decoder) if self.held_back => {
                        let before = room.written_len();
                        decoder.flush(&mut room)?;
                        self.held_back = room.written_len() > before;
                    }
                    Some(_) | None => break,
                }
                continue;
            };
            let decoder = self.decoder.get_or_insert_with(|| self.coding.decoder(first));
            let mut part = PartialBuffer::new(*input);
            let before = room.written_len();
            self.ended = decoder.decode(&mut part, &mut room)?;
            let taken = part.written_len();
            *input = &input[taken..];
            if taken == 0 && room.written_len() == before && !self.ended {
                return Err(io::Error::other("the decoder makes no progress"));
            }
        }
        self.held_back |= room.has_no_spare_space();
        let bytes = room.written_len();
        Ok(Made { bytes, moved: bytes > 0 || input.len() < offered })
    }

    fn is_complete(&mut self) -> bool {
        match &mut self.decoder {
            // Nothing at all is a complete empty body, whatever its header says.
            None => true,
            Some(_) if self.ended => true,
            // The end may have been met while output was flushed, which does not report it.
            Some(decoder) => {
                let mut scratch = [0; 64];
                let mut room = WriteBuffer::new_initialized(&mut scratch);
                matches!(decoder.finish(&mut room), Ok(true)) && room.written_len() == 0
            }
        }
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("coding", &self.coding).field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "../tests/servers/compress.rs"]
mod compress;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use http::HeaderValue;

    use super::compress::{CODINGS, compress};
    use super::*;

    fn chain_for(value: &str) -> Result<Chain, String> {
        chain(&HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_str(value).unwrap())]))
    }

    /// Feeds pieces of one size into room of one size.
    fn undo(coding: &str, coded: &[u8], piece: usize, room: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut chain = chain_for(coding).unwrap();
        let mut out = Vec::new();
        for mut piece in coded.chunks(piece) {
            while chain.step(&mut piece, &mut out, room)? == Wants::Room {}
            assert!(piece.is_empty());
        }
        Ok((out, chain.is_complete()))
    }

    fn header_name(coding: &str) -> &str {
        coding.strip_suffix("-bare").unwrap_or(coding)
    }

    /// Half runs, half noise, so that codings have both to do.
    fn sample(bytes: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..bytes).map(|at| if at / 500 % 2 == 0 { b'a' } else { noise() }).collect()
    }

    #[test]
    fn every_coding_is_undone_however_it_is_cut() {
        for coding in CODINGS {
            for bytes in [0, 1, 10, 1000, 40_000] {
                let plain = sample(bytes);
                let coded = compress(coding, &plain);
                for (piece, room) in [(1, 7), (7, 100), (1000, 13), (1 << 20, 16_384)] {
                    let (out, complete) = undo(header_name(coding), &coded, piece, room).unwrap();
                    assert!(out == plain && complete, "{coding} {bytes} bytes, pieces of {piece}, room of {room}");
                }
            }
        }
    }

    #[test]
    fn codings_on_top_of_each_other_are_undone_in_reverse() {
        let plain = sample(20_000);
        for inner in CODINGS {
            for outer in CODINGS {
                let coded = compress(outer, &compress(inner, &plain));
                let list = format!("{}, {}", header_name(inner), header_name(outer).to_uppercase());
                for (piece, room) in [(300, 77), (1 << 20, 16_384)] {
                    let (out, complete) = undo(&list, &coded, piece, room).unwrap();
                    assert!(out == plain && complete, "{list}, pieces of {piece}, room of {room}");
                }
            }
        }
    }

    #[test]
    fn a_stream_that_stops_early_is_noticed() {
        let plain = sample(5000);
        for coding in CODINGS {
            let coded = compress(coding, &plain);
            for end in [1, 2, coded.len() / 2, coded.len() - 1] {
                let (out, complete) = undo(header_name(coding), &coded[..end], 1000, 1000).unwrap();
                assert!(!complete && plain.starts_with(&out), "{coding} up to {end}");
            }
        }
    }

    #[test]
    fn broken_streams_are_errors_or_incomplete_but_never_a_panic() {
        let plain = sample(3000);
        for coding in CODINGS {
            let coded = compress(coding, &plain);
            for at in 0..coded.len().min(200) {
                let mut broken = coded.clone();
                broken[at] ^= 0x55;
                let _ = undo(header_name(coding), &broken, 64, 4096);
            }
            assert!(
                undo(header_name(coding), b"\x00\xff this is no such stream \xff\xff", 64, 64).is_err(),
                "{coding}"
            );
        }
    }

    #[test]
    fn streams_in_a_row_are_one_body_and_what_follows_is_ignored() {
        for coding in ["gzip", "zstd"] {
            let mut coded = [compress(coding, b"one, "), compress(coding, b"two")].concat();
            for piece in [1, 1000] {
                assert_eq!(undo(coding, &coded, piece, 100).unwrap(), (b"one, two".to_vec(), true));
            }
            coded.extend_from_slice(b"\0\0 padding");
            assert_eq!(undo(coding, &coded, 1000, 100).unwrap(), (b"one, two".to_vec(), true));
        }
    }

    #[test]
    fn names_are_those_of_the_registry() {
        for nothing in ["", "identity", "identity, Identity"] {
            assert!(chain_for(nothing).unwrap().is_empty());
        }
        assert_eq!(chain_for("x-gzip").unwrap().stages.len(), 1);
        assert!(chain_for("compress").unwrap_err().contains("\"compress\" is not known"));
        assert!(chain_for("gzip, gzip, gzip, gzip").unwrap_err().contains("4 content codings"));
        assert!(chain(&HeaderMap::new()).unwrap().is_empty());
    }

    #[test]
    fn a_zstd_window_beyond_the_standard_is_refused() {
        // Magic number; a frame header without content size that asks for a window of 2^27 bytes; an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert!(undo("zstd", &frame, 100, 100).is_err());
        let allowed = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(undo("zstd", &allowed, 100, 100).unwrap(), (Vec::new(), true));
    }
}
