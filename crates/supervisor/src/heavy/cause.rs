//! Why a worker is gone, from the kernel's own evidence.

use nix::sys::signal::Signal;
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::worker::exit;

use super::cgroup::Spent;
use super::process::{Exit, How};
use crate::quota::log_limit;

/// What the supervisor ended a worker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Killed {
    /// Its run ended, or its attempt was given up: whoever did that has said why.
    NoLongerNeeded,
    /// Its run wrote more to its log than these bytes it may.
    LogLimit(u64),
    /// It said something it must not say.
    Protocol(String),
}

impl Killed {
    /// What the supervisor killed it for, for whoever looks at the run.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::NoLongerNeeded => "its run was over, or had given it up".to_owned(),
            Self::LogLimit(most) => format!("more than {most} bytes of log"),
            Self::Protocol(what) => what.clone(),
        }
    }
}

/// Signals that users had a worker sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent(u64);

impl Sent {
    pub(crate) fn note(&mut self, signal: Signal) {
        self.0 |= Self::bit(signal as i32);
    }

    fn contains(self, number: i32) -> bool {
        self.0 & Self::bit(number) != 0
    }

    /// Signals have numbers from 1 to 64.
    fn bit(number: i32) -> u64 {
        u32::try_from(number - 1).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
    }
}

/// What is told of a worker's end; `memory_bytes_max` and `cpu_s_max` are what it was allowed.
pub(crate) fn failure(
    exit: &Exit,
    killed: Option<&Killed>,
    sent: Sent,
    memory_bytes_max: u64,
    cpu_s_max: u64,
) -> Failure {
    match (killed, exit.how) {
        (Some(Killed::Protocol(what)), _) => {
            Failure::workflow("worker-protocol", format!("the worker was killed: {what}"))
                .with_help("what the block was given may have taken it over; `runlet inspect` shows the input")
        }
        (Some(Killed::NoLongerNeeded), _) => Failure {
            class: FailureClass::Stopped,
            ..Failure::workflow("cancelled", "the worker was killed, since the attempt was given up")
        },
        (Some(Killed::LogLimit(most)), _) => log_limit(*most),
        (None, How::Signal(number)) if sent.contains(number) => Failure::workflow(
            "worker-signal",
            format!("the worker was ended by {}, sent by `runlet kill`", name_of(number)),
        ),
        (None, How::Code(exit::OUT_OF_MEMORY)) => Failure::workflow(
            "out-of-memory",
            format!("the worker was refused memory: the run may have {} MiB", memory_bytes_max.div_ceil(1 << 20)),
        )
        .with_help("raise `limits.memory` of the workflow, or work on less at a time"),
        (None, How::Signal(libc::SIGXCPU)) => cpu_limit(cpu_s_max),
        // One that does not let SIGXCPU end it gets SIGKILL from the kernel about a second later (setrlimit(2)), by a count
        // in ticks that is not exactly this one. Nobody comes this far in another way.
        (None, How::Signal(libc::SIGKILL)) if exit.cpu.as_secs() >= cpu_s_max => cpu_limit(cpu_s_max),
        (None, How::Signal(libc::SIGSYS)) => {
            Failure::workflow("seccomp", "the worker was killed: it made a system call that is forbidden to it")
                .with_help("what the block was given may have taken it over; `runlet inspect` shows the input")
        }
        (None, How::Signal(number)) => {
            let failure = Failure::workflow("worker-signal", format!("the worker was ended by {}", name_of(number)));
            match number {
                libc::SIGSEGV => failure
                    .with_help("an access to memory that is not its own, as when the stack overflows: recurse less"),
                _ => failure,
            }
        }
        (None, How::Code(exit::PROTOCOL)) => {
            Failure::workflow("worker-protocol", "the worker did not understand what the supervisor told it")
                .with_help("this is a bug in Runlet: please report it with the definition and the input")
        }
        (None, How::Code(code @ exit::DESCRIPTORS..=exit::PARENT)) => {
            Failure::workflow("worker-confine", format!("the worker could not confine itself (exit code {code})"))
        }
        (None, How::Code(code)) => Failure::workflow(
            "worker-exit",
            format!("the worker ended with exit code {code} before its block was done"),
        ),
        (None, How::Unknown) => Failure::workflow("worker-lost", "the worker could not be started"),
    }
}

/// What is told of a worker that the kernel killed, with all it had started, when its control group had used up its memory.
/// The limit of the worker itself comes first as a rule; memory that is not its data counts here only.
pub(crate) fn killed_for_memory(
    exit: &Exit,
    killed: Option<&Killed>,
    spent: Option<Spent>,
    memory_bytes_max: u64,
) -> Option<Failure> {
    let spent = spent.filter(|spent| spent.oom_kills > 0)?;
    if killed.is_some() || exit.how != How::Signal(libc::SIGKILL) {
        return None;
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let had = spent
        .memory_bytes_max
        .map_or_else(String::new, |most| format!(", with what it had started it had {} MiB", mib(most)));
    let message =
        format!("the worker was killed for want of memory{had}: the run may have {} MiB", mib(memory_bytes_max));
    Some(
        Failure::workflow("out-of-memory", message)
            .with_help("raise `limits.memory` of the workflow, or work on less at a time"),
    )
}

/// A run that is not executed, since the control group of its worker cannot be given its limits.
pub(crate) fn not_limited(error: &std::io::Error) -> Failure {
    Failure::workflow("worker-confine", format!("the limits of the worker's control group could not be set: {error}"))
        .with_help("`runlet doctor` shows the control group; --cgroup off does without")
}

fn cpu_limit(cpu_s_max: u64) -> Failure {
    Failure::workflow("cpu-limit", format!("the worker used up its CPU time: the run may have {cpu_s_max} s"))
        .with_help("raise `limits.cpu` of the workflow")
}

fn name_of(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// A run that is not executed, since its worker is confined less than is required.
pub(crate) fn too_weak(level: u8, level_required: u8) -> Failure {
    let message =
        format!("a worker is confined at level {level} on this host, and level {level_required} is required of one");
    Failure::workflow("isolation", message).with_help(
        "`runlet doctor` shows what is missing and what to change; --require-isolation says how much is enough",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn code_of(how: How, killed: Option<&Killed>) -> String {
        failure(&Exit { how, cpu: Duration::ZERO, resident_bytes_max: 0 }, killed, Sent::default(), 1 << 20, 3).code
    }

    #[test]
    fn every_end_has_its_name() {
        for (how, code) in [
            (How::Code(exit::OUT_OF_MEMORY), "out-of-memory"),
            (How::Code(exit::PROTOCOL), "worker-protocol"),
            (How::Code(exit::USER), "worker-confine"),
            (How::Code(0), "worker-exit"),
            (How::Signal(libc::SIGXCPU), "cpu-limit"),
            (How::Signal(libc::SIGSYS), "seccomp"),
            (How::Signal(libc::SIGSEGV), "worker-signal"),
            (How::Unknown, "worker-lost"),
        ] {
            assert_eq!(code_of(how, None), code);
        }
        // Whatever it died of: what counts is what it was killed for.
        let protocol = Killed::Protocol("a frame of 4 GiB".into());
        assert_eq!(code_of(How::Signal(libc::SIGKILL), Some(&protocol)), "worker-protocol");
        assert_eq!(code_of(How::Signal(libc::SIGKILL), Some(&Killed::LogLimit(1))), "log-limit");
        assert_eq!(code_of(How::Signal(libc::SIGKILL), Some(&Killed::NoLongerNeeded)), "cancelled");
    }

    #[test]
    fn who_does_not_let_the_cpu_limit_end_him_is_told_the_same() {
        let killed = |cpu| Exit { how: How::Signal(libc::SIGKILL), cpu, resident_bytes_max: 0 };
        assert_eq!(failure(&killed(Duration::from_millis(3_001)), None, Sent::default(), 0, 3).code, "cpu-limit");
        assert_eq!(failure(&killed(Duration::from_millis(2_999)), None, Sent::default(), 0, 3).code, "worker-signal");
    }

    #[test]
    fn a_kill_for_want_of_memory_is_told_from_the_account_of_the_group() {
        let exit = |how| Exit { how, cpu: Duration::ZERO, resident_bytes_max: 0 };
        let spent = |oom_kills| {
            Some(Spent { cpu: Duration::ZERO, oom_kills, tasks_refused: 0, memory_bytes_max: Some(95 << 20) })
        };
        let killed = exit(How::Signal(libc::SIGKILL));
        let told = killed_for_memory(&killed, None, spent(1), 64 << 20).map(|failure| (failure.code, failure.message));
        let message =
            "the worker was killed for want of memory, with what it had started it had 95 MiB: the run may have 64 MiB";
        assert_eq!(told, Some(("out-of-memory".to_owned(), message.to_owned())));
        // Nobody was killed for memory; it ended in another way; somebody else killed it and has said why.
        assert_eq!(killed_for_memory(&killed, None, spent(0), 0), None);
        assert_eq!(killed_for_memory(&killed, None, None, 0), None);
        assert_eq!(killed_for_memory(&exit(How::Signal(libc::SIGSEGV)), None, spent(1), 0), None);
        assert_eq!(killed_for_memory(&killed, Some(&Killed::NoLongerNeeded), spent(1), 0), None);
    }

    #[test]
    fn a_signal_is_told_by_name() {
        let exit = Exit { how: How::Signal(libc::SIGSEGV), cpu: Duration::ZERO, resident_bytes_max: 0 };
        let mut sent = Sent::default();
        sent.note(Signal::SIGTERM);
        assert_eq!(failure(&exit, None, sent, 0, 0).message, "the worker was ended by SIGSEGV");
        sent.note(Signal::SIGSEGV);
        let told = failure(&exit, None, sent, 0, 0);
        assert_eq!(told.message, "the worker was ended by SIGSEGV, sent by `runlet kill`");
        assert_eq!((told.code.as_str(), told.help), ("worker-signal", None));
        // Whoever ended the run has said why.
        assert_eq!(failure(&exit, Some(&Killed::NoLongerNeeded), sent, 0, 0).code, "cancelled");
    }
}
