//! Samples of what a worker is told, of what a zygote is told and tells, and of what a process that tries something tells.

use bytes::Bytes;
use runlet_proto::ids::{Attempt, BlockIndex};
use runlet_proto::parcel::Part;
use runlet_proto::probe::{Act, Tried};
use runlet_proto::worker::{AllowedProgram, Begin, Forked, Payload, Program, Programs, Task, ToWorker, Values};

use super::{answers, confinement, source};

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

pub(crate) fn to_worker() -> Vec<ToWorker> {
    let values = Values {
        input: Bytes::from_static(b"1"),
        hook: Some(Bytes::from_static(b"{}")),
        blocks: vec![("a".into(), Bytes::from_static(b"2"))],
        run: Bytes::from_static(b"{}"),
    };
    let input = Payload::Json(Bytes::from_static(b"null"));
    vec![
        ToWorker::Run(Box::new(Program { source: source(), memory_bytes_max: 1, cpu_s_max: 2 })),
        ToWorker::Begin(Box::new(Begin { block: BlockIndex(1), attempt: Attempt(2), input, scope: Some(values) })),
        ToWorker::Answer { block: BlockIndex(1), attempt: Attempt(2), call: 3, answer: answers().swap_remove(1) },
        ToWorker::Parcel(vec![Part { number: 1, bytes: 70_000 }]),
        ToWorker::Prepare(Box::new(source())),
    ]
}
