//! Change live runs: stop, pause, resume, renice.

use runlet_kernel::{Event, Rejected};
use runlet_proto::control::{Refusal, RefusalKind, Reply, RunSignal};
use runlet_proto::ids::RunId;

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
        let event = match signal {
            RunSignal::Stop => Event::Stop { run, reason: "stopped by a user".into() },
            RunSignal::Pause => Event::Pause { run },
            RunSignal::Resume => Event::Resume { run },
            RunSignal::Renice(priority) => Event::Renice { run, priority },
        };
        // A remembered run is known to `find` but no longer to the kernel.
        if let Some(ended) = self.history.get(run) {
            let state = ended.control_block.state;
            return Err(refusal(RefusalKind::Conflict, format!("run {run} has ended: it is {state}")));
        }
        self.tell(event).map_err(|rejected| conflict(&rejected))?;
        if signal == RunSignal::Pause {
            self.let_go(run);
        }
        Ok(())
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
