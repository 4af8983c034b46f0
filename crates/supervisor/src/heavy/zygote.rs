//! The supervisor's side of the zygote.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use runlet_ipc::handoff::{AsyncHandoff, Handoff};
use runlet_proto::worker::{Fork, Forked, Task, ZYGOTE_ENVIRONMENT};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::workers::WorkerId;
use crate::inbound::Inbound;

/// A running zygote. Dropped, it is killed; its workers are not.
#[derive(Debug)]
pub(crate) struct Zygote {
    handoff: Arc<AsyncHandoff>,
    process: Child,
    reading: AbortHandle,
}

impl Zygote {
    /// Starts `program zygote`, marked as that of the state directory ([`super::leftovers::id_of`]). Must be called on the thread that lives as long as the supervisor: a worker dies with the
    /// thread that started its zygote (PR_SET_PDEATHSIG(2const)).
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(program: &Path, state: &str, loop_queue: mpsc::Sender<Inbound>) -> io::Result<Self> {
        let (ours, theirs) = Handoff::pair()?;
        let process = Command::new(program)
            .args(["zygote", "--of", state])
            .env_clear()
            .envs(ZYGOTE_ENVIRONMENT)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let handoff = Arc::new(AsyncHandoff::new(ours)?);
        let reading = tokio::spawn(read(Arc::clone(&handoff), loop_queue)).abort_handle();
        Ok(Self { handoff, process, reading })
    }

    /// Asks for a worker for this task. Returns our end of its connection.
    ///
    /// # Errors
    /// When the zygote is gone, or does not keep up.
    pub(crate) fn fork(&self, worker: WorkerId, task: Task) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.handoff.try_send(&Fork { worker: worker.0, task }, Some(theirs.as_fd()))?;
        Ok(ours)
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.reading.abort();
        // It may be gone already; otherwise it has nothing to lose, and its end is near: waiting is short.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn read(handoff: Arc<AsyncHandoff>, loop_queue: mpsc::Sender<Inbound>) {
    loop {
        let inbound = match handoff.receive::<Forked>().await {
            Ok(Some((forked, process))) => Inbound::Forked { forked, process },
            Ok(None) => Inbound::ZygoteLost { error: None },
            Err(error) => Inbound::ZygoteLost { error: Some(error) },
        };
        let last = matches!(inbound, Inbound::ZygoteLost { .. });
        if loop_queue.send(inbound).await.is_err() || last {
            return;
        }
    }
}
