//! The control groups that a supervisor started from here would have for its workers, and what to change where it would have
//! none, or none that limit.

use runlet_supervisor::cgroup::{Choice, Group, Groups, NoGroups};
use serde::Serialize;

/// What was found, made for the time of the probe.
#[derive(Debug)]
pub(crate) struct Found {
    groups: Result<Groups, NoGroups>,
    /// Whether a worker was born in the one it was to be born in; unknown before there was one.
    pub(super) inhabited: Option<bool>,
}

/// What is printed of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Described {
    /// The group below which those of workers are made; `null` if there is none.
    pub(crate) path: Option<String>,
    /// By what it is ours: `named`, `delegated`, `root`.
    pub(crate) by: Option<&'static str>,
    /// What the groups of workers limit.
    pub(crate) controllers: Vec<&'static str>,
    /// Why there are no groups, or what is missing in them; `null` if nothing is.
    pub(crate) missing: Option<String>,
}

impl Found {
    /// Looks, and makes what a supervisor would make.
    pub(crate) fn look(choice: &Choice) -> Self {
        Self { groups: Groups::set_up(choice, &format!("doctor-{}", std::process::id())), inhabited: None }
    }

    /// The directory for the zygote, and the group for its workers, which come one after the other.
    pub(super) fn take(&mut self) -> Option<(std::path::PathBuf, Group)> {
        let groups = self.groups.as_mut().ok()?;
        let group = groups.take()?;
        Some((groups.directory().to_owned(), group))
    }

    pub(crate) fn describe(&self) -> Described {
        let groups = match &self.groups {
            Ok(groups) => groups,
            Err(why) => {
                return Described { path: None, by: None, controllers: Vec::new(), missing: Some(why.to_string()) };
            }
        };
        let why = groups.missing().iter().map(|missing| format!("{}: {}", missing.controller, missing.why));
        let outside = self.inhabited == Some(false);
        let outside =
            outside.then(|| "a worker cannot be born in it from here (clone3(2), CLONE_INTO_CGROUP)".to_owned());
        let why: Vec<_> = outside.into_iter().chain(why).collect();
        let there = ["memory", "pids"];
        let is_missing = |name: &&str| groups.missing().iter().any(|missing| missing.controller == *name);
        Described {
            path: Some(groups.place().directory.display().to_string()),
            by: Some(groups.place().title.as_str()),
            controllers: there.into_iter().filter(|name| !is_missing(name)).collect(),
            missing: (!why.is_empty()).then(|| why.join("; ")),
        }
    }

    /// What to change so that workers have groups that limit them.
    pub(crate) fn advice(&self) -> String {
        let next = match &self.groups {
            Ok(_) => {
                let missing = self.describe().missing.unwrap_or_default();
                return format!(
                    "level 4 needs the controllers memory and pids of cgroup v2 around workers ({missing}): in a systemd unit, Delegate=yes; on a host that has them in v1, boot with cgroup_no_v1=all; in a container, --cgroup /sys/fs/cgroup moves aside who is in it"
                );
            }
            Err(NoGroups::Off) => "leave --cgroup off out",
            Err(NoGroups::NotMounted) => "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            Err(NoGroups::OutOfSight(_)) => {
                "give the container a cgroup namespace of its own, or mount all of cgroup2 in it"
            }
            Err(NoGroups::NotDelegated(_)) => {
                "in a systemd unit, Delegate=yes; by hand, `systemd-run --user --scope -p Delegate=yes runlet up`, or `runlet supervisor --cgroup DIR` with a group that is left to Runlet"
            }
            Err(NoGroups::NotAGroup(_)) => "--cgroup names a directory below where cgroup2 is mounted",
            Err(NoGroups::Refused { .. }) => {
                "let the user write there: User= and Delegate=yes in a systemd unit, a writable /sys/fs/cgroup in a container"
            }
        };
        let why = self.describe().missing.unwrap_or_default();
        format!("level 4 needs control groups around workers ({why}): {next}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_groups_it_says_why_and_what_to_change() {
        let found = Found::look(&Choice::At("/proc".into()));
        let described = found.describe();
        assert_eq!((described.path, described.by, described.controllers.len()), (None, None, 0));
        assert!(described.missing.is_some_and(|why| why.contains("/proc")));
        assert!(found.advice().contains("--cgroup names"), "{}", found.advice());
        assert!(Found::look(&Choice::Off).advice().contains("leave --cgroup off out"));
    }
}
