//! A zygote whose workers do what none must, from within the confinement every worker has: `tests/tests/hostile.rs` attacks a
//! supervisor with it. It is a part of no installation.
//!
//! `runlet supervisor --zygote runlet-hostile` starts it. A worker of it executes what it is given as any other does, except
//! an attempt whose input is `{"hostile": ACT}`; `act.rs` lists the acts. `runlet-hostile lone PROGRAM…` executes a program on a
//! host that is hostile itself (`lone.rs`).

mod act;
mod lone;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "lone") {
        eprintln!("runlet-hostile: {}", lone::execute(arguments));
        return ExitCode::FAILURE;
    }
    match runlet_worker::zygote::run_with(act::intercept) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runlet-hostile: {error}");
            ExitCode::FAILURE
        }
    }
}
