//! The first frame each side of a connection sends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// First four bytes of a `Hello`, so that a stray client of another protocol is named as such.
pub const MAGIC: [u8; 4] = *b"RNLT";

/// Version of the messages in this crate. Both ends must have the same one; they are installed as one binary.
pub const WIRE_VERSION: u16 = 7;

/// What a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The daemon that owns the kernel.
    Supervisor,
    /// The HTTP front.
    Gateway,
    /// A command-line client.
    Cli,
    /// A sandboxed process that runs the blocks of one run.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Supervisor => "supervisor",
            Self::Gateway => "gateway",
            Self::Cli => "cli",
            Self::Worker => "worker",
        })
    }
}

/// Opens every connection, in both directions; the connecting side sends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`WIRE_VERSION`] of the sender.
    pub version: u16,
    /// What the sender is.
    pub role: Role,
}

/// A peer that cannot be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The other side is not Runlet.
    #[error("the peer does not speak Runlet's protocol")]
    NotRunlet,
    /// The other side is another release.
    #[error(
        "the {role} speaks wire version {theirs}, this program speaks {WIRE_VERSION}: install the same release on both sides and restart them"
    )]
    Version {
        /// What the peer is.
        role: Role,
        /// What the peer speaks.
        theirs: u16,
    },
}

impl Hello {
    /// The opening message of a process in `role`.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { magic: MAGIC, version: WIRE_VERSION, role }
    }

    /// Checks a received `Hello`.
    ///
    /// # Errors
    /// [`HelloError`] for another protocol or another version.
    pub fn check(&self) -> Result<Role, HelloError> {
        if self.magic != MAGIC {
            return Err(HelloError::NotRunlet);
        }
        if self.version != WIRE_VERSION {
            return Err(HelloError::Version { role: self.role, theirs: self.version });
        }
        Ok(self.role)
    }
}
