//! A zygote whose workers do what none must, from within the confinement every worker has: `tests/tests/hostile.rs` attacks a
//! supervisor with it. It is a part of no installation.
//!
//! `runlet supervisor --zygote runlet-hostile` starts it. A worker of it executes what it is given as any other does, except
//! an attempt whose input is `{"hostile": ACT}`; `act.rs` lists the acts.

mod act;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    match runlet_worker::zygote::run_with(act::intercept) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runlet-hostile: {error}");
            ExitCode::FAILURE
        }
    }
}
