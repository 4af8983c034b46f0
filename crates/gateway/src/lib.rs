//! HTTP hooks in front of the supervisor: a process that turns requests into control messages and answers into responses.
//!
//! It decides nothing. It knows the routes because the supervisor tells it, keeps the bounds that protect everything
//! behind it, and says precisely, as problem details (RFC 9457), when there is no answer.
//!
//! A few threads share one listening socket and nothing else: each has its own runtime, its own connections, and its own
//! control connection, over which all its requests travel at once. On the way of a request nothing is locked.

mod admin;
mod body;
mod config;
mod connection;
mod counters;
pub mod limits;
mod link;
mod link_task;
mod message;
mod percent;
mod problem;
mod pulse;
mod reload;
mod reply;
mod server;
mod service;
mod table;
mod thread;
mod timer;
mod untaken;
mod wire;

pub use config::Config;
pub use server::{GatewayError, run, run_until};
