//! A host on which a process can fork no siblings, as in containers whose kernel has no CLONE_PARENT: a filter of system calls,
//! under which another program is executed.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Executes the program with its arguments, and does not return unless that fails.
pub(crate) fn execute(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> io::Error {
    let Some(program) = arguments.next() else { return io::ErrorKind::InvalidInput.into() };
    match confine() {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

fn confine() -> io::Result<()> {
    let parent = u64::from(libc::CLONE_PARENT.cast_unsigned());
    let of_parent = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(parent), parent);
    let rule = SeccompRule::new(vec![of_parent.map_err(io::Error::other)?]).map_err(io::Error::other)?;
    // The flags of clone3(2) are out of a filter's sight.
    for (call, rules, errno) in
        [(libc::SYS_clone3, Vec::new(), libc::ENOSYS), (libc::SYS_clone, vec![rule], libc::EINVAL)]
    {
        let refusal = SeccompAction::Errno(errno.cast_unsigned());
        let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
        let filter = SeccompFilter::new([(call, rules)].into(), SeccompAction::Allow, refusal, architecture);
        let program = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}
