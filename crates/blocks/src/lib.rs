//! The Block Processor: one file per block kind. Takes a block's configuration, its input and [`Calls`]; returns an
//! output or a typed failure. Synchronous and free of I/O: what a block wants from outside it returns as
//! [`Step::Wait`], so the same code runs on a pool thread, in place on the supervisor's loop, and in a worker.
//!
//! Start with [`Execution`].

pub mod calls;
pub mod execution;
pub mod limits;
mod memory;
pub mod output;

mod allowed;
mod caught;
mod channel;
mod exec;
mod fetch;
mod for_each;
mod header;
mod hook;
mod html_scraper;
mod media_type;
mod prepared;
mod response;
mod template;
mod transform;
mod wire;
mod workflow;

pub use allowed::allowed_call;
pub use calls::{Calls, Interrupted, ProgramEnd, ProgramError, ProgramHow, ProgramRun};
pub use caught::caught;
pub use execution::{Assignment, CallId, Execution, Outcome, Resume, Step, Weight};
pub use output::Output;
