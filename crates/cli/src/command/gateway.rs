//! `runlet gateway`: the HTTP front in this process.

use runlet_gateway::{Config, GatewayError};

use super::{CommandError, Setting};
use crate::args::{Command, Gateway};
use crate::exit_code::ExitCode;
use crate::launcher::child;
use crate::{configuration, logging, memory, service};

/// Runs until SIGTERM or SIGINT. Prints `ready ADDRESS` on stdout once it listens.
///
/// # Errors
/// [`CommandError`] when it cannot start.
pub(crate) fn perform(here: &Setting, args: &Gateway) -> Result<ExitCode, CommandError> {
    let passed = service::passed("hooks")?;
    child::follow_launcher()?;
    logging::start(&args.log);
    runlet_worker::turns::take_short_ones();
    let mut config = config(here, args);
    config.passed = passed;
    config.manager = service::manager();
    runlet_gateway::run(config, |address| child::say_ready(&address.to_string())).map_err(|error| {
        let help = match error {
            GatewayError::Passed(_) | GatewayError::NotTcp => {
                "its unit is to have ListenStream=ADDRESS:PORT; without LISTEN_FDS the gateway listens at --listen"
            }
            GatewayError::Listen { .. } | GatewayError::Setup(_) | GatewayError::ThreadEnded => {
                "--listen 127.0.0.1:0 takes a free port"
            }
        };
        CommandError::Failed { message: format!("the gateway cannot start: {error}"), help: Some(help.to_owned()) }
    })?;
    Ok(ExitCode::Ok)
}

fn config(here: &Setting, args: &Gateway) -> Config {
    let mut config = Config::new(args.listen, here.socket());
    if let Some(threads) = args.threads {
        config.threads = usize::from(threads);
    }
    config.admin = args.admin;
    config.release_memory = Some(memory::release);
    config.reload = service::reloads().then_some(again);
    config.log_level.clone_from(&args.log.log_level);
    config.set_log_level = Some(logging::set_level);
    config
}

/// The configuration, read again: the command line and the environment are what they were, the file may be another.
fn again() -> Result<Config, String> {
    let words: Vec<_> = std::env::args_os().collect();
    let cli = configuration::parse_again(&words)?;
    let here = Setting::of(&cli);
    let Command::Gateway(args) = cli.command else { return Err("the command line is another now".to_owned()) };
    Ok(config(&here, &args))
}
