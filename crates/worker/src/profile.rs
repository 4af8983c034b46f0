//! How a worker with programs is confined, where that differs from any other: it keeps the root directory, of which Landlock
//! shows what its programs need and nothing else; it leads a process group and lives in a user namespace of its own, by which
//! its processes are signalled and counted; what ends other processes does not end it.

use std::io;
use std::os::unix::net::UnixStream;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Pid, setpgid};
use runlet_proto::worker::Programs;

use crate::sys;

/// Where systems keep what programs are linked with: read, and not executed.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];

/// Makes this process one that other processes depend on: programs do not inherit its socket, it leads the group that signals
/// for them go to, and those that are meant for them, or tell of them, only interrupt it.
///
/// # Errors
/// Whatever fcntl(2) and setpgid(2) say.
pub(crate) fn lead(socket: &UnixStream) -> io::Result<()> {
    fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    // The end of a program, and of what it reads from, is found where it is looked for.
    sys::only_interrupt(&[libc::SIGTERM, libc::SIGCHLD, libc::SIGPIPE]);
    Ok(())
}

/// Limits the processes of this one and its programs, and moves it into a user namespace of its own, in which nobody is
/// mapped: since Linux 5.14 processes are counted by user *and* namespace (RLIMIT_NPROC). To be called as an ordinary user;
/// whether they are counted apart. Privileges in the namespace are still to be given up.
///
/// # Errors
/// Whatever setrlimit(2) says.
pub(crate) fn limit_processes(programs: &Programs) -> io::Result<bool> {
    // Before the limit: what holds when a namespace is made holds for all of its user's processes outside it for ever.
    let counted_apart = unshare(CloneFlags::CLONE_NEWUSER).is_ok();
    // This process is one of them.
    let processes_max = u64::from(programs.processes_max) + 1;
    setrlimit(Resource::RLIMIT_NPROC, processes_max, processes_max)?;
    Ok(counted_apart)
}

/// Shows of the file system what the programs need, for reading and executing.
///
/// # Errors
/// What the system refuses.
pub(crate) fn show_files(programs: &Programs, abi: ABI) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let files = programs.allowed.iter().flat_map(|program| program.further.iter().chain([&program.path]));
    // What is not there, or not for this user, is passed over: whoever needs it says so.
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(LIBRARIES, read))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(files, read | AccessFs::Execute))?
        .restrict_self()
}
