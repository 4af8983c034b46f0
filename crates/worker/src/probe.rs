//! A worker that tries what a worker must not be able to do, once it has confined itself, and tells what came of it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, connect, sendto, socket};
use nix::unistd::{Pid, Uid, execve, setresuid};
use runlet_ipc::blocking::Connection;
use runlet_proto::probe::{Act, Tried};
use runlet_proto::worker::exit;

use crate::confine::{Confined, limit_run};
use crate::limits::{TRIED_CPU_S_MAX, TRIED_MEMORY_BYTES_MAX};
use crate::sys::{self, Forking, Side};

/// Tries the act. Returns the exit code of the process, if it comes to that.
pub(crate) fn attempt(socket: UnixStream, confined: &Confined, act: Act) -> i32 {
    let mut connection = Connection::over(socket);
    if connection.send(&Tried::Confined(confined.confinement)).is_err() {
        return exit::PROTOCOL;
    }
    if limit_run(confined.data_bytes, TRIED_MEMORY_BYTES_MAX, TRIED_CPU_S_MAX).is_err() {
        return exit::LIMITS;
    }
    let told = match perform(act) {
        Ok(()) => Tried::Happened,
        Err(error) => Tried::Prevented { errno: error.raw_os_error().unwrap_or(libc::EIO) },
    };
    if connection.send(&told).is_ok() { exit::DONE } else { exit::PROTOCOL }
}

/// Does it, as far as the system lets it.
fn perform(act: Act) -> io::Result<()> {
    match act {
        Act::ReadFile => read_file(),
        Act::WriteFile => write_file(),
        Act::ConnectTcp { port } => {
            let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            Ok(connect(socket.as_raw_fd(), &loopback(port))?)
        }
        Act::SendUdp { port } => {
            let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            sendto(socket.as_raw_fd(), b"runlet", &loopback(port), MsgFlags::MSG_DONTWAIT)?;
            Ok(())
        }
        // Signal 0 finds out whether another could be sent (kill(2)).
        Act::SignalSupervisor { pid } => Ok(kill(Pid::from_raw(pid), None)?),
        Act::Ptrace => sys::try_ptrace(),
        Act::IoUring => sys::try_io_uring(),
        Act::Fork => start_process(),
        Act::Exec => {
            let itself = CString::new("/proc/self/exe")?;
            execve::<CString, CString>(&itself, &[], &[])?;
            Ok(())
        }
        Act::Unshare => Ok(unshare(CloneFlags::CLONE_NEWUSER)?),
        Act::BecomeRoot => become_root(),
        Act::Allocate => allocate(),
    }
}

fn loopback(port: u16) -> SockaddrIn {
    let [a, b, c, d] = Ipv4Addr::LOCALHOST.octets();
    SockaddrIn::new(a, b, c, d, port)
}

fn read_file() -> io::Result<()> {
    let readable = ["/etc/passwd", "/proc/self/status", "/dev/zero"];
    any(readable.iter().map(|path| File::open(path).map(drop)))
}

fn write_file() -> io::Result<()> {
    let name = format!("runlet-doctor-{}", std::process::id());
    any(["/tmp", "/var/tmp", "/dev/shm"].iter().map(|folder| {
        let path = format!("{folder}/{name}");
        OpenOptions::new().write(true).create_new(true).open(&path)?;
        fs::remove_file(path)
    }))
}

/// The first success, else the last error.
fn any(results: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut last = Err(io::ErrorKind::NotFound.into());
    for result in results {
        last = result;
        if last.is_ok() {
            break;
        }
    }
    last
}

fn start_process() -> io::Result<()> {
    for clone3 in [true, false] {
        match sys::fork(&Forking { clone3, sibling: false, pid_namespace: false }) {
            Ok(Side::Child) => sys::exit_at_once(exit::DONE),
            Ok(Side::Parent(..)) => return Ok(()),
            Err(_) => {}
        }
    }
    Err(io::Error::last_os_error())
}

fn become_root() -> io::Result<()> {
    let root = Uid::from_raw(0);
    // In a user namespace of its own without a root, this is EINVAL.
    Ok(setresuid(root, root, root)?)
}

fn allocate() -> io::Result<()> {
    let bytes = usize::try_from(TRIED_MEMORY_BYTES_MAX * 2).map_err(io::Error::other)?;
    let mut memory: Vec<u8> = Vec::new();
    // The allocator of the binary ends the process here; another one says no.
    memory.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    memory.resize(bytes, 1);
    std::hint::black_box(&memory);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_forbids_happens() {
        assert!(read_file().is_ok() && write_file().is_ok());
        let myself = i32::try_from(std::process::id()).unwrap_or(0);
        assert!(perform(Act::SignalSupervisor { pid: myself }).is_ok());
        // A port nobody listens on refuses, which is the peer's word and not the system's.
        let refused = perform(Act::ConnectTcp { port: 1 });
        assert_eq!(refused.map_err(|error| error.raw_os_error()), Err(Some(libc::ECONNREFUSED)));
        assert!(perform(Act::SendUdp { port: 9 }).is_ok());
    }
}
