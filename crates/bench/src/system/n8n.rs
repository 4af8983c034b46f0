//! n8n, with everything off that is not the workflow: no editor, no telemetry, no record of executions, SQLite.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{
    Ground, Running, SystemError, SystemKind, await_hello, flow, free_port, node_program, peer, temp_dir, write,
};
use crate::group::Group;

/// Id of the one workflow, as it stands in its file.
const WORKFLOW_ID: &str = "runletBench0001";

pub(super) async fn start(ground: &Ground) -> Result<Running, SystemError> {
    let prepared = ground.n8n.get_or_try_init(|| prepare(ground)).await?;
    let dir = temp_dir()?;
    copy_folder(&prepared.path().join(".n8n"), &dir.path().join(".n8n"))?;
    let port = free_port()?;
    let mut command = command(ground, dir.path());
    let broker_port = free_port()?;
    command.arg("start").env("N8N_PORT", port.to_string()).env("N8N_RUNNERS_BROKER_PORT", broker_port.to_string());
    let mut group = Group::start(command, &dir.path().join("n8n.log"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    await_hello(&mut group, address, "/webhook/hello").await?;
    Ok(Running { kind: SystemKind::N8n, address, groups: vec![("n8n", group)], prefix: "/webhook/", _dir: dir })
}

/// Makes a user folder with the workflow imported and published: once in a run, because it takes half a minute.
async fn prepare(ground: &Ground) -> Result<TempDir, SystemError> {
    let dir = temp_dir()?;
    let workflow = dir.path().join("workflow.json");
    write(workflow.clone(), &flow(ground, "n8n/workflow.json")?)?;
    let import = format!("--input={}", workflow.display());
    let publish = format!("--id={WORKFLOW_ID}");
    for arguments in [["import:workflow", &import], ["publish:workflow", &publish]] {
        let output = tokio::process::Command::from(command(ground, dir.path()))
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|cause| SystemError::File { path: node_program(ground), cause })?;
        if !output.status.success() {
            let mut printed = output.stdout;
            printed.extend(output.stderr);
            let output = String::from_utf8_lossy(&printed).into_owned();
            return Err(SystemError::Prepare { command: format!("n8n {}", arguments.join(" ")), output });
        }
    }
    Ok(dir)
}

fn command(ground: &Ground, user_folder: &Path) -> Command {
    let mut command = Command::new(node_program(ground));
    command.arg(peer(ground, "n8n").join("bin/n8n")).env("N8N_USER_FOLDER", user_folder).envs([
        ("NODE_ENV", "production"),
        ("N8N_LISTEN_ADDRESS", "127.0.0.1"),
        ("N8N_LOG_LEVEL", "warn"),
        ("N8N_DISABLE_UI", "true"),
        ("N8N_DIAGNOSTICS_ENABLED", "false"),
        ("N8N_VERSION_NOTIFICATIONS_ENABLED", "false"),
        ("N8N_TEMPLATES_ENABLED", "false"),
        ("N8N_HIRING_BANNER_ENABLED", "false"),
        ("N8N_PERSONALIZATION_ENABLED", "false"),
        ("EXECUTIONS_DATA_SAVE_ON_SUCCESS", "none"),
        ("EXECUTIONS_DATA_SAVE_ON_ERROR", "none"),
        ("EXECUTIONS_DATA_SAVE_ON_PROGRESS", "false"),
    ]);
    command
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), SystemError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| SystemError::File { path, cause }
    };
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(at(&target))?;
        }
    }
    Ok(())
}
