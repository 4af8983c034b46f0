//! Runlet: a supervisor and a gateway, as they run in production, and one definition for each workload.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::{Ground, Running, SystemError, SystemKind, await_hello, flow, printed_address, temp_dir, write};
use crate::group::Group;
use crate::limits::START_TIMEOUT;
use crate::workload::Workload;

pub(super) async fn start(ground: &Ground) -> Result<Running, SystemError> {
    let dir = temp_dir()?;
    let program = ground.programs.join("runlet");
    let state = dir.path().join("state");
    let socket = state.join("control.sock");

    let mut command = Command::new(&program);
    command.arg("supervisor").arg("--state").arg(&state);
    let mut supervisor = Group::start(command, &dir.path().join("supervisor.log"))?;
    let deadline = Instant::now() + START_TIMEOUT;
    while !socket.exists() {
        supervisor.wait_a_moment(deadline).await?;
    }

    let mut command = Command::new(&program);
    command.arg("gateway").arg("--socket").arg(&socket).args(["--listen", "127.0.0.1:0"]);
    let mut gateway = Group::start(command, &dir.path().join("gateway.log"))?;
    let address = gateway.await_log(printed_address).await?;

    for workload in Workload::ALL {
        let name = format!("{}.json", workload.name());
        let definition = dir.path().join(&name);
        write(definition.clone(), &flow(ground, &format!("runlet/{name}"))?)?;
        deploy(&program, &socket, &definition).await?;
    }
    await_hello(&mut gateway, address, "/hook/hello").await?;
    let groups = vec![("gateway", gateway), ("supervisor", supervisor)];
    Ok(Running { kind: SystemKind::Runlet, address, groups, prefix: "/hook/", _dir: dir })
}

async fn deploy(program: &Path, socket: &Path, definition: &Path) -> Result<(), SystemError> {
    let output = tokio::process::Command::new(program)
        .arg("deploy")
        .arg(definition)
        .arg("--socket")
        .arg(socket)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|cause| SystemError::File { path: program.to_owned(), cause })?;
    if output.status.success() {
        return Ok(());
    }
    let mut printed = output.stdout;
    printed.extend(output.stderr);
    Err(SystemError::Prepare {
        command: format!("runlet deploy {}", definition.display()),
        output: String::from_utf8_lossy(&printed).into_owned(),
    })
}
