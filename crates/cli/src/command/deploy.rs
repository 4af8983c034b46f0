//! `runlet deploy`: definitions made live, all or none of those given.

use std::path::Path;

use runlet_proto::control::{Refusal, RefusalKind, Reply, Request, SourceText, WorkflowSummary};

use super::{CommandError, Setting, check};
use crate::args::Files;
use crate::client::Client;
use crate::exit_code::ExitCode;
use crate::output::view::WorkflowView;
use crate::output::{Format, diagnostics, list, table};
use crate::sources;

/// A workflow that is live now, and the version it replaced.
#[derive(Debug)]
pub(crate) struct Deployed {
    /// What is deployed.
    pub(crate) workflow: WorkflowSummary,
    /// The version of the same name that was deployed before, if there was one.
    pub(crate) replaced: Option<String>,
}

/// Checks every definition first, so that a mistake in the last one does not leave the first ones deployed.
///
/// # Errors
/// [`CommandError`] of the file, the connection, or the supervisor's refusal.
pub(crate) fn perform(here: &Setting, args: &Files) -> Result<ExitCode, CommandError> {
    let sources = sources::read_all(&args.paths)?;
    let found = check::check(&sources);
    if !found.is_empty() {
        diagnostics::show(here.format, &sources, &found)?;
        return Ok(ExitCode::Invalid);
    }
    let mut client = here.connect()?;
    let mut deployed = Vec::with_capacity(sources.len());
    let mut code = ExitCode::Ok;
    for source in sources {
        match deploy(&mut client, source.clone()) {
            Ok(one) => deployed.push(one),
            Err(CommandError::Refused(refusal)) => code = code.or(refused(here.format, source, refusal)?),
            Err(error) => return Err(error),
        }
    }
    print(here.format, &deployed)?;
    Ok(code)
}

/// Deploys one definition.
///
/// # Errors
/// [`CommandError::Refused`] when the supervisor will not, [`CommandError::Lost`] when it went away.
pub(crate) fn deploy(client: &mut Client, source: SourceText) -> Result<Deployed, CommandError> {
    let reply = client.call(Request::Deploy(source))?;
    let Reply::Deployed { workflow, replaced } = reply else { return Err(CommandError::unexpected(&reply)) };
    Ok(Deployed { workflow, replaced })
}

/// Tells why the supervisor would not take a definition; with its mistakes marked, if it named any.
///
/// # Errors
/// Whatever stdout says.
pub(crate) fn refused(format: Format, source: SourceText, refusal: Refusal) -> Result<ExitCode, CommandError> {
    let file = source.file.clone();
    let found = &refusal.diagnostics;
    if !found.is_empty() {
        diagnostics::show(format, &[source], found)?;
        return Ok(ExitCode::Invalid);
    }
    let code = match refusal.kind {
        // A hook that another workflow holds is a mistake in this definition, not something that is not there.
        RefusalKind::Conflict | RefusalKind::Invalid => ExitCode::Invalid,
        kind @ (RefusalKind::NotFound
        | RefusalKind::Overloaded
        | RefusalKind::ShuttingDown
        | RefusalKind::Protocol
        | RefusalKind::NoRoom) => ExitCode::of_refusal(kind),
    };
    let message = format!("{}: {}", Path::new(&file).display(), refusal.message);
    CommandError::Refused(Refusal { message, ..refusal }).report();
    Ok(code)
}

fn print(format: Format, deployed: &[Deployed]) -> Result<(), CommandError> {
    let views: Vec<_> =
        deployed.iter().map(|one| WorkflowView::from(&one.workflow).replacing(one.replaced.as_deref())).collect();
    Ok(list(format, &views, || deployed.iter().map(line).collect())?)
}

fn line(one: &Deployed) -> String {
    let Deployed { workflow, replaced } = one;
    let version = table::short(&workflow.version);
    match replaced {
        Some(old) if *old == workflow.version => format!("{} {version} is already deployed\n", workflow.name),
        Some(old) => format!("{} {version} deployed, in place of {}\n", workflow.name, table::short(old)),
        None => format!("{} {version} deployed\n", workflow.name),
    }
}
