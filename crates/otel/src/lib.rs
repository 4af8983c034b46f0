//! Spans to an OpenTelemetry collector, as OTLP over HTTP has it.
//!
//! Whoever has spans gives them complete, with ids and times, to an [`Exporter`], which never makes anybody wait: there is one
//! bounded queue to a thread that makes messages of spans, sends them in batches, and tries again what may be tried again. What
//! is too much, or is not taken, is dropped and counted.
//!
//! - `settings` reads the environment variables of the OpenTelemetry specification; without an endpoint there is no export;
//! - `sampler` decides which traces are exported;
//! - `span` is a span as it is given, `message` what becomes of it on the wire;
//! - `exporter` is the queue and the thread, `delivery` batches and what follows from the collector's answers, `client` HTTP.
//!
//! The crates of OpenTelemetry itself are not used: theirs is an API for programs that measure while they run, with a registry,
//! a clock and random numbers of its own, and an exporter that reads the environment silently. The messages are a few structs
//! that do not change; a test reads what is sent with the project's own.

mod client;
mod delivery;
mod exporter;
pub mod limits;
mod message;
mod sampler;
mod settings;
mod span;

pub use exporter::{Counts, Exporter, StartError};
pub use sampler::Sampler;
pub use settings::{Settings, WrongVariable, is_wanted};
pub use span::{Event, Kind, Place, Span, Value};
