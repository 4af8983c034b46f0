//! What the operator decides about fetching, and what can be wrong with it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::limits;

/// Settings of a [`Fetcher`](crate::Fetcher).
#[derive(Debug, Clone)]
pub struct Config {
    /// PEM file with certificate authorities trusted beside the system's (`RUNLET_CA_FILE`); read once, when the
    /// fetcher is made.
    pub ca_file: Option<PathBuf>,
    /// Ranges of addresses that are not public and that any host may resolve to nevertheless.
    pub allow: Vec<IpNet>,
    /// Names with fixed addresses, lower case, as in `/etc/hosts`; the address rule applies to them as to any answer.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// `user-agent` of requests that bring none.
    pub user_agent: String,
    /// Bytes of response bodies in memory at once, over all calls, from the first byte read until the reply is handed
    /// over. The first 64 KiB of each body are not counted, so that small pages never wait for large ones; one body at a
    /// time may go beyond, so that there is always a call that can finish. Text in another encoding than UTF-8 exists
    /// twice while it is decoded.
    pub bodies_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ca_file: None,
            allow: Vec::new(),
            hosts: BTreeMap::new(),
            user_agent: concat!("runlet/", env!("CARGO_PKG_VERSION")).to_owned(),
            bodies_bytes_max: limits::BODIES_BYTES_MAX,
        }
    }
}

/// Why a [`Fetcher`](crate::Fetcher) cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file of certificate authorities is missing, too large, not PEM or empty.
    #[error("the file of certificate authorities {path} cannot be used: {cause}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The user agent holds something a header field cannot carry.
    #[error("the user agent {0:?} cannot be sent: only visible ASCII characters and spaces may stand in it")]
    UserAgent(String),
    /// TLS or the HTTP client did not start.
    #[error("the HTTP client cannot be built: {0}")]
    Client(String),
}
