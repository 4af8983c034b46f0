//! A host whose disk is full, or fails: another program is executed, and what it writes and syncs of a journal waits for an
//! answer of this one, by seccomp_unotify(2). Nobody has to be root for that, and to the program the errors are a disk's.
//!
//! Standard input is a socket, by which a test says what the disk is from now on: a byte, which comes back once it is so.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::sys;

/// First argument of the process that answers.
pub(crate) const ANSWERS: &str = "disk-answers";

/// What the answering process says first.
const READY: u8 = b'+';

/// What the disk does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// It works.
    Works,
    /// It has no space.
    Full,
    /// The next sync fails, and whatever follows works, as on Linux.
    FailsOnce,
}

impl Disk {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            b'w' => Some(Self::Works),
            b'f' => Some(Self::Full),
            b's' => Some(Self::FailsOnce),
            _ => None,
        }
    }
}

/// Executes the program with its arguments, and does not return unless that fails.
pub(crate) fn execute(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let Some(program) = arguments.next() else { return io::ErrorKind::InvalidInput.into() };
    let begun = filter().and_then(|filter| sys::watch(&filter)).and_then(|listener| {
        // It is under the filter as well: what it writes goes to descriptors that are exempt.
        let mut answers = Command::new(std::env::current_exe()?);
        answers.arg(ANSWERS).stdin(Stdio::inherit()).stdout(listener).stderr(Stdio::null()).spawn()
    });
    match begun {
        Ok(_) => Command::new(program).args(arguments).stdin(Stdio::null()).exec(),
        Err(error) => error,
    }
}

/// What writes to a file and syncs one, but for the standard streams.
fn filter() -> io::Result<Vec<libc::sock_filter>> {
    let (number, descriptor) = (0, 16);
    let load = |at| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let equals = |call: libc::c_long, then| {
        let call = u32::try_from(call).map_err(io::Error::other)?;
        Ok::<_, io::Error>(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, 0, call))
    };
    let end = |action| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action);
    Ok(vec![
        load(number),
        equals(libc::SYS_write, 4)?,
        equals(libc::SYS_pwrite64, 5)?,
        equals(libc::SYS_fsync, 4)?,
        equals(libc::SYS_fdatasync, 3)?,
        end(libc::SECCOMP_RET_ALLOW),
        load(descriptor),
        instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, 2),
        end(libc::SECCOMP_RET_USER_NOTIF),
        end(libc::SECCOMP_RET_ALLOW),
    ])
}

fn instruction(code: u32, then: u8, otherwise: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt: then, jf: otherwise, k: value }
}

/// Answers for the disk until the test lets go of the socket. Standard output is the listener.
pub(crate) fn answer() -> io::Error {
    answer_all().err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn answer_all() -> io::Result<()> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    // A buffer would hide from poll(2) what is in it.
    let mut said = File::from(stdin.as_fd().try_clone_to_owned()?);
    let mut disk = Disk::Works;
    say(READY);
    loop {
        let [call, word] = sys::wait_either([stdout.as_fd(), stdin.as_fd()])?;
        if word {
            let mut byte = [0];
            said.read_exact(&mut byte)?;
            disk = Disk::of(byte[0]).ok_or(io::ErrorKind::InvalidInput)?;
            say(byte[0]);
        }
        let waiting = if call { sys::waiting_call(stdout.as_fd())? } else { None };
        if let Some(call) = waiting {
            sys::answer(stdout.as_fd(), call.id, disk.judge(&call))?;
        }
    }
}

/// By the descriptor that the filter exempts.
fn say(byte: u8) {
    sys::write(0, &[byte]);
}

impl Disk {
    /// The errno(3) of a call that fails.
    fn judge(&mut self, call: &libc::seccomp_notif) -> Option<libc::c_int> {
        let syncs = [libc::SYS_fsync, libc::SYS_fdatasync].contains(&call.data.nr.into());
        let fails = match self {
            Self::Works => None,
            Self::Full => (!syncs).then_some(libc::ENOSPC),
            Self::FailsOnce => syncs.then_some(libc::EIO),
        };
        let fails = fails.filter(|_| is_of_journal(call.pid, call.data.args[0]))?;
        if *self == Self::FailsOnce {
            *self = Self::Works;
        }
        Some(fails)
    }
}

/// Whether a descriptor of a process leads to a file of a journal.
fn is_of_journal(pid: u32, descriptor: u64) -> bool {
    let path = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap_or_default();
    path.components().any(|part| part.as_os_str() == "journal")
}
