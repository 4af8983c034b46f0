//! The systems that are compared: how each is started, where it answers, what it consists of.

mod floor;
mod n8n;
mod node_red;
mod runlet;

pub use runlet::Engine;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::exchange;
use crate::group::{Group, GroupError};
use crate::limits::START_TIMEOUT;
use crate::workload::Workload;

/// In the flows, stands for the page server's address.
const PAGES_PLACEHOLDER: &str = "@PAGES@";

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum SystemKind {
    /// One hyper server that does the work by hand.
    Floor,
    /// Supervisor and gateway.
    Runlet,
    /// Node-RED, installed from npm.
    NodeRed,
    /// n8n, installed from npm.
    #[serde(rename = "n8n")]
    #[value(name = "n8n")]
    N8n,
}

/// What every system is started with.
#[derive(Debug)]
pub struct Ground {
    /// Folder with our own programs.
    pub programs: PathBuf,
    /// Folder with the definitions and flows: `scripts/bench.d`.
    pub flows: PathBuf,
    /// Folder into which `scripts/bench-peers` installed.
    pub peers: PathBuf,
    /// The page server.
    pub pages: SocketAddr,
    /// n8n's files with the workflow published, once they are made.
    pub n8n: OnceCell<TempDir>,
}

/// Why a system does not run.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A process of it.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A file of it.
    #[error("{path}: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A command that prepares it.
    #[error("{command} failed: {output}")]
    Prepare {
        /// The command.
        command: String,
        /// What it printed.
        output: String,
    },
    /// No port could be had.
    #[error("no free port: {0}")]
    Port(io::Error),
}

/// A system that answers. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    /// Which one it is.
    pub kind: SystemKind,
    /// Where it answers.
    pub address: SocketAddr,
    /// Its parts by name, in the order they are to end.
    groups: Vec<(&'static str, Group)>,
    /// What of every path comes before the workload's name.
    prefix: &'static str,
    /// Its files; after the groups, so that it is removed when nobody writes there any more.
    _dir: TempDir,
}

impl SystemKind {
    /// Every system there is.
    pub const ALL: [Self; 4] = [Self::Floor, Self::Runlet, Self::NodeRed, Self::N8n];

    /// Name in tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Runlet => "runlet",
            Self::NodeRed => "node-red",
            Self::N8n => "n8n",
        }
    }

    /// Whether it is somebody else's: its faults are not ours to fail by.
    #[must_use]
    pub fn is_peer(self) -> bool {
        match self {
            Self::Floor | Self::Runlet => false,
            Self::NodeRed | Self::N8n => true,
        }
    }

    /// The version that is installed, or why the system cannot take part.
    ///
    /// # Errors
    /// A sentence with the reason and the way out.
    pub fn version(self, ground: &Ground) -> Result<String, String> {
        match self {
            Self::Floor => built(&ground.programs.join("bench-floor")),
            Self::Runlet => built(&ground.programs.join("runlet")),
            Self::NodeRed => installed(ground, "node-red"),
            Self::N8n => installed(ground, "n8n"),
        }
    }

    /// Starts it with the definitions of all workloads and waits until it answers.
    ///
    /// # Errors
    /// Any [`SystemError`].
    pub async fn start(self, ground: &Ground) -> Result<Running, SystemError> {
        match self {
            Self::Floor => floor::start(ground).await,
            Self::Runlet => runlet::start(ground).await,
            Self::NodeRed => node_red::start(ground).await,
            Self::N8n => n8n::start(ground).await,
        }
    }
}

impl Running {
    /// Path of a workload.
    #[must_use]
    pub fn path(&self, workload: Workload) -> String {
        format!("{}{}", self.prefix, workload.name())
    }

    /// Name and process group of each part.
    #[must_use]
    pub fn groups(&self) -> Vec<(String, i32)> {
        self.groups.iter().map(|(name, group)| ((*name).to_owned(), group.id())).collect()
    }

    /// Ends its processes; it answers no more.
    pub fn end(&mut self) {
        self.groups.clear();
    }

    /// The end of what its parts printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.groups.iter().map(|(name, group)| format!("-- {name}:\n{}", group.log_tail())).collect()
    }
}

/// Starts Node-RED with other flows than those of the workloads; they must answer `/hello`.
///
/// # Errors
/// Any [`SystemError`].
pub async fn start_node_red(ground: &Ground, flows_path: &str) -> Result<Running, SystemError> {
    node_red::start_with(ground, flows_path).await
}

fn built(program: &Path) -> Result<String, String> {
    if program.is_file() {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    } else {
        Err(format!("{} is not built; scripts/bench builds it", program.display()))
    }
}

/// The version in a peer's `package.json`.
fn installed(ground: &Ground, package: &str) -> Result<String, String> {
    let folder = ground.peers.join(package);
    if !folder.join("complete").exists() {
        return Err(format!("not installed in {}; scripts/bench-peers installs it", folder.display()));
    }
    let manifest = peer(ground, package).join("package.json");
    let text = fs::read_to_string(manifest).map_err(|cause| cause.to_string())?;
    let manifest: serde_json::Value = serde_json::from_str(&text).map_err(|cause| cause.to_string())?;
    Ok(manifest["version"].as_str().unwrap_or("unknown").to_owned())
}

/// Where `scripts/bench-peers` installs unless it is told otherwise.
#[must_use]
pub fn default_peers() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/runlet-bench-peers")
}

/// Folder of a peer's package.
fn peer(ground: &Ground, package: &str) -> PathBuf {
    ground.peers.join(package).join("node_modules").join(package)
}

/// The Node.js that `scripts/bench-peers` put beside the peers, else the one on the path.
fn node_program(ground: &Ground) -> PathBuf {
    let own = ground.peers.join("node/bin/node");
    if own.exists() { own } else { PathBuf::from("node") }
}

/// Reads a flow and puts the page server's address into it.
fn flow(ground: &Ground, path: &str) -> Result<String, SystemError> {
    let path = ground.flows.join(path);
    let text = fs::read_to_string(&path).map_err(|cause| SystemError::File { path, cause })?;
    Ok(text.replace(PAGES_PLACEHOLDER, &ground.pages.to_string()))
}

fn write(path: PathBuf, text: &str) -> Result<(), SystemError> {
    fs::write(&path, text).map_err(|cause| SystemError::File { path, cause })
}

pub(crate) fn temp_dir() -> Result<TempDir, SystemError> {
    tempfile::Builder::new()
        .prefix("runlet-bench-")
        .tempdir()
        .map_err(|cause| SystemError::File { path: std::env::temp_dir(), cause })
}

/// A port of the system's choosing, for programs that cannot be told to let the system choose.
fn free_port() -> Result<u16, SystemError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(SystemError::Port)?;
    Ok(listener.local_addr().map_err(SystemError::Port)?.port())
}

/// The first loopback address with a port in a program's output.
#[must_use]
pub fn printed_address(log: &str) -> Option<SocketAddr> {
    let (_, after) = log.split_once("127.0.0.1:")?;
    let digits = after.find(|letter: char| !letter.is_ascii_digit())?;
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, after[..digits].parse().ok()?)))
}

/// Waits until the hello workload is answered rightly; n8n answers 200 with a page about its start before.
async fn await_hello(group: &mut Group, address: SocketAddr, path: &str) -> Result<(), SystemError> {
    let deadline = Instant::now() + START_TIMEOUT;
    let right = |body: &[u8]| Workload::Hello.check(body).is_ok();
    while !matches!(exchange::get(address, path).await, Ok((200, body)) if right(&body)) {
        group.wait_a_moment(deadline).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_a_log() {
        let found = printed_address("starting\nlistening on http://127.0.0.1:4711/ now");
        assert_eq!(found, Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 4711))));
        // A line that is half written is no address yet.
        assert_eq!(printed_address("listening on 127.0.0.1:47"), None);
        assert_eq!(printed_address("listening"), None);
    }
}
