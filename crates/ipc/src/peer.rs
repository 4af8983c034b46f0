//! Who is at the other end of a connection, by the kernel's word.

use nix::unistd::geteuid;

/// The process that connected (unix(7), `SO_PEERCRED`): its ids at the time of `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id, where the kernel can name it in our namespace.
    pub pid: Option<i32>,
}

/// The peer belongs to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("user {theirs} may not use the control socket of user {ours}: only that user and root may")]
pub struct PeerRefused {
    /// The peer's user id.
    pub theirs: u32,
    /// Our effective user id.
    pub ours: u32,
}

impl Peer {
    /// Whether the peer may control us: the user we run as, or root.
    ///
    /// # Errors
    /// [`PeerRefused`] for everybody else.
    pub fn check(&self) -> Result<(), PeerRefused> {
        let ours = geteuid().as_raw();
        if self.uid == ours || self.uid == 0 { Ok(()) } else { Err(PeerRefused { theirs: self.uid, ours }) }
    }
}

impl TryFrom<&tokio::net::UnixStream> for Peer {
    type Error = std::io::Error;

    fn try_from(stream: &tokio::net::UnixStream) -> Result<Self, Self::Error> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_root_may_control_us() {
        let ours = geteuid().as_raw();
        let peer = |uid| Peer { uid, gid: 0, pid: None };
        assert_eq!(peer(ours).check(), Ok(()));
        assert_eq!(peer(0).check(), Ok(()));
        assert_eq!(peer(ours + 1).check(), Err(PeerRefused { theirs: ours + 1, ours }));
    }
}
