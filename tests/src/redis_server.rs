//! A Redis (or Valkey) server of one test, on a socket in a temporary folder.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server; it ends when it is dropped.
pub struct Server {
    folder: TempDir,
    child: Child,
    options: Vec<String>,
    port: u16,
}

/// The program: what `RUNLET_TEST_REDIS_SERVER` names, else what is on the PATH.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("RUNLET_TEST_REDIS_SERVER") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)))
        .find(|file| file.is_file());
    found.expect("no redis-server and no valkey-server on the PATH: `scripts/test` installs one")
}

#[expect(clippy::missing_panics_doc, reason = "a test that cannot have its server ends")]
impl Server {
    /// One that keeps nothing.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One with further options, such as `--appendonly yes`.
    #[must_use]
    pub fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(&folder, &options, 0);
        let server = Self { folder, child, options, port: 0 };
        server.wait();
        server
    }

    /// One that listens on a port of 127.0.0.1 too.
    #[must_use]
    pub fn on_a_port(options: &[&str]) -> Self {
        loop {
            // Another may take it meanwhile: then that server does not start, and another port is tried.
            let free =
                TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
            let folder = tempfile::tempdir().expect("a temporary folder");
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let child = spawn(&folder, &options, free.port());
            let mut server = Self { folder, child, options, port: free.port() };
            if server.comes_up() {
                return server;
            }
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        if self.port > 0 {
            return format!("redis://127.0.0.1:{}", self.port);
        }
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its port; 0 if it has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// Starts it again in the same place.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.options, self.port);
        self.wait();
    }

    /// Holds it, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, signal).expect("it lives");
    }

    fn wait(&self) {
        let began = Instant::now();
        while !self.answers() {
            assert!(began.elapsed() < PATIENCE, "the server does not answer");
            std::thread::yield_now();
        }
    }

    fn comes_up(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.answers() {
                return true;
            }
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        panic!("the server neither answers nor ends")
    }

    /// Whether it answers; one that wants a password first, or still loads its data, does not say PONG.
    fn answers(&self) -> bool {
        let said = || -> std::io::Result<Vec<u8>> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.write_all(b"PING\r\n")?;
            let mut said = vec![0; 64];
            let bytes = stream.read(&mut said)?;
            said.truncate(bytes);
            Ok(said)
        };
        said().is_ok_and(|said| said.starts_with(b"+PONG") || said.starts_with(b"-NOAUTH"))
    }
}

fn spawn(folder: &TempDir, options: &[String], port: u16) -> Child {
    let mut command = Command::new(program());
    command.arg("--port").arg(port.to_string()).arg("--bind").arg("127.0.0.1");
    command.arg("--unixsocket").arg(folder.path().join("redis.sock")).arg("--dir").arg(folder.path());
    command.args(["--save", "", "--daemonize", "no", "--databases", "1"]).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the server's program runs")
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is held does not hear anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
