//! The kernel of Runlet: control blocks, process table, ready queues, timers and every state transition, sans-IO.
//!
//! Start with [`Kernel`]: feed it an [`Event`] and the time with `handle`, drain `poll_action`, sleep until
//! `poll_timeout`, then call `handle_timeout`. It performs no I/O and reads no clock; randomness comes in with the event.
//!
//! [`transition`] shows every legal step of a run and of a block as two tables; `schedule` decides who runs next.

pub mod action;
pub mod control;
pub mod coverage;
pub mod event;
pub mod input;
pub mod kernel;
pub mod limits;
pub mod plan;
pub mod rank;
pub mod ready;
pub mod rejected;
pub mod restore;
pub mod snapshot;
pub mod time;
pub mod timers;
pub mod transition;

mod aged;
mod answers;
mod commands;
mod deadlines;
mod invariants;
mod memory;
mod outcome;
mod parking;
mod schedule;
mod shape;
mod slots;
mod submit;
mod table;
mod workflows;

pub use action::{Action, Observation};
pub use control::{BlockControlObject, BlockedOn, RunError, WorkflowControlBlock};
pub use event::{BlockResult, Event, Submit};
pub use input::BlockInput;
pub use kernel::{Config, Kernel};
pub use plan::{OnError, Plan, PlanBlock, PlanError, Retry};
pub use rejected::Rejected;
pub use restore::{Progress, Restored, RestoredBlock};
pub use snapshot::Counts;
pub use time::{Span, Time};
