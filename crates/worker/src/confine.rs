//! What a worker gives up before it reads its first byte of work, in the order in which it can be given up:
//! the root directory, descriptors, resource limits, the user, dumps and new privileges, and last the file system and the network
//! (Landlock) and all system calls it has no use for (seccomp).
//!
//! What a system does not have is not an error: the worker reports what is in force ([`Confinement`]), and the supervisor
//! decides whether that is enough.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, chdir, geteuid, getpgid, setgroups, setresgid, setresuid};
use runlet_proto::worker::{Confinement, Namespaces, Programs, exit};

use crate::filter::Filter;
use crate::limits::{DESCRIPTORS_MAX, PROGRAM_DESCRIPTORS_MAX, STACK_BYTES_MAX};
use crate::namespaces::{Shared, is_closed};
use crate::{memory, profile, program_filter, sys};

/// The user and group that everybody may be and nobody owns anything as: `nobody` and `nogroup` of Debian, and the kernel's
/// own overflow ids (proc_sys_kernel(5)).
const NOBODY: u32 = 65_534;

/// The interface this was written against: files, TCP, abstract Unix sockets and signals.
const LANDLOCK_ABI: ABI = ABI::V6;

/// A step that must not fail and did.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(crate) struct ConfineError {
    step: Step,
    source: io::Error,
}

/// The steps that cannot be left out, numbered by the exit code that tells of their failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Descriptors = exit::DESCRIPTORS as isize,
    Limits = exit::LIMITS as isize,
    User = exit::USER as isize,
    Privileges = exit::PRIVILEGES as isize,
    Parent = exit::PARENT as isize,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "inherited descriptors could not be closed",
            Self::Limits => "resource limits could not be set",
            Self::User => "the user could not be changed",
            Self::Privileges => "privileges could not be given up",
            Self::Parent => "the supervisor is gone",
        })
    }
}

impl ConfineError {
    /// The exit code that tells the supervisor.
    pub(crate) fn exit_code(&self) -> i32 {
        self.step as i32
    }
}

/// What is known of a confined worker.
pub(crate) struct Confined {
    pub(crate) confinement: Confinement,
    /// Writable memory the process had, in bytes: what it is allowed comes on top.
    pub(crate) data_bytes: u64,
}

/// What a process was born with.
pub(crate) struct Birth<'a> {
    /// The namespaces it shares with other workers.
    pub(crate) shared: &'a Shared,
    /// Whether it is the first process of a pid namespace of its own.
    pub(crate) first: bool,
    /// The null device.
    pub(crate) null: OwnedFd,
    /// Writable memory it has, in bytes.
    pub(crate) data_bytes: u64,
    /// What filters its system calls. Only a worker that tries what is behind the filter has none.
    pub(crate) filter: Option<&'a Filter>,
    /// The programs it is to run, if any.
    pub(crate) programs: Option<&'a Programs>,
}

/// Gives up everything but `socket`.
///
/// # Errors
/// [`ConfineError`] when a step fails that exists everywhere.
pub(crate) fn confine(socket: OwnedFd, birth: Birth<'_>) -> Result<(UnixStream, Confined), ConfineError> {
    let at = |step: Step| move |source: io::Error| ConfineError { step, source };
    let shared = birth.shared.namespaces;
    let mut namespaces = Namespaces { pid: shared.pid || birth.first, ..shared };
    // First, while it has the privileges and the descriptor for it.
    namespaces.mount = birth.programs.is_none() && birth.shared.enter_empty_root();
    let socket = sys::keep_only(socket, birth.null).map(UnixStream::from).map_err(at(Step::Descriptors))?;
    // It cannot lead anywhere a file can be opened; where it fails that harms nothing.
    let _ = chdir("/");
    let _ = SigSet::empty().thread_set_mask();
    sys::forget_signal_handlers();
    if birth.first {
        sys::end_by_signals();
    }
    if birth.programs.is_some() {
        profile::lead(&socket).map_err(at(Step::Descriptors))?;
    }
    limit_resources(birth.programs).map_err(at(Step::Limits))?;
    let other_user = become_nobody().map_err(at(Step::User))?;
    let process_limit = match birth.programs {
        Some(programs) => profile::limit_processes(programs).map_err(at(Step::Limits))?,
        None => false,
    };
    namespaces.user |= process_limit;
    if namespaces.user {
        // Those it has in its user namespace.
        sys::drop_capabilities().map_err(at(Step::Privileges))?;
    }
    prctl::set_dumpable(false).map_err(|errno| at(Step::Privileges)(errno.into()))?;
    prctl::set_no_new_privs().map_err(|errno| at(Step::Privileges)(errno.into()))?;
    // After the change of user, which clears it (PR_SET_PDEATHSIG(2const)).
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| at(Step::Parent)(errno.into()))?;
    if is_closed(&socket) {
        return Err(at(Step::Parent)(io::ErrorKind::NotFound.into()));
    }
    memory::end_when_refused();
    let landlock_abi = shut_off_files_and_network(birth.programs);
    let seccomp = match birth.programs {
        Some(_) => program_filter::install().is_ok() && program_filter::holds(),
        None => birth.filter.is_some_and(filter_system_calls),
    };
    let data_bytes = birth.data_bytes;
    let confinement =
        Confinement { seccomp, landlock_abi, other_user, namespaces, cgroup_limits: false, process_limit };
    Ok((socket, Confined { confinement, data_bytes }))
}

/// Whether a call that is not allowed is refused from now on.
fn filter_system_calls(filter: &Filter) -> bool {
    filter.install().is_ok() && getpgid(None) == Err(Errno::EPERM)
}

fn limit_resources(programs: Option<&Programs>) -> io::Result<()> {
    let descriptors_max = match programs {
        Some(_) => PROGRAM_DESCRIPTORS_MAX,
        None => {
            setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
            DESCRIPTORS_MAX
        }
    };
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_MEMLOCK, 0),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_NOFILE, descriptors_max),
        (Resource::RLIMIT_STACK, STACK_BYTES_MAX),
    ] {
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

/// Sets what the run may use: memory beyond `data_bytes`, and CPU time. At the soft limit of CPU time comes SIGXCPU.
///
/// # Errors
/// Whatever setrlimit(2) says.
pub(crate) fn limit_run(data_bytes: u64, memory_bytes_max: u64, cpu_s_max: u64) -> io::Result<()> {
    let data_bytes_max = data_bytes.saturating_add(memory_bytes_max);
    setrlimit(Resource::RLIMIT_DATA, data_bytes_max, data_bytes_max)?;
    Ok(setrlimit(Resource::RLIMIT_CPU, cpu_s_max, cpu_s_max.saturating_add(1))?)
}

/// Drops root, if that is what this process has.
fn become_nobody() -> io::Result<bool> {
    if !geteuid().is_root() {
        return Ok(false);
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(true)
}

/// Denies every file but those of programs, every TCP port, abstract Unix sockets, and signals to anybody outside. The
/// version of the interface that is in force, 0 if none.
fn shut_off_files_and_network(programs: Option<&Programs>) -> u8 {
    let enforced = match programs {
        Some(programs) => profile::show_files(programs, LANDLOCK_ABI),
        None => Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK_ABI))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK_ABI)))
            .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK_ABI)))
            .and_then(Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self),
    };
    let Ok(status) = enforced else { return 0 };
    if std::fs::File::open("/").is_ok() {
        return 0;
    }
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => (effective_abi as i32).min(LANDLOCK_ABI as i32) as u8,
    }
}
