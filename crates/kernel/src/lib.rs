//! The kernel of Runlet: control blocks, process table, ready queues, timers and every state transition, sans-IO.
//!
//! Start with [`Kernel`]: feed it an [`Event`] and the time with `handle`, drain `poll_action`, sleep until
//! `poll_timeout`, then call `handle_timeout`. It performs no I/O and reads no clock; randomness comes in with the event.

pub mod action;
pub mod event;
pub mod limits;
pub mod plan;
pub mod time;

pub use action::Action;
pub use event::{BlockResult, Event, Submit};
pub use plan::{OnError, Plan, PlanBlock, PlanError, Retry};
pub use time::{Span, Time};
