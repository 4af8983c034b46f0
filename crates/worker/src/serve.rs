//! A confined worker's work: one run, one attempt after the other, over one socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use runlet_blocks::{
    Assignment, CallId, Calls, Execution, Interrupted, Outcome, ProgramEnd, ProgramError, ProgramRun, Resume, Step,
    caught,
};
use runlet_ipc::blocking::Connection;
use runlet_ipc::{ReadError, WriteError};
use runlet_proto::control::{LogLevel, SourceText};
use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::parcel::ParcelError;
use runlet_proto::worker::{Begin, Ended, FromWorker, Program, Programs, ToWorker, exit};
use runlet_workflow::Definition;

use crate::confine::{Confined, limit_run};
use crate::zygote::Interceptor;
use crate::{exec, sys};

/// Why a worker ends before its socket does.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the limits of the run could not be set, or what is handed over be read: {0}")]
    System(#[from] io::Error),
    #[error("the definition is not valid here")]
    Definition,
    #[error("a message came out of its turn")]
    Turn,
    #[error(transparent)]
    Parcel(#[from] ParcelError),
}

/// Executes what comes over the socket until it ends, with these programs if there are any. Returns the exit code of the
/// process.
pub(crate) fn serve(
    socket: UnixStream,
    confined: &Confined,
    programs: Option<Programs>,
    intercept: Interceptor,
) -> i32 {
    let connection = Connection::over(socket);
    let mut worker = Worker { connection, definition: None, programs, cpu_s_max: 0, intercept };
    match worker.run(confined) {
        Ok(()) => exit::DONE,
        Err(_) => exit::PROTOCOL,
    }
}

/// Executes what comes over the socket as a run of this definition, without limits: to have done it once.
pub(crate) fn rehearse(socket: UnixStream, source: &SourceText) {
    let connection = Connection::over(socket);
    let mut worker = Worker { connection, definition: None, programs: None, cpu_s_max: 0, intercept: |_| None };
    // The end of the socket is the end of it.
    let _ = worker.read(source).and_then(|()| worker.work());
}

struct Worker {
    connection: Connection,
    definition: Option<Arc<Definition>>,
    programs: Option<Programs>,
    /// CPU time that each process of the run may use, in seconds.
    cpu_s_max: u64,
    intercept: Interceptor,
}

impl Worker {
    fn run(&mut self, confined: &Confined) -> Result<(), ServeError> {
        self.connection.send(&FromWorker::Ready(confined.confinement))?;
        let mut prepared = None;
        let program = loop {
            match self.connection.receive()? {
                Some(ToWorker::Run(program)) => break program,
                Some(ToWorker::Prepare(source)) if prepared.is_none() => {
                    self.read(&source)?;
                    prepared = Some(source);
                }
                Some(_) => return Err(ServeError::Turn),
                None => return Ok(()),
            }
        };
        let Program { source, memory_bytes_max, cpu_s_max } = *program;
        // Before the limits, which are those of what the definition does: reading it was bounded when it was deployed.
        if prepared.is_none_or(|prepared| *prepared != source) {
            self.read(&source)?;
        }
        limit_run(confined.data_bytes, memory_bytes_max, cpu_s_max)?;
        self.cpu_s_max = cpu_s_max;
        self.work()
    }

    fn read(&mut self, source: &SourceText) -> Result<(), ServeError> {
        let parsed = runlet_workflow::parse(&source.file, &source.text);
        self.definition = Some(Arc::new(parsed.map_err(|_| ServeError::Definition)?));
        Ok(())
    }

    fn work(&mut self) -> Result<(), ServeError> {
        let mut under_way: Vec<Attempting> = Vec::new();
        while let Some(message) = self.next()? {
            match message {
                ToWorker::Run(_) | ToWorker::Prepare(_) | ToWorker::Parcel(_) => return Err(ServeError::Turn),
                ToWorker::Begin(begin) => {
                    if let Some(waiting) = self.begin(*begin)? {
                        under_way.push(waiting);
                    }
                }
                ToWorker::Answer { block, attempt, call, answer } => {
                    // An attempt that is over has no use for what it called for.
                    let at = under_way.iter().position(|one| one.block == block && one.attempt == attempt);
                    let Some(at) = at else { continue };
                    let one = under_way.swap_remove(at);
                    under_way.extend(self.resume(one, Resume::Answer(CallId(call), answer))?);
                }
            }
        }
        Ok(())
    }

    /// The next message, with all its parts.
    fn next(&mut self) -> Result<Option<ToWorker>, ServeError> {
        match self.connection.receive()? {
            Some(ToWorker::Parcel(parts)) => {
                let file = self.connection.take_descriptor().ok_or(ServeError::Turn)?;
                let Some(mut message) = self.connection.receive::<ToWorker>()? else { return Ok(None) };
                let length: u64 = parts.iter().map(|part| part.bytes).sum();
                let length = usize::try_from(length).map_err(|_| ServeError::Turn)?;
                message.put_parts(&parts, sys::map(&file, length)?)?;
                Ok(Some(message))
            }
            message => Ok(message),
        }
    }

    fn begin(&mut self, begin: Begin) -> Result<Option<Attempting>, ServeError> {
        let Some(definition) = self.definition.clone() else { return Err(ServeError::Turn) };
        let (block, attempt, began_ns) = (begin.block, begin.attempt, sys::monotonic_ns());
        if let Some(ended) = (self.intercept)(&begin) {
            self.connection.send(&FromWorker::Finished { block, attempt, ended, began_ns })?;
            return Ok(None);
        }
        if block.as_usize() >= definition.blocks.len() {
            return Err(ServeError::Turn);
        }
        let assignment = Assignment::from_begin(definition, begin).map_err(|_| ServeError::Turn)?;
        let one = Attempting { block, attempt, began_ns, execution: Box::new(Execution::new(assignment)) };
        self.resume(one, Resume::Start)
    }

    /// Goes on with an attempt and tells where it stopped. `None` if it ended.
    fn resume(&mut self, mut one: Attempting, resume: Resume) -> Result<Option<Attempting>, ServeError> {
        let Attempting { block, attempt, began_ns, .. } = one;
        let programs = self.programs.as_ref().map(|programs| (programs, self.cpu_s_max));
        let mut calls = WorkerCalls { connection: &mut self.connection, block, attempt, programs };
        let step = caught(|| one.execution.resume(resume, &mut calls));
        let result = match step {
            Ok(Step::Wait(calls)) => {
                let calls = calls.into_iter().map(|(id, call)| (id.0, call)).collect();
                self.connection.send(&FromWorker::Waiting { block, attempt, calls })?;
                return Ok(Some(one));
            }
            Ok(Step::Done(result)) => result,
            Err(panic) => Err(panic),
        };
        let finished = FromWorker::Finished { block, attempt, ended: Outcome::to_ended(result), began_ns };
        match self.connection.send(&finished) {
            Err(WriteError::Encode(error)) => {
                let failure = Failure::workflow("too-large", format!("the output does not fit: {error}"))
                    .with_help("take less from what was read, or split the block");
                let ended = Ended::Failed(failure);
                self.connection.send(&FromWorker::Finished { block, attempt, ended, began_ns })?;
            }
            sent => sent?,
        }
        Ok(None)
    }
}

/// An attempt that waits for answers.
struct Attempting {
    block: BlockIndex,
    attempt: Attempt,
    /// When it began ([`FromWorker::Finished`]).
    began_ns: u64,
    execution: Box<Execution>,
}

/// [`Calls`] of a block in a worker.
struct WorkerCalls<'a> {
    connection: &'a mut Connection,
    block: BlockIndex,
    attempt: Attempt,
    /// What it may run, and the CPU time that each process may use, in seconds.
    programs: Option<(&'a Programs, u64)>,
}

impl Calls for WorkerCalls<'_> {
    /// Nothing to be asked: the supervisor stops the whole process, or kills it.
    fn tick(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }

    fn log(&mut self, level: LogLevel, text: &str) {
        let log = FromWorker::Log { block: self.block, attempt: self.attempt, level, text: text.to_owned() };
        // A socket that is gone ends the worker at its next message.
        let _ = self.connection.send(&log);
    }

    fn run_program(&mut self, run: &ProgramRun<'_>) -> Result<ProgramEnd, ProgramError> {
        let (programs, cpu_s_max) = self.programs.ok_or(ProgramError::NotHere)?;
        exec::run(programs, run, cpu_s_max, &mut |line| self.log(LogLevel::Info, line))
    }
}
