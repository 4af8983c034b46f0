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
use nix::sys::utsname::uname;
use nix::unistd::{Pid, setpgid};
use runlet_proto::worker::{PROGRAM_SIGNALS, Programs};

use crate::limits::SIGNALS_PENDING_MAX;
use crate::sys;

/// Where systems keep what programs are linked with: read, and not executed.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];

/// The kernel since which processes are counted by user *and* namespace (RLIMIT_NPROC).
const COUNTED_SINCE: (u32, u32) = (5, 14);

/// Makes this process one that other processes depend on: programs do not inherit its socket, it leads the group that signals
/// for them go to, and those that are meant for them, or tell of them, only interrupt it.
///
/// # Errors
/// Whatever fcntl(2) and setpgid(2) say.
pub(crate) fn lead(socket: &UnixStream) -> io::Result<()> {
    fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    // The end of a program, and of what it reads from, is found where it is looked for.
    sys::only_interrupt(&PROGRAM_SIGNALS);
    sys::only_interrupt(&[libc::SIGCHLD, libc::SIGPIPE]);
    Ok(())
}

/// Limits the processes of this one and its programs, and moves it into a user namespace of its own, in which nobody is
/// mapped, so that they are counted apart. To be called as an ordinary user; whether they are. Privileges in the namespace are still to be given up.
///
/// # Errors
/// Whatever setrlimit(2) says.
pub(crate) fn limit_processes(programs: &Programs) -> io::Result<bool> {
    // Before the limit: what holds when a namespace is made holds for all of its user's processes outside it for ever.
    let counted_apart = counts_by_namespace() && unshare(CloneFlags::CLONE_NEWUSER).is_ok();
    // This process is one of them.
    let processes_max = u64::from(programs.processes_max) + 1;
    setrlimit(Resource::RLIMIT_NPROC, processes_max, processes_max)?;
    // Counted in the same way: none is to use up what the programs of other runs may have.
    setrlimit(Resource::RLIMIT_SIGPENDING, SIGNALS_PENDING_MAX, SIGNALS_PENDING_MAX)?;
    Ok(counted_apart)
}

/// Whether this kernel counts processes by namespace.
fn counts_by_namespace() -> bool {
    uname().is_ok_and(|system| system.release().to_str().is_some_and(|release| version_of(release) >= COUNTED_SINCE))
}

/// The first two numbers of a kernel's release.
fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::fd::AsFd as _;

    use nix::sys::resource::getrlimit;
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

    use super::*;
    use crate::sys::{Forking, Side};

    #[test]
    fn programs_have_few_processes_and_few_signals_pending() {
        let forking = Forking { clone3: false, sibling: false, pid_namespace: false };
        let limits = || {
            limit_processes(&Programs { allowed: Vec::new(), processes_max: 3 })?;
            Ok::<_, io::Error>((getrlimit(Resource::RLIMIT_NPROC)?, getrlimit(Resource::RLIMIT_SIGPENDING)?))
        };
        match sys::fork(&forking).unwrap() {
            Side::Child => {
                let as_promised =
                    limits().is_ok_and(|found| found == ((4, 4), (SIGNALS_PENDING_MAX, SIGNALS_PENDING_MAX)));
                sys::exit_at_once(i32::from(!as_promised));
            }
            Side::Parent(_, process) => {
                let ended = waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL).unwrap();
                assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
            }
        }
    }

    #[test]
    fn the_kernel_is_known_by_its_release() {
        for (release, version) in [
            ("6.18.44-fc-v782", (6, 18)),
            ("5.14", (5, 14)),
            ("5.4.0-generic", (5, 4)),
            ("4.19-rc1", (4, 19)),
            ("x", (0, 0)),
        ] {
            assert_eq!(version_of(release), version, "{release}");
        }
        assert!(version_of("5.13.19") < COUNTED_SINCE && version_of("5.14.0") >= COUNTED_SINCE);
        assert!(version_of("6.1") >= COUNTED_SINCE);
    }
}
