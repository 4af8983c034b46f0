//! A Redis server, and what `redis-benchmark` makes of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Figures, MemoryError, Rate, SCRIPT, VALUE, median};
use crate::group::Group;
use crate::system::temp_dir;

/// That script.
const SET_SCRIPT: &str = include_str!("../../../memory/src/redis/write.lua");

/// Requests of `redis-benchmark` for each that is under way, and at most.
const REQUESTS_A_PLACE: usize = 20_000;

/// See [`REQUESTS_A_PLACE`].
const REQUESTS_MAX: usize = 200_000;

/// Numbers in a line of the benchmark's CSV after the rate: latencies.
const CSV_AFTER_RATE: usize = 6;

/// How `redis-benchmark` has so many commands under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// As many clients, each with one.
    Many(usize),
    /// One client that sends all of them at once.
    One(usize),
}

impl Client {
    pub(super) fn name(self) -> String {
        let [_, clients, _, pipeline] = self.options();
        format!("redis-benchmark -c {clients} -P {pipeline}")
    }

    fn options(self) -> [String; 4] {
        let (clients, pipeline) = match self {
            Self::Many(clients) => (clients, 1),
            Self::One(pipeline) => (1, pipeline),
        };
        ["-c".to_owned(), clients.to_string(), "-P".to_owned(), pipeline.to_string()]
    }

    pub(super) fn depth(self) -> usize {
        let (Self::Many(depth) | Self::One(depth)) = self;
        depth
    }
}

/// A Redis server of the bench's own.
pub(super) struct Server {
    benchmark: PathBuf,
    _group: Group,
    dir: TempDir,
}

impl Server {
    pub(super) async fn start() -> Result<Self, String> {
        let found = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
        };
        let program = found("redis-server").ok_or("there is no redis-server on the PATH")?;
        let benchmark = found("redis-benchmark").ok_or("there is no redis-benchmark on the PATH")?;
        let dir = temp_dir().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(dir.path().join("redis.sock"));
        let mut group = Group::start(command, &dir.path().join("redis.log")).map_err(|error| error.to_string())?;
        let ready = |log: &str| log.contains("now ready to accept connections").then_some(());
        group.await_log(ready).await.map_err(|error| error.to_string())?;
        Ok(Self { benchmark, _group: group, dir })
    }

    pub(super) fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("redis.sock").display())
    }

    /// What `redis-benchmark` reaches: a `GET`, a bare `SET`, and what a `set` is here, a script, which judges the quota and
    /// numbers the version.
    pub(super) fn benchmark(&self, client: Client, rounds: usize, figures: &mut Figures) -> Result<(), MemoryError> {
        let loaded = self.output(&self.benchmark.with_file_name("redis-cli"), &["SCRIPT", "LOAD", SET_SCRIPT])?;
        let part = |what: &str| format!("runlet:{{m:bench}}:{what}");
        let [value, keys, sizes, expiries, totals, answer, changes] =
            ["v:k", "keys", "sizes", "expiries", "totals", "answer", "changes@0"].map(part);
        let mut set = vec!["EVALSHA", loaded.trim(), "6", &value, &keys, &sizes, &expiries, &totals, &answer];
        set.extend(["set", "k", VALUE, "0", "", "100000", "67108864", "1048576", &changes, "0"]);
        let flows = [
            ("get", "\"GET", vec!["GET", &value]),
            ("set", "\"SET", vec!["SET", "k", VALUE]),
            (SCRIPT, "\"EVALSHA", set),
        ];
        for (flow, name, command) in flows {
            let mut rates = Vec::new();
            for _ in 0..rounds {
                rates.push(per_second(&self.benchmark_of(client, &command)?, name)?);
            }
            let (store, flow, depth) = (client.name(), flow.to_owned(), client.depth());
            figures.rates.push(Rate { store, flow, depth, per_second: median(&mut rates) });
        }
        Ok(())
    }

    fn benchmark_of(&self, client: Client, command: &[&str]) -> Result<String, MemoryError> {
        let requests = (REQUESTS_A_PLACE * client.depth()).min(REQUESTS_MAX).to_string();
        let options = client.options();
        let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
        arguments.extend(["-n", &requests, "--csv"]);
        arguments.extend(command);
        self.output(&self.benchmark, &arguments)
    }

    /// What a program of Redis's prints that is connected to the server.
    fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, MemoryError> {
        let mut command = Command::new(program);
        command.arg("-s").arg(self.dir.path().join("redis.sock")).args(arguments).stderr(Stdio::null());
        let output =
            command.output().map_err(|error| MemoryError::Unexpected(format!("{}: {error}", program.display())))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The rate in the line of a benchmark's CSV that begins so, counted from the end: the name may have anything in it.
fn per_second(csv: &str, name: &str) -> Result<f64, MemoryError> {
    let line = csv.lines().find(|line| line.starts_with(name));
    let numbers = line.and_then(|line| line.rsplit('"').filter(|part| part.parse::<f64>().is_ok()).nth(CSV_AFTER_RATE));
    let rate = numbers.and_then(|number| number.parse().ok());
    rate.ok_or_else(|| MemoryError::Unexpected(format!("redis-benchmark printed {csv}")))
}
