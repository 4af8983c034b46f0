//! One blocking conversation with a supervisor: numbered requests out, replies in.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use runlet_ipc::blocking::{self, Connection};
use runlet_ipc::{ReadError, WriteError};
use runlet_proto::control::{ClientMessage, Reply, Request, ServerMessage};
use runlet_proto::hello::Role;

use crate::command::CommandError;
use crate::limits::REPLIES_PARKED_MAX;

/// A connection to a supervisor.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    socket: PathBuf,
    last_id: u64,
    /// Replies that came while another request's were waited for.
    parked: VecDeque<ServerMessage>,
}

impl Client {
    /// Connects to the supervisor behind `socket`.
    ///
    /// # Errors
    /// [`CommandError::Unreachable`] when nobody listens there, [`CommandError::Denied`] when the system forbids it.
    pub(crate) fn connect(socket: &Path) -> Result<Self, CommandError> {
        let connection =
            blocking::connect(socket, Role::Cli).map_err(|error| CommandError::not_connected(socket, &error))?;
        Ok(Self { connection, socket: socket.to_owned(), last_id: 0, parked: VecDeque::new() })
    }

    /// Sends a request and waits for its only reply.
    ///
    /// # Errors
    /// [`CommandError::Refused`] when the supervisor will not, [`CommandError::Lost`] when it went away.
    pub(crate) fn call(&mut self, request: Request) -> Result<Reply, CommandError> {
        let id = self.send(request)?;
        self.next(id)
    }

    /// Sends a request; its replies are taken with [`Self::next`].
    ///
    /// # Errors
    /// [`CommandError::Lost`] when the supervisor went away.
    pub(crate) fn send(&mut self, request: Request) -> Result<u64, CommandError> {
        self.last_id += 1;
        let message = ClientMessage { id: self.last_id, request };
        match self.connection.send(&message) {
            Ok(()) => Ok(self.last_id),
            Err(WriteError::Encode(error)) => {
                let message = format!("the request is too long for one message: {error}");
                Err(CommandError::Usage { message, help: None })
            }
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Waits for the next reply to request `id`.
    ///
    /// # Errors
    /// [`CommandError::Refused`] when the supervisor will not, [`CommandError::Lost`] when it went away.
    pub(crate) fn next(&mut self, id: u64) -> Result<Reply, CommandError> {
        if let Some(position) = self.parked.iter().position(|message| message.id == id)
            && let Some(message) = self.parked.remove(position)
        {
            return accepted(message.reply);
        }
        loop {
            let message: ServerMessage = match self.connection.receive() {
                Ok(Some(message)) => message,
                Ok(None) => return Err(self.lost(&"it closed the connection")),
                Err(ReadError::Malformed(error)) => {
                    let message = format!("the supervisor sent what is no reply: {error}");
                    return Err(CommandError::Failed { message, help: None });
                }
                Err(error) => return Err(self.lost(&error)),
            };
            if message.id == id {
                return accepted(message.reply);
            }
            if self.parked.len() == REPLIES_PARKED_MAX {
                return Err(CommandError::unexpected(&message.reply));
            }
            self.parked.push_back(message);
        }
    }

    fn lost(&self, cause: &dyn Display) -> CommandError {
        CommandError::Lost { socket: self.socket.clone(), cause: cause.to_string() }
    }
}

fn accepted(reply: Reply) -> Result<Reply, CommandError> {
    if let Reply::Refused(refusal) = reply { Err(CommandError::Refused(refusal)) } else { Ok(reply) }
}
