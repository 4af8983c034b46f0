//! The heavy lane's processes: the *zygote*, which forks, and the *worker*, which confines itself, executes the heavy
//! blocks of one run, and is gone with it.
//!
//! The supervisor starts `runlet zygote` once and hands it the worker's end of a socket for each worker it wants
//! ([`zygote`]). The zygote has a single thread and never runs a block of anybody's, so what it forks is as clean as itself. A worker
//! (`serve.rs`) is the supervisor's own child. It gives up whatever it could do harm with (`confine.rs`) before it reads its
//! first byte of work; it has no network and no files, and asks for what it needs by calls. A worker whose run executes
//! programs of the operator's (`exec.rs`) is confined to what these need (`profile.rs`).

mod confine;
mod exec;
mod filter;
mod fork;
mod groups;
mod limits;
pub mod memory;
mod namespaces;
mod probe;
mod profile;
mod program_filter;
mod serve;
mod sys;
pub mod turns;
mod warm;
pub mod zygote;
