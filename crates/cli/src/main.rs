//! The `runlet` binary: arguments in, one command, an exit code out.
//!
//! `main` is a plain function: nothing may start a thread before the command has been chosen, because the supervisor
//! forks its zygote first.

mod args;
mod client;
mod command;
mod demo;
mod doctor;
mod exit_code;
mod launcher;
mod limits;
mod logging;
mod memory;
mod output;
mod paths;
mod signal_name;
mod sources;

use clap::Parser;

use crate::args::Cli;

fn main() -> std::process::ExitCode {
    match command::perform(Cli::parse()) {
        Ok(code) => code.into(),
        Err(error) => {
            error.report();
            error.exit_code().into()
        }
    }
}
