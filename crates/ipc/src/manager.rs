//! What a daemon tells the service manager that started it: sd_notify(3), one datagram for each piece of news.
//!
//! Nothing here waits. A manager that takes no messages is told nothing, and the daemon goes on: its work comes first.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, or nobody.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    address: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Who listens at `address`: the path of a datagram socket, or an abstract name with `@` before it. It ends a daemon that
    /// is silent for longer than `watchdog`.
    #[must_use]
    pub const fn at(address: OsString, watchdog: Option<Duration>) -> Self {
        Self { address: Some(address), watchdog }
    }

    /// How often [`Manager::alive`] is to be said: at half of the time the manager waits, as sd_watchdog_enabled(3) recommends.
    /// `None` when nobody waits for it.
    #[must_use]
    pub fn alive_every(&self) -> Option<Duration> {
        self.address.as_ref().and(self.watchdog).map(|time| time / 2)
    }

    /// The daemon serves; after a reload: it serves again, by the configuration it now has.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload has begun. It ends with [`Manager::ready`].
    pub fn reloading(&self) {
        // The manager tells by the time whether this answers its own signal or an earlier one (systemd.service(5), notify-reload).
        let Ok(now) = NotifyState::monotonic_usec_now() else { return };
        self.tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")]);
    }

    /// The end has begun, and may take this long.
    pub fn stopping(&self, status: &str, within: Duration) {
        self.tell(&[NotifyState::Stopping, NotifyState::Custom(&extended(within)), NotifyState::Status(status)]);
    }

    /// What has begun, a start or an end, takes this much longer from now on.
    pub fn takes_longer(&self, by: Duration) {
        self.tell(&[NotifyState::Custom(&extended(by))]);
    }

    /// The daemon's loop turns.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, news: &[NotifyState<'_>]) {
        let Some(address) = &self.address else { return };
        let mut message = String::new();
        for one in news {
            // A text takes whatever is written to it.
            let _ = writeln!(message, "{one}");
        }
        // Nobody else could be told that the manager does not hear.
        let _ = send(address, message.as_bytes());
    }
}

/// The crate's own form of it ends at 71 minutes.
fn extended(by: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", by.as_micros())
}

/// Anew each time: the manager may have been replaced by another at the same address.
fn send(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    socket.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn each_piece_of_news_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::at(path.into(), Some(Duration::from_secs(30)));
        assert_eq!(manager.alive_every(), Some(Duration::from_secs(15)));
        manager.ready("serves");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serves\n");
        manager.reloading();
        let reloading = heard(&socket);
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        manager.stopping("drains", Duration::from_secs(2));
        assert_eq!(heard(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000\nSTATUS=drains\n");
        manager.takes_longer(Duration::from_hours(2));
        assert_eq!(heard(&socket), "EXTEND_TIMEOUT_USEC=7200000000\n");
        manager.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
        // More than the socket holds: nobody reads, and nobody waits.
        (0..10_000).for_each(|_| manager.alive());
    }

    #[test]
    fn an_abstract_name_is_an_address_and_nobody_is_none() {
        let name = format!("runlet-manager-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = Manager::at(format!("@{name}").into(), None);
        manager.alive();
        assert_eq!((heard(&socket).as_str(), manager.alive_every()), ("WATCHDOG=1\n", None));
        let nobody = Manager::default();
        nobody.ready("serves");
        Manager::at("/nowhere/notify".into(), None).ready("serves");
        assert_eq!(Manager { watchdog: Some(Duration::from_secs(1)), ..nobody }.alive_every(), None);
    }
}
