//! Every legal step of a run and of a block: two tables, each one `match (state, event)`. An illegal pair is an error value.

use runlet_proto::state::{BlockStatus, RunState};

/// What can happen to a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEvent {
    /// At least one block of it is being executed.
    Runs,
    /// Nothing of it is executed, and something could be.
    Queues,
    /// Everything it does waits for something outside.
    Waits,
    /// A user holds it.
    Pause,
    /// A user lets it go on.
    Resume,
    /// Its last block is done.
    Complete,
    /// A block failed for good, or its deadline passed.
    Fail,
    /// It was ended from outside.
    Stop,
}

/// What a block does inside a live run; finer than its public [`BlockStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A block it depends on is not done.
    Pending,
    /// Could begin an attempt.
    Ready,
    /// An attempt is executed.
    Running,
    /// An attempt is executed and was asked for its slot.
    Yielding,
    /// An attempt waits for something outside.
    Waiting,
    /// An attempt could go on: it was woken, or gave its slot back.
    Woken,
    /// The last attempt failed, the next one has its time.
    Backoff,
    /// Done, with an output.
    Completed,
    /// Failed for good.
    Failed,
    /// Passed over.
    Skipped,
}

/// What can happen to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockEvent {
    /// Everything it depends on is done.
    Release,
    /// An attempt begins.
    Start,
    /// Its attempt is asked for the slot.
    Preempt,
    /// Its attempt waits.
    Wait,
    /// What its attempt waited for is there.
    Wake,
    /// Its attempt gave the slot back.
    Yield,
    /// Its attempt goes on.
    Continue,
    /// It produced its output.
    Complete,
    /// It is passed over.
    Skip,
    /// Its attempt failed and there will be another.
    Retry,
    /// The time of the next attempt has come.
    Due,
    /// It failed for good.
    Fail,
    /// Its run ended without it.
    Cancel,
}

/// The pair is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal;

/// The table of runs.
///
/// # Errors
/// [`Illegal`] if the event is not possible in this state.
#[rustfmt::skip]
pub const fn next_state(state: RunState, event: RunEvent) -> Result<RunState, Illegal> {
    use RunEvent::{Complete, Fail, Pause, Queues, Resume, Runs, Stop, Waits};
    use RunState::{Blocked, Completed, Failed, Paused, Ready, Running, Stopped};
    match (state, event) {
        (Ready, Runs)       => Ok(Running),
        (Ready, Waits)      => Ok(Blocked),
        (Ready, Pause)      => Ok(Paused),
        (Ready, Complete)   => Ok(Completed),
        (Ready, Fail)       => Ok(Failed),
        (Ready, Stop)       => Ok(Stopped),
        (Ready, Queues | Resume) => Err(Illegal),

        (Running, Queues)   => Ok(Ready),
        (Running, Waits)    => Ok(Blocked),
        (Running, Pause)    => Ok(Paused),
        (Running, Complete) => Ok(Completed),
        (Running, Fail)     => Ok(Failed),
        (Running, Stop)     => Ok(Stopped),
        (Running, Runs | Resume) => Err(Illegal),

        (Blocked, Runs)     => Ok(Running),
        (Blocked, Queues)   => Ok(Ready),
        (Blocked, Pause)    => Ok(Paused),
        (Blocked, Complete) => Ok(Completed),
        (Blocked, Fail)     => Ok(Failed),
        (Blocked, Stop)     => Ok(Stopped),
        (Blocked, Waits | Resume) => Err(Illegal),

        // What is already under way may still finish, and with it the run.
        (Paused, Resume)    => Ok(Ready),
        (Paused, Complete)  => Ok(Completed),
        (Paused, Fail)      => Ok(Failed),
        (Paused, Stop)      => Ok(Stopped),
        (Paused, Runs | Queues | Waits | Pause) => Err(Illegal),

        (Completed | Failed | Stopped, Runs | Queues | Waits | Pause | Resume | Complete | Fail | Stop) => Err(Illegal),
    }
}

/// The table of blocks.
///
/// # Errors
/// [`Illegal`] if the event is not possible in this phase.
#[rustfmt::skip]
pub const fn next_phase(phase: Phase, event: BlockEvent) -> Result<Phase, Illegal> {
    use BlockEvent::{Cancel, Complete, Continue, Due, Fail, Preempt, Release, Retry, Skip, Start, Wait, Wake, Yield};
    use Phase::{Backoff, Completed, Failed, Pending, Ready, Running, Skipped, Waiting, Woken, Yielding};
    match (phase, event) {
        (Pending, Release)   => Ok(Ready),
        (Pending, Complete)  => Ok(Completed), // a trigger, at submission; or restored, as are the next three
        (Pending, Skip)      => Ok(Skipped),
        (Pending, Retry)     => Ok(Backoff),
        (Pending, Fail)      => Ok(Failed),
        (Pending, Start | Preempt | Wait | Wake | Yield | Continue | Due | Cancel) => Err(Illegal),

        (Ready, Start)       => Ok(Running),
        (Ready, Cancel)      => Ok(Pending),
        (Ready, Release | Preempt | Wait | Wake | Yield | Continue | Complete | Skip | Retry | Due | Fail) => Err(Illegal),

        (Running, Preempt)   => Ok(Yielding),
        (Running, Wait)      => Ok(Waiting),
        (Running, Complete)  => Ok(Completed),
        (Running, Skip)      => Ok(Skipped),
        (Running, Retry)     => Ok(Backoff),
        (Running, Fail)      => Ok(Failed),
        (Running, Cancel)    => Ok(Failed),
        (Running, Release | Start | Wake | Yield | Continue | Due) => Err(Illegal),

        (Yielding, Wait)     => Ok(Waiting),
        (Yielding, Yield)    => Ok(Woken),
        (Yielding, Complete) => Ok(Completed),
        (Yielding, Skip)     => Ok(Skipped),
        (Yielding, Retry)    => Ok(Backoff),
        (Yielding, Fail)     => Ok(Failed),
        (Yielding, Cancel)   => Ok(Failed),
        (Yielding, Release | Start | Preempt | Wake | Continue | Due) => Err(Illegal),

        // A waiting or woken attempt may end without its turn: a caller's shortcut, a lost worker, a deadline.
        (Waiting, Wake)      => Ok(Woken),
        (Waiting, Complete)  => Ok(Completed),
        (Waiting, Skip)      => Ok(Skipped),
        (Waiting, Retry)     => Ok(Backoff),
        (Waiting, Fail)      => Ok(Failed),
        (Waiting, Cancel)    => Ok(Failed),
        (Waiting, Release | Start | Preempt | Wait | Yield | Continue | Due) => Err(Illegal),

        (Woken, Continue)    => Ok(Running),
        (Woken, Complete)    => Ok(Completed),
        (Woken, Skip)        => Ok(Skipped),
        (Woken, Retry)       => Ok(Backoff),
        (Woken, Fail)        => Ok(Failed),
        (Woken, Cancel)      => Ok(Failed),
        (Woken, Release | Start | Preempt | Wait | Wake | Yield | Due) => Err(Illegal),

        (Backoff, Due)       => Ok(Ready),
        (Backoff, Cancel)    => Ok(Failed),
        (Backoff, Release | Start | Preempt | Wait | Wake | Yield | Continue | Complete | Skip | Retry | Fail) => Err(Illegal),

        (Completed | Failed | Skipped, Release | Start | Preempt | Wait | Wake | Yield | Continue | Complete | Skip
            | Retry | Due | Fail | Cancel) => Err(Illegal),
    }
}

impl RunEvent {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Runs, Self::Queues, Self::Waits, Self::Pause, Self::Resume, Self::Complete, Self::Fail, Self::Stop];
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Ready,
        Self::Running,
        Self::Yielding,
        Self::Waiting,
        Self::Woken,
        Self::Backoff,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
    ];

    /// Whether an attempt has begun and not ended.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Yielding | Self::Waiting | Self::Woken)
    }

    /// Whether the blocks that depend on it may begin.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Completed | Self::Skipped)
    }

    /// What a user sees.
    #[must_use]
    pub const fn status(self) -> BlockStatus {
        match self {
            Self::Pending | Self::Ready | Self::Backoff => BlockStatus::Pending,
            Self::Running | Self::Yielding | Self::Waiting | Self::Woken => BlockStatus::Running,
            Self::Completed => BlockStatus::Completed,
            Self::Failed => BlockStatus::Failed,
            Self::Skipped => BlockStatus::Skipped,
        }
    }

    /// In a sentence: `the block is …`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Yielding => "running and asked to yield",
            Self::Waiting => "waiting",
            Self::Woken => "ready to go on",
            Self::Backoff => "waiting for its next attempt",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl BlockEvent {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Release,
        Self::Start,
        Self::Preempt,
        Self::Wait,
        Self::Wake,
        Self::Yield,
        Self::Continue,
        Self::Complete,
        Self::Skip,
        Self::Retry,
        Self::Due,
        Self::Fail,
        Self::Cancel,
    ];

    /// Its name, for an error.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Start => "start",
            Self::Preempt => "preempt",
            Self::Wait => "waiting",
            Self::Wake => "woken",
            Self::Yield => "yielded",
            Self::Continue => "continue",
            Self::Complete => "completed",
            Self::Skip => "skipped",
            Self::Retry => "retry",
            Self::Due => "due",
            Self::Fail => "failed",
            Self::Cancel => "cancel",
        }
    }
}
