//! `runlet channel` and `runlet dead messages`: messages, looked at, sent and decided on by hand.

use runlet_proto::control::RefusalKind;
use runlet_proto::memory::{MemoryFound, MemoryQuestion, SendCall};

use super::memory::{ask, strange};
use super::run::input;
use super::{CommandError, Setting};
use crate::args::{Channel, ChannelPeek, ChannelSend, DeadCommand, DeadMessages, OneMessage, Table};
use crate::exit_code::ExitCode;
use crate::output::memory::{MessageView, channels, messages};
use crate::output::{self, list, note};

/// Does what the subcommand says.
///
/// # Errors
/// [`CommandError`] of the connection, [`CommandError::Refused`] when the store will not.
pub(crate) fn perform(here: &Setting, command: Channel) -> Result<ExitCode, CommandError> {
    match command {
        Channel::Ls(table) => ls(here, table),
        Channel::Send(args) => send(here, args),
        Channel::Peek(ChannelPeek { channel, limit, table }) => {
            print(here, MemoryQuestion::Peek { channel, limit }, table)
        }
    }
}

/// Does what is to be done about dead messages.
///
/// # Errors
/// As [`perform`].
pub(crate) fn dead(here: &Setting, command: DeadCommand) -> Result<ExitCode, CommandError> {
    match command {
        DeadCommand::Messages(DeadMessages { channel, limit, table }) => {
            print(here, MemoryQuestion::Dead { channel, limit }, table)
        }
        DeadCommand::Revive(OneMessage { channel, id }) => {
            decide(here, MemoryQuestion::Revive { channel: channel.clone(), id }, &channel, id)
        }
        DeadCommand::Rm(OneMessage { channel, id }) => {
            decide(here, MemoryQuestion::Bury { channel: channel.clone(), id }, &channel, id)
        }
    }
}

fn ls(here: &Setting, table: Table) -> Result<ExitCode, CommandError> {
    let found = ask(here, MemoryQuestion::Channels)?;
    let MemoryFound::Channels(found) = found else { return Err(strange(found)) };
    list(here.format, &found, || channels(&found, !table.no_headers))?;
    Ok(ExitCode::Ok)
}

fn send(here: &Setting, args: ChannelSend) -> Result<ExitCode, CommandError> {
    let message = input::read_as(&args.message, "the message")?;
    let found = ask(here, MemoryQuestion::Send(SendCall { channel: args.channel, message }))?;
    let MemoryFound::Sent(id) = found else { return Err(strange(found)) };
    output::text(&id.to_string())?;
    Ok(ExitCode::Ok)
}

fn print(here: &Setting, question: MemoryQuestion, table: Table) -> Result<ExitCode, CommandError> {
    let found = ask(here, question)?;
    let MemoryFound::Messages(found) = found else { return Err(strange(found)) };
    let views: Vec<_> = found.iter().map(MessageView::from).collect();
    list(here.format, &views, || messages(&found, !table.no_headers))?;
    Ok(ExitCode::Ok)
}

fn decide(here: &Setting, question: MemoryQuestion, channel: &str, id: u64) -> Result<ExitCode, CommandError> {
    let found = ask(here, question)?;
    let MemoryFound::Done(done) = found else { return Err(strange(found)) };
    if done {
        return Ok(ExitCode::Ok);
    }
    note(&format!("error: channel `{channel}` has no dead message {id}"));
    note("  help: `runlet dead messages` lists them");
    Ok(ExitCode::of_refusal(RefusalKind::NotFound))
}
