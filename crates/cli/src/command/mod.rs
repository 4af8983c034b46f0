//! The commands, one file each; this file only the match, and what can go wrong in any of them.

mod channel;
mod check;
mod completions;
mod config;
pub(crate) mod deploy;
mod doctor;
mod gateway;
mod history;
mod inspect;
mod journal;
mod kill;
mod logs;
mod memory;
mod pause;
mod ps;
mod remove;
mod renice;
mod resume;
mod retry;
mod run;
mod schema;
mod show;
mod signal;
mod status;
mod stop;
mod supervisor;
mod top;
mod trace;
mod up;
mod workflows;
mod zygote;

use std::io;
use std::path::{Path, PathBuf};

use runlet_ipc::{ConnectError, HandshakeError};
use runlet_proto::control::{Refusal, RefusalKind, Reply};

use crate::args::{Cli, Command, Dead, JournalCommand};
use crate::client::Client;
use crate::configuration::Mistake;
use crate::exit_code::ExitCode;
use crate::output::{self, Format};
use crate::paths;
use crate::sources::SourceError;

/// Does what the command line says.
///
/// # Errors
/// [`CommandError`], still to be told.
pub(crate) fn perform(cli: Cli) -> Result<ExitCode, CommandError> {
    let here = Setting::of(&cli);
    let result = match cli.command {
        Command::Up(args) => here.no_socket("up").and_then(|()| up::perform(&here, args)),
        Command::Supervisor(args) => here.no_socket("supervisor").and_then(|()| supervisor::perform(args)),
        Command::Gateway(args) => gateway::perform(&here, &args),
        Command::Deploy(args) => deploy::perform(&here, &args),
        Command::Remove(args) => remove::perform(&here, args),
        Command::Workflows(args) => workflows::perform(&here, args),
        Command::Show(args) => show::perform(&here, args),
        Command::Run(args) => run::perform(&here, &args),
        Command::Ps(args) => ps::perform(&here, &args),
        Command::History(args) => history::perform(&here, args),
        Command::Dead(Dead { messages: Some(command), .. }) => channel::dead(&here, command),
        Command::Dead(args) => history::dead(&here, &args),
        Command::Memory(command) => memory::perform(&here, command),
        Command::Channel(command) => channel::perform(&here, command),
        Command::Retry(args) => retry::perform(&here, args),
        Command::Gc => journal::collect(&here),
        Command::Journal(args) => match args.command {
            JournalCommand::Check(args) => journal::check(&here, args),
        },
        Command::Top(args) => top::perform(&here, &args),
        Command::Inspect(args) => inspect::perform(&here, args),
        Command::Logs(args) => logs::perform(&here, args),
        Command::Trace(args) => trace::perform(&here, args),
        Command::Stop(args) => stop::perform(&here, args),
        Command::Kill(args) => kill::perform(&here, args),
        Command::Pause(args) => pause::perform(&here, args),
        Command::Resume(args) => resume::perform(&here, args),
        Command::Renice(args) => renice::perform(&here, args),
        Command::Status => status::perform(&here),
        Command::Check(args) => check::perform(&here, &args),
        Command::Schema => schema::perform(here.format),
        Command::Config(args) => config::perform(&here, &args),
        Command::Doctor(args) => doctor::perform(&here, &args),
        Command::Completions(args) => completions::perform(&args),
        // What it is told is for whoever looks for it.
        Command::Zygote(_) => zygote::perform(),
    };
    match result {
        // `runlet ps | head -1` has got all it wanted.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::Ok),
        other => other,
    }
}

/// What holds for every command.
#[derive(Debug)]
pub(crate) struct Setting {
    /// How data is printed.
    pub(crate) format: Format,
    /// The configuration file that was named.
    pub(crate) config: Option<PathBuf>,
    socket: Option<PathBuf>,
    socket_given: bool,
}

impl Setting {
    pub(crate) fn of(cli: &Cli) -> Self {
        let Cli { output, socket, socket_given, config, command: _ } = cli;
        Self { format: *output, socket: socket.clone(), socket_given: *socket_given, config: config.clone() }
    }

    /// The control socket to talk to.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(paths::default_socket)
    }

    /// A conversation with the supervisor.
    ///
    /// # Errors
    /// [`CommandError::Unreachable`] or [`CommandError::Denied`].
    pub(crate) fn connect(&self) -> Result<Client, CommandError> {
        Client::connect(&self.socket())
    }

    fn no_socket(&self, command: &str) -> Result<(), CommandError> {
        if !self.socket_given {
            return Ok(());
        }
        Err(CommandError::Usage {
            message: format!("`runlet {command}` makes its own socket and takes no --socket"),
            help: Some("give --state DIR; the socket is DIR/control.sock".to_owned()),
        })
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The command line or the input makes no sense.
    #[error("{message}")]
    Usage {
        /// The place and the cause.
        message: String,
        /// The way out.
        help: Option<String>,
    },
    /// The configuration file has mistakes.
    #[error("{}", mistakes.iter().map(|mistake| told(file, mistake)).collect::<Vec<_>>().join("\n"))]
    Configuration {
        /// The file.
        file: PathBuf,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
    /// A definition could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nobody listens on the socket.
    #[error("no supervisor answers: {cause}")]
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The system forbids it.
    #[error("{message}")]
    Denied {
        /// The place and the cause.
        message: String,
        /// The way out.
        help: Option<String>,
    },
    /// The supervisor went away in the middle.
    #[error("the supervisor behind {} went away before it answered: {cause}", socket.display())]
    Lost {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The supervisor will not.
    #[error("{}", _0.message)]
    Refused(Refusal),
    /// A child of `runlet up` ended before it was ready; it has told why.
    #[error("the {name} did not start ({status})")]
    Child {
        /// Which one.
        name: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What its end means for us.
        code: ExitCode,
    },
    /// The supervisor's journal could not be written.
    #[error("the supervisor ended: {0}")]
    Journal(String),
    /// Something else, in words.
    #[error("{message}")]
    Failed {
        /// The place and the cause.
        message: String,
        /// The way out.
        help: Option<String>,
    },
    /// Stdout does not take what is printed.
    #[error("cannot write to stdout: {0}")]
    Output(#[from] io::Error),
}

impl CommandError {
    /// A connection that could not be made.
    pub(crate) fn not_connected(socket: &Path, error: &ConnectError) -> Self {
        let cause = error.to_string();
        match error {
            ConnectError::Permission { .. } => Self::Denied {
                message: cause,
                help: Some("use the supervisor of your own user, or become the user it runs as".to_owned()),
            },
            ConnectError::Handshake { source: HandshakeError::Hello(_), .. } => {
                Self::Failed { message: cause, help: None }
            }
            ConnectError::NotFound { .. }
            | ConnectError::Refused { .. }
            | ConnectError::Handshake { .. }
            | ConnectError::Io { .. } => Self::Unreachable { socket: socket.to_owned(), cause },
        }
    }

    /// A reply that does not belong to the request: a mistake in one of the two programs.
    pub(crate) fn unexpected(reply: &Reply) -> Self {
        let mut shape = format!("{reply:?}");
        shape.truncate(shape.find([' ', '(', '{']).unwrap_or(shape.len()));
        Self::Failed {
            message: format!("the supervisor answered `{shape}`, which does not answer this request"),
            help: Some("restart it, so that both are of the same release".to_owned()),
        }
    }

    /// The code the process ends with.
    pub(crate) const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage { .. } | Self::Configuration { .. } | Self::Source(_) => ExitCode::Usage,
            Self::Unreachable { .. } | Self::Lost { .. } => ExitCode::Unreachable,
            Self::Denied { .. } => ExitCode::Denied,
            Self::Refused(refusal) => ExitCode::of_refusal(refusal.kind),
            Self::Child { code, .. } => *code,
            Self::Journal(_) => ExitCode::Journal,
            Self::Failed { .. } | Self::Output(_) => ExitCode::Failed,
        }
    }

    /// Tells it on stderr, with the way out.
    pub(crate) fn report(&self) {
        if let Self::Configuration { file, mistakes } = self {
            mistakes.iter().for_each(|mistake| output::note(&format!("error: {}", told(file, mistake))));
            return;
        }
        output::note(&format!("error: {self}"));
        if let Some(help) = self.help() {
            output::note(&format!("  help: {help}"));
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Usage { help, .. } | Self::Denied { help, .. } | Self::Failed { help, .. } => help.clone(),
            Self::Unreachable { socket, .. } => Some(start_help(socket)),
            Self::Lost { .. } => Some(
                "if `runlet up` or systemd runs it, it is being started again, and goes on with every run it had accepted"
                    .to_owned(),
            ),
            Self::Journal(_) => Some(
                "start it again: it goes on from what is on disk, and what was acknowledged is there; make room if the disk is \
                 full, and `runlet journal check` looks for damage"
                    .to_owned(),
            ),
            Self::Refused(Refusal { help: Some(help), .. }) => Some(help.clone()),
            Self::Refused(Refusal { kind: RefusalKind::Overloaded, .. }) => Some("try again later".to_owned()),
            Self::Refused(_)
            | Self::Configuration { .. }
            | Self::Source(_)
            | Self::Child { .. }
            | Self::Output(_) => None,
        }
    }
}

/// A mistake with its place and the way out.
fn told(file: &Path, Mistake { line, column, message, help }: &Mistake) -> String {
    let help = help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
    format!("{}:{line}:{column}: {message}{help}", file.display())
}

/// How a supervisor with this socket is started.
fn start_help(socket: &Path) -> String {
    let own = paths::socket_in(&paths::default_state());
    let state = socket.parent().filter(|_| socket != own && socket.ends_with(paths::SOCKET_NAME));
    match state {
        Some(state) => format!("start one with `runlet up --state {}`, or name another with --socket", state.display()),
        None => "start one with `runlet up`, or name its socket with --socket or RUNLET_SOCKET".to_owned(),
    }
}
