//! Runlet: a supervisor and a gateway, as they run in production, and one definition for each workload.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::{Ground, Running, SystemError, SystemKind, await_hello, flow, printed_address, temp_dir, write};
use crate::durable::Sample;
use crate::exchange;
use crate::group::Group;
use crate::limits::START_TIMEOUT;
use crate::proc;
use crate::workload::Workload;

/// A supervisor and a gateway with a state directory of their own. Dropping it ends them.
#[derive(Debug)]
pub struct Engine {
    /// Where its hooks are.
    pub address: SocketAddr,
    program: PathBuf,
    options: Vec<String>,
    socket: PathBuf,
    gateway: Group,
    supervisor: Group,
    dir: TempDir,
}

impl Engine {
    /// Starts the `runlet` in a folder of programs.
    ///
    /// # Errors
    /// Any [`SystemError`].
    pub async fn start(programs: &Path) -> Result<Self, SystemError> {
        Self::start_with(programs, &[]).await
    }

    /// The same, with further options of the supervisor.
    ///
    /// # Errors
    /// Any [`SystemError`].
    pub async fn start_with(programs: &Path, options: &[&str]) -> Result<Self, SystemError> {
        let dir = temp_dir()?;
        let program = programs.join("runlet");
        let state = dir.path().join("state");
        let socket = state.join("control.sock");

        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let supervisor = supervise(&program, &dir, &options).await?;

        let mut command = Command::new(&program);
        command.arg("gateway").arg("--socket").arg(&socket).args(["--listen", "127.0.0.1:0"]);
        let mut gateway = Group::start(command, &dir.path().join("gateway.log"))?;
        let address = gateway.await_log(printed_address).await?;
        Ok(Self { address, program, options, socket, gateway, supervisor, dir })
    }

    /// Makes a definition live.
    ///
    /// # Errors
    /// [`SystemError::Prepare`] when it is refused.
    pub async fn deploy(&self, definition: &Path) -> Result<(), SystemError> {
        let definition = definition.display().to_string();
        self.tell(&["deploy", &definition]).await.map(drop)
    }

    /// What a command of the `runlet` binary printed.
    ///
    /// # Errors
    /// [`SystemError::Prepare`] when it failed.
    pub async fn tell(&self, arguments: &[&str]) -> Result<String, SystemError> {
        let output = tokio::process::Command::new(&self.program)
            .args(arguments)
            .arg("--socket")
            .arg(&self.socket)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|cause| SystemError::File { path: self.program.clone(), cause })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let mut printed = output.stdout;
        printed.extend(output.stderr);
        Err(SystemError::Prepare {
            command: format!("runlet {}", arguments.join(" ")),
            output: String::from_utf8_lossy(&printed).into_owned(),
        })
    }

    /// Waits until `/hook/hello` answers.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn await_hello(&mut self) -> Result<(), SystemError> {
        await_hello(&mut self.gateway, self.address, "/hook/hello").await
    }
}

impl Engine {
    /// Waits until a hook's route is served, whatever it answers.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn await_route(&mut self, path: &str) -> Result<(), SystemError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !matches!(exchange::get(self.address, path).await, Ok((200 | 202, _))) {
            self.gateway.wait_a_moment(deadline).await?;
        }
        Ok(())
    }

    /// Kills the supervisor, which is told nothing.
    pub fn kill_supervisor(&mut self) {
        self.supervisor.kill();
    }

    /// Starts a supervisor with the same state, and waits until it is ready.
    ///
    /// # Errors
    /// Any [`SystemError`].
    pub async fn start_supervisor_again(&mut self) -> Result<(), SystemError> {
        self.supervisor = supervise(&self.program, &self.dir, &self.options).await?;
        Ok(())
    }

    /// How many runs are live.
    ///
    /// # Errors
    /// [`SystemError::Prepare`] when the supervisor does not say.
    pub async fn live_runs(&self) -> Result<u64, SystemError> {
        let text = self.tell(&["-o", "json", "status"]).await?;
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(status["liveRuns"].as_u64().unwrap_or_default())
    }

    /// What both processes and the journal have now.
    ///
    /// # Errors
    /// When `/proc` or the state directory cannot be read.
    pub fn sample(&self, at_s: f64) -> io::Result<Sample> {
        let (mut rss_bytes, mut descriptors) = (0, 0);
        for group in [&self.supervisor, &self.gateway] {
            rss_bytes += proc::memory(group.id())?.rss_bytes;
            descriptors += fs::read_dir(format!("/proc/{}/fd", group.id()))?.count() as u64;
        }
        let journal = fs::read_dir(self.dir.path().join("state/journal"))?;
        let bytes = |entry: fs::DirEntry| entry.metadata().map_or(0, |found| found.len());
        let journal_bytes = journal.filter_map(Result::ok).map(bytes).sum();
        Ok(Sample { at_s, rss_bytes, descriptors, journal_bytes })
    }
}

async fn supervise(program: &Path, dir: &TempDir, options: &[String]) -> Result<Group, SystemError> {
    let mut command = Command::new(program);
    // Runs that are alive when it is told to end must not keep it until it is killed: it would leave their control groups.
    command.arg("supervisor").arg("--state").arg(dir.path().join("state")).args(["--drain", "1s"]).args(options);
    let mut supervisor = Group::start(command, &dir.path().join("supervisor.log"))?;
    supervisor.await_log(|log| log.lines().any(|line| line.starts_with("ready ")).then_some(())).await?;
    Ok(supervisor)
}

pub(super) async fn start(ground: &Ground) -> Result<Running, SystemError> {
    let mut engine = Engine::start(&ground.programs).await?;
    for workload in Workload::ALL {
        let name = format!("{}.json", workload.name());
        let definition = engine.dir.path().join(&name);
        write(definition.clone(), &flow(ground, &format!("runlet/{name}"))?)?;
        engine.deploy(&definition).await?;
    }
    engine.await_hello().await?;
    let Engine { address, gateway, supervisor, dir, program: _, options: _, socket: _ } = engine;
    let groups = vec![("gateway", gateway), ("supervisor", supervisor)];
    Ok(Running { kind: SystemKind::Runlet, address, groups, prefix: "/hook/", _dir: dir })
}
