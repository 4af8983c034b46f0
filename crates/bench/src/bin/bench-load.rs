//! The load generator: one load, one thread, the outcome as JSON on stdout.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{error, fs};

use clap::Parser;
use runlet_bench::limits::CONNECTIONS_MAX;
use runlet_bench::load::{self, Expected, Plan};
use runlet_bench::measure::LOAD;

/// Loads an HTTP server: each connection sends its next request when the last one is answered.
#[derive(Debug, Parser)]
struct Options {
    /// The server.
    #[arg(long)]
    address: SocketAddr,
    /// Path of every request.
    #[arg(long, default_value = "/")]
    path: String,
    /// File with the body that every response must have.
    #[arg(long, value_name = "FILE")]
    expect: PathBuf,
    /// Connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=CONNECTIONS_MAX as i64))]
    connections: u16,
    /// Load before anything is counted, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    warmup_ms: u64,
    /// How long is counted, in milliseconds; longer if hardly a request ended in it.
    #[arg(long, default_value_t = 5000)]
    window_ms: u64,
    /// End after so many counted requests.
    #[arg(long)]
    requests: Option<u64>,
    /// A process group whose CPU time over the window is wanted, as NAME=GROUP.
    #[arg(long, value_parser = parse_watch)]
    watch: Vec<(String, i32)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let options = Options::parse();
    let mut watched = options.watch;
    watched.push((LOAD.to_owned(), nix::unistd::getpgrp().as_raw()));
    let plan = Plan {
        address: options.address,
        path: options.path,
        expected: Expected::Body(
            fs::read(&options.expect).map_err(|cause| format!("{}: {cause}", options.expect.display()))?,
        ),
        connections: usize::from(options.connections),
        warmup: Duration::from_millis(options.warmup_ms),
        window: Duration::from_millis(options.window_ms),
        requests_max: options.requests,
        watched,
    };
    println!("{}", serde_json::to_string(&load::run(plan).await?)?);
    Ok(())
}

fn parse_watch(text: &str) -> Result<(String, i32), String> {
    let (name, group) = text.split_once('=').ok_or("write NAME=GROUP")?;
    let group = group.parse().map_err(|_| format!("{group:?} is no process group"))?;
    Ok((name.to_owned(), group))
}
