//! A supervisor that says what a test tells it to, and the binary as its client.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use runlet_ipc::{Incoming, Listener};
use runlet_proto::control::{ClientMessage, Reply, Request, ServerMessage};
use runlet_proto::hello::Role;
use tempfile::TempDir;

/// What the supervisor says to a request.
pub(crate) enum Say {
    /// These, in order.
    Replies(Vec<Reply>),
    /// These, and then it dies.
    RepliesThenDeath(Vec<Reply>),
}

/// A supervisor with a script, until it is dropped.
pub(crate) struct Scripted {
    folder: TempDir,
}

impl Scripted {
    /// Listens at once; `script` answers each request of each connection.
    pub(crate) fn new(script: impl Fn(Request) -> Say + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("state/control.sock");
        let (listening, heard) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = Listener::bind(&socket).unwrap();
                let script: &'static _ = Box::leak(Box::new(script));
                listening.send(()).unwrap();
                while let Ok(incoming) = listener.accept().await {
                    tokio::spawn(serve(incoming, script));
                }
            });
        });
        heard.recv().unwrap();
        Self { folder }
    }

    /// Always says the same.
    pub(crate) fn saying(reply: Reply) -> Self {
        Self::new(move |_| Say::Replies(vec![reply.clone()]))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_bin("runlet"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.env("RUNLET_STATE", self.folder.path().join("state")).env("RUNLET_CONFIG", "/dev/null");
        command
    }

    pub(crate) fn runlet(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

async fn serve<S: Fn(Request) -> Say>(incoming: Incoming, script: &'static S) {
    let Ok((_, mut reader, mut writer)) = incoming.handshake(Role::Supervisor, Duration::from_secs(30)).await else {
        return;
    };
    while let Ok(Some(ClientMessage { id, request })) = reader.next().await {
        let (replies, dies) = match script(request) {
            Say::Replies(replies) => (replies, false),
            Say::RepliesThenDeath(replies) => (replies, true),
        };
        for reply in replies {
            if writer.send(&ServerMessage { id, reply }).await.is_err() {
                return;
            }
        }
        if dies {
            return;
        }
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
