//! What the commands take that are processes of their own: supervisor, gateway, both at once, and the zygote.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum as _, ValueHint};
use runlet_proto::worker::Confinement;
use runlet_supervisor::cgroup::Choice;
use runlet_supervisor::{AllowProgram, Retention};

use runlet_supervisor::limits::{RETENTION_RUNS_DEFAULT, WORKER_NICE_DEFAULT};
use runlet_workflow::{parse_duration, parse_size};

use super::{DEFAULT_LISTEN, MemoryOptions, listen};
use crate::limits::{DRAIN_DEFAULT, HEAVY_MEMORY_DEFAULT, KEEP_BYTES_DEFAULT, KEEP_DEFAULT};
use crate::logging::{self, LogFormat};

/// `runlet up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Definitions to deploy: *.json and *.jsonc files, or directories of them.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Serve a small shop on https://localhost:4000 and deploy the examples that read it.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Where the gateway listens, an IP address and a port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "RUNLET_LISTEN", value_parser = listen, default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Where the gateway serves /metrics, /healthz and /readyz to operators, an IP address and a port; nowhere unless it is given.
    #[arg(long, value_name = "ADDR", value_parser = listen, env = "RUNLET_ADMIN")]
    pub(crate) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) supervisor: SupervisorOptions,
    #[command(flatten)]
    pub(crate) log: LogChoice,
}

/// `runlet supervisor`.
#[derive(Debug, Args)]
pub(crate) struct Supervisor {
    #[command(flatten)]
    pub(crate) options: SupervisorOptions,
    #[command(flatten)]
    pub(crate) log: Log,
    /// Start `PROGRAM zygote` instead of this program's own: how the tests put hostile workers in front of a supervisor.
    #[arg(long, hide = true, value_name = "PROGRAM", value_hint = ValueHint::FilePath)]
    pub(crate) zygote: Option<PathBuf>,
}

/// What a supervisor can be told at its start.
#[derive(Debug, Clone, Args)]
pub(crate) struct SupervisorOptions {
    /// State directory [default: $RUNLET_STATE, else $XDG_STATE_HOME/runlet, else ~/.local/state/runlet].
    #[arg(long, value_name = "DIR", env = "RUNLET_STATE", hide_env = true, value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
    /// PEM file with certificate authorities that `fetch` trusts beside the system's.
    #[arg(long, value_name = "FILE", env = "RUNLET_CA_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Threads of the light pool [default: as many as there are cores].
    #[arg(long, value_name = "N", env = "RUNLET_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// How long live runs may go on after the supervisor was told to end: `500ms`, `30s`, `2m`.
    #[arg(long, value_name = "DURATION", env = "RUNLET_DRAIN", value_parser = parse_duration, default_value = DRAIN_DEFAULT)]
    pub(crate) drain: Duration,
    /// Memory that all heavy runs together may be allowed: `512MiB`, `4GiB`. A run that does not fit waits for its turn.
    #[arg(long, value_name = "SIZE", env = "RUNLET_HEAVY_MEMORY", value_parser = parse_size, default_value = HEAVY_MEMORY_DEFAULT)]
    pub(crate) heavy_memory: u64,
    /// How far worker processes stand back for others at the CPU, 0 (not at all) to 19 (nice(1)).
    #[arg(long, value_name = "N", env = "RUNLET_WORKER_NICE", value_parser = clap::value_parser!(u8).range(0..=19), default_value_t = WORKER_NICE_DEFAULT)]
    pub(crate) worker_nice: u8,
    #[command(flatten)]
    pub(crate) keep: Keep,
    #[command(flatten)]
    pub(crate) require: RequireIsolation,
    #[command(flatten)]
    pub(crate) cgroup: UseCgroup,
    #[command(flatten)]
    pub(crate) memory: MemoryOptions,
    /// Let `exec` blocks run this program: its name in definitions, its file, and further files or directories that it reads
    /// or executes. Can be given more than once; in the environment `;` separates.
    #[arg(
        long = "allow-exec",
        value_name = "[NAME=]PROGRAM[,PATH…]",
        env = "RUNLET_ALLOW_EXEC",
        value_delimiter = ';'
    )]
    pub(crate) allowed: Vec<AllowProgram>,
}

impl SupervisorOptions {
    /// The same as arguments of `runlet supervisor`, but the state directory, and what goes by the environment.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let Self {
            state: _,
            ca_file,
            threads,
            drain,
            heavy_memory,
            worker_nice,
            keep,
            require,
            cgroup,
            memory: _,
            allowed,
        } = self;
        let mut arguments: Vec<OsString> = [
            ("--drain", format!("{}ms", drain.as_millis())),
            ("--heavy-memory", format!("{heavy_memory}B")),
            ("--worker-nice", worker_nice.to_string()),
            ("--keep", format!("{}s", keep.age.as_secs())),
            ("--keep-runs", keep.runs.to_string()),
            ("--keep-bytes", format!("{}B", keep.bytes)),
            ("--require-isolation", require.require_isolation.to_string()),
            ("--cgroup", cgroup.cgroup.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.into(), value.into()])
        .collect();
        if let Some(file) = ca_file {
            arguments.extend(["--ca-file".into(), file.into()]);
        }
        if let Some(threads) = threads {
            arguments.extend(["--threads".into(), threads.to_string().into()]);
        }
        for program in allowed {
            arguments.extend(["--allow-exec".into(), program.to_string().into()]);
        }
        arguments
    }
}

/// Which ended runs the journal keeps: those within all of these bounds.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Keep {
    /// Keep ended runs for so long: `12h`, `7d`.
    #[arg(id = "keep", long = "keep", value_name = "DURATION", env = "RUNLET_KEEP", value_parser = parse_duration, default_value = KEEP_DEFAULT)]
    pub(crate) age: Duration,
    /// Keep so many ended runs.
    #[arg(id = "keep_runs", long = "keep-runs", value_name = "N", env = "RUNLET_KEEP_RUNS", default_value_t = RETENTION_RUNS_DEFAULT)]
    pub(crate) runs: u64,
    /// Keep ended runs in so many bytes on disk: `500MiB`, `10GiB`.
    #[arg(id = "keep_bytes", long = "keep-bytes", value_name = "SIZE", env = "RUNLET_KEEP_BYTES", value_parser = parse_size, default_value = KEEP_BYTES_DEFAULT)]
    pub(crate) bytes: u64,
}

impl Keep {
    /// The same for the journal.
    pub(crate) const fn retention(&self) -> Retention {
        Retention { age: Some(self.age), runs_max: Some(self.runs), bytes_max: Some(self.bytes) }
    }
}

/// How far a worker must be confined.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RequireIsolation {
    /// Lowest level of isolation at which a heavy run is executed: 0 a process with limits, 1 with seccomp, 2 with Landlock,
    /// 3 with namespaces, 4 with limits by control groups too. `runlet doctor` tells what this host gives.
    #[arg(long, value_name = "LEVEL", env = "RUNLET_REQUIRE_ISOLATION", default_value_t = Confinement::LEVEL_REQUIRED,
        value_parser = clap::value_parser!(u8).range(0..=i64::from(Confinement::LEVEL_MAX)))]
    pub(crate) require_isolation: u8,
}

/// Where workers get control groups.
#[derive(Debug, Clone, Args)]
pub(crate) struct UseCgroup {
    /// Control group (cgroup v2) below which each worker gets one of its own: the directory of one that is left to Runlet; `auto`,
    /// the supervisor's own if it was delegated to it; `off`, none.
    #[arg(long, value_name = "DIR|auto|off", env = "RUNLET_CGROUP", default_value_t = Choice::Auto)]
    pub(crate) cgroup: Choice,
}

/// `runlet doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) require: RequireIsolation,
    #[command(flatten)]
    pub(crate) cgroup: UseCgroup,
}

/// `runlet zygote`.
#[derive(Debug, Args)]
pub(crate) struct Zygote {
    /// The supervisor's state directory as a number, by which a later one knows what an earlier one left.
    #[arg(long, value_name = "ID")]
    of: Option<String>,
}

/// `runlet gateway`.
#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// Where it listens, an IP address and a port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "RUNLET_LISTEN", value_parser = listen, default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    /// Where it serves /metrics, /healthz and /readyz to operators, an IP address and a port; nowhere unless it is given.
    #[arg(long, value_name = "ADDR", value_parser = listen, env = "RUNLET_ADMIN")]
    pub(crate) admin: Option<SocketAddr>,

    /// Serving threads; another one takes connections only when there are many. By default as many as cores, at most 4.
    #[arg(long, value_name = "N", env = "RUNLET_GATEWAY_THREADS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,

    #[command(flatten)]
    pub(crate) log: Log,
}

/// What a daemon logs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Log {
    /// Which lines are logged: a level (error, warn, info, debug, trace), or target=level pairs with commas between.
    #[arg(long, value_name = "LEVEL", env = "RUNLET_LOG", value_parser = logging::level, default_value = "info")]
    pub(crate) log_level: String,
    /// How lines are written: text for people, or JSON objects, one a line.
    #[arg(long, value_name = "FORMAT", env = "RUNLET_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// What both daemons are told to log, if they are told.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogChoice {
    /// Which lines are logged: a level (error, warn, info, debug, trace), or target=level pairs with commas between.
    #[arg(long, value_name = "LEVEL", value_parser = logging::level)]
    log_level: Option<String>,
    /// How lines are written: text for people, or JSON objects, one a line.
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

impl LogChoice {
    /// As arguments of a daemon.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let format = self.log_format.and_then(|format| Some(format.to_possible_value()?.get_name().to_owned()));
        [("--log-level", self.log_level.clone()), ("--log-format", format)]
            .into_iter()
            .filter_map(|(name, value)| Some([name.into(), value?.into()]))
            .flatten()
            .collect()
    }
}
