//! The command line: what can be typed. What it does stands in `command/`.

mod memory;
mod past;
mod process;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use nix::sys::signal::Signal;
use runlet_proto::ids::Priority;
use runlet_proto::state::RunState;

use crate::limits::{TOP_DELAY_MAX, TOP_DELAY_MIN};
use crate::output::Format;
use crate::signal_name;

pub(crate) use memory::{
    Channel, ChannelPeek, ChannelSend, DeadCommand, DeadMessages, MEMORY_PREFIX, MEMORY_URL, Memory, MemoryLs,
    MemoryOptions, MemoryRm, MemorySet, MemoryWatch, OneKey, OneMessage,
};
pub(crate) use past::{Check, Dead, History, Journal, JournalCommand, Listing, Retry};
pub(crate) use process::{Doctor, Gateway, Log, LogChoice, Supervisor, SupervisorOptions, Up, Zygote};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 not found or not running, 4 definition not valid, 5 supervisor not \
reachable, 6 denied, 7 timed out, 8 stopped, 130 interrupted.";

/// Runs workflows the way an operating system runs processes.
#[derive(Debug, Parser)]
#[command(name = "runlet", version, after_help = EXIT_CODES, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// How data is printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub(crate) output: Format,

    /// Control socket of the supervisor [default: $RUNLET_SOCKET, else control.sock in the state directory].
    #[arg(long, global = true, value_name = "PATH", env = "RUNLET_SOCKET", hide_env = true, value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,

    /// Whether the socket stands on the command line itself.
    #[arg(skip)]
    pub(crate) socket_given: bool,

    /// Configuration file [default: $RUNLET_CONFIG, else for root /etc/runlet/runlet.toml and for others
    /// runlet/runlet.toml in $XDG_CONFIG_HOME or ~/.config, if it is there].
    #[arg(long, global = true, value_name = "FILE", env = "RUNLET_CONFIG", hide_env = true, value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// What is to be done.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One subcommand; each has its file in `command/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start supervisor and gateway together, deploy definitions, and stay until Ctrl-C.
    Up(Up),
    /// Run the supervisor: the daemon that owns all runs.
    Supervisor(Supervisor),
    /// Run the gateway: the HTTP front of the hooks.
    Gateway(Gateway),
    /// Check definitions and make them live; one replaces the workflow of the same name.
    Deploy(Files),
    /// Remove a workflow; its live runs finish.
    Remove(Remove),
    /// List the deployed workflows.
    Workflows(Table),
    /// Print a deployed definition as it was deployed.
    Show(OneWorkflow),
    /// Start a run, follow its blocks on stderr, print its output on stdout.
    Run(Run),
    /// List live runs.
    Ps(Ps),
    /// List runs from the journal, also those that ended long ago.
    History(History),
    /// List the FAILED runs that no later run repeats; `dead messages`, the messages that nobody acknowledged.
    Dead(Dead),
    /// Look at the memory that workflows share, and change it.
    #[command(subcommand)]
    Memory(Memory),
    /// Look at the channels between workflows, and send messages.
    #[command(subcommand)]
    Channel(Channel),
    /// Make an ended run again, with its stored input and outputs; prints the id of the new run.
    Retry(Retry),
    /// Remove from the journal at once what is not to be kept.
    Gc,
    /// Look after the journal, the record of all runs.
    Journal(Journal),
    /// Watch live runs and what they use, and stop, hold or renice them.
    Top(Top),
    /// Print a run's Workflow Control Block as JSON.
    Inspect(OneRun),
    /// Print what the blocks of a run logged.
    Logs(Logs),
    /// Print what a run did: every block and every call, when it began, how long it took, how it ended.
    Trace(Trace),
    /// Stop runs: their running blocks are cancelled.
    Stop(ManyRuns),
    /// Send a signal of the operating system to the workers of heavy runs.
    Kill(Kill),
    /// Hold runs: nothing more of them is dispatched until they are resumed.
    Pause(ManyRuns),
    /// Let paused runs go on.
    Resume(ManyRuns),
    /// Change the priority of live runs.
    Renice(Renice),
    /// Say how the supervisor is.
    Status,
    /// Check definitions without a supervisor.
    Check(Files),
    /// Print the JSON Schema of definitions.
    Schema,
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the configuration that is in force, or one to begin with.
    #[command(subcommand)]
    Config(Config),
    /// Say how far workers are confined on this host, by trying what they must not be able to do.
    Doctor(Doctor),
    /// The process that forks workers; started by the supervisor.
    #[command(hide = true)]
    Zygote(Zygote),
}

/// `runlet config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print what is in force: flags go before the environment, that before the file, that before defaults.
    Show(ShowConfig),
    /// Print a file with every option, what it means and its default, all of it commented out.
    Example,
}

/// `runlet config show`.
#[derive(Debug, Args)]
pub(crate) struct ShowConfig {
    /// Say of each value where it comes from: a default, a line of the file, an environment variable, or a flag.
    #[arg(long)]
    pub(crate) origin: bool,
    /// A command line whose flags count too, such as `-- supervisor --drain 5s`.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) line: Vec<OsString>,
}

/// `runlet deploy` and `runlet check`.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// *.json and *.jsonc files, or directories of them.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
}

/// `runlet remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name of the workflow.
    #[arg(value_name = "NAME")]
    pub(crate) workflow: String,
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Table {
    /// Leave the line with the names of the columns out.
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// `runlet run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A definition (a path that exists, or that ends in .json or .jsonc), else the name of a deployed workflow.
    #[arg(value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub(crate) target: String,
    /// Input of the run: JSON, `@FILE`, or `-` for stdin. It stands in for the request of a hook: `{"query": {"a": "1"}}`.
    #[arg(short, long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// Priority instead of the workflow's own, 0 to 9; higher runs first.
    #[arg(short, long, value_name = "N", value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// Print the run's id and leave it to itself.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do not follow the blocks on stderr.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `runlet ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Ended runs too, as far as they are remembered.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only runs of this workflow; can be given more than once.
    #[arg(short, long = "workflow", value_name = "NAME")]
    pub(crate) workflows: Vec<String>,
    /// Only runs in this state; can be given more than once. An ended state includes -a.
    #[arg(short, long = "state", value_name = "STATE", ignore_case = true, value_parser = run_state())]
    pub(crate) states: Vec<RunState>,
    /// Ids only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// A command on one deployed workflow.
#[derive(Debug, Args)]
pub(crate) struct OneWorkflow {
    /// Name of the workflow.
    #[arg(value_name = "NAME")]
    pub(crate) workflow: String,
}

/// A command on one run.
#[derive(Debug, Args)]
pub(crate) struct OneRun {
    /// Id of the run, or a beginning or an end of it that no other run has.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// A command on several runs.
#[derive(Debug, Args)]
pub(crate) struct ManyRuns {
    /// Ids of the runs, or beginnings or ends of them that no other run has.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
}

/// `runlet logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) run: OneRun,
    /// Wait for further lines until the run ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `runlet trace`.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) run: OneRun,
    /// Print what begins and ends until the run ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `runlet top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Print to stdout, one listing after the other, and read no keys.
    #[arg(short, long)]
    pub(crate) batch: bool,
    /// End after this many listings.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Seconds between two listings, such as 2 or 0.5.
    #[arg(short, long, value_name = "SECONDS", value_parser = delay, default_value = "1")]
    pub(crate) delay: Duration,
}

/// `runlet kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal, by name or number. STOP and CONT do what `pause` and `resume` do.
    #[arg(short, long, value_name = "SIGNAL", value_parser = signal_name::parse, default_value = "TERM")]
    pub(crate) signal: Signal,
    #[command(flatten)]
    pub(crate) runs: ManyRuns,
}

/// `runlet renice`.
#[derive(Debug, Args)]
pub(crate) struct Renice {
    /// The new priority, 0 to 9; higher runs first.
    #[arg(value_name = "PRIORITY", value_parser = priority)]
    pub(crate) priority: Priority,
    #[command(flatten)]
    pub(crate) runs: ManyRuns,
}

/// `runlet completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Where the gateway listens when nobody says.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

fn priority(text: &str) -> Result<Priority, String> {
    text.parse().ok().and_then(Priority::new).ok_or_else(|| "a priority is a number from 0 to 9".to_owned())
}

/// The states by name; the states are the same whatever case they are written in.
fn run_state() -> impl TypedValueParser<Value = RunState> {
    const STATES: [RunState; 7] = [
        RunState::Ready,
        RunState::Running,
        RunState::Blocked,
        RunState::Paused,
        RunState::Completed,
        RunState::Failed,
        RunState::Stopped,
    ];
    PossibleValuesParser::new(STATES.map(RunState::as_str)).map(|name| {
        let named = STATES.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(&name));
        named.expect("the parser lets only the names of states through")
    })
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok()).unwrap_or("8080");
        format!("an IP address and a port are needed: 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface")
    })
}

fn delay(text: &str) -> Result<Duration, String> {
    let delay = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    delay.filter(|delay| (TOP_DELAY_MIN..=TOP_DELAY_MAX).contains(delay)).ok_or_else(|| {
        format!("a delay is a number of seconds from {} to {}", TOP_DELAY_MIN.as_secs_f64(), TOP_DELAY_MAX.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_delay_is_in_seconds() {
        assert_eq!(delay("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "NaN", "inf", "1s", "1e99"] {
            assert!(delay(text).is_err_and(|error| error.contains("seconds")), "{text}");
        }
    }

    #[test]
    fn an_address_to_listen_on_is_an_ip_and_a_port() {
        assert!(listen("127.0.0.1:0").is_ok() && listen("[::1]:80").is_ok());
        for text in ["8081", ":8081", "localhost:8081"] {
            assert!(listen(text).is_err_and(|error| error.contains("127.0.0.1:8081")), "{text}");
        }
        assert!(listen("").is_err_and(|error| error.contains("127.0.0.1:8080")));
    }

    #[test]
    fn priorities_end_at_nine() {
        assert_eq!(priority("9").map(Priority::level), Ok(9));
        assert!(priority("10").is_err());
        assert!(priority("-1").is_err());
    }
}
