//! The workflow language: JSON or JSONC text in, a validated, immutable [`Definition`] or all its [`Diagnostic`]s out.
//!
//! Start with [`parse`].

pub mod block;
pub mod definition;
pub mod diagnostic;
pub mod limits;
mod suggest;
pub mod template;

pub use block::BlockConfig;
pub use definition::{Block, Definition};
pub use diagnostic::Diagnostic;
