//! The workflow language: JSON or JSONC text in, a validated, immutable [`Definition`] or all its [`Diagnostic`]s out.
//!
//! Start with [`parse`].

pub mod block;
pub mod definition;
pub mod diagnostic;
mod field;
pub mod jq;
pub mod limits;
mod parse;
mod schema;
mod suggest;
pub mod template;
mod unavailable;

pub use block::BlockConfig;
pub use definition::{Block, Definition};
pub use diagnostic::Diagnostic;
pub use parse::conflict::hook_conflicts;
pub use parse::operator::{memory_over_budget, programs_not_allowed};
pub use parse::parse;
pub use parse::units::{parse_duration, parse_size};
pub use schema::{schema, schema_text};
pub use suggest::nearest;
