//! Samples of what a zygote is told and tells, and of what a process that tries something tells.

use runlet_proto::probe::{Act, Tried};
use runlet_proto::worker::{AllowedProgram, Forked, Programs, Task};

use super::confinement;

pub(crate) fn forked() -> Vec<Forked> {
    vec![
        Forked::Worker { worker: 1, pid: 2 },
        Forked::Failed { worker: 1, errno: 11 },
        Forked::Init { pid: 3 },
        Forked::Itself { worker: 4 },
    ]
}

pub(crate) fn tasks() -> Vec<Task> {
    let allowed = vec![AllowedProgram { name: "n".into(), path: "/p".into(), further: vec!["/f".into()] }];
    let trial = Task::Try { act: Act::ConnectTcp { port: 4000 }, filtered: true };
    vec![Task::Serve, trial, Task::ServePrograms(Programs { allowed, processes_max: 3 })]
}

pub(crate) fn acts() -> Vec<Act> {
    Act::all(4000, 7).to_vec()
}

pub(crate) fn tried() -> Vec<Tried> {
    vec![Tried::Confined(confinement()), Tried::Happened, Tried::Prevented { errno: 1 }]
}
