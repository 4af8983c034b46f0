//! Hosts that are hostile to what runs on them: `runlet` is executed by `runlet-hostile`, which makes the host so.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::process::Process;
use crate::runlet::{Installation, binary, built};
use crate::wait::PATIENCE;

/// `runlet ARGUMENTS` of an installation on a host of this kind.
#[must_use]
pub fn hostile(installation: &Installation, kind: &str, arguments: &[&str]) -> Command {
    let mut command = installation.command_of(&built("runlet-hostile"));
    command.arg(kind).arg(binary()).args(arguments);
    command
}

/// The disk under the journal of one supervisor: it works until it is told otherwise.
#[derive(Debug)]
pub struct Disk {
    socket: UnixStream,
}

impl Disk {
    /// Starts a supervisor on a disk of this kind and waits until it is ready; `None` on a host where a process cannot answer
    /// for the system calls of another, which is told on standard error.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[must_use]
    pub fn under_supervisor(installation: &Installation, arguments: &[&str]) -> Option<(Self, Process)> {
        let (socket, theirs) = UnixStream::pair().expect("a socket pair");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        let arguments = [&["supervisor", "--drain", "20s"], arguments].concat();
        let mut command = hostile(installation, "disk", &arguments);
        let process = Process::start_with("runlet supervisor on such a disk", &mut command, OwnedFd::from(theirs));
        // The command holds their end too, and its end is heard by all of them being closed.
        drop(command);
        let mut disk = Self { socket };
        if disk.hear().is_none() {
            eprintln!("SKIPPED: {}", process.finish().stderr);
            return None;
        }
        let ready = format!("ready {}", installation.socket().display());
        process.wait_line(&ready, |line| (line == ready).then_some(()));
        Some((disk, process))
    }

    /// There is no space from now on.
    pub fn fill(&mut self) {
        self.become_like(b'f');
    }

    /// It works again.
    pub fn make_room(&mut self) {
        self.become_like(b'w');
    }

    /// The next sync fails, and those after it do not.
    pub fn fail_next_sync(&mut self) {
        self.become_like(b's');
    }

    fn become_like(&mut self, word: u8) {
        self.socket.write_all(&[word]).expect("the disk listens");
        assert_eq!(self.hear(), Some(word));
    }

    fn hear(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).ok().map(|()| byte[0])
    }
}
