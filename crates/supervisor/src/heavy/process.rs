//! A worker's process, by its pidfd: signals that cannot hit another process, and its end with the kernel's own account.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use runlet_proto::worker::exit;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A child of this process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    descriptor: AsyncFd<OwnedFd>,
    /// Whether it is off the system's list, so that its number may come to mean another.
    reaped: AtomicBool,
}

/// How a process ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) how: How,
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// Most memory that was resident at once, in bytes.
    pub(crate) resident_bytes_max: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It was never there, or nothing is known of its end.
    Unknown,
}

impl Process {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Whatever epoll_ctl(2) says.
    pub(crate) fn new(pid: i32, descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned, always has the same number, and moves into the `AsyncFd`, out of which nothing
        // takes it.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self { pid, descriptor, reaped: AtomicBool::new(false) })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end, whoever's child it is.
    pub(crate) async fn ended(&self) {
        // An error of epoll_wait(2) is that of the whole runtime: there is nothing to wait with.
        let _ = self.descriptor.readable().await;
    }

    /// Sends a signal. That the process has ended already is no failure.
    pub(crate) fn signal(&self, signal: Signal) {
        let descriptor = self.descriptor.get_ref().as_raw_fd();
        // SAFETY: numbers and a null pointer, which means "as kill(2) does" (pidfd_send_signal(2)).
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal as libc::c_int, std::ptr::null::<()>(), 0)
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ESRCH) {
                tracing::error!(pid = self.pid, %signal, %error, "a worker could not be signalled");
            }
        }
    }

    /// Sends a signal to it and to every process of the group that it leads. Until it is reaped the group's number is its own
    /// (setpgid(2)).
    pub(crate) fn signal_group(&self, signal: Signal) {
        // It, whether or not it has become a leader yet.
        self.signal(signal);
        if self.reaped.load(Ordering::Relaxed) {
            return;
        }
        match killpg(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::error!(pid = self.pid, %signal, %error, "a worker's group could not be signalled"),
        }
    }

    /// Waits for its end and takes it off the system's list. To be called once.
    pub(crate) async fn wait(&self) -> Exit {
        let waited = self.descriptor.async_io(Interest::READABLE, reap).await;
        self.reaped.store(true, Ordering::Relaxed);
        waited.unwrap_or_else(|error| {
            tracing::error!(pid = self.pid, %error, "a worker's end could not be waited for");
            Exit::UNKNOWN
        })
    }
}

impl Exit {
    /// Of a process of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self { how: How::Unknown, cpu: Duration::ZERO, resident_bytes_max: 0 };
}

/// A descriptor of a process that is there (pidfd_open(2)).
///
/// # Errors
/// Whatever pidfd_open(2) says.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    let number = i32::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// waitid(2) with the resource usage, which only the system call returns.
fn reap(descriptor: &OwnedFd) -> io::Result<Exit> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers lead to places of the size the kernel writes, which outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            descriptor.as_raw_fd(),
            info.as_mut_ptr(),
            libc::WEXITED | libc::WNOHANG | libc::__WALL,
            usage.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes were zero, which is valid for this type, and the kernel has written it.
    let info = unsafe { info.assume_init() };
    // SAFETY: as above.
    let usage = unsafe { usage.assume_init() };
    // SAFETY: with WEXITED and WNOHANG the fields of SIGCHLD are set, or all is zero.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let how = match info.si_code {
        libc::CLD_EXITED if status > exit::SIGNALLED => How::Signal(status - exit::SIGNALLED),
        libc::CLD_EXITED => How::Code(status),
        _ => How::Signal(status),
    };
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    let resident_bytes_max = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    Ok(Exit { how, cpu, resident_bytes_max })
}

fn time(value: libc::timeval) -> Duration {
    let seconds = u64::try_from(value.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(value.tv_usec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::process::Command;

    use super::*;

    fn process(program: &str, arguments: &[&str]) -> Process {
        let pid = i32::try_from(Command::new(program).args(arguments).spawn().unwrap().id()).unwrap();
        Process::new(pid, open(pid).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_exit_code_and_a_signal_are_told_apart() {
        assert_eq!(process("sh", &["-c", "exit 7"]).wait().await.how, How::Code(7));
        // How the first process of a pid namespace tells.
        assert_eq!(process("sh", &["-c", "exit 134"]).wait().await.how, How::Signal(libc::SIGABRT));
        let killed = process("sleep", &["1000"]);
        killed.signal(Signal::SIGSTOP);
        killed.signal(Signal::SIGKILL);
        assert_eq!(killed.wait().await.how, How::Signal(libc::SIGKILL));
    }

    #[tokio::test]
    async fn what_a_process_used_is_told() {
        let busy = process("sh", &["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]);
        let exit = busy.wait().await;
        assert!(exit.cpu > Duration::ZERO && exit.resident_bytes_max > 0, "{exit:?}");
    }
}
