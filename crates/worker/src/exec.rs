//! Runs the programs of `exec` blocks, each to its end and to the end of all it has started.
//!
//! The worker is the first process of a namespace (`profile.rs`): whatever a program leaves behind becomes its child, and can
//! be killed without looking for it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use runlet_blocks::{ProgramEnd, ProgramError, ProgramHow, ProgramRun};
use runlet_proto::worker::Programs;

use crate::limits::{PIPE_BYTES, STDERR_LINE_BYTES_MAX};
use crate::sys::{self, Reaped};

/// All that a program finds in its environment.
const ENVIRONMENT: [(&str, &str); 3] = [("PATH", "/usr/bin:/bin"), ("HOME", "/"), ("LANG", "C.UTF-8")];

/// Runs a program and hands each line it writes to its standard error to `say`. `cpu_s_max` is the CPU time that each
/// process may use, which the system enforces.
///
/// # Errors
/// [`ProgramError`]; nothing of the program lives on then.
pub(crate) fn run(
    programs: &Programs,
    run: &ProgramRun<'_>,
    cpu_s_max: u64,
    say: &mut dyn FnMut(&str),
) -> Result<ProgramEnd, ProgramError> {
    let program = programs.allowed.iter().find(|program| program.name == run.name).ok_or(ProgramError::NotAllowed)?;
    let stdin = if run.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    let started = Command::new(&program.path)
        .arg0(&program.name)
        .args(run.arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = started.map_err(|source| ProgramError::NotStarted { path: program.path.clone(), source })?;
    let mut running = Running {
        pid: i32::try_from(child.id()).unwrap_or(0),
        ended: None,
        unread: run.stdin.as_deref().unwrap_or_default(),
        stdout: Vec::new(),
        stdout_bytes_max: run.stdout_bytes_max,
        stderr: Lines::default(),
    };
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGCHLD);
    // From now on it comes while it is waited for and at no other time, so that no end can be missed. Not earlier: a program
    // would inherit it (execve(2)).
    let _ = ends.thread_block();
    let result = running.follow(child, say);
    // After an error it may go on; after its end others may.
    running.end_all();
    while let Some(reaped) = sys::reap(true) {
        running.note(reaped);
    }
    let _ = ends.thread_unblock();
    result?;
    let Some(ended) = running.ended else { return Err(ProgramError::Pipes(io::ErrorKind::NotFound.into())) };
    Ok(ProgramEnd { how: how(ended, cpu_s_max), stdout: running.stdout, last_line: running.stderr.last })
}

/// A program that runs.
struct Running<'a> {
    pid: i32,
    /// How it ended, once it has.
    ended: Option<Reaped>,
    /// What it has not read yet.
    unread: &'a [u8],
    stdout: Vec<u8>,
    stdout_bytes_max: usize,
    stderr: Lines,
}

impl Running<'_> {
    /// Until it has ended and nobody can write any more.
    fn follow(&mut self, child: Child, say: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        let Child { mut stdin, mut stdout, mut stderr, .. } = child;
        unblock(stdin.as_ref())?;
        unblock(stdout.as_ref())?;
        unblock(stderr.as_ref())?;
        let mut buffer = vec![0; PIPE_BYTES];
        loop {
            while let Some(reaped) = sys::reap(false) {
                self.note(reaped);
            }
            if self.ended.is_some() {
                // What it has left behind would hold its pipes open.
                self.end_all();
                if stdout.is_none() && stderr.is_none() {
                    self.stderr.end(say);
                    return Ok(());
                }
            }
            let mut waited = [
                interest(stdin.as_ref(), libc::POLLOUT),
                interest(stdout.as_ref(), libc::POLLIN),
                interest(stderr.as_ref(), libc::POLLIN),
            ];
            sys::wait_for(&mut waited, &SigSet::empty())?;
            if waited[0].revents != 0 && !self.write(stdin.as_mut())? {
                stdin = None;
            }
            if waited[1].revents != 0 && !self.read_stdout(stdout.as_mut(), &mut buffer)? {
                stdout = None;
            }
            if waited[2].revents != 0 {
                match read(stderr.as_mut(), &mut buffer)? {
                    Some(0) => stderr = None,
                    Some(count) => self.stderr.take(&buffer[..count], say),
                    None => {}
                }
            }
        }
    }

    /// A child has ended: the program itself, or one of its orphans.
    fn note(&mut self, reaped: Reaped) {
        if reaped.pid == self.pid {
            self.ended = Some(reaped);
        }
    }

    /// Kills everybody else in the namespace of which this is the first process; without one, the program.
    fn end_all(&self) {
        let whom = if std::process::id() == 1 { Some(-1) } else { self.ended.is_none().then_some(self.pid) };
        if let Some(whom) = whom {
            // Nobody may be left.
            let _ = kill(Pid::from_raw(whom), Signal::SIGKILL);
        }
    }

    /// Writes what the pipe takes. False when there is no more to be written, or nobody who would read it.
    fn write(&mut self, stdin: Option<&mut ChildStdin>) -> io::Result<bool> {
        let Some(stdin) = stdin.filter(|_| !self.unread.is_empty()) else { return Ok(false) };
        match stdin.write(self.unread) {
            Ok(count) => self.unread = self.unread.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) if is_for_later(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(!self.unread.is_empty())
    }

    /// Reads what is there. False at the end.
    fn read_stdout(&mut self, stdout: Option<&mut impl Read>, buffer: &mut [u8]) -> Result<bool, ProgramError> {
        let Some(count) = read(stdout, buffer)? else { return Ok(true) };
        if self.stdout.len() + count > self.stdout_bytes_max {
            return Err(ProgramError::TooMuch);
        }
        self.stdout.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}

/// One read; 0 is the end, `None` means that nothing is there.
fn read(pipe: Option<&mut impl Read>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let Some(pipe) = pipe else { return Ok(None) };
    match pipe.read(buffer) {
        Ok(count) => Ok(Some(count)),
        Err(error) if is_for_later(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Lets reads and writes on this end of a pipe return at once.
fn unblock(pipe: Option<&impl AsFd>) -> io::Result<()> {
    if let Some(pipe) = pipe {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// What is waited for on a pipe; one that is closed is passed over (poll(2): "if this field is negative").
fn interest(pipe: Option<&impl AsFd>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: pipe.map_or(-1, |pipe| pipe.as_fd().as_raw_fd()), events, revents: 0 }
}

fn how(ended: Reaped, cpu_s_max: u64) -> ProgramHow {
    if libc::WIFEXITED(ended.status) {
        return ProgramHow::Code(libc::WEXITSTATUS(ended.status));
    }
    match libc::WTERMSIG(ended.status) {
        libc::SIGXCPU => ProgramHow::CpuLimit(cpu_s_max),
        // About a second later it gets SIGKILL (setrlimit(2)).
        libc::SIGKILL if ended.cpu.as_secs() >= cpu_s_max => ProgramHow::CpuLimit(cpu_s_max),
        libc::SIGSYS => ProgramHow::ForbiddenCall,
        number => ProgramHow::Signal(
            Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string()),
        ),
    }
}

/// What is written to a standard error, line by line.
#[derive(Debug, Default)]
struct Lines {
    /// A line that has not ended, cut to [`STDERR_LINE_BYTES_MAX`].
    begun: Vec<u8>,
    /// The last line that was not empty.
    last: Option<String>,
}

impl Lines {
    /// Takes what was written, and says the lines that it ends.
    fn take(&mut self, mut bytes: &[u8], say: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.append(&bytes[..end]);
            self.end(say);
            bytes = &bytes[end + 1..];
        }
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = STDERR_LINE_BYTES_MAX - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Ends the line.
    fn end(&mut self, say: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.begun);
        let line = line.trim_end();
        if !line.is_empty() {
            say(line);
            self.last = Some(line.to_owned());
        }
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let (mut lines, mut said) = (Lines::default(), Vec::new());
        let mut say = |line: &str| said.push(line.to_owned());
        chunks.iter().for_each(|chunk| lines.take(chunk, &mut say));
        lines.end(&mut say);
        (said, lines.last)
    }

    #[test]
    fn lines_come_whole_however_they_are_written() {
        let (said, last) = lines(&[b"one\ntw", b"o\r\n\n", b"", b"thr\xffee"]);
        assert_eq!(said, ["one", "two", "thr\u{fffd}ee"]);
        assert_eq!(last.as_deref(), Some("thr\u{fffd}ee"));
        assert_eq!(lines(&[b"\n\n"]), (vec![], None));
    }

    #[test]
    fn a_line_without_end_is_cut_and_takes_no_memory() {
        let chunk = [b'x'; PIPE_BYTES];
        let (said, _) = lines(&[&chunk, &chunk, b"\nnext\n"]);
        assert_eq!((said[0].len(), said[1].as_str()), (STDERR_LINE_BYTES_MAX, "next"));
    }

    #[test]
    fn an_end_is_told_apart() {
        let ended = |status: i32, cpu_s: u64| how(Reaped { pid: 2, status, cpu: Duration::from_secs(cpu_s) }, 2);
        assert_eq!(ended(3 << 8, 9), ProgramHow::Code(3));
        assert_eq!(ended(libc::SIGXCPU, 0), ProgramHow::CpuLimit(2));
        assert_eq!(ended(libc::SIGKILL, 2), ProgramHow::CpuLimit(2));
        assert_eq!(ended(libc::SIGKILL, 1), ProgramHow::Signal("SIGKILL".into()));
        assert_eq!(ended(libc::SIGSYS, 0), ProgramHow::ForbiddenCall);
        assert_eq!(ended(40, 0), ProgramHow::Signal("signal 40".into()));
    }
}
