//! Every exit code of `runlet`, in one place. Scripts depend on them: a code is never given another meaning.

use runlet_proto::control::{RefusalKind, RunEnd};
use runlet_proto::state::RunState;

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Everything asked for was done.
    Ok = 0,
    /// The run FAILED, or the command could not do what it was asked for another reason than those below.
    Failed = 1,
    /// The command line, a file named in it, or the input makes no sense. clap uses the same code.
    Usage = 2,
    /// No such workflow or run, or the run has already ended.
    NotFound = 3,
    /// A definition is not valid.
    Invalid = 4,
    /// No supervisor answers, it went away, or it does not take new work now.
    Unreachable = 5,
    /// The socket or the directory belongs to somebody else.
    Denied = 6,
    /// A timeout ended the run.
    TimedOut = 7,
    /// The run was STOPPED.
    Stopped = 8,
    /// The supervisor ended since its journal could not be written. What was acknowledged is on disk.
    Journal = 9,
    /// The user left with Ctrl-C before the end; the run goes on.
    Interrupted = 130,
}

impl ExitCode {
    /// The code of a refused request.
    pub(crate) const fn of_refusal(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Invalid => Self::Invalid,
            RefusalKind::NotFound | RefusalKind::Conflict => Self::NotFound,
            RefusalKind::Overloaded | RefusalKind::ShuttingDown | RefusalKind::NoRoom => Self::Unreachable,
            RefusalKind::Protocol => Self::Failed,
        }
    }

    /// The code of a followed run that ended.
    pub(crate) const fn of_end(end: &RunEnd) -> Self {
        match end.state {
            RunState::Completed => Self::Ok,
            RunState::Failed if end.timed_out => Self::TimedOut,
            RunState::Stopped => Self::Stopped,
            RunState::Failed | RunState::Ready | RunState::Running | RunState::Blocked | RunState::Paused => {
                Self::Failed
            }
        }
    }

    /// The worse of two: what is said about several things done by one command. The first trouble wins.
    pub(crate) fn or(self, later: Self) -> Self {
        if self == Self::Ok { later } else { self }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use runlet_proto::ids::RunId;

    use super::*;

    fn end(state: RunState, timed_out: bool) -> RunEnd {
        RunEnd { run: RunId::from_u128(1), state, output: None, error: None, help: None, timed_out }
    }

    #[test]
    fn the_end_of_a_run_decides() {
        assert_eq!(ExitCode::of_end(&end(RunState::Completed, false)), ExitCode::Ok);
        assert_eq!(ExitCode::of_end(&end(RunState::Failed, false)), ExitCode::Failed);
        assert_eq!(ExitCode::of_end(&end(RunState::Failed, true)), ExitCode::TimedOut);
        assert_eq!(ExitCode::of_end(&end(RunState::Stopped, false)), ExitCode::Stopped);
    }

    #[test]
    fn the_first_trouble_wins() {
        assert_eq!(ExitCode::Ok.or(ExitCode::NotFound), ExitCode::NotFound);
        assert_eq!(ExitCode::NotFound.or(ExitCode::Ok), ExitCode::NotFound);
        assert_eq!(ExitCode::Invalid.or(ExitCode::NotFound), ExitCode::Invalid);
    }
}
