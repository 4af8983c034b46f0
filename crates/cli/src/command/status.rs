//! `runlet status`: how the supervisor is.

use runlet_proto::control::{Reply, Request};

use super::{CommandError, Setting};
use crate::exit_code::ExitCode;
use crate::output::view::StatusView;
use crate::output::{one, table};

/// Prints it.
///
/// # Errors
/// [`CommandError`] of the connection.
pub(crate) fn perform(here: &Setting) -> Result<ExitCode, CommandError> {
    let reply = here.connect()?.call(Request::Status)?;
    let Reply::Status(status) = reply else { return Err(CommandError::unexpected(&reply)) };
    one(here.format, &StatusView::from(&status), || table::status(&status, &here.socket().display().to_string()))?;
    Ok(ExitCode::Ok)
}
