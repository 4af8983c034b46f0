//! What workflows share: memory in namespaces, channels with messages, and locks. Two implementations of one trait, and one
//! suite of tests (`tests/`) that holds for both: [`Embedded`] in the supervisor's own memory, whose changes its journal
//! keeps, and [`RedisStore`], where several supervisors meet.

mod check;
mod embedded;
mod failure;
mod json;
pub mod limits;
mod name;
mod redis;
mod store;
mod value;

pub use embedded::{Clock, Embedded};
pub use name::{NAME_PATTERN, is_name};
#[doc(hidden)]
pub use redis::Tuning;
pub use redis::{Prompt, Prompted, RedisStore, Way};
pub use store::{By, Quota, SharedMemory, Token, Verdict};
