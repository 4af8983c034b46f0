//! How workers are forked on this host: found out once, by trying.
//!
//! Trying at the start means that a fork which fails later fails, instead of making a worker that is confined less.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};
use runlet_proto::worker::cgroup_name;

use crate::sys::{self, Forking, Side};

/// What works here.
#[derive(Debug)]
pub(crate) struct Means {
    clone3: bool,
    pub(crate) pid_namespace: bool,
    cgroup: Option<Cgroup>,
}

/// The control group that each worker gets one of its own in (cgroups(7)).
#[derive(Debug)]
struct Cgroup {
    directory: OwnedFd,
    /// Whether memory and processes can be limited in it.
    limits: bool,
}

/// A forked worker, from either side.
pub(crate) struct Forked {
    pub(crate) side: Side,
    /// Whether it is in a control group of its own, and whether that can limit it.
    pub(crate) cgroup: Option<bool>,
}

impl Means {
    /// Tries everything. `cgroup` is the control group to make further ones in.
    pub(crate) fn find(cgroup: Option<&Path>) -> Self {
        let mut means = Self { clone3: true, pid_namespace: false, cgroup: None };
        means.clone3 = means.work(None);
        means.pid_namespace = true;
        means.pid_namespace = means.work(None);
        means.cgroup = cgroup.and_then(|path| Cgroup::open(path, &means).ok());
        means
    }

    /// Forks a worker as a child of the caller's parent.
    ///
    /// # Errors
    /// Whatever clone3(2) or mkdir(2) say.
    pub(crate) fn fork_worker(&self, worker: u64) -> io::Result<Forked> {
        let Some(cgroup) = &self.cgroup else {
            return Ok(Forked { side: sys::fork(&self.forking(true, None))?, cgroup: None });
        };
        let name = cgroup_name(worker);
        let directory = cgroup.make(&name)?;
        match sys::fork(&self.forking(true, Some(directory.as_fd()))) {
            Ok(side) => Ok(Forked { side, cgroup: Some(cgroup.limits) }),
            Err(error) => {
                cgroup.remove(&name);
                Err(error)
            }
        }
    }

    fn forking<'a>(&self, sibling: bool, cgroup: Option<BorrowedFd<'a>>) -> Forking<'a> {
        Forking { clone3: self.clone3, sibling, pid_namespace: self.pid_namespace, cgroup }
    }

    /// Whether a process forked in this way comes to life. It is a child of the caller's own, which the parent need not
    /// know of.
    fn work(&self, cgroup: Option<BorrowedFd<'_>>) -> bool {
        match sys::fork(&self.forking(false, cgroup)) {
            Ok(Side::Child) => sys::exit_at_once(0),
            Ok(Side::Parent(_, process)) => {
                let ended = waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::__WALL);
                matches!(ended, Ok(WaitStatus::Exited(_, 0)))
            }
            Err(_) => false,
        }
    }
}

impl Cgroup {
    /// Opens it, if processes can be forked into what is made in it.
    fn open(path: &Path, means: &Means) -> io::Result<Self> {
        const TRIAL: &str = "trial";
        let directory = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut cgroup = Self { directory, limits: false };
        let trial = cgroup.make(TRIAL)?;
        let has = |file: &str| faccessat(&trial, file, AccessFlags::W_OK, AtFlags::empty()).is_ok();
        cgroup.limits = has("memory.max") && has("pids.max");
        let works = means.work(Some(trial.as_fd()));
        cgroup.remove(TRIAL);
        if works { Ok(cgroup) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    fn make(&self, name: &str) -> io::Result<OwnedFd> {
        mkdirat(&self.directory, name, Mode::S_IRWXU)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, name, flags, Mode::empty())?)
    }

    fn remove(&self, name: &str) {
        // One that stays is found by the next supervisor.
        let _ = unlinkat(&self.directory, name, UnlinkatFlags::RemoveDir);
    }
}
