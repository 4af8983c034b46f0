//! Exit codes scenarios expect, as the README lists them.

/// Everything asked for was done.
pub const OK: i32 = 0;
/// The run FAILED.
pub const FAILED: i32 = 1;
/// The command line or the input makes no sense.
pub const USAGE: i32 = 2;
/// No such workflow or run.
pub const NOT_FOUND: i32 = 3;
/// A definition is not valid.
pub const INVALID: i32 = 4;
/// No supervisor answers.
pub const UNREACHABLE: i32 = 5;
/// A timeout ended the run.
pub const TIMED_OUT: i32 = 7;
/// The run was STOPPED.
pub const STOPPED: i32 = 8;
/// The journal could not be written.
pub const JOURNAL: i32 = 9;
