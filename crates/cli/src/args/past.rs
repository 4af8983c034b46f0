//! What the commands take that look at the journal.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use runlet_workflow::parse_duration;

use super::{DeadCommand, OneRun, Table, run_state};

/// How runs from the journal are listed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Listing {
    /// At most so many, the newest.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Ids only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) table: Table,
}

/// `runlet history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Only runs of this workflow; can be given more than once.
    #[arg(short, long = "workflow", value_name = "NAME")]
    pub(crate) workflows: Vec<String>,
    /// Only runs in this state; can be given more than once. One that is not an end stands for all runs that have not ended.
    #[arg(short, long = "state", value_name = "STATE", ignore_case = true, value_parser = run_state())]
    pub(crate) states: Vec<RunState>,
    /// Only runs that began no longer ago than this: `30m`, `2h`, `7d`.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) since: Option<Duration>,
    /// Only runs older than this one: the last of a listing, for the next.
    #[arg(long, value_name = "RUN")]
    pub(crate) before: Option<RunId>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// `runlet dead`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Dead {
    /// What is to be done about dead messages.
    #[command(subcommand)]
    pub(crate) messages: Option<DeadCommand>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// `runlet retry`.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) run: OneRun,
    /// Make it again from this block; what it does not depend on keeps its output. Without it: from the block that failed.
    #[arg(long, value_name = "BLOCK")]
    pub(crate) from: Option<String>,
    /// By the definition that is deployed now, not by the one it was made with.
    #[arg(long)]
    pub(crate) deployed: bool,
}

/// `runlet journal`.
#[derive(Debug, Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    pub(crate) command: JournalCommand,
}

/// What can be done to a journal.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Look it over and change nothing: the database, every record, every output file by its hash. 1 if something is wrong.
    Check(Check),
}

/// `runlet journal check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// State directory of the supervisor whose journal it is [default: as for the supervisor].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
}
