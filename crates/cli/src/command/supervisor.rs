//! `runlet supervisor`: the daemon in this process.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use runlet_ipc::BindError;
use runlet_supervisor::{Config, Error, Export};

use super::CommandError;
use crate::args::{Command, Supervisor};
use crate::exit_code::ExitCode;
use crate::launcher::child;
use crate::{configuration, logging, memory, paths, service};

/// Runs until SIGTERM or SIGINT. Prints `ready SOCKET` on stdout once clients can connect.
///
/// # Errors
/// [`CommandError`] when it cannot start.
pub(crate) fn perform(args: Supervisor) -> Result<ExitCode, CommandError> {
    let passed = service::passed("control")?;
    child::follow_launcher()?;
    logging::start(&args.log);
    runlet_worker::turns::take_short_ones();
    let mut config = config(args);
    config.export = Export::from_environment().map_err(|error| explained(&error.into()))?;
    config.passed = passed;
    config.manager = service::manager();
    runlet_supervisor::run(config, child::say_ready).map_err(|error| explained(&error))?;
    Ok(ExitCode::Ok)
}

fn config(args: Supervisor) -> Config {
    let state = args.options.state.unwrap_or_else(paths::default_state);
    let mut config = Config::new(state);
    config.ca_file = args.options.ca_file;
    config.drain = args.options.drain;
    config.level_required = args.options.require.require_isolation;
    config.heavy_memory_bytes = args.options.heavy_memory;
    config.retention = args.options.keep.retention();
    config.worker_nice = args.options.worker_nice;
    config.cgroup = args.options.cgroup.cgroup;
    config.memory = args.options.memory.config();
    config.allowed = args.options.allowed;
    config.release_memory = Some(memory::release);
    config.reload = service::reloads().then_some(again);
    config.log_level = args.log.log_level;
    config.set_log_level = Some(logging::set_level);
    // The running file, even if another has been installed in its place.
    config.zygote = Some(args.zygote.unwrap_or_else(|| PathBuf::from("/proc/self/exe")));
    if let Some(threads) = args.options.threads.and_then(|threads| NonZeroUsize::new(threads.into())) {
        config.slots = threads;
    }
    config
}

/// The configuration, read again: the command line and the environment are what they were, the file may be another.
fn again() -> Result<Config, String> {
    let words: Vec<_> = std::env::args_os().collect();
    let command = configuration::parse_again(&words)?.command;
    let Command::Supervisor(args) = command else { return Err("the command line is another now".to_owned()) };
    Ok(config(args))
}

fn explained(error: &Error) -> CommandError {
    if let Error::Journal(_) = error {
        return CommandError::Journal(error.to_string());
    }
    let message = format!("the supervisor cannot start: {error}");
    let help = match error {
        Error::Bind(BindError::AlreadyRunning(_) | BindError::Starting(_)) => {
            Some("`runlet status` says how it is; --state DIR starts another beside it")
        }
        Error::Bind(BindError::Passed(_) | BindError::NotUnix) => Some(
            "its unit is to have ListenStream=/the/socket's/path; without LISTEN_FDS the supervisor makes its own socket",
        ),
        Error::Bind(_) => Some("--state DIR chooses another directory"),
        Error::Fetch(_) => Some("the file is what --ca-file or RUNLET_CA_FILE names"),
        Error::Program(_) => {
            let help = "programs are allowed by --allow-exec or RUNLET_ALLOW_EXEC: correct what is said there, or leave it out";
            return CommandError::Usage { message, help: Some(help.to_owned()) };
        }
        Error::Groups(_) => {
            let help = "--cgroup or RUNLET_CGROUP names it: `auto` takes the one that was delegated, `off` none; `runlet doctor` looks at one";
            return CommandError::Usage { message, help: Some(help.to_owned()) };
        }
        Error::Memory(_) => {
            let help = "--memory-url, RUNLET_MEMORY_URL or `url` under [memory] names it: `embedded:`, `redis://host:port` or `rediss://host:port`";
            return CommandError::Usage { message, help: Some(help.to_owned()) };
        }
        Error::Export(_) => {
            let help = "without OTEL_EXPORTER_OTLP_ENDPOINT, or with OTEL_SDK_DISABLED=true, nothing is exported";
            return CommandError::Usage { message, help: Some(help.to_owned()) };
        }
        Error::Runtime(_) => None,
        // They say themselves what to do.
        Error::OpenJournal(_) | Error::Journal(_) => None,
    };
    CommandError::Failed { message, help: help.map(str::to_owned) }
}
