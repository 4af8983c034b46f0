//! Why a worker is gone, from the kernel's own evidence.

use nix::sys::signal::Signal;
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::worker::exit;

use super::process::{Exit, How};

/// What the supervisor ended a worker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Killed {
    /// Its run ended, or its attempt was given up: whoever did that has said why.
    NoLongerNeeded,
    /// It said something it must not say.
    Protocol(String),
}

/// What is told of a worker's end; `memory_bytes_max` and `cpu_s_max` are what it was allowed.
pub(crate) fn failure(exit: &Exit, killed: Option<&Killed>, memory_bytes_max: u64, cpu_s_max: u64) -> Failure {
    match (killed, exit.how) {
        (Some(Killed::Protocol(what)), _) => {
            Failure::workflow("worker-protocol", format!("the worker was killed: {what}"))
                .with_help("what the block was given may have taken it over; `runlet inspect` shows the input")
        }
        (Some(Killed::NoLongerNeeded), _) => Failure {
            class: FailureClass::Stopped,
            ..Failure::workflow("cancelled", "the worker was killed, since the attempt was given up")
        },
        (None, How::Code(exit::OUT_OF_MEMORY)) => Failure::workflow(
            "out-of-memory",
            format!("the worker was refused memory: the run may have {} MiB", memory_bytes_max.div_ceil(1 << 20)),
        )
        .with_help("raise `limits.memory` of the workflow, or work on less at a time"),
        (None, How::Signal(libc::SIGXCPU)) => {
            Failure::workflow("cpu-limit", format!("the worker used up its CPU time: the run may have {cpu_s_max} s"))
                .with_help("raise `limits.cpu` of the workflow")
        }
        (None, How::Signal(libc::SIGSYS)) => {
            Failure::workflow("seccomp", "the worker was killed: it made a system call that is forbidden to it")
                .with_help("what the block was given may have taken it over; `runlet inspect` shows the input")
        }
        (None, How::Signal(number)) => {
            let name = Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |it| it.to_string());
            let failure = Failure::workflow("worker-signal", format!("the worker was ended by {name}"));
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
        failure(&Exit { how, cpu: Duration::ZERO, resident_bytes_max: 0 }, killed, 1 << 20, 3).code
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
        assert_eq!(code_of(How::Signal(libc::SIGKILL), Some(&Killed::NoLongerNeeded)), "cancelled");
    }

    #[test]
    fn a_signal_is_told_by_name() {
        let exit = Exit { how: How::Signal(libc::SIGSEGV), cpu: Duration::ZERO, resident_bytes_max: 0 };
        assert!(failure(&exit, None, 0, 0).message.contains("SIGSEGV"));
    }
}
