//! The real `runlet` binary with a state directory of its own: started, asked, and killed as a user would.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificate::Authority;
use crate::cgroup::Group;
use crate::http::{self, Answer};
use crate::process::{Exit, Finished, Process};
use crate::wait::{found_in_time, wait_until};

pub mod code;

/// A place for one test to run Runlet in: state directory, files, environment.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
    cgroup: Result<Group, String>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// The binary of this workspace that is run.
    pub(crate) program: &'static str,
    user: Option<u32>,
}

/// Supervisor and gateway, started one by one.
#[derive(Debug)]
pub struct Running {
    /// The gateway's process. First, so that it is killed first.
    pub gateway: Process,
    /// The supervisor's process.
    pub supervisor: Process,
    /// Where the gateway listens.
    pub address: SocketAddr,
}

impl Installation {
    /// A fresh one.
    ///
    /// # Panics
    /// When there is no temporary folder to be had.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("runlet-test-").tempdir().expect("a temporary folder");
        let name = folder.path().file_name().and_then(OsStr::to_str).expect("a temporary path is text");
        let cgroup = Group::make(name);
        Self { folder, cgroup, environment: Vec::new(), program: "runlet", user: None }
    }

    /// The control group that its supervisors and its doctor are told to make theirs in, where this host has one for it.
    ///
    /// # Errors
    /// Why there is none: they look for one themselves then.
    pub fn cgroup(&self) -> Result<&Group, &str> {
        self.cgroup.as_ref().map_err(String::as_str)
    }

    /// The same, everything in it run by this user, with a group of the same number. Only root can ask for that.
    ///
    /// # Panics
    /// When the folder cannot be given to the user.
    #[must_use]
    pub fn of_user(mut self, user: u32) -> Self {
        chown(self.folder(), Some(user), Some(user)).expect("root can give a folder away");
        self.user = Some(user);
        // A control group would be root's.
        self.environment.push(("RUNLET_CGROUP", "off".into()));
        self
    }

    /// The same, with a certificate authority its supervisor trusts.
    #[must_use]
    pub fn trusting(mut self, authority: &Authority) -> Self {
        self.environment.push(("RUNLET_CA_FILE", authority.ca_file().into()));
        self
    }

    /// The folder files are written to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    /// Writes a file and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file in the test's own folder");
        path
    }

    /// Writes a file that everybody may execute, and be it as another user.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        for path in [self.folder.path(), &path] {
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("the test's own files");
        }
        path
    }

    /// `runlet ARGUMENTS` in this installation and in no other: nothing of the caller's environment but `PATH`.
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command_of(&built(self.program));
        command.args(arguments);
        command
    }

    /// Another program in the same place.
    #[must_use]
    pub fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder());
        command.env("RUNLET_STATE", self.state()).env("RUNLET_SOCKET", self.socket());
        // An empty one, whatever this system has.
        command.env("RUNLET_CONFIG", "/dev/null");
        command.envs(self.cgroup().ok().map(|group| ("RUNLET_CGROUP", group.directory())));
        command.envs(self.environment.iter().map(|(key, value)| (*key, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Starts a command line without waiting for its end.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&format!("runlet {}", arguments.join(" ")), &mut self.command(arguments), b"")
    }

    /// A command line, to its end.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish()
    }

    /// The same, with something on its standard input.
    #[must_use]
    pub fn cli_with_input(&self, arguments: &[&str], input: &[u8]) -> Finished {
        Process::start(&format!("runlet {}", arguments.join(" ")), &mut self.command(arguments), input).finish()
    }

    /// A command line that must end with code 0; what it printed on stdout.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let finished = self.cli(arguments);
        finished.expect_code(code::OK, &arguments.join(" "));
        finished.stdout
    }

    /// The same with `-o json`, parsed.
    ///
    /// # Panics
    /// When it ends otherwise, or prints no JSON.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[&["-o", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", arguments.join(" ")))
    }

    /// Writes a definition and deploys it; `name` is the workflow's.
    ///
    /// # Panics
    /// When it is refused.
    pub fn deploy(&self, name: &str, definition: &Value) {
        let path = self.write(&format!("{}.json", name.replace('/', "-")), &definition.to_string());
        self.ok(&["deploy", path.to_str().expect("a temporary path is text")]);
    }

    /// Starts a run of a deployed workflow and returns its id.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn run_detached(&self, workflow: &str) -> String {
        self.ok(&["run", workflow, "--detach"]).trim().to_owned()
    }

    /// The line of `ps -a` for a run.
    #[must_use]
    pub fn summary(&self, run: &str) -> Option<Value> {
        let runs = self.json(&["ps", "-a"]);
        runs.as_array().and_then(|runs| runs.iter().find(|line| line["id"] == run)).cloned()
    }

    /// Waits until a run is in `state` and returns its line of `ps -a`.
    ///
    /// # Panics
    /// When that takes too long.
    #[must_use]
    pub fn wait_state(&self, run: &str, state: &str) -> Value {
        found_in_time(|| self.summary(run).filter(|line| line["state"] == state))
            .unwrap_or_else(|| panic!("waited in vain for run {run} to be {state}; it is {:?}", self.summary(run)))
    }

    /// Starts a supervisor and waits until it is ready.
    #[must_use]
    pub fn supervisor(&self) -> Process {
        self.supervisor_with(&[])
    }

    /// The same, with further arguments.
    #[must_use]
    pub fn supervisor_with(&self, arguments: &[&str]) -> Process {
        let process = self.start(&[&["supervisor", "--drain", "20s"], arguments].concat());
        let ready = format!("ready {}", self.socket().display());
        process.wait_line(&ready, |line| (line == ready).then_some(()));
        process
    }

    /// Starts a gateway on a free port and waits until it is ready; returns its address too.
    #[must_use]
    pub fn gateway(&self) -> (Process, SocketAddr) {
        let process = self.start(&["gateway", "--listen", "127.0.0.1:0"]);
        let address = process.wait_line("ready ADDRESS", |line| line.strip_prefix("ready ")?.parse().ok());
        (process, address)
    }

    /// Starts a gateway that serves its numbers too; returns where it listens, and where it serves them.
    #[must_use]
    pub fn gateway_with_admin(&self) -> (Process, SocketAddr, SocketAddr) {
        let process = self.start(&["gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let address = process.wait_line("ready ADDRESS", |line| line.strip_prefix("ready ")?.parse().ok());
        let admin = process.wait_line("its admin listener", |line| {
            let (_, after) = line.split_once("the admin listener serves")?;
            after.split_once("address=")?.1.trim().parse().ok()
        });
        (process, address, admin)
    }

    /// Starts both and waits until hooks are served.
    #[must_use]
    pub fn start_both(&self) -> Running {
        self.start_both_with(&[])
    }

    /// The same, with further arguments for the supervisor.
    ///
    /// # Panics
    /// When they are not in time.
    #[must_use]
    pub fn start_both_with(&self, arguments: &[&str]) -> Running {
        let supervisor = self.supervisor_with(arguments);
        let (gateway, address) = self.gateway();
        wait_ready(address);
        Running { gateway, supervisor, address }
    }

    /// Starts `runlet up` with further arguments, on a free port, and waits until it says that it is up.
    #[must_use]
    pub fn up(&self, arguments: &[&str]) -> (Process, SocketAddr) {
        let process = self.start(&[&["up", "--listen", "127.0.0.1:0", "--drain", "5s"], arguments].concat());
        let address = process.wait_line("its address", |line| line.split("http://").nth(1)?.trim().parse().ok());
        process.wait_line("its last line", |line| line.contains("Ctrl-C").then_some(()));
        (process, address)
    }
}

impl Running {
    /// Waits until the gateway has the route of a hook that names its methods: the table follows a deploy in a moment,
    /// not in the same one. Nothing is run for it.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_route(&self, path: &str) {
        wait_until(&format!("a route for {path}"), || {
            (http::request(self.address, "OPTIONS", path, &[], b"").status == 204).then_some(())
        });
    }

    /// A GET of a hook that was deployed a moment ago: asked again while its path is unknown, which runs nothing.
    ///
    /// # Panics
    /// When it is not known in time, or does not answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        wait_until(&format!("a route for {path}"), || {
            Some(http::get(self.address, path)).filter(|answer| answer.status != 404)
        })
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

impl Finished {
    /// Checks the exit code.
    ///
    /// # Panics
    /// With all the process said, when it is another.
    pub fn expect_code(&self, code: i32, what: &str) {
        let Self { exit, stdout, stderr } = self;
        assert_eq!(*exit, Exit::Code(code), "{what}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    }
}

/// Waits until the gateway at this address has the supervisor's routes.
///
/// # Panics
/// When it has not in time.
pub fn wait_ready(address: SocketAddr) {
    wait_until("the gateway to be ready", || (http::get(address, "/readyz").status == 200).then_some(()));
}

/// The binary under test: beside the folder this test's own executable is in.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn binary() -> PathBuf {
    built("runlet")
}

/// A program of this workspace.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let profile = own.parent().and_then(Path::parent).expect("a test is built two folders below the target folder");
    let binary = profile.join(name);
    assert!(
        binary.is_file(),
        "{} is not there: scripts/test builds it; all but the binary with OpenTelemetry export, \
         `cargo build --workspace --all-targets` does",
        binary.display()
    );
    binary
}

/// Port 4000 of loopback, which the founding example names: one test at a time, across processes too.
#[derive(Debug)]
pub struct Port4000 {
    _lock: File,
}

impl Port4000 {
    /// Waits for its turn.
    ///
    /// # Panics
    /// When the lock file cannot be made, or another program keeps the port.
    #[must_use]
    pub fn take() -> Self {
        let path = std::env::temp_dir().join("runlet-test-port-4000.lock");
        let lock = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        lock.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Whoever had it before may be on its way out; a stranger is named by the end of the wait.
        wait_until("port 4000 of loopback, which another program holds", || TcpListener::bind("127.0.0.1:4000").ok());
        Self { _lock: lock }
    }
}
