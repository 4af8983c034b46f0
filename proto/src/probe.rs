//! What a worker must not be able to do, tried for the sake of knowing: the acts, and what came of one.
//!
//! A level of isolation is what *failed to happen*, not what was asked of the system. Each act is tried in a process of its
//! own, confined like any worker, since the filter of system calls ends a process at some of them.

use serde::{Deserialize, Serialize};

use crate::worker::Confinement;

/// A forbidden act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Open a file that everybody may read.
    ReadFile,
    /// Make a file where everybody may.
    WriteFile,
    /// Connect to a port of loopback at which somebody listens.
    ConnectTcp {
        /// The port.
        port: u16,
    },
    /// Send a datagram to a port of loopback.
    SendUdp {
        /// The port.
        port: u16,
    },
    /// Find the process that had the zygote started, as a signal would.
    SignalSupervisor {
        /// Its process id.
        pid: i32,
    },
    /// Become traceable by another process (ptrace(2)).
    Ptrace,
    /// Make system calls past the filter (io_uring_setup(2)).
    IoUring,
    /// Start a process.
    Fork,
    /// Become another program (execve(2)).
    Exec,
    /// Make namespaces of one's own (unshare(2)).
    Unshare,
    /// Become root (setresuid(2)).
    BecomeRoot,
    /// Take more memory than the limit allows.
    Allocate,
}

impl Act {
    /// Every act, with somebody who listens on a TCP and a UDP port of loopback, and the process of the supervisor.
    #[must_use]
    pub const fn all(port: u16, supervisor: i32) -> [Self; 12] {
        [
            Self::ReadFile,
            Self::WriteFile,
            Self::ConnectTcp { port },
            Self::SendUdp { port },
            Self::SignalSupervisor { pid: supervisor },
            Self::Ptrace,
            Self::IoUring,
            Self::Fork,
            Self::Exec,
            Self::Unshare,
            Self::BecomeRoot,
            Self::Allocate,
        ]
    }

    /// In words, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadFile => "read a file",
            Self::WriteFile => "write a file",
            Self::ConnectTcp { .. } => "connect by TCP",
            Self::SendUdp { .. } => "send by UDP",
            Self::SignalSupervisor { .. } => "signal the supervisor",
            Self::Ptrace => "trace a process",
            Self::IoUring => "use io_uring",
            Self::Fork => "start a process",
            Self::Exec => "execute a program",
            Self::Unshare => "make namespaces",
            Self::BecomeRoot => "become root",
            Self::Allocate => "exceed its memory",
        }
    }

    /// The lowest level of [`Confinement::level`] that promises that this does not happen; without the filter of system
    /// calls, the lowest whose other layers do.
    #[must_use]
    pub const fn prevented_from(self, filtered: bool) -> Option<u8> {
        match self {
            Self::BecomeRoot | Self::Allocate => Some(0),
            Self::ReadFile | Self::WriteFile if !filtered => Some(2),
            Self::SignalSupervisor { .. } if !filtered => Some(3),
            Self::ConnectTcp { .. } | Self::SendUdp { .. } if !filtered => Some(4),
            Self::Ptrace | Self::IoUring | Self::Fork | Self::Exec | Self::Unshare if !filtered => None,
            Self::ReadFile
            | Self::WriteFile
            | Self::SignalSupervisor { .. }
            | Self::ConnectTcp { .. }
            | Self::SendUdp { .. }
            | Self::Ptrace
            | Self::IoUring
            | Self::Fork
            | Self::Exec
            | Self::Unshare => Some(1),
        }
    }
}

/// What a worker that tries an act tells: first that it is confined, then what came of the act, unless that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tried {
    /// It has confined itself, and tries now.
    Confined(Confinement),
    /// It succeeded.
    Happened,
    /// The system refused.
    Prevented {
        /// What it said, as an errno(3).
        errno: i32,
    },
}
