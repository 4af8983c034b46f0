//! The supervisor's side of the zygote.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::Signal;
use runlet_ipc::handoff::{AsyncHandoff, Handoff};
use runlet_proto::worker::{Fork, Forked, Task, ZYGOTE_ENVIRONMENT, ZYGOTE_GROUPS, ZYGOTE_NICE};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::process::{self, Process};
use super::workers::WorkerId;
use crate::inbound::Inbound;

/// What a zygote forks. Each forks one kind: what shares a pid namespace and what has one of its own cannot come from the same
/// process (unshare(2), CLONE_NEWPID).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Workers that wait for any run.
    Plain,
    /// Workers of runs with programs.
    WithPrograms,
}

impl Kind {
    pub(super) fn of(task: &Task) -> Self {
        match task {
            Task::Serve | Task::Try { .. } => Self::Plain,
            Task::ServePrograms(_) => Self::WithPrograms,
        }
    }
}

/// Names one zygote among all there ever were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZygoteName {
    pub(super) kind: Kind,
    pub(super) number: u64,
}

/// The zygotes there are.
#[derive(Debug, Default)]
pub(crate) struct Zygotes {
    plain: Option<Zygote>,
    with_programs: Option<Zygote>,
}

impl Zygotes {
    pub(super) fn of(&mut self, kind: Kind) -> &mut Option<Zygote> {
        match kind {
            Kind::Plain => &mut self.plain,
            Kind::WithPrograms => &mut self.with_programs,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Zygote> {
        self.plain.iter().chain(&self.with_programs)
    }
}

/// A running zygote. Dropped, it is killed; its workers are not.
#[derive(Debug)]
pub(crate) struct Zygote {
    pub(super) name: ZygoteName,
    handoff: Arc<AsyncHandoff>,
    /// `None` once it has become a worker.
    process: Option<Child>,
    reading: AbortHandle,
    /// Once it has told of it, if it has one.
    pub(super) init: Option<Arc<Init>>,
}

/// The first process of the pid namespace of a zygote's workers, which hold on to it. Dropped, it is killed: the namespace is
/// gone then.
#[derive(Debug)]
pub(crate) struct Init(Arc<Process>);

impl Init {
    pub(super) fn pid(&self) -> i32 {
        self.0.pid()
    }

    pub(super) fn new(process: Process) -> Self {
        let process = Arc::new(process);
        // What is not waited for stays in the system's list.
        tokio::spawn({
            let process = Arc::clone(&process);
            async move { process.wait().await }
        });
        Self(process)
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// How zygotes are started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe<'a> {
    /// The binary, of which the subcommand `zygote` is executed.
    pub(crate) program: &'a Path,
    /// What marks it as that of the state directory ([`super::leftovers::id_of`]).
    pub(crate) state: &'a str,
    /// Directory of the control groups of its workers.
    pub(crate) groups: Option<&'a Path>,
    /// How far it and its workers stand back for others.
    pub(crate) nice: u8,
}

impl Zygote {
    /// Starts a zygote. Must be called on the thread that lives as long as the supervisor: a worker dies with
    /// the thread that started its zygote (PR_SET_PDEATHSIG(2const)).
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(name: ZygoteName, by: &Recipe<'_>, loop_queue: mpsc::Sender<Inbound>) -> io::Result<Self> {
        let (ours, theirs) = Handoff::pair()?;
        let process = Command::new(by.program)
            .args(["zygote", "--of", by.state])
            .env_clear()
            .envs(ZYGOTE_ENVIRONMENT)
            .env(ZYGOTE_NICE, by.nice.to_string())
            .envs(by.groups.map(|groups| (ZYGOTE_GROUPS, groups)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let handoff = Arc::new(AsyncHandoff::new(ours)?);
        let reading = tokio::spawn(read(name, Arc::clone(&handoff), loop_queue)).abort_handle();
        Ok(Self { name, handoff, process: Some(process), reading, init: None })
    }

    /// Asks for a worker for this task, to be born in a control group if there is one. Returns our end of its connection.
    ///
    /// # Errors
    /// When the zygote is gone, or does not keep up.
    pub(crate) fn fork(&self, worker: WorkerId, task: Task, group: Option<u32>) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.handoff.try_send(&Fork { worker: worker.0, task, group }, Some(theirs.as_fd()))?;
        Ok(ours)
    }

    pub(super) fn pid(&self) -> Option<i32> {
        i32::try_from(self.process.as_ref()?.id()).ok()
    }

    /// The process, which has become a worker.
    ///
    /// # Errors
    /// Whatever pidfd_open(2) and epoll_ctl(2) say. It is killed then.
    pub(super) fn into_worker(mut self) -> io::Result<Process> {
        let pid = self.pid().ok_or(io::ErrorKind::NotFound)?;
        // Not waited for by anybody else, it has its number still.
        let process = process::open(pid).and_then(|descriptor| Process::new(pid, descriptor))?;
        self.process = None;
        Ok(process)
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.reading.abort();
        // It may be gone already; otherwise it has nothing to lose, and its end is near: waiting is short.
        if let Some(mut process) = self.process.take() {
            let _ = (process.kill(), process.wait());
        }
    }
}

async fn read(zygote: ZygoteName, handoff: Arc<AsyncHandoff>, loop_queue: mpsc::Sender<Inbound>) {
    loop {
        let inbound = match handoff.receive::<Forked>().await {
            Ok(Some((forked, process))) => Inbound::Forked { forked, process },
            Ok(None) => Inbound::ZygoteLost { zygote, error: None },
            Err(error) => Inbound::ZygoteLost { zygote, error: Some(error) },
        };
        let last =
            matches!(inbound, Inbound::ZygoteLost { .. } | Inbound::Forked { forked: Forked::Itself { .. }, .. });
        if loop_queue.send(inbound).await.is_err() || last {
            return;
        }
    }
}
