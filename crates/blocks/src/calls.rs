//! What a running block may ask for without giving up its thread.

use std::io;

use bytes::Bytes;
use runlet_proto::control::LogLevel;

/// The attempt was cancelled: the block is to return as soon as it can; whatever it returns is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Interrupted;

/// The services a block has while it computes. Calls that wait are not here: they are [`crate::Step::Wait`].
pub trait Calls {
    /// Called between chunks of work, at least every millisecond or so of compute. The scheduler may hold the caller
    /// here while others have their turn; it returns when the block may go on.
    ///
    /// # Errors
    /// [`Interrupted`] when the attempt was given up.
    fn tick(&mut self) -> Result<(), Interrupted>;

    /// Writes one line to the run's log.
    fn log(&mut self, level: LogLevel, text: &str);

    /// Runs a program to its end and logs what it writes to its standard error. Only a worker can; everybody else says so.
    ///
    /// # Errors
    /// [`ProgramError`].
    fn run_program(&mut self, _program: &ProgramRun<'_>) -> Result<ProgramEnd, ProgramError> {
        Err(ProgramError::NotHere)
    }
}

/// A program to be run.
#[derive(Debug)]
pub struct ProgramRun<'a> {
    /// The name under which the operator allows it.
    pub name: &'a str,
    /// Its arguments behind its name.
    pub arguments: &'a [String],
    /// Its standard input; without, there is nothing to be read.
    pub stdin: Option<Bytes>,
    /// Most bytes it may write to its standard output.
    pub stdout_bytes_max: usize,
}

/// A program that ended.
#[derive(Debug, PartialEq, Eq)]
pub struct ProgramEnd {
    /// How.
    pub how: ProgramHow,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// The last line it wrote to its standard error, if it wrote any.
    pub last_line: Option<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramHow {
    /// By itself, with an exit code.
    Code(i32),
    /// By a signal, such as `SIGSEGV`.
    Signal(String),
    /// Since it had used up its CPU time, which are so many seconds.
    CpuLimit(u64),
    /// Since it made a system call that ends whoever makes it.
    ForbiddenCall,
}

/// Why there is no end of a program to be told.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// This is no worker that can run programs.
    #[error("no programs can be run here")]
    NotHere,
    /// The operator does not allow a program of this name.
    #[error("there is no such program among those that the operator allows")]
    NotAllowed,
    /// It could not be started.
    #[error("{path}: {source}")]
    NotStarted {
        /// Its file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It wrote more than it may, and was killed.
    #[error("it wrote too much")]
    TooMuch,
    /// Its pipes failed, and it was killed.
    #[error("its pipes failed: {0}")]
    Pipes(#[from] io::Error),
}
