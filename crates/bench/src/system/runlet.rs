//! Runlet: a supervisor and a gateway, as they run in production, and one definition for each workload.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::{Ground, Running, SystemError, SystemKind, await_hello, flow, printed_address, temp_dir, write};
use crate::group::Group;
use crate::limits::START_TIMEOUT;
use crate::workload::Workload;

/// A supervisor and a gateway with a state directory of their own. Dropping it ends them.
#[derive(Debug)]
pub struct Engine {
    /// Where its hooks are.
    pub address: SocketAddr,
    program: PathBuf,
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
        let dir = temp_dir()?;
        let program = programs.join("runlet");
        let state = dir.path().join("state");
        let socket = state.join("control.sock");

        let mut command = Command::new(&program);
        // Runs that are alive when it is told to end must not keep it until it is killed: it would leave their control groups.
        command.arg("supervisor").arg("--state").arg(&state).args(["--drain", "1s"]);
        let mut supervisor = Group::start(command, &dir.path().join("supervisor.log"))?;
        let deadline = Instant::now() + START_TIMEOUT;
        while !socket.exists() {
            supervisor.wait_a_moment(deadline).await?;
        }

        let mut command = Command::new(&program);
        command.arg("gateway").arg("--socket").arg(&socket).args(["--listen", "127.0.0.1:0"]);
        let mut gateway = Group::start(command, &dir.path().join("gateway.log"))?;
        let address = gateway.await_log(printed_address).await?;
        Ok(Self { address, program, socket, gateway, supervisor, dir })
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

pub(super) async fn start(ground: &Ground) -> Result<Running, SystemError> {
    let mut engine = Engine::start(&ground.programs).await?;
    for workload in Workload::ALL {
        let name = format!("{}.json", workload.name());
        let definition = engine.dir.path().join(&name);
        write(definition.clone(), &flow(ground, &format!("runlet/{name}"))?)?;
        engine.deploy(&definition).await?;
    }
    engine.await_hello().await?;
    let Engine { address, gateway, supervisor, dir, program: _, socket: _ } = engine;
    let groups = vec![("gateway", gateway), ("supervisor", supervisor)];
    Ok(Running { kind: SystemKind::Runlet, address, groups, prefix: "/hook/", _dir: dir })
}
