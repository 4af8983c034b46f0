//! `runlet doctor`: how far workers are confined on this host, by having some try what they must not be able to do.

use nix::unistd::geteuid;
use runlet_proto::worker::{Confinement, Namespaces};
use serde::Serialize;

use super::{CommandError, Setting};
use crate::args::Doctor;
use crate::doctor::groups::{Described, Found};
use crate::doctor::host::Host;
use crate::doctor::{Trial, level, probe, probe_programs};
use crate::exit_code::ExitCode;
use crate::output::{one, table};

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    kernel: String,
    user: u32,
    /// The level that was achieved; `null` if not even the lowest was.
    level: Option<u8>,
    level_required: u8,
    layers: Layers,
    /// Where workers have control groups of their own.
    cgroup: Described,
    /// What workers with programs lack: without any of it, no program is executed.
    missing_for_programs: Vec<&'static str>,
    acts: Vec<Attempted>,
    /// What to change on the host for the next level.
    advice: Vec<String>,
}

/// What is in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Layers {
    seccomp: bool,
    landlock_abi: u8,
    other_user: bool,
    namespaces: Vec<&'static str>,
    cgroup_limits: bool,
}

/// One act.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempted {
    act: &'static str,
    /// Whether the filter of system calls was in force as well.
    filtered: bool,
    prevented: bool,
    /// By what, if it was.
    by: Option<String>,
}

/// Probes and prints. Needs no supervisor, and does not mind one.
///
/// # Errors
/// [`CommandError::Failed`] when no worker can be made at all.
pub(crate) fn perform(here: &Setting, args: &Doctor) -> Result<ExitCode, CommandError> {
    let mut groups = Found::look(&args.cgroup.cgroup);
    let trials = probe(&mut groups).map_err(|error| CommandError::Failed {
        message: format!("no worker could be made: {error}"),
        help: Some("a worker is made by clone3(2) or clone(2) with CLONE_PARENT and CLONE_PIDFD (Linux 5.2); a container's filter may refuse both".to_owned()),
    })?;
    let programs = probe_programs().unwrap_or_default();
    let report = report(&Host::look(), &groups, &trials, &programs, args.require.require_isolation);
    one(here.format, &report, || {
        let advice = report.advice.iter().fold(String::new(), |text, line| text + "\nnext: " + line);
        table::facts(&rows(&report)) + &advice
    })?;
    let enough = report.level.is_some_and(|level| level >= report.level_required);
    Ok(if enough { ExitCode::Ok } else { ExitCode::Failed })
}

fn report(host: &Host, groups: &Found, trials: &[Trial], programs: &Confinement, level_required: u8) -> Report {
    let achieved = level(trials);
    let first = trials.iter().find(|trial| trial.filtered);
    let confinement = first.map_or_else(Confinement::default, |trial| trial.confinement);
    let Confinement { seccomp, landlock_abi, other_user, namespaces, cgroup_limits, process_limit: _ } = confinement;
    let acts = trials.iter().map(|trial| {
        let by = trial.outcome.prevented_by();
        Attempted { act: trial.act.as_str(), filtered: trial.filtered, prevented: by.is_some(), by }
    });
    Report {
        kernel: host.kernel.clone(),
        user: host.user,
        level: achieved,
        level_required,
        layers: Layers { seccomp, landlock_abi, other_user, namespaces: names(namespaces), cgroup_limits },
        cgroup: groups.describe(),
        missing_for_programs: programs.missing_for_programs(),
        acts: acts.collect(),
        advice: host.advice(achieved, &confinement, &groups.advice()),
    }
}

fn names(namespaces: Namespaces) -> Vec<&'static str> {
    let Namespaces { user, pid, mount, ipc, uts, net } = namespaces;
    let all = [(user, "user"), (pid, "pid"), (mount, "mount"), (ipc, "ipc"), (uts, "uts"), (net, "net")];
    all.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect()
}

/// A line a fact.
fn rows(report: &Report) -> Vec<[String; 3]> {
    let row = |name: &str, value: String, more: &str| [name.to_owned(), value, more.to_owned()];
    let yes = |there: bool| if there { "yes" } else { "no" }.to_owned();
    let layers = &report.layers;
    let user = if geteuid().is_root() { "root; workers are nobody" } else { "not root; workers are the same" };
    let spaces = if layers.namespaces.is_empty() { "no".to_owned() } else { layers.namespaces.join(" ") };
    let landlock = if layers.landlock_abi == 0 { "no".to_owned() } else { format!("version {}", layers.landlock_abi) };
    let group = match (&report.cgroup.path, report.cgroup.by) {
        (Some(path), Some(by)) => format!("{path} ({by})"),
        (Some(_), None) | (None, _) => "no".to_owned(),
    };
    let level = report.level.map_or_else(|| "none".to_owned(), |level| level.to_string());
    let enough = if report.level.is_some_and(|level| level >= report.level_required) { "enough" } else { "TOO LOW" };
    let missing = &report.missing_for_programs;
    let programs = if missing.is_empty() { String::new() } else { format!("without {}", missing.join("; ")) };
    let mut rows = vec![
        row("kernel", report.kernel.clone(), ""),
        row("user", user.to_owned(), ""),
        row("seccomp", yes(layers.seccomp), ""),
        row("landlock", landlock, ""),
        row("namespaces", spaces, ""),
        row("cgroup", group, report.cgroup.missing.as_deref().unwrap_or_default()),
        row("cgroup limits", yes(layers.cgroup_limits), ""),
        row("programs", yes(report.missing_for_programs.is_empty()), &programs),
        row("level", format!("{level} of {}", Confinement::LEVEL_MAX), ""),
        row("required", report.level_required.to_string(), enough),
    ];
    rows.extend(report.acts.iter().map(|tried| {
        let name = if tried.filtered { tried.act.to_owned() } else { format!("{}, without seccomp", tried.act) };
        let outcome = if tried.prevented { "prevented" } else { "HAPPENED" };
        [name, outcome.to_owned(), tried.by.clone().unwrap_or_default()]
    }));
    rows
}
