//! How workers are forked on this host: found out once, by trying.
//!
//! Trying at the start means that a fork which fails later fails, instead of making a worker that is confined less.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::sys::{self, Forking, Side};

/// What works here.
#[derive(Debug)]
pub(crate) struct Means {
    clone3: bool,
    /// Whether there can be pid namespaces; each fork says whether it wants one.
    pub(crate) pid_namespace: bool,
}

impl Means {
    /// Tries everything.
    pub(crate) fn find() -> Self {
        let mut means = Self { clone3: true, pid_namespace: false };
        means.clone3 = means.work();
        means.pid_namespace = true;
        means.pid_namespace = means.work();
        means
    }

    /// Forks a process as a child of the caller's parent.
    ///
    /// # Errors
    /// Whatever clone3(2) or clone(2) say.
    pub(crate) fn fork_sibling(&self) -> io::Result<Side> {
        self.fork_worker(false, None)
    }

    /// Forks a worker as a child of the caller's parent: as the first process of a pid namespace if that is asked for, and in a
    /// control group if there is one and clone3(2) to say so. Where that is refused it is not in the group: an ordinary user may
    /// lack the right to bring somebody there from here (cgroups(7)). The supervisor looks into the group, and decides whether
    /// that is enough.
    ///
    /// # Errors
    /// Whatever clone3(2) or clone(2) say.
    pub(crate) fn fork_worker(&self, pid_namespace: bool, group: Option<BorrowedFd<'_>>) -> io::Result<Side> {
        let forking = Forking { clone3: self.clone3, sibling: true, pid_namespace };
        let Some(group) = group.filter(|_| self.clone3) else { return sys::fork(&forking) };
        match sys::fork_into(&forking, group) {
            // There can be no further process here or there; another try would only hide that.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM)) => Err(error),
            Err(_) => sys::fork(&forking),
            forked => forked,
        }
    }

    /// Whether a process forked in this way comes to life. It is a child of the caller's own, which the parent need not
    /// know of.
    fn work(&self) -> bool {
        let how = Forking { clone3: self.clone3, sibling: false, pid_namespace: self.pid_namespace };
        match sys::fork(&how) {
            Ok(Side::Child) => sys::exit_at_once(0),
            Ok(Side::Parent(_, process)) => {
                let ended = waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL);
                matches!(ended, Ok(WaitStatus::Exited(_, 0)))
            }
            Err(_) => false,
        }
    }
}

/// Whether forking in this way is forbidden or unknown here, as in a container whose kernel has no CLONE_PARENT, rather than
/// impossible at the moment.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EINVAL | libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn both_system_calls_make_a_process() {
        for clone3 in [true, false] {
            let means = Means { clone3, pid_namespace: false };
            assert!(means.work(), "clone3: {clone3}");
        }
    }

    #[test]
    fn what_is_found_works() {
        let means = Means::find();
        assert!(means.work(), "{means:?}");
    }

    #[test]
    fn an_end_is_told_by_the_descriptor() {
        let forking = Forking { clone3: false, sibling: false, pid_namespace: false };
        match sys::fork(&forking).unwrap() {
            Side::Child => sys::exit_at_once(7),
            Side::Parent(pid, process) => {
                let ended = waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL).unwrap();
                assert_eq!(ended, WaitStatus::Exited(nix::unistd::Pid::from_raw(pid), 7));
            }
        }
    }
}
