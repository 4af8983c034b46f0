//! What a supervisor is started with.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runlet_ipc::Manager;
use runlet_proto::worker::Confinement;

use crate::export::Export;
use crate::heavy::cgroup::Choice;
use crate::limits;
use crate::programs::AllowProgram;

/// Configuration of a supervisor.
#[derive(Debug, Clone)]
pub struct Config {
    /// State directory, made with mode 0700 when missing; the control socket is `control.sock` in it.
    pub state: PathBuf,
    /// PEM file with certificate authorities that every fetch trusts beside the system's.
    pub ca_file: Option<PathBuf>,
    /// CPU slots: how many light blocks may compute at once.
    pub slots: NonZeroUsize,
    /// Most live runs at once.
    pub live_runs_max: usize,
    /// Memory that all heavy runs together may be allowed, in bytes.
    pub heavy_memory_bytes: u64,
    /// The `runlet` binary, started as `zygote` when the first heavy run comes. Without it heavy runs fail.
    pub zygote: Option<PathBuf>,
    /// Lowest level of isolation (`runlet_proto::worker::Confinement::level`) at which a heavy run is executed.
    pub level_required: u8,
    /// Where workers get control groups of their own.
    pub cgroup: Choice,
    /// How far workers stand back for the supervisor, which answers others while they compute, and for whatever else the
    /// machine does: their nice value (setpriority(2)), and that of their session (sched(7), "The autogroup feature").
    pub worker_nice: u8,
    /// The programs that `exec` blocks may run.
    pub allowed: Vec<AllowProgram>,
    /// Which ended runs the journal keeps.
    pub retention: runlet_journal::Retention,
    /// How long live runs may go on after the signal to stop.
    pub drain: Duration,
    /// The control socket that a service manager passed, served in place of `control.sock`.
    pub passed: Option<Arc<OwnedFd>>,
    /// Who is told when the supervisor is ready, reloads, lives and ends.
    pub manager: Manager,
    /// Reads the configuration again at SIGHUP; without it SIGHUP ends the process.
    pub reload: Option<fn() -> Result<Self, String>>,
    /// Which lines are logged, as `set_log_level` takes it.
    pub log_level: String,
    /// Has other lines logged from now on.
    pub set_log_level: Option<fn(&str)>,
    /// Where traces are exported to.
    pub export: Export,
    /// What workflows share.
    pub memory: Memory,
    /// Called when the last live run has ended and nothing is to be done: gives freed memory back to the system.
    pub release_memory: Option<fn()>,
}

/// Where what workflows share lies, and how much it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// [`Self::EMBEDDED`], or the address of a Redis or Valkey server: `redis://…`, `rediss://…` with TLS, `unix://…`.
    pub url: String,
    /// Keys of a namespace.
    pub keys_max: u64,
    /// Bytes of a namespace's keys and values.
    pub bytes_max: u64,
    /// Bytes of one value, or of one message.
    pub value_bytes_max: u64,
    /// Messages of a channel that are not acknowledged, dead ones included.
    pub messages_max: u64,
    /// Bytes of these messages.
    pub message_bytes_max: u64,
}

impl Memory {
    /// In the supervisor itself, kept by its journal.
    pub const EMBEDDED: &str = "embedded:";

    /// Of the addresses of servers, as its client reads them.
    const SCHEMES: [&str; 7] =
        ["redis://", "rediss://", "valkey://", "valkeys://", "unix://", "redis+unix://", "valkey+unix://"];

    /// The address without what is secret in it. One that is written wrong loses rather too much.
    #[must_use]
    pub fn shown_url(&self) -> String {
        let (scheme, rest) = match self.url.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.url.as_str()),
        };
        let (user, place) = match rest.rsplit_once('@') {
            // Without a scheme it is not known what of it is the user.
            Some((_, place)) if scheme.is_empty() => ("***@".to_owned(), place),
            Some((credentials, place)) => {
                let user = credentials.split([':', '/', '?']).next().unwrap_or_default();
                // After a question mark an `@` may stand in the password itself.
                (format!("{user}:***@"), if credentials.contains('?') { "***" } else { place })
            }
            None => (String::new(), rest),
        };
        // The address of a socket has its password among the parameters: `unix:///run/redis.sock?pass=…`.
        match place.split_once('?') {
            Some((place, _)) => format!("{scheme}{user}{place}?***"),
            None => format!("{scheme}{user}{place}"),
        }
    }

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// In one sentence, with the way out.
    pub fn check(&self) -> Result<(), String> {
        if self.url == Self::EMBEDDED || Self::SCHEMES.iter().any(|scheme| self.url.starts_with(scheme)) {
            return Ok(());
        }
        let scheme = match self.url.split_once(':') {
            Some((scheme, rest)) if rest.is_empty() || rest.starts_with("//") => scheme,
            // What else stands before a colon may be a part of a password.
            Some(_) | None => "none",
        };
        Err(format!(
            "the scheme of `memory.url` is {scheme}; it is `{}`, `redis://host:port`, `rediss://host:port` with TLS, or `unix:///path`",
            Self::EMBEDDED
        ))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            url: Self::EMBEDDED.to_owned(),
            keys_max: runlet_memory::limits::KEYS_DEFAULT,
            bytes_max: runlet_memory::limits::BYTES_DEFAULT,
            value_bytes_max: runlet_memory::limits::VALUE_BYTES_DEFAULT,
            messages_max: runlet_memory::limits::MESSAGES_DEFAULT,
            message_bytes_max: runlet_memory::limits::MESSAGE_BYTES_DEFAULT,
        }
    }
}

impl Config {
    /// Defaults: a slot a core, thirty seconds to drain, no control groups.
    #[must_use]
    pub fn new(state: PathBuf) -> Self {
        Self {
            state,
            ca_file: None,
            slots: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            live_runs_max: limits::LIVE_RUNS_MAX,
            heavy_memory_bytes: limits::HEAVY_MEMORY_BYTES_DEFAULT,
            zygote: None,
            level_required: Confinement::LEVEL_REQUIRED,
            cgroup: Choice::Off,
            worker_nice: limits::WORKER_NICE_DEFAULT,
            allowed: Vec::new(),
            retention: runlet_journal::Retention::default(),
            drain: Duration::from_secs(30),
            passed: None,
            manager: Manager::default(),
            reload: None,
            log_level: String::new(),
            set_log_level: None,
            export: Export::default(),
            memory: Memory::default(),
            release_memory: None,
        }
    }

    /// Path of the control socket, unless one was passed.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state.join("control.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Memory {
        Memory { url: url.to_owned(), ..Memory::default() }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("embedded:", "embedded:"),
            ("redis://host:6379/1", "redis://host:6379/1"),
            ("redis://u:secret@host", "redis://u:***@host"),
            ("rediss://:secret@host:1/0", "rediss://:***@host:1/0"),
            ("redis://u:se/cr@et@host", "redis://u:***@host"),
            ("redis://u:se?cret@host", "redis://u:***@***"),
            ("unix:///run/r.sock?user=u&pass=secret", "unix:///run/r.sock?***"),
            ("redis+unix:///run/r.sock?pass=sec@ret", "redis+unix://:***@***"),
            ("redis://u:secret@host/0?protocol=resp3", "redis://u:***@host/0?***"),
            ("u:secret@host", "***@host"),
        ] {
            assert_eq!(at(url).shown_url(), shown, "{url}");
        }
    }

    #[test]
    fn a_scheme_that_is_not_known_is_refused_by_its_name_and_without_the_password() {
        for (url, scheme) in [("rdis://u:secret@host", "rdis"), ("embeded:", "embeded"), ("secret@host:6379", "none")] {
            let error = at(url).check().expect_err(url);
            assert!(error.starts_with(&format!("the scheme of `memory.url` is {scheme};")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for url in
            ["redis://u:secret@host", "valkey://host", "valkeys://host:1/2", "unix:///run/redis.sock", "embedded:"]
        {
            assert_eq!(at(url).check(), Ok(()), "{url}");
        }
    }
}
