//! Ctrl-C while a run is followed: the first stops the run, the second leaves it to itself.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use runlet_proto::control::{Request, RunSignal};
use runlet_proto::ids::RunId;

use crate::client::Client;
use crate::command::CommandError;
use crate::exit_code::ExitCode;
use crate::output::note;

/// A watch over SIGINT.
#[derive(Debug)]
pub(super) struct Interrupt {
    run: Arc<OnceLock<RunId>>,
}

impl Interrupt {
    /// From now on Ctrl-C no longer ends the process by itself: a thread waits for it. To be called while there is only
    /// one thread, so that the signal is blocked in all of them.
    ///
    /// # Errors
    /// [`CommandError::Failed`] when the system does not allow it.
    pub(super) fn watch(socket: PathBuf) -> Result<Self, CommandError> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.thread_block().map_err(|error| failed(&error))?;
        let run = Arc::new(OnceLock::new());
        let watched = Arc::clone(&run);
        spawn(move || wait(&signals, &socket, &watched)).map_err(|error| failed(&error))?;
        Ok(Self { run })
    }

    /// From now on Ctrl-C concerns this run.
    pub(super) fn concerns(&self, run: RunId) {
        // Set once a process: there is one run.
        let _ = self.run.set(run);
    }
}

fn wait(signals: &SigSet, socket: &Path, run: &OnceLock<RunId>) {
    if signals.wait().is_err() {
        return;
    }
    let Some(&run) = run.get() else {
        note("interrupted before the supervisor answered; `runlet ps` says whether the run was started");
        process::exit(ExitCode::Interrupted as i32);
    };
    note("stopping the run; Ctrl-C again leaves it to itself");
    let socket = socket.to_owned();
    // Over a connection and on a thread of its own: the other connection waits for events, and a supervisor that does
    // not answer must not hold the second Ctrl-C back.
    let stopping = spawn(move || {
        let request = Request::Signal { run: run.to_string(), signal: RunSignal::Stop };
        if let Err(error) = Client::connect(&socket).and_then(|mut client| client.call(request)) {
            error.report();
        }
    });
    if let Err(error) = stopping {
        note(&format!("cannot ask for the stop: {error}"));
    }
    if signals.wait().is_ok() {
        note(&format!("left run {run} to itself; `runlet inspect {run}` shows how it is"));
        process::exit(ExitCode::Interrupted as i32);
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name("interrupt".to_owned()).spawn(work).map(|_| ())
}

fn failed(error: &dyn std::error::Error) -> CommandError {
    CommandError::Failed { message: format!("cannot wait for Ctrl-C: {error}"), help: None }
}
