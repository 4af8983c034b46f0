//! Change live runs: stop, pause, resume, renice, and signals of the system to their workers.

use nix::sys::signal::Signal;
use runlet_kernel::{Event, Rejected};
use runlet_proto::control::{LogLevel, Refusal, RefusalKind, Reply, RunEventKind, RunSignal};
use runlet_proto::ids::RunId;
use runlet_proto::state::Lane;

use crate::core::Core;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::RequestId;

impl Core {
    /// Carries a signal to a run; the reply has the state it led to.
    pub(crate) fn signal(&mut self, from: RequestId, run: &str, signal: RunSignal) {
        match self.find(run).and_then(|run| self.deliver(run, signal).map(|()| run)) {
            Ok(run) => {
                // What the kernel decided is performed first, so that the state in the reply is the final one.
                self.settle();
                let live = self.kernel.run(run);
                let control_block = live.or_else(|| self.history.get(run).map(|ended| &ended.control_block));
                if let Some(control_block) = control_block {
                    self.send(from, Reply::Changed(self.summary(control_block)));
                }
            }
            Err(refusal) => self.refuse(from, refusal),
        }
    }

    fn deliver(&mut self, run: RunId, signal: RunSignal) -> Result<(), Refusal> {
        // A remembered run is known to `find` but no longer to the kernel.
        if let Some(ended) = self.history.get(run) {
            let state = ended.control_block.state;
            return Err(refusal(RefusalKind::Conflict, format!("run {run} has ended: it is {state}")));
        }
        if let RunSignal::Send(_) = signal {
            self.workers.pid_of_run(run).ok_or_else(|| self.no_worker(run))?;
        }
        let event = match signal {
            RunSignal::Stop => Event::Stop { run, reason: "stopped by a user".into() },
            RunSignal::Pause => Event::Pause { run },
            RunSignal::Resume => Event::Resume { run },
            RunSignal::Renice(priority) => Event::Renice { run, priority },
            RunSignal::Send(libc::SIGSTOP) => Event::Pause { run },
            RunSignal::Send(libc::SIGCONT) => Event::Resume { run },
            RunSignal::Send(number) => return self.kill(run, number),
        };
        let pauses = matches!(event, Event::Pause { .. });
        let stops = matches!(event, Event::Stop { .. });
        self.tell(event).map_err(|rejected| conflict(&rejected))?;
        if !stops {
            self.write_held(run);
        }
        if pauses {
            self.let_go(run);
        }
        Ok(())
    }

    /// Sends a signal of a user to the run's worker, and leaves a line in its log.
    fn kill(&mut self, run: RunId, number: i32) -> Result<(), Refusal> {
        let signal = Signal::try_from(number).map_err(|_| {
            refusal(RefusalKind::Conflict, format!("{number} is the number of no signal that can be sent"))
        })?;
        let pid = self.signal_worker(run, signal).ok_or_else(|| self.no_worker(run))?;
        let at_ms = self.clock.unix_ms(self.clock.now());
        if let Some(record) = self.runs.get_mut(&run) {
            let text = format!("{signal} was sent to the worker, process {pid}, by `runlet kill`");
            let line = record.log.write(at_ms, None, LogLevel::Warn, text).clone();
            self.write_log(run, &line);
            self.tell_log_followers(run, &line);
            self.tell_followers(run, None, &RunEventKind::Log(line));
        }
        Ok(())
    }

    fn no_worker(&self, run: RunId) -> Refusal {
        let is_light = self.kernel.run(run).is_some_and(|run| run.lane == Lane::Light);
        let why = if is_light { "it is in the light lane" } else { "no heavy block of it has begun" };
        refusal(RefusalKind::Conflict, format!("run {run} has no worker that could be sent a signal: {why}"))
            .with_help(format!("end it with `runlet stop {run}`, hold it with `runlet pause {run}`"))
    }
}

fn conflict(rejected: &Rejected) -> Refusal {
    let refused = refusal(RefusalKind::Conflict, rejected.to_string());
    match rejected {
        Rejected::AlreadyPaused { run } => refused.with_help(format!("let it go on: runlet resume {run}")),
        // It says itself what the run is; there is nothing to be done.
        Rejected::NotPaused { .. } => refused,
        Rejected::Full { .. }
        | Rejected::DuplicateRun { .. }
        | Rejected::UnknownRun { .. }
        | Rejected::AlreadyEnded { .. }
        | Rejected::OverMemoryBudget { .. }
        | Rejected::BadPlan { .. }
        | Rejected::Illegal { .. } => refused.with_help("see its state: runlet ps -a"),
    }
}
