//! What workflows share: memory in namespaces, channels with messages, and locks. Two implementations of one trait, and one
//! suite of tests (`tests/`) that holds for both: [`Embedded`] in the supervisor's own memory, whose changes its journal
//! keeps, and `Redis` (or Valkey), where several supervisors meet.

mod check;
mod embedded;
mod failure;
pub mod limits;
mod name;
mod store;
mod value;

pub use embedded::{Clock, Embedded};
pub use name::{NAME_PATTERN, is_name};
pub use store::{By, Quota, SharedMemory, Token, Verdict};
