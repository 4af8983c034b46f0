//! The floor: `bench-floor`.

use std::process::Command;

use super::{Ground, Running, SystemError, SystemKind, printed_address, temp_dir};
use crate::group::Group;

pub(super) async fn start(ground: &Ground) -> Result<Running, SystemError> {
    let dir = temp_dir()?;
    let mut command = Command::new(ground.programs.join("bench-floor"));
    command.args(["--pages", &ground.pages.to_string()]);
    let mut group = Group::start(command, &dir.path().join("floor.log"))?;
    let address = group.await_log(printed_address).await?;
    Ok(Running { kind: SystemKind::Floor, address, groups: vec![("floor", group)], prefix: "/", _dir: dir })
}
