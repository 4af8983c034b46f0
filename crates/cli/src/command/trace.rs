//! `runlet trace`: what a run did, attempt by attempt and call by call, with the time each took.

use runlet_proto::control::{Reply, Request, TraceSpan};

use super::{CommandError, Setting};
use crate::args::Trace;
use crate::exit_code::ExitCode;
use crate::output::trace::{Follower, TraceView, table};
use crate::output::{self, Format, note};

/// Prints what is remembered; with `-f` what begins and ends as well, until the run ends.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such run, [`CommandError::Lost`] when the supervisor went away.
pub(crate) fn perform(here: &Setting, args: Trace) -> Result<ExitCode, CommandError> {
    if args.follow && here.format == Format::Json {
        return Err(CommandError::Usage {
            message: "`-o json` is one array and cannot be followed".to_owned(),
            help: Some("follow with `-o jsonl`, one line at a time".to_owned()),
        });
    }
    let mut client = here.connect()?;
    let id = client.send(Request::Trace { run: args.run.run, follow: args.follow })?;
    let mut follower = Follower::default();
    let mut kept: Vec<TraceSpan> = Vec::new();
    loop {
        let reply = client.next(id)?;
        if let Reply::TraceEnd { dropped } = reply {
            if dropped > 0 {
                note(&format!("the oldest {dropped} are no longer remembered; the newest are"));
            }
            break;
        }
        let Reply::Trace(spans) = reply else { return Err(CommandError::unexpected(&reply)) };
        if here.format == Format::Json {
            kept.extend(spans);
        } else {
            print(here.format, &spans, args.follow.then_some(&mut follower))?;
        }
    }
    if here.format == Format::Json {
        print(here.format, &kept, None)?;
    }
    Ok(ExitCode::Ok)
}

fn print(format: Format, spans: &[TraceSpan], follower: Option<&mut Follower>) -> Result<(), CommandError> {
    let views: Vec<_> = spans.iter().map(TraceView::from).collect();
    let text = || match follower {
        Some(follower) => follower.lines(spans),
        None => table(spans),
    };
    Ok(output::list(format, &views, text)?)
}
