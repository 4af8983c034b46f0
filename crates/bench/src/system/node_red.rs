//! Node-RED, as its documentation says to run it in production: no editor, connections kept alive.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::{
    Ground, Running, SystemError, SystemKind, await_hello, flow, free_port, node_program, peer, temp_dir, write,
};
use crate::group::Group;

pub(super) async fn start(ground: &Ground) -> Result<Running, SystemError> {
    start_with(ground, "node-red/flows.json").await
}

/// Starts it with these flows, which answer `/hello`.
pub(super) async fn start_with(ground: &Ground, flows_path: &str) -> Result<Running, SystemError> {
    let dir = temp_dir()?;
    let settings = dir.path().join("settings.js");
    let flows = dir.path().join("flows.json");
    write(settings.clone(), &flow(ground, "node-red/settings.js")?)?;
    write(flows.clone(), &flow(ground, flows_path)?)?;
    let port = free_port()?;
    let mut command = Command::new(node_program(ground));
    command
        .arg(peer(ground, "node-red").join("red.js"))
        .args(["--port", &port.to_string()])
        .arg("--settings")
        .arg(settings)
        .arg("--userDir")
        .arg(dir.path())
        .arg(flows)
        .env("NODE_ENV", "production");
    let mut group = Group::start(command, &dir.path().join("node-red.log"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    await_hello(&mut group, address, "/hello").await?;
    Ok(Running { kind: SystemKind::NodeRed, address, groups: vec![("node-red", group)], prefix: "/", _dir: dir })
}
