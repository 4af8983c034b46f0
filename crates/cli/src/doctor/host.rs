//! What of the host decides how far workers can be confined, and what to change for the next level.

use std::fs;

use nix::sys::utsname::uname;
use nix::unistd::geteuid;
use runlet_proto::worker::Confinement;

/// Facts about the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) kernel: String,
    pub(crate) user: u32,
    /// The active security modules, if they can be read.
    security_modules: Option<String>,
    /// Settings that are known to forbid namespaces, with the value that does not.
    forbidding: Vec<(&'static str, &'static str)>,
}

/// Settings, the value that forbids, and one that does not.
const NAMESPACE_SETTINGS: &[(&str, &str, &str)] = &[
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
    ("user.max_pid_namespaces", "0", "10000"),
    ("user.max_net_namespaces", "0", "10000"),
];

impl Host {
    /// This one.
    pub(crate) fn look() -> Self {
        let kernel = uname().map_or_else(
            |_| "unknown".to_owned(),
            |name| {
                let parts = [name.sysname(), name.release(), name.machine()];
                parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
            },
        );
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
        let forbids = |name, value: &str| setting(name).is_some_and(|found| found.trim() == value);
        let forbidding = NAMESPACE_SETTINGS.iter().filter(|(name, value, _)| forbids(name, value));
        Self {
            kernel,
            user: geteuid().as_raw(),
            security_modules: fs::read_to_string("/sys/kernel/security/lsm").ok(),
            forbidding: forbidding.map(|&(name, _, better)| (name, better)).collect(),
        }
    }

    /// What to change so that more than `level` is achieved, given what is in force, and what to change about control groups; empty
    /// when there is nothing above.
    pub(crate) fn advice(&self, level: Option<u8>, confinement: &Confinement, groups: &str) -> Vec<String> {
        match level {
            None => vec!["an act that nothing should allow happened: see the list, and report it as a bug".to_owned()],
            Some(0) => vec![
                "level 1 needs filters of system calls: a kernel with CONFIG_SECCOMP_FILTER, on x86_64, aarch64 or riscv64"
                    .to_owned(),
            ],
            Some(1) => vec![self.landlock_advice()],
            Some(2) => self.namespace_advice(),
            Some(3) => network_and_cgroup_advice(confinement, groups),
            Some(_) => Vec::new(),
        }
    }

    fn landlock_advice(&self) -> String {
        let needs = "level 2 needs Landlock: Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK";
        match &self.security_modules {
            Some(modules) if modules.split(',').any(|module| module.trim() == "landlock") => {
                format!(
                    "{needs}; this kernel has it, so a filter around this process (a container's?) refuses landlock_create_ruleset(2)"
                )
            }
            Some(modules) => {
                format!("{needs}, and `landlock` among the security modules: boot with lsm=landlock,{}", modules.trim())
            }
            None => needs.to_owned(),
        }
    }

    fn namespace_advice(&self) -> Vec<String> {
        let mut advice: Vec<_> = self
            .forbidding
            .iter()
            .map(|(name, value)| format!("level 3 needs namespaces, which a setting forbids: sysctl -w {name}={value}"))
            .collect();
        if advice.is_empty() {
            let needs = if self.user == 0 { "the capability CAP_SYS_ADMIN" } else { "unprivileged user namespaces" };
            advice.push(format!(
                "level 3 needs namespaces, and with them {needs}: in a container, allow unshare(2), mount(2) and clone(2) with CLONE_NEW…; in a systemd unit, no RestrictNamespaces="
            ));
        }
        advice
    }
}

fn network_and_cgroup_advice(confinement: &Confinement, groups: &str) -> Vec<String> {
    let mut advice = Vec::new();
    if !confinement.namespaces.net {
        advice.push("level 4 needs a network namespace: sysctl -w user.max_net_namespaces=10000".to_owned());
    }
    if !confinement.cgroup_limits {
        advice.push(groups.to_owned());
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(user: u32, modules: Option<&str>, forbidding: &[(&'static str, &'static str)]) -> Host {
        let security_modules = modules.map(str::to_owned);
        Host { kernel: "Linux".to_owned(), user, security_modules, forbidding: forbidding.to_vec() }
    }

    #[test]
    fn the_advice_is_for_the_next_level_and_this_host() {
        let none = Confinement::default();
        let says = |host: &Host, level, what: &str| {
            host.advice(level, &none, "Delegate=yes").iter().any(|line| line.contains(what))
        };
        assert!(says(&host(1000, Some("capability,yama"), &[]), Some(1), "lsm=landlock,capability,yama"));
        assert!(says(&host(1000, Some("landlock,yama"), &[]), Some(1), "landlock_create_ruleset"));
        let restricted = host(1000, None, &[("kernel.apparmor_restrict_unprivileged_userns", "0")]);
        assert!(says(&restricted, Some(2), "kernel.apparmor_restrict_unprivileged_userns=0"));
        assert!(says(&host(0, None, &[]), Some(2), "CAP_SYS_ADMIN"));
        assert!(says(&host(0, None, &[]), Some(3), "Delegate=yes"));
        assert!(host(0, None, &[]).advice(Some(Confinement::LEVEL_MAX), &none, "").is_empty());
    }
}
