//! The system calls that programs may not make, and the worker that runs them with them.
//!
//! A program may need any of hundreds, so here is a list of what is refused: the network, namespaces, the memory and the
//! sessions of others, files without a path, what several runs could meet in, and changes of files that Landlock does not
//! know of. What is newer than this list is refused as unknown.

use std::collections::BTreeMap;

use libc::{EPERM, c_long};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use seccompiler::{BpfProgram, SeccompAction, SeccompRule, sock_filter};

use crate::filter::{self, FATAL, FilterError, argument_is};

/// The newest system call that was looked at (`cachestat`, Linux 6.5). The numbers of calls that came after 5.0 are the same on
/// every architecture; those of x32, the other set of x86-64, are far above.
const NEWEST: u32 = 451;

/// Refused with EPERM.
const REFUSED: &[c_long] = &[
    // The network, and sockets of any kind.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    // To leave the group that is signalled.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Files without a path, which could be executed, and files found without one.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Others' descriptors and memory.
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // Where runs could meet: the namespace of IPC is that of all workers.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgctl,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // What Landlock does not know of: without root, files belong to the user that workers run as.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_inotify_init1,
    libc::SYS_fanotify_init,
    // Mounts by their newer calls, and what only a system's own programs do.
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_kexec_file_load,
];

/// Older forms of the same, which only the oldest architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_iopl,
    libc::SYS_ioperm,
];

/// None of them.
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// Namespaces that clone(2) could make.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Requests of ioctl(2) that type at a terminal (`TIOCSTI`, `TIOCLINUX`), choose whom the kernel signals about a descriptor
/// (`FIOSETOWN`, `SIOCSPGRP`) or change what a file is like (`FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`).
const REQUESTS: [u32; 6] = [0x5412, 0x541c, 0x8901, 0x8902, 0x4008_6602, 0x401c_5820];

/// `F_SETOWN_EX` of linux/fcntl.h.
const F_SETOWN_EX: libc::c_int = 15;

/// `F_SETSIG` of linux/fcntl.h.
const F_SETSIG: libc::c_int = 10;

/// Installs the filters for this process and all that it executes. Needs `no_new_privs`.
///
/// # Errors
/// [`FilterError`]; nothing or only a part is in force then.
pub(crate) fn install() -> Result<(), FilterError> {
    let is_fatal = |call: &&c_long| ![libc::SYS_execve, libc::SYS_execveat].contains(call);
    let fatal = FATAL.iter().filter(is_fatal).map(|&call| (call, Vec::new())).collect();
    let fatal = filter::program(fatal, SeccompAction::Allow, SeccompAction::KillProcess)?;
    let mut refused: BTreeMap<c_long, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|&call| (call, Vec::new())).collect();
    let flags = NAMESPACES.iter().map(|&flag| has_flags(0, flag));
    refused.insert(libc::SYS_clone, flags.collect::<Result<_, _>>()?);
    // Memory to be shared, which no limit counts (RLIMIT_DATA, setrlimit(2)).
    refused.insert(libc::SYS_mmap, vec![has_flags(3, libc::MAP_SHARED | libc::MAP_ANONYMOUS)?]);
    let commands = [libc::F_SETOWN, F_SETOWN_EX, F_SETSIG].into_iter().map(|command| argument_is(1, command.into()));
    refused.insert(libc::SYS_fcntl, commands.collect::<Result<_, _>>()?);
    let requests = REQUESTS.into_iter().map(|request| argument_is(1, request.into()));
    refused.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    let refused = filter::program(refused, SeccompAction::Allow, SeccompAction::Errno(EPERM as u32))?;
    seccompiler::apply_filter(&unknown())?;
    seccompiler::apply_filter(&refused)?;
    Ok(seccompiler::apply_filter(&fatal)?)
}

/// Whether what is refused is refused.
pub(crate) fn holds() -> bool {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).err() == Some(Errno::EPERM)
}

/// ENOSYS for clone3(2), whose flags no filter sees, and for what came after the [`NEWEST`]. Whoever meets that does
/// without. The architecture is looked at by the other filters.
fn unknown() -> BpfProgram {
    let refusal = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    vec![
        // The number of the call, which is the first thing in `struct seccomp_data` (seccomp(2)).
        sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: 0 },
        sock_filter { code: (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16, jt: 1, jf: 0, k: NEWEST },
        sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_clone3 as u32,
        },
        sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: refusal },
        sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// That the argument, counted from 0, has all these flags.
fn has_flags(at: u8, flags: libc::c_int) -> Result<SeccompRule, FilterError> {
    Ok(SeccompRule::new(vec![filter::masked(at, flags, flags)?])?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::ffi::CStr;
    use std::os::fd::AsFd as _;

    use nix::sched::{CloneFlags, unshare};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::prctl;
    use nix::sys::signal::Signal;
    use nix::sys::stat::{Mode, fchmod};
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    use nix::unistd::{Pid, execve, setpgid, setsid};

    use super::*;
    use crate::sys::{self, Forking, Side};

    #[test]
    fn nothing_is_refused_in_two_ways() {
        for call in REFUSED.iter().chain(REFUSED_HERE) {
            assert!(!FATAL.contains(call), "{call}");
        }
        let mut sorted: Vec<_> = REFUSED.iter().chain(REFUSED_HERE).collect();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), REFUSED.len() + REFUSED_HERE.len());
    }

    /// What a child does that has installed the filters: its exit code.
    fn confined(child: impl FnOnce() -> i32) -> WaitStatus {
        let forking = Forking { clone3: false, sibling: false, pid_namespace: false };
        match sys::fork(&forking).unwrap() {
            Side::Child => {
                let installed = prctl::set_no_new_privs().is_ok() && install().is_ok();
                sys::exit_at_once(if installed { child() } else { 99 });
            }
            Side::Parent(_, process) => {
                waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL).unwrap()
            }
        }
    }

    #[test]
    fn what_is_refused_is_refused_and_the_rest_is_not() {
        let ended = confined(|| {
            let refused = [
                holds(),
                setsid() == Err(Errno::EPERM),
                setpgid(Pid::from_raw(0), Pid::from_raw(0)) == Err(Errno::EPERM),
                memfd_create(c"x", MFdFlags::empty()).err() == Some(Errno::EPERM),
                fchmod(std::io::stdin(), Mode::empty()) == Err(Errno::EPERM),
                sys::share_memory().is_err_and(|error| error.raw_os_error() == Some(EPERM)),
                sys::fork(&Forking { clone3: true, sibling: false, pid_namespace: false })
                    .is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS)),
                sys::fork(&Forking { clone3: false, sibling: false, pid_namespace: true })
                    .is_err_and(|error| error.raw_os_error() == Some(EPERM)),
            ];
            match refused.iter().position(|refused| !refused) {
                Some(first) => 1 + i32::try_from(first).unwrap_or(0),
                // Does not return when it does what it is for.
                None => execve::<&CStr, &CStr>(c"/bin/sh", &[c"sh", c"-c", c"exit 42"], &[]).map_or(98, |_| 97),
            }
        });
        assert!(matches!(ended, WaitStatus::Exited(_, 42)), "{ended:?}");
    }

    #[test]
    fn what_nobody_asks_for_by_accident_ends_who_does() {
        let traced = confined(|| sys::try_ptrace().map_or(1, |()| 2));
        assert!(matches!(traced, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{traced:?}");
        let unshared = confined(|| unshare(CloneFlags::CLONE_NEWUSER).map_or(1, |()| 2));
        assert!(matches!(unshared, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{unshared:?}");
    }

    #[test]
    fn what_is_listed_is_not_too_new_to_be_looked_at() {
        for call in REFUSED.iter().chain(REFUSED_HERE).chain(FATAL) {
            assert!(u32::try_from(*call).is_ok_and(|call| call <= NEWEST), "{call}");
        }
    }
}
