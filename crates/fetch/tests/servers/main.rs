//! The fetcher against real servers on loopback: one test binary, one file per subject.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod bodies;
mod compress;
mod connecting;
mod reach;
mod redirects;
mod support;
