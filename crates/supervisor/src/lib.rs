//! The daemon: one loop around the kernel, the light pool, the control socket.
//!
//! Start with [`run`]. One thread runs the loop, the control connections and all waiting I/O; pool threads only compute.
//! `event_loop` turns every `inbound::Inbound` into kernel events and performs the actions that come out.

mod attempt;
mod children;
mod clock;
pub mod config;
mod connection;
mod control_block;
mod core;
mod deadlock;
mod dependencies;
mod durable;
mod event_loop;
mod execute;
#[cfg_attr(not(feature = "otel"), path = "export/absent.rs")]
mod export;
mod heavy;
mod history;
mod inbound;
mod interpreter;
mod lane;
pub mod limits;
mod listen;
mod meter;
mod metrics;
mod outbox;
mod perform;
mod pool;
mod programs;
mod quota;
mod registry;
mod reload;
mod reply;
mod request;
mod run_id;
mod run_record;
mod shared;
mod trace;
mod trace_context;

pub use config::Config;
pub use event_loop::{Error, run};
pub use export::{Export, ExportError};
pub use heavy::cgroup;
pub use programs::{AllowError, AllowProgram, ProgramError};
pub use runlet_journal::Retention;
pub use shared::StoreError;

/// Looks the journal of a state directory over, and changes nothing.
///
/// # Errors
/// When there is none, or it is no journal.
pub fn check_journal(state: &std::path::Path) -> Result<runlet_journal::Report, runlet_journal::OpenError> {
    runlet_journal::check(&durable::directory_in(state))
}
