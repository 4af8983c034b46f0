//! Messages between the supervisor and a worker, the process that executes the heavy blocks of one run.
//!
//! A worker speaks first: [`FromWorker::Ready`], once it has confined itself. It is told what it is to execute by one
//! [`ToWorker::Run`], before which it may have been told to read a definition ([`ToWorker::Prepare`]), then executes one attempt after the other. There is one connection for each worker and one worker for
//! each run, so a message can only be about this run; attempts fence what is late within it. No message names the supervisor
//! that it is for: a connection is one end of a socketpair(2), which only its own supervisor has ever held and which ends
//! with it, so that an epoch would tell nothing. Whoever reads [`FromWorker`] reads hostile input: a worker may have been
//! taken over by what it was given.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Call};
use crate::control::{LogLevel, SourceText};
use crate::failure::Failure;
use crate::hook::{HookRequest, HttpReply};
use crate::ids::{Attempt, BlockIndex};
use crate::parcel::Part;
use crate::probe::Act;

/// What a worker is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Once, first: the run's definition and limits.
    Run(Box<Program>),
    /// Execute an attempt.
    Begin(Box<Begin>),
    /// A call was answered.
    Answer {
        /// The block that called.
        block: BlockIndex,
        /// Its attempt.
        attempt: Attempt,
        /// Number of the call within the attempt.
        call: u32,
        /// The answer.
        answer: Answer,
    },
    /// Large parts of the message that follows are in the file that comes with this one ([`crate::parcel`]).
    Parcel(Vec<Part>),
    /// At most once, before [`Self::Run`]: a definition to be read, since a run of it is likely to come.
    Prepare(Box<SourceText>),
}

/// What a worker executes, and within what bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The definition's text; the supervisor has found it valid.
    pub source: SourceText,
    /// Memory the worker may take beyond what it has when the run begins, in bytes.
    pub memory_bytes_max: u64,
    /// CPU time it may use, in seconds.
    pub cpu_s_max: u64,
}

/// An attempt to be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The block.
    pub block: BlockIndex,
    /// The attempt.
    pub attempt: Attempt,
    /// The block's input.
    pub input: Payload,
    /// Values for templates, if the block has any.
    pub scope: Option<Values>,
}

/// What flows between blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Text of a JSON value.
    Json(Bytes),
    /// The request that started the run.
    Hook(Box<HookRequest>),
    /// The reply of a `response` block.
    Reply(Box<HttpReply>),
}

/// The values a template can name, as JSON texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// `input`.
    pub input: Bytes,
    /// `hook`.
    pub hook: Option<Bytes>,
    /// `blocks.<id>.output`.
    pub blocks: Vec<(String, Bytes)>,
    /// `run`.
    pub run: Bytes,
}

/// What a worker tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// It has confined itself and waits for a run.
    Ready(Confinement),
    /// An attempt waits for the answers to its calls; these are new.
    Waiting {
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// The calls by number.
        calls: Vec<(u32, Call)>,
    },
    /// A block wrote to its run's log.
    Log {
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// How important.
        level: LogLevel,
        /// One line.
        text: String,
    },
    /// An attempt ended.
    Finished {
        /// The block.
        block: BlockIndex,
        /// The attempt.
        attempt: Attempt,
        /// How.
        ended: Ended,
        /// When the worker began to execute it, in nanoseconds of CLOCK_MONOTONIC (clock_gettime(2)), which all processes of
        /// a host share.
        began_ns: u64,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With an output.
    Completed(Payload),
    /// Its `when` was false.
    Skipped,
    /// It failed.
    Failed(Failure),
}

/// What a worker has achieved to confine itself: what is in force, not what was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// System calls are filtered.
    pub seccomp: bool,
    /// Version of the Landlock interface that is enforced; 0 if none is.
    pub landlock_abi: u8,
    /// It runs as another, unprivileged user than the supervisor.
    pub other_user: bool,
    /// The namespaces it is in that the supervisor is not in.
    pub namespaces: Namespaces,
    /// It is in a control group of its own that limits its memory and its processes. A worker cannot see that and says no;
    /// who had it forked knows.
    pub cgroup_limits: bool,
    /// The processes of its programs are counted by themselves and limited. A worker without programs has no processes to
    /// count.
    pub process_limit: bool,
}

/// Kinds of namespaces (namespaces(7)) in which a worker is apart from the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Namespaces {
    /// Users: only where it is the price of the others.
    pub user: bool,
    /// Processes: no others than workers are there for it.
    pub pid: bool,
    /// Mounts, with an empty directory as its root.
    pub mount: bool,
    /// System V objects and POSIX message queues.
    pub ipc: bool,
    /// The name of the host.
    pub uts: bool,
    /// The network: no interface that is up.
    pub net: bool,
}

impl Confinement {
    /// The highest level there is.
    pub const LEVEL_MAX: u8 = 4;

    /// The level that a supervisor requires unless it is told otherwise: system calls *and* files are shut off by mechanisms
    /// that do not know of each other.
    pub const LEVEL_REQUIRED: u8 = 2;

    /// The level in one number: 0 is a process with resource limits and no file descriptors but its socket, 1 has its
    /// system calls filtered as well, 2 has Landlock besides, 3 has namespaces of processes, mounts and IPC as well, 4 one
    /// of the network and a control group that limits.
    #[must_use]
    pub const fn level(&self) -> u8 {
        let Namespaces { pid, mount, ipc, net, .. } = self.namespaces;
        match (self.seccomp, self.landlock_abi) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, 1..) if !(pid && mount && ipc) => 2,
            (true, 1..) if !(net && self.cgroup_limits) => 3,
            (true, 1..) => 4,
        }
    }
}

impl Confinement {
    /// What a worker with programs lacks of what confines these; nothing of it can be done without.
    #[must_use]
    pub fn missing_for_programs(&self) -> Vec<&'static str> {
        let needed = [
            (self.seccomp, "a filter of system calls (seccomp)"),
            (self.landlock_abi > 0, "Landlock, without which a program could read every file"),
            (
                self.namespaces.pid,
                "a namespace of processes, without which what a program starts could outlive its run",
            ),
            (self.process_limit, "a user namespace, by which the processes of a run are counted and limited"),
        ];
        needed.into_iter().filter(|(there, _)| !there).map(|(_, what)| what).collect()
    }
}

/// Environment of a zygote, all there is of it. Its allocator is to take memory as it is needed, so that a limit on what a
/// worker may take beyond what it has is exact.
pub const ZYGOTE_ENVIRONMENT: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_EAGER_COMMIT", "0")];

/// Variable of a zygote's environment that names the directory with the control groups of its workers, if they have any.
pub const ZYGOTE_GROUPS: &str = "RUNLET_GROUPS";

/// Variable of a zygote's environment that names how far it and its workers stand back for others, as a nice value
/// (setpriority(2)).
pub const ZYGOTE_NICE: &str = "RUNLET_NICE";

/// What the zygote is told: fork a worker. The worker's end of its connection comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Number of the worker, for the answer.
    pub worker: u64,
    /// What it is for.
    pub task: Task,
    /// The control group it is to be born in, below what [`ZYGOTE_GROUPS`] names. Where that is refused it is born without;
    /// whether it is in there the group tells.
    pub group: Option<u32>,
}

/// Name of a worker's control group by its number.
#[must_use]
pub fn group_name(group: u32) -> String {
    format!("w{group}")
}

/// What a process is forked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// To execute the blocks of a run.
    Serve,
    /// To confine itself like any worker and then try what it should not be able to do. It tells by
    /// [`Tried`](crate::probe::Tried).
    Try {
        /// What it tries.
        act: Act,
        /// Whether its system calls are filtered; without the filter what is behind it can be seen to hold.
        filtered: bool,
    },
    /// To execute the blocks of a run of which some are programs: it may read and execute what these need, and start
    /// processes.
    ServePrograms(Programs),
}

/// What a worker may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// The programs of the run's definition.
    pub allowed: Vec<AllowedProgram>,
    /// Processes that they may have at once, threads counted.
    pub processes_max: u32,
}

/// A program that the operator allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedProgram {
    /// The name it has in definitions.
    pub name: String,
    /// Its file, an absolute path.
    pub path: String,
    /// What else it may read and execute, absolute paths of files and directories.
    pub further: Vec<String>,
}

/// Signals of a user that are for the programs of a run, by their numbers on Linux, which are the same on every architecture it
/// has but Alpha, MIPS, PA-RISC and SPARC: HUP, INT, QUIT, USR1, USR2 and TERM. The worker that runs them does not end by these.
pub const PROGRAM_SIGNALS: [i32; 6] = [1, 2, 3, 10, 12, 15];

/// What the zygote answers. The process, as a pidfd (pidfd_open(2)), comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forked {
    /// The worker is there, a child of the supervisor.
    Worker {
        /// Its number.
        worker: u64,
        /// Its process id.
        pid: i32,
    },
    /// It could not be made.
    Failed {
        /// Its number.
        worker: u64,
        /// What the system said, as an errno(3).
        errno: i32,
    },
    /// Before all others, if the workers have a pid namespace: its first process, a child of the supervisor that does
    /// nothing. The namespace and all workers in it end with it (pid_namespaces(7)).
    Init {
        /// Its process id.
        pid: i32,
    },
    /// No process can be forked here, whatever is tried. The zygote itself is the worker from now on, and no zygote any more.
    Itself {
        /// Number of the worker.
        worker: u64,
    },
}

/// Exit codes of a worker by which the supervisor knows why it ended. A program that it runs is a process of its own, whose
/// code the worker looks at, so nobody else chooses them.
pub mod exit {
    /// Its work is done, or is no longer wanted.
    pub const DONE: i32 = 0;
    /// It was refused memory.
    pub const OUT_OF_MEMORY: i32 = 112;
    /// A signal that ends a process reached it: this and the signal's number. The first process of a pid namespace is not
    /// ended by signals it has not asked for (pid_namespaces(7)), so a worker that is one asks, and tells in this way.
    pub const SIGNALLED: i32 = 128;
    /// It was told something it does not understand. The supervisor is of the same binary: a bug.
    pub const PROTOCOL: i32 = 113;
    /// It could not close what it inherited.
    pub const DESCRIPTORS: i32 = 120;
    /// It could not limit itself.
    pub const LIMITS: i32 = 121;
    /// It could not become another user.
    pub const USER: i32 = 122;
    /// It could not give up privileges.
    pub const PRIVILEGES: i32 = 123;
    /// The supervisor was gone before it was there.
    pub const PARENT: i32 = 124;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_all_of_what_confines_it() {
        let namespaces = Namespaces { pid: true, ..Namespaces::default() };
        let enough =
            Confinement { seccomp: true, landlock_abi: 1, namespaces, process_limit: true, ..Confinement::default() };
        assert!(enough.missing_for_programs().is_empty());
        for (confinement, named) in [
            (Confinement { seccomp: false, ..enough }, "seccomp"),
            (Confinement { landlock_abi: 0, ..enough }, "Landlock"),
            (Confinement { namespaces: Namespaces::default(), ..enough }, "namespace of processes"),
            (Confinement { process_limit: false, ..enough }, "user namespace"),
        ] {
            let missing = confinement.missing_for_programs();
            assert!(missing.len() == 1 && missing[0].contains(named), "{missing:?}");
        }
        assert_eq!(Confinement::default().missing_for_programs().len(), 4);
    }

    #[test]
    fn a_level_needs_all_that_is_below_it() {
        let mut so_far = Confinement::default();
        assert_eq!(so_far.level(), 0);
        let all = Namespaces { user: true, pid: true, mount: true, ipc: true, uts: true, net: true };
        assert_eq!(Confinement { namespaces: all, landlock_abi: 6, cgroup_limits: true, ..so_far }.level(), 0);
        so_far.seccomp = true;
        assert_eq!(Confinement { namespaces: all, cgroup_limits: true, ..so_far }.level(), 1);
        so_far.landlock_abi = 1;
        assert_eq!(Confinement { namespaces: Namespaces { pid: false, ..all }, ..so_far }.level(), 2);
        so_far.namespaces = Namespaces { net: false, ..all };
        assert_eq!(Confinement { cgroup_limits: true, ..so_far }.level(), 3);
        so_far.namespaces = all;
        assert_eq!(so_far.level(), 3);
        assert_eq!(Confinement { cgroup_limits: true, ..so_far }.level(), Confinement::LEVEL_MAX);
    }
}
