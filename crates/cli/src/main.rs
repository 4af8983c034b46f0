//! The `runlet` binary: arguments in, one command, an exit code out.
//!
//! `main` is a plain function: nothing may start a thread before the command has been chosen, because the supervisor
//! forks its zygote first.

mod args;
mod client;
mod command;
mod configuration;
mod demo;
mod doctor;
mod exit_code;
mod launcher;
mod limits;
mod logging;
mod memory;
mod output;
mod paths;
mod service;
mod signal_name;
mod sources;

fn main() -> std::process::ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    match configuration::parse(&words).and_then(command::perform) {
        Ok(code) => code.into(),
        Err(error) => {
            error.report();
            error.exit_code().into()
        }
    }
}
