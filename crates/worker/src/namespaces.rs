//! The namespaces of the workers (namespaces(7)), as far as the host gives any.
//!
//! They are made once, by the zygote for itself, and every worker is born into them: they are empty, so there is nothing in
//! them that one worker could do to another, and a set of them for each would cost more than the fork itself (measured: a
//! pid namespace takes a third of the throughput, a network namespace more). In that of processes there are other workers, to
//! which the filter of system calls and Landlock let no signal through. A user namespace is made only where the others cannot
//! be had without, since it opens parts of the kernel that are closed to an ordinary user.
//!
//! What is refused is left out: a worker tells what it has, and the supervisor decides whether that is enough.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir, getegid, geteuid};
use runlet_proto::worker::{Namespaces, exit};

use crate::fork::{Means, is_refused};
use crate::sys::{self, Side};

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Those that are in force.
    pub(crate) namespaces: Namespaces,
    /// An empty directory without a name.
    empty_root: Option<OwnedFd>,
}

impl Shared {
    /// Moves this process, which must have a single thread, into namespaces of its own.
    pub(crate) fn enter() -> Self {
        let mut namespaces = Namespaces::default();
        let wanted = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        let (user, group) = (geteuid(), getegid());
        if user.is_root() {
            namespaces.ipc = unshare(wanted).is_ok();
        } else if unshare(wanted | CloneFlags::CLONE_NEWUSER).is_ok() {
            (namespaces.ipc, namespaces.user) = (true, true);
            // Without a map this process is the overflow user, which for all that follows is as good.
            let _ = keep_user(user.as_raw(), group.as_raw());
        }
        namespaces.uts = namespaces.ipc;
        // Apart: a host may forbid this one alone (user.max_net_namespaces, namespaces(7)).
        namespaces.net = namespaces.ipc && unshare(CloneFlags::CLONE_NEWNET).is_ok();
        let empty_root = if namespaces.ipc { empty_root().ok() } else { None };
        Self { namespaces, empty_root }
    }

    /// Has what is forked from now on born in a pid namespace, and forks the first process of it, as a child of this process's
    /// parent. What there is of it, if it was made.
    ///
    /// # Errors
    /// When the namespace was made and cannot be used: nothing can be forked any more.
    pub(crate) fn enter_pid_namespace(
        &mut self,
        means: &Means,
        supervisor: &impl AsFd,
    ) -> io::Result<Option<(i32, OwnedFd)>> {
        if !means.pid_namespace || unshare(CloneFlags::CLONE_NEWPID).is_err() {
            return Ok(None);
        }
        match means.fork_sibling() {
            // Nothing else can be forked here either; who asks for that is told.
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(Side::Parent(pid, process)) => {
                self.namespaces.pid = true;
                Ok(Some((pid, process)))
            }
            Ok(Side::Child) => {
                let bound = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && !is_closed(supervisor);
                if bound {
                    sys::idle_for_ever();
                }
                sys::exit_at_once(exit::PARENT)
            }
        }
    }

    /// Makes the empty directory the root of this process. Needs the privileges the process was forked with. Whether it did.
    pub(crate) fn enter_empty_root(&self) -> bool {
        let Some(root) = &self.empty_root else { return false };
        fchdir(root).is_ok() && chroot(".").is_ok()
    }
}

/// Whether the peer is gone: the supervisor, if it died before it could take this process with it. Its process id would not
/// tell, which is 0 for whoever is in a pid namespace; nor would reading, as long as it had said something before.
pub(crate) fn is_closed(socket: &impl AsFd) -> bool {
    sys::is_hung_up(socket.as_fd())
}

/// Maps the user and the group of this process to themselves in its new user namespace (user_namespaces(7)).
fn keep_user(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// A file system with nothing in it, that nothing can be written to and that is mounted nowhere.
fn empty_root() -> io::Result<OwnedFd> {
    const NOTHING: Option<&str> = None;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // A directory that is there on every host; it is covered for a moment, for this process alone.
    let place = "/proc";
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some("nr_inodes=1,mode=0555"))?;
    let root = open(place, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    umount2(place, MntFlags::MNT_DETACH)?;
    Ok(root?)
}

/// This process's own entry in /proc, kept open: the root of a worker has none.
#[derive(Debug)]
pub(crate) struct Status(File);

/// What [`Status`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Threads of the process.
    pub(crate) threads: u64,
    /// Writable private memory, in bytes, as RLIMIT_DATA counts it (setrlimit(2)).
    pub(crate) data_bytes: u64,
}

impl Status {
    /// Of the calling process.
    ///
    /// # Errors
    /// Whatever open(2) says.
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/proc/self/status").map(Self)
    }

    /// How it is now.
    ///
    /// # Errors
    /// Whatever read(2) says; `InvalidData` for what proc_pid_status(5) does not describe.
    pub(crate) fn read(&self) -> io::Result<Seen> {
        use std::os::unix::fs::FileExt as _;
        // Longer than it ever is; from the start, which has the kernel write it anew.
        let mut bytes = [0; 8 * 1024];
        let count = self.0.read_at(&mut bytes, 0)?;
        parse(&String::from_utf8_lossy(&bytes[..count])).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn parse(status: &str) -> Option<Seen> {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(Seen { threads: field("Threads:")?, data_bytes: field("VmData:")? * 1024 })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_ipc::handoff::Handoff;

    use super::*;

    #[test]
    fn a_peer_that_is_gone_is_gone_whatever_it_said_before() {
        let (ours, theirs) = Handoff::pair().unwrap();
        ours.send(&1_u64, None).unwrap();
        assert!(!is_closed(&theirs));
        drop(ours);
        assert!(is_closed(&theirs));
    }

    #[test]
    fn the_status_of_a_process_is_read_again_and_again() {
        let status = Status::open().unwrap();
        let before = status.read().unwrap();
        assert!(before.threads >= 1 && before.data_bytes > 0, "{before:?}");
        let more = vec![1_u8; 64 << 20];
        assert!(status.read().unwrap().data_bytes >= before.data_bytes + more.len() as u64 / 2);
        assert_eq!(parse("Threads:\t1\n"), None);
    }
}
