//! A process under test: in a process group of its own, its output kept, killed with everything it started when the test
//! lets go of it.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::wait::Watched;

/// A started process. Dropping it kills its whole group; if the test is failing, its output is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    seen: Arc<Watched<Seen>>,
}

/// What a process has done so far.
#[derive(Debug, Default)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open_streams: usize,
    exit: Option<Exit>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

/// A process that ended by itself, and all it said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command`, writes `input` to its standard input and closes it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, input: &[u8]) -> Self {
        let mut process = Self::start_with(name, command, Stdio::piped());
        let mut stdin = process.child.stdin.take().expect("stdin is piped");
        let input = input.to_vec();
        // On its own thread: a process that writes before it reads must not be waited for here. It may also end without
        // reading, which is no failure of this side.
        thread::spawn(move || stdin.write_all(&input));
        process
    }

    /// Starts `command` with this as its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(name: &str, command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let seen = Arc::new(Watched::default());
        seen.change(|seen: &mut Seen| seen.open_streams = 2);
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        collect(stdout, &seen, |seen| &mut seen.stdout);
        collect(stderr, &seen, |seen| &mut seen.stderr);
        watch_exit(pid(&child), &seen);
        Self { name: name.to_owned(), child, seen }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `find` finds something in a line of either output, and returns it.
    ///
    /// # Panics
    /// When the process ends before, or when it takes too long.
    pub fn wait_line<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.seen.wait(|seen| {
            let complete = |bytes: &[u8]| {
                let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
                String::from_utf8_lossy(&bytes[..end]).into_owned()
            };
            let text = [complete(&seen.stdout), complete(&seen.stderr)];
            let found = text.iter().flat_map(|text| text.lines()).find_map(&mut find);
            let over = seen.exit.is_some() && seen.open_streams == 0;
            found.map(Some).or_else(|| over.then_some(None))
        });
        match found {
            Some(Some(found)) => found,
            Some(None) => panic!("{} ended without {what}\n{}", self.name, self.output()),
            None => panic!("waited in vain for {what} from {}\n{}", self.name, self.output()),
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes too long.
    #[must_use]
    pub fn wait_exit(&self) -> Exit {
        let exit = self.seen.wait(|seen| seen.exit);
        exit.unwrap_or_else(|| panic!("{} does not end\n{}", self.name, self.output()))
    }

    /// Waits for its end and for the end of its output.
    ///
    /// # Panics
    /// When it takes too long.
    #[must_use]
    pub fn finish(self) -> Finished {
        let exit = self.seen.wait(|seen| seen.exit.filter(|_| seen.open_streams == 0));
        let exit = exit.unwrap_or_else(|| panic!("{} does not end\n{}", self.name, self.output()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.seen.look(|seen| Finished { exit, stdout: text(&seen.stdout), stderr: text(&seen.stderr) })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.seen.look(|seen| seen.exit.is_none())
    }

    /// Sends a signal to it alone, not to its group.
    ///
    /// # Panics
    /// When it has been waited for already.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(pid(&self.child), signal).expect("the process is not reaped before the drop");
    }

    /// Its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.seen.look(|seen| String::from_utf8_lossy(&seen.stdout).into_owned())
    }

    /// Everything it said so far, for a failing test.
    #[must_use]
    pub fn output(&self) -> String {
        self.seen.look(|seen| {
            let (stdout, stderr) = (String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
            format!("--- {} stdout\n{stdout}\n--- {} stderr\n{stderr}\n---", self.name, self.name)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The leader is not reaped yet, so the group's number is still its own.
        let _ended_already = killpg(pid(&self.child), Signal::SIGKILL);
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.output());
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id fits"))
}

fn collect(mut stream: impl Read + Send + 'static, seen: &Arc<Watched<Seen>>, buffer: fn(&mut Seen) -> &mut Vec<u8>) {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut chunk) {
            seen.change(|seen| buffer(seen).extend_from_slice(&chunk[..length]));
        }
        seen.change(|seen| seen.open_streams -= 1);
    });
}

/// Notes the end without reaping, so that the process id stays taken until the drop.
fn watch_exit(pid: Pid, seen: &Arc<Watched<Seen>>) {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        let exit = loop {
            match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(WaitStatus::Exited(_, code)) => break Exit::Code(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => break Exit::Signal(signal),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                // The drop was faster; nobody looks any more.
                Err(_) => return,
            }
        };
        seen.change(|seen| seen.exit = Some(exit));
    });
}
