//! Compressed bodies for tests, in every coding that is undone.

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};

/// The names under which [`compress`] knows a coding; `deflate-bare` is deflate without its zlib wrapping.
pub(crate) const CODINGS: [&str; 5] = ["gzip", "deflate", "deflate-bare", "br", "zstd"];

/// Compresses in one go.
pub(crate) fn compress(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut encoder: Box<dyn EncodeV2> = match coding {
        "gzip" => Box::new(GzipEncoder::new(Level::Fastest.into())),
        "deflate" => Box::new(ZlibEncoder::new(Level::Fastest.into())),
        "deflate-bare" => Box::new(DeflateEncoder::new(Level::Fastest.into())),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Fastest))),
        "zstd" => Box::new(ZstdEncoder::new(1)),
        other => panic!("{other} is not among {CODINGS:?}"),
    };
    let mut out = vec![0; plain.len() + (64 << 10)];
    let mut room = WriteBuffer::new_initialized(&mut out);
    let mut input = PartialBuffer::new(plain);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut room).expect("there is room for it");
    }
    while !encoder.finish(&mut room).expect("there is room for it") {}
    let written = room.written_len();
    out.truncate(written);
    out
}
