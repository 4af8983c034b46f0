//! One child process of `runlet up`: how it is started, how it follows the launcher's end, how it is ended.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpid, getppid};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use super::ready;
use crate::args::SupervisorOptions;
use crate::command::CommandError;
use crate::exit_code::ExitCode;
use crate::limits::READY_TIMEOUT;
use crate::{output, service};

/// Process id of the launcher, in a child's environment. Not an option: it is not for people.
const LAUNCHER: &str = "RUNLET_LAUNCHER";

/// What a child runs.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Which daemon it is.
    pub(crate) kind: Kind,
    /// What any is told.
    pub(crate) common: Vec<OsString>,
}

/// Which daemon a child is, and what it alone is told.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `runlet supervisor`.
    Supervisor {
        /// State directory.
        state: PathBuf,
        /// The rest it is told.
        options: SupervisorOptions,
    },
    /// `runlet gateway`.
    Gateway {
        /// Where to listen.
        listen: SocketAddr,
        /// Where to serve operators.
        admin: Option<SocketAddr>,
        /// The supervisor's socket.
        socket: PathBuf,
    },
}

impl Program {
    /// The name for people, and the subcommand.
    pub(crate) const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Supervisor { .. } => "supervisor",
            Kind::Gateway { .. } => "gateway",
        }
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(self.name()).args(&self.common).env(LAUNCHER, getpid().to_string());
        // What a service manager gave the launcher is for no other process.
        for variable in service::VARIABLES {
            command.env_remove(variable);
        }
        match &self.kind {
            Kind::Supervisor { state, options } => {
                command.arg("--state").arg(state).args(options.arguments());
                command.envs(options.memory.environment());
            }
            Kind::Gateway { listen, admin, socket } => {
                command.arg("--listen").arg(listen.to_string()).arg("--socket").arg(socket);
                if let Some(admin) = admin {
                    command.arg("--admin").arg(admin.to_string());
                }
            }
        }
        Ok(command)
    }
}

/// A child that said it is ready.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    since: Instant,
    /// Held open: a child must not find its stdout closed.
    _stdout: ChildStdout,
}

impl Child {
    /// Starts a program and waits until it says where it is ready.
    ///
    /// # Errors
    /// [`CommandError::Child`] with the child's own exit code when it ended instead (it told why on stderr),
    /// [`CommandError::Failed`] when it could not be started or said nothing within [`READY_TIMEOUT`].
    pub(crate) async fn start(program: &Program) -> Result<(Self, String), CommandError> {
        let failed = |what: String| CommandError::Failed {
            message: format!("the {} did not start: {what}", program.name()),
            help: None,
        };
        let mut process = program
            .command()
            .and_then(|mut command| {
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    // A group of its own: Ctrl-C reaches the launcher alone, which ends the children in order.
                    .process_group(0)
                    .kill_on_drop(true)
                    .spawn()
            })
            .map_err(|error| failed(error.to_string()))?;
        let mut stdout = process.stdout.take().expect("stdout is piped, four lines above");
        match timeout(READY_TIMEOUT, ready::read(&mut stdout)).await {
            Ok(Ok(Some(place))) => Ok((Self { process, since: Instant::now(), _stdout: stdout }, place)),
            Ok(Ok(None)) => {
                drop(stdout);
                let status = process.wait().await.map_err(|error| failed(error.to_string()))?;
                Err(CommandError::Child { name: program.name(), status, code: code_of(status) })
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("it was not ready within {} s", READY_TIMEOUT.as_secs()))),
        }
    }

    /// Waits for its end. Safe to give up and to call again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// How long it has been up.
    pub(crate) fn lived(&self) -> Duration {
        self.since.elapsed()
    }

    /// Asks it to end in order: SIGTERM.
    pub(crate) fn terminate(&self) {
        // Not yet waited for, so the id is still its own; that it is gone already is no failure.
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Ends it at once: SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        let _ = self.process.kill().await;
    }

    /// Asks it to end, and ends it if it does not in time.
    pub(crate) async fn end(mut self, within: Duration) {
        self.terminate();
        if timeout(within, self.wait()).await.is_err() {
            self.kill().await;
        }
    }
}

/// A child's own exit code; what is none of ours is a plain failure.
fn code_of(status: ExitStatus) -> ExitCode {
    [ExitCode::Usage, ExitCode::Unreachable, ExitCode::Denied]
        .into_iter()
        .find(|code| status.code() == Some(*code as i32))
        .unwrap_or(ExitCode::Failed)
}

/// In the child: binds its life to the launcher's, if a launcher started it. To be called before there are threads.
///
/// # Errors
/// [`CommandError::Failed`] when the launcher is gone already, or the system does not allow it.
pub(crate) fn follow_launcher() -> Result<(), CommandError> {
    let Some(launcher) = env::var_os(LAUNCHER) else { return Ok(()) };
    let failed = |message: String| CommandError::Failed { message, help: None };
    let launcher: i32 = launcher
        .to_str()
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| failed(format!("{LAUNCHER} is no process id; it is not for people: unset it")))?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|error| failed(format!("cannot ask for a signal at the launcher's end: {error}")))?;
    // The launcher may have died before the line above; then no signal comes any more.
    if getppid() != Pid::from_raw(launcher) {
        return Err(failed(format!("process {launcher}, which started this one, is gone")));
    }
    // In a background group of the terminal, `stty tostop` would stop whoever writes to stderr.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTTOU);
    signals.thread_block().map_err(|error| failed(format!("cannot block SIGTTOU: {error}")))
}

/// In the child: says where it is ready.
pub(crate) fn say_ready(place: &str) {
    // Nobody may be reading, and that is no reason not to serve.
    let _ = output::bytes_out(ready::line(place).as_bytes());
}
