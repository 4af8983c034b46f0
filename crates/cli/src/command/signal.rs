//! What `stop`, `kill`, `pause`, `resume` and `renice` share: one signal to several runs.

use nix::sys::signal::Signal;
use runlet_proto::control::{Reply, Request, RunSignal, RunSummary};

use super::{CommandError, Setting};
use crate::args::ManyRuns;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::output::list;
use crate::output::view::RunView;

/// Sends `signal` to every run, goes on after a refusal, and prints what became of them.
///
/// # Errors
/// [`CommandError`] of the connection; a refusal is told and decides the exit code.
pub(crate) fn send(here: &Setting, runs: ManyRuns, signal: RunSignal) -> Result<ExitCode, CommandError> {
    let mut client = here.connect()?;
    let mut changed = Vec::with_capacity(runs.runs.len());
    let mut code = ExitCode::Ok;
    for run in runs.runs {
        match send_one(&mut client, run, signal) {
            Ok(run) => changed.push(run),
            Err(error @ CommandError::Refused(_)) => {
                error.report();
                code = code.or(error.exit_code());
            }
            Err(error) => return Err(error),
        }
    }
    let views: Vec<_> = changed.iter().map(RunView::from).collect();
    list(here.format, &views, || changed.iter().map(|run| line(run, signal)).collect())?;
    Ok(code)
}

fn send_one(client: &mut Client, run: String, signal: RunSignal) -> Result<RunSummary, CommandError> {
    let reply = client.call(Request::Signal { run, signal })?;
    let Reply::Changed(run) = reply else { return Err(CommandError::unexpected(&reply)) };
    Ok(run)
}

fn line(run: &RunSummary, signal: RunSignal) -> String {
    let RunSummary { id, state, priority, .. } = run;
    match signal {
        RunSignal::Renice(_) => format!("{id} {state} priority {priority}\n"),
        RunSignal::Send(number) => match Signal::try_from(number) {
            // These two change the run, all others what its worker makes of them.
            Ok(Signal::SIGSTOP | Signal::SIGCONT) | Err(_) => format!("{id} {state}\n"),
            Ok(signal) => {
                let worker = run.pid.map_or_else(|| "its worker".to_owned(), |pid| format!("process {pid}"));
                format!("{id} {signal} sent to {worker}\n")
            }
        },
        RunSignal::Stop | RunSignal::Pause | RunSignal::Resume => format!("{id} {state}\n"),
    }
}
