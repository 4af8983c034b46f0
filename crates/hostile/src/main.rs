//! A zygote whose workers do what none must, from within the confinement every worker has: `tests/tests/hostile.rs` attacks a
//! supervisor with it. It is a part of no installation.
//!
//! `runlet supervisor --zygote runlet-hostile` starts it. A worker of it executes what it is given as any other does, except
//! an attempt whose input is `{"hostile": ACT}`; `act.rs` lists the acts. `runlet-hostile lone PROGRAM…` and
//! `runlet-hostile disk PROGRAM…` execute a program on a host that is hostile itself (`lone.rs`, `disk.rs`).

mod act;
mod disk;
mod lone;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    let error = match first.as_ref().and_then(|first| first.to_str()) {
        Some("lone") => lone::execute(arguments),
        Some("disk") => disk::execute(arguments),
        Some(disk::ANSWERS) => disk::answer(),
        _ => match runlet_worker::zygote::run_with(act::intercept) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => std::io::Error::other(error),
        },
    };
    eprintln!("runlet-hostile: {error}");
    ExitCode::FAILURE
}
