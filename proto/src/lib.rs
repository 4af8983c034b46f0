//! Everything two Runlet processes must agree on: ids, messages, frames and the codec.
//!
//! Rules of change: enum variants and struct fields are only ever appended, never reordered or removed; a change that
//! an older peer could misread raises [`hello::WIRE_VERSION`]. The golden vectors in `tests/golden.rs` guard the bytes.

pub mod call;
pub mod codec;
pub mod control;
pub mod failure;
pub mod frame;
pub mod hello;
pub mod hook;
pub mod ids;
pub mod memory;
pub mod metrics;
pub mod parcel;
pub mod past;
pub mod probe;
pub mod refusal;
pub mod state;
pub mod status;
pub mod trace;
pub mod worker;
