//! What is kept of a run's worker for whoever looks at the run, while it lives and afterwards.

use nix::sys::signal::Signal;
use runlet_proto::worker::{Confinement, Namespaces};
use serde_json::{Value, json};

use super::process::{Exit, How};

/// A worker, as `runlet inspect` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) pid: Option<i32>,
    pub(crate) confinement: Confinement,
    pub(crate) memory_bytes_max: u64,
    pub(crate) cpu_s_max: u64,
    /// How it ended, once it has.
    pub(crate) exit: Option<Exit>,
}

impl Account {
    pub(crate) fn to_json(&self) -> Value {
        let Confinement { seccomp, landlock_abi, other_user, namespaces, cgroup_limits } = self.confinement;
        let Namespaces { user, pid, mount, ipc, uts, net } = namespaces;
        let ended = self.exit.map(|exit| {
            let how = match exit.how {
                How::Code(code) => json!({ "exitCode": code }),
                How::Signal(number) => {
                    let name =
                        Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
                    json!({ "signal": name })
                }
                How::Unknown => Value::Null,
            };
            let cpu_ms = exit.cpu.as_micros() as f64 / 1_000.0;
            json!({ "how": how, "cpuMs": cpu_ms, "residentBytesMax": exit.resident_bytes_max })
        });
        json!({
            "pid": self.pid,
            "isolation": {
                "level": self.confinement.level(),
                "seccomp": seccomp,
                "landlockAbi": landlock_abi,
                "otherUser": other_user,
                "namespaces": { "user": user, "pid": pid, "mount": mount, "ipc": ipc, "uts": uts, "net": net },
                "cgroupLimits": cgroup_limits,
            },
            "limits": { "memoryBytes": self.memory_bytes_max, "cpuSeconds": self.cpu_s_max },
            "ended": ended,
        })
    }
}
