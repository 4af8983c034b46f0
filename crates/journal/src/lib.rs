//! The durable record of runs: SQLite in WAL mode, one writer thread, group commit.
//!
//! - [`open`] locks the directory, brings the database to the present schema, returns what is to be [`Recovered`] and
//!   starts the writer. [`Journal::append`] never waits; the writer drains its whole queue into one transaction, so that one
//!   `fsync` makes many entries durable, and says so ([`Heard::Durable`]).
//! - An open run is its head and the entries since (`progress`), folded when they are read (`fold.rs`). When it ends, they
//!   become one record, in the same transaction.
//! - A payload over [`limits::OUTPUT_INLINE_BYTES_MAX`] is a file named by its SHA-256, synced before the transaction that
//!   names it (`outputs.rs`).
//! - Without space, runs nobody has been told of are refused and everything else waits ([`Heard::Full`], [`Heard::Room`]).
//!   After any other failed write nothing more is written ([`Heard::Failed`]): what a failed `fsync` lost is not known, and
//!   a second one would not say.
//! - [`Reader`] and [`check`] work beside a writer and without one; [`gc`] is for a journal nobody writes.

mod apply;
pub mod entry;
mod error;
mod fault;
mod fold;
mod journal;
mod kept;
pub mod limits;
mod maintain;
mod memory;
mod memory_rows;
mod op;
mod outputs;
mod queue;
mod reader;
mod recover;
mod recovered;
mod retention;
mod schema;
mod store;
mod writer;

pub use entry::{Began, BlockDone, Child, Ended, Entry, Later, Stored, StoredError, StoredSource};
pub use error::{Backlog, OpenError, ReadError};
pub use journal::{Config, Heard, Journal, Retention, Stats, open};
#[doc(hidden)]
pub use journal::{Tuning, open_tuned};
pub use maintain::{Collected, Report, check, gc};
pub use memory::{
    MemoryChange, MessageState, StoredAnswer, StoredKeyValue, StoredMemory, StoredMessage, StoredNamespace,
};
pub use reader::{HistoryFilter, Reader, RunLine, StoredRun};
pub use recovered::{BlockProgress, DamagedRun, DamagedSource, OpenRun, Recovered, StoredKey, StoredWorkflow};
