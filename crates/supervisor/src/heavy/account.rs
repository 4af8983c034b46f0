//! What is kept of a run's worker for whoever looks at the run, while it lives and afterwards.

use std::time::Duration;

use nix::sys::signal::Signal;
use runlet_proto::ids::Attempt;
use runlet_proto::worker::{Confinement, Namespaces};
use serde_json::{Value, json};

use super::cause::Killed;
use super::cgroup::{Meter, Spent};
use super::process::{Exit, How};
use super::usage::{self, Usage};

/// A worker, as `runlet inspect` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) pid: Option<i32>,
    /// Of its control group, while it lives.
    pub(crate) meter: Option<Meter>,
    pub(crate) confinement: Confinement,
    pub(crate) memory_bytes_max: u64,
    pub(crate) cpu_s_max: u64,
    /// Processes that its programs may have at once, if it runs any.
    pub(crate) processes_max: Option<u32>,
    /// CPU time of the workers the run had before.
    pub(crate) cpu_before: Duration,
    /// How it ended, once it has.
    pub(crate) exit: Option<Exit>,
    /// What the supervisor ended it for, if it did.
    pub(crate) killed: Option<Killed>,
    /// What its control group said of it then.
    pub(crate) spent: Option<Spent>,
    /// The attempt it ended in the middle of, by the id of its block.
    pub(crate) during: Option<(String, Attempt)>,
    /// What workers of the run died of so far, this one included once it has.
    pub(crate) deaths: Vec<String>,
}

impl Account {
    /// What the run's workers have used: of one that has ended by its account, of a live one by looking. Then its memory is
    /// what is resident now, else the most there was.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let used = match (self.exit, self.pid) {
            (Some(exit), _) => Usage { cpu: exit.cpu, resident_bytes: exit.resident_bytes_max },
            (None, Some(pid)) => self.of_group(usage::of_process(pid)?),
            (None, None) => return None,
        };
        Some(Usage { cpu: used.cpu + self.cpu_before, ..used })
    }

    /// Its process id, as messages carry it.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid.and_then(|pid| u32::try_from(pid).ok())
    }

    /// As far as its control group counts, that counts: what the worker started is in it too.
    fn of_group(&self, process: Usage) -> Usage {
        let Some(meter) = &self.meter else { return process };
        Usage {
            cpu: meter.cpu().unwrap_or(process.cpu),
            resident_bytes: meter.memory_bytes().unwrap_or(process.resident_bytes),
        }
    }

    /// CPU time of its workers that have ended.
    pub(crate) fn cpu_of_ended(&self) -> Duration {
        self.cpu_before + self.exit.map_or(Duration::ZERO, |exit| exit.cpu)
    }

    pub(crate) fn to_json(&self) -> Value {
        let Confinement { seccomp, landlock_abi, other_user, namespaces, cgroup_limits, process_limit } =
            self.confinement;
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
            let during = self.during.as_ref().map(|(block, attempt)| json!({ "block": block, "attempt": attempt.0 }));
            let group = self.spent.map(|spent| {
                let Spent { cpu: _, oom_kills, tasks_refused, memory_bytes_max } = spent;
                json!({ "oomKills": oom_kills, "processesRefused": tasks_refused, "memoryBytesMax": memory_bytes_max })
            });
            let killed = self.killed.as_ref().map(Killed::in_words);
            json!({ "how": how, "killedFor": killed, "during": during, "cpuMs": cpu_ms, "residentBytesMax": exit.resident_bytes_max,
                "cgroup": group })
        });
        let group = self.meter.as_ref().map(|meter| meter.directory().display().to_string());
        json!({
            "pid": self.pid,
            "cgroup": group,
            "isolation": {
                "level": self.confinement.level(),
                "seccomp": seccomp,
                "landlockAbi": landlock_abi,
                "otherUser": other_user,
                "namespaces": { "user": user, "pid": pid, "mount": mount, "ipc": ipc, "uts": uts, "net": net },
                "cgroupLimits": cgroup_limits,
                "processLimit": process_limit,
            },
            "limits": { "memoryBytes": self.memory_bytes_max, "cpuSeconds": self.cpu_s_max, "processes": self.processes_max },
            "ended": ended,
            "deaths": self.deaths,
        })
    }
}
