//! A Redis server of one test, on a socket in a temporary folder.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server; it ends when it is dropped.
pub(crate) struct Server {
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

impl Server {
    /// One that keeps nothing.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with further options, such as `--appendonly yes`.
    pub(crate) fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(&folder, &options, 0);
        let server = Self { folder, child, options, port: 0 };
        server.wait();
        server
    }

    /// One that listens on a port of 127.0.0.1 too.
    pub(crate) fn on_a_port(options: &[&str]) -> Self {
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
    pub(crate) fn url(&self) -> String {
        if self.port > 0 {
            return format!("redis://127.0.0.1:{}", self.port);
        }
        format!("redis+unix://{}", self.folder.path().join("redis.sock").display())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis+unix://{}", self.folder.path().join("redis.sock").display()));
        client.and_then(|client| client.get_connection()).expect("a connection")
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// Starts it again in the same place.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.options, self.port);
        self.wait();
    }

    /// Holds it, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
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

    fn answers(&self) -> bool {
        let url = format!("redis+unix://{}", self.folder.path().join("redis.sock").display());
        let connection = redis::Client::open(url).and_then(|client| client.get_connection());
        // One that wants a password answers too.
        connection.map_or_else(
            |error| error.code().is_some() || error.kind() == redis::ErrorKind::AuthenticationFailed,
            |mut connection| {
                let pong: redis::RedisResult<String> = redis::cmd("PING").query(&mut connection);
                pong.map_or_else(|error| error.code() == Some("NOAUTH"), |_| true)
            },
        )
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
