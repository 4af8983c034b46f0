//! What a service manager is for the processes it starts: somebody who is told how they are, and who passes sockets.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;
use crate::runlet::Installation;
use crate::wait::PATIENCE;

/// The manager's end of the notification socket (sd_notify(3)).
#[derive(Debug)]
pub struct Notified {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notified {
    /// One in the installation's folder.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(installation: &Installation) -> Self {
        let path = installation.folder().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in the test's own folder");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket that is open");
        Self { socket, path }
    }

    /// Starts a command line that tells this manager how it is, with these variables besides.
    #[must_use]
    pub fn start(&self, installation: &Installation, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = installation.command(arguments);
        command.env("NOTIFY_SOCKET", &self.path).envs(environment.iter().copied());
        Process::start(&format!("runlet {}", arguments.join(" ")), &mut command, b"")
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes in time.
    #[must_use]
    pub fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).expect("a message of the process");
        String::from_utf8(bytes[..count].to_vec()).expect("text")
    }

    /// The next message but signs of life.
    ///
    /// # Panics
    /// When none comes in time.
    #[must_use]
    pub fn next_news(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

/// Starts a command line and passes it a descriptor, as a service manager does: as number 3, announced by `LISTEN_FDS`.
#[must_use]
pub fn start_passing(installation: &Installation, arguments: &[&str], descriptor: OwnedFd, count: usize) -> Process {
    let program = installation.command(arguments);
    let mut command = Command::new("sh");
    // Its process id is known to it alone; and only a shell can move a descriptor without unsafe code here.
    let script = format!("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES=test exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(program.get_program()).args(program.get_args());
    command.current_dir(installation.folder()).env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Process::start_with(&format!("runlet {}", arguments.join(" ")), &mut command, descriptor)
}
