//! `runlet memory`: what workflows share, looked at and changed by hand.

use std::time::Duration;

use runlet_proto::control::{RefusalKind, Reply, Request};
use runlet_proto::memory::{self, Item, MemoryCall, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply};

use super::run::input;
use super::{CommandError, Setting};
use crate::args::{Memory, MemoryLs, MemoryRm, MemorySet, MemoryWatch, OneKey};
use crate::exit_code::ExitCode;
use crate::output::memory::{ChangeView, ItemView, NamespaceView, changes, items, namespaces};
use crate::output::{self, Format, list, note};

/// Does what the subcommand says.
///
/// # Errors
/// [`CommandError`] of the connection, [`CommandError::Refused`] when the store will not.
pub(crate) fn perform(here: &Setting, command: Memory) -> Result<ExitCode, CommandError> {
    match command {
        Memory::Ls(args) => ls(here, args),
        Memory::Get(args) => get(here, args),
        Memory::Set(args) => set(here, args),
        Memory::Rm(args) => rm(here, args),
        Memory::Watch(args) => watch(here, args),
    }
}

/// Asks about memory or channels.
pub(super) fn ask(here: &Setting, question: MemoryQuestion) -> Result<MemoryFound, CommandError> {
    let reply = here.connect()?.call(Request::Memory(question))?;
    if let Reply::Memory(found) = reply { Ok(found) } else { Err(CommandError::unexpected(&reply)) }
}

/// An answer that does not belong to the question.
pub(super) fn strange(found: MemoryFound) -> CommandError {
    CommandError::unexpected(&Reply::Memory(found))
}

fn operate(here: &Setting, namespace: String, op: MemoryOp) -> Result<MemoryReply, CommandError> {
    let found = ask(here, MemoryQuestion::Call(MemoryCall { namespace, op, lock: None }))?;
    if let MemoryFound::Reply(reply) = found { Ok(reply) } else { Err(strange(found)) }
}

fn ls(here: &Setting, args: MemoryLs) -> Result<ExitCode, CommandError> {
    let MemoryLs { namespace, prefix, after, limit, table } = args;
    let Some(namespace) = namespace else {
        let found = ask(here, MemoryQuestion::Namespaces)?;
        let MemoryFound::Namespaces(found) = found else { return Err(strange(found)) };
        let views: Vec<_> = found.iter().map(NamespaceView::from).collect();
        list(here.format, &views, || namespaces(&found, !table.no_headers))?;
        return Ok(ExitCode::Ok);
    };
    let reply = operate(here, namespace, MemoryOp::List { prefix, after, limit })?;
    let MemoryReply::Items { items: found, more } = reply else {
        return Err(strange(MemoryFound::Reply(reply)));
    };
    let views: Vec<_> = found.iter().map(ItemView::from).collect();
    list(here.format, &views, || items(&found, !table.no_headers))?;
    if let Some(last) = found.last().filter(|_| more) {
        note(&format!("there are more: --after '{}'", output::one_line(&last.key)));
    }
    Ok(ExitCode::Ok)
}

fn get(here: &Setting, args: OneKey) -> Result<ExitCode, CommandError> {
    let OneKey { namespace, key } = args;
    match operate(here, namespace.clone(), MemoryOp::Get { key: key.clone() })? {
        MemoryReply::Value(Some(Item { value, .. })) => {
            output::text(&input::indented(&value))?;
            Ok(ExitCode::Ok)
        }
        MemoryReply::Value(None) => {
            note(&format!("error: there is no key `{key}` in `{namespace}`"));
            note(&format!("  help: `runlet memory ls {namespace}` lists the keys"));
            Ok(ExitCode::of_refusal(RefusalKind::NotFound))
        }
        other @ MemoryReply::Items { .. } => Err(strange(MemoryFound::Reply(other))),
    }
}

fn set(here: &Setting, args: MemorySet) -> Result<ExitCode, CommandError> {
    let MemorySet { key: OneKey { namespace, key }, value, ttl, if_version } = args;
    let value = input::read_as(&value, "the value")?;
    let ttl_ms = ttl.map(ms);
    let op = match if_version {
        None => MemoryOp::Set { key, value, ttl_ms },
        Some(version) => MemoryOp::CompareAndSet { key, version, value, ttl_ms },
    };
    operate(here, namespace, op)?;
    Ok(ExitCode::Ok)
}

fn rm(here: &Setting, args: MemoryRm) -> Result<ExitCode, CommandError> {
    for key in args.keys {
        operate(here, args.namespace.clone(), MemoryOp::Delete { key })?;
    }
    Ok(ExitCode::Ok)
}

fn watch(here: &Setting, args: MemoryWatch) -> Result<ExitCode, CommandError> {
    if here.format == Format::Json {
        return Err(CommandError::Usage {
            message: "`-o json` is one document and changes have no end".to_owned(),
            help: Some("watch with `-o jsonl`, one line a change".to_owned()),
        });
    }
    let mut client = here.connect()?;
    let MemoryWatch { namespace, prefix } = args;
    let id = client.send(Request::WatchMemory(memory::MemoryWatch { namespace, prefix }))?;
    loop {
        let reply = client.next(id)?;
        let Reply::MemoryChange(change) = reply else { return Err(CommandError::unexpected(&reply)) };
        match here.format {
            Format::Table => output::text(&changes(&change))?,
            Format::Json | Format::Jsonl => output::json_line(&ChangeView::from(&change))?,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
