//! The system calls a worker may make: those of a process that computes, allocates and speaks over one socket.
//!
//! What is merely of no use fails with EPERM, so that a library that probes for it goes on without; what nobody asks for by
//! accident ends the process with SIGSYS, which the supervisor tells by name.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::{EPERM, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// A filter that could not be made or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// The filter is unknown to this architecture, or wrong.
    #[error(transparent)]
    Backend(#[from] seccompiler::BackendError),
    /// The kernel refuses it.
    #[error(transparent)]
    Install(#[from] seccompiler::Error),
}

/// What a worker does.
const ALLOWED: &[c_long] = &[
    // Its socket, which it has already.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_fstat,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    // Itself.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_getcpu,
];

/// What no program comes to by accident.
pub(crate) const FATAL: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_execve,
    libc::SYS_execveat,
];

/// Stands in a compiled filter for the id of the process that will install it. No process has it (`PID_MAX_LIMIT` of Linux is
/// 2^22), and nothing else in a filter is this number.
const OWN_ID: u32 = 0x7fff_fffe;

/// A compiled filter.
#[derive(Debug)]
pub(crate) struct Filter(BpfProgram);

impl Filter {
    /// Compiles it, once for all processes.
    ///
    /// # Errors
    /// [`FilterError::Backend`].
    pub(crate) fn compile() -> Result<Self, FilterError> {
        let mut allowed: BTreeMap<c_long, Vec<SeccompRule>> = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
        // Its own limits, which it can only lower; never those of another process. And the end of itself, which is how
        // abort(3) ends.
        let own = i64::from(OWN_ID);
        allowed.insert(libc::SYS_prlimit64, vec![argument_is(0, 0)?, argument_is(0, own)?]);
        allowed.insert(libc::SYS_tgkill, vec![argument_is(0, own)?]);
        // Memory of its own, or a file's; not memory to be shared, which no limit counts (RLIMIT_DATA, setrlimit(2)).
        let not = |flag| Ok::<_, FilterError>(SeccompRule::new(vec![masked(3, flag, 0)?])?);
        allowed.insert(libc::SYS_mmap, vec![not(libc::MAP_SHARED)?, not(libc::MAP_ANONYMOUS)?]);
        // What is asked of a descriptor, and a copy of one; not whom the kernel signals about it (F_SETOWN, F_SETSIG,
        // O_ASYNC).
        let commands = [libc::F_GETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC];
        let commands = commands.iter().map(|&command| argument_is(1, command.into()));
        allowed.insert(libc::SYS_fcntl, commands.collect::<Result<_, _>>()?);
        let refused = SeccompAction::Errno(EPERM as u32);
        let allowed = program(allowed, refused.clone(), SeccompAction::Allow)?;
        let fatal = FATAL.iter().map(|&call| (call, Vec::new())).collect();
        let fatal = program(fatal, refused, SeccompAction::KillProcess)?;
        Ok(Self(either(allowed, fatal)))
    }

    /// Installs it for this thread, which is the only one. Needs `no_new_privs`.
    ///
    /// # Errors
    /// [`FilterError::Install`]; nothing is in force then.
    pub(crate) fn install(&self) -> Result<(), FilterError> {
        let own = std::process::id();
        let instruction = |of: &sock_filter| sock_filter { k: if of.k == OWN_ID { own } else { of.k }, ..of.clone() };
        Ok(seccompiler::apply_filter(&self.0.iter().map(instruction).collect::<Vec<_>>())?)
    }
}

/// One filter of two, which costs a worker half as much to install: what the first has no rule for is for the second. Jumps
/// are relative, and the last instruction of a program is what it does with what it has no rule for.
fn either(mut first: BpfProgram, second: BpfProgram) -> BpfProgram {
    first.pop();
    first.extend(second);
    first
}

/// The filter in the form that the kernel takes.
///
/// # Errors
/// When it is wrong, or the architecture is unknown.
pub(crate) fn program(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, FilterError> {
    Ok(SeccompFilter::new(rules, otherwise, matched, TargetArch::try_from(ARCH)?)?.try_into()?)
}

/// That the argument, counted from 0, has the value.
///
/// # Errors
/// When there is no such argument.
pub(crate) fn argument_is(at: u8, value: i64) -> Result<SeccompRule, FilterError> {
    let condition = SeccompCondition::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value.cast_unsigned())?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// That of the bits of `mask` the argument, counted from 0, has these.
pub(crate) fn masked(at: u8, mask: libc::c_int, bits: libc::c_int) -> Result<SeccompCondition, FilterError> {
    let operator = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
    Ok(SeccompCondition::new(at, SeccompCmpArgLen::Dword, operator, u64::from(bits.cast_unsigned()))?)
}
