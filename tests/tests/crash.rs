//! Kill -9 of anything, at any moment, under load: every run that was acknowledged reaches exactly one terminal state, what
//! must not be done twice is not, and nothing is left behind.
//!
//! `RUNLET_CRASH_ROUNDS=300` makes a long night of it, `RUNLET_CRASH_SEED=7` repeats the choices of one (their moments depend
//! on the machine).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runlet_tests::http;
use runlet_tests::process::Process;
use runlet_tests::runlet::{Installation, wait_ready};
use runlet_tests::upstream::{Page, Upstream};
use runlet_tests::wait::{Watched, wait_until};
use serde_json::{Value, json};

const ROUNDS: u64 = 30;

/// Between two looks of a client that has nothing to ask for.
const PAUSE: Duration = Duration::from_millis(2);

/// Clients that ask as fast as they are answered.
const CLIENTS: usize = 4;

/// A small generator of numbers that are none too regular (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// What the clients were told.
#[derive(Default)]
struct Told {
    /// Runs that were acknowledged.
    acknowledged: Watched<BTreeSet<String>>,
    next: AtomicU64,
    /// How many acknowledgements there are to be.
    wanted: AtomicU64,
    done: AtomicBool,
    /// Where the gateway is; it changes when that is killed.
    address: Mutex<Option<SocketAddr>>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("the variable holds a number"))
}

fn load(told: &Arc<Told>) -> Vec<JoinHandle<()>> {
    let client = |told: Arc<Told>| {
        move || {
            while !told.done.load(Ordering::Relaxed) {
                // An acknowledgement waits for no run to end: without a bound they would pile up on a slow machine.
                let wanted = told.wanted.load(Ordering::Relaxed);
                if told.acknowledged.look(|runs| runs.len() as u64 >= wanted) {
                    thread::park_timeout(PAUSE);
                    continue;
                }
                let Some(address) = *told.address.lock().expect("nobody panics with it") else { continue };
                let body = json!({ "number": told.next.fetch_add(1, Ordering::Relaxed) }).to_string();
                let headers = [("content-type", "application/json")];
                // Whoever gets no answer, or a refusal, was told nothing.
                let answer = http::try_request(address, "POST", "/hook/crash", &headers, body.as_bytes());
                if let Some(answer) = answer.ok().filter(|answer| answer.status == 202) {
                    let run = answer.json()["run"].as_str().expect("an id").to_owned();
                    told.acknowledged.change(|runs| {
                        assert!(runs.insert(run), "an id is given twice");
                    });
                }
            }
        }
    };
    (0..CLIENTS).map(|_| thread::spawn(client(Arc::clone(told)))).collect()
}

/// The processes below a supervisor: its zygotes, and everybody else.
fn below(supervisor: u32) -> (Vec<u32>, Vec<u32>) {
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let pids = std::fs::read_dir("/proc").expect("procfs").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children: Vec<u32> = pids.filter(|pid| parent(*pid) == Some(supervisor)).collect();
    let command = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    children.into_iter().partition(|pid| {
        // A zygote is the only child that was executed, and the only one whose parent it could be.
        let line = command(*pid);
        line.windows(6).any(|text| text == b"zygote") && threads_of(*pid) == Some(1) && !is_nobody(*pid)
    })
}

fn threads_of(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.count())
}

/// A worker is another user than its supervisor, if that is root.
fn is_nobody(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() == 65534)
}

/// Processes of this state directory, by what their zygote was started with.
fn left(state: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").expect("procfs").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_state = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.windows(state.len()).any(|text| text == state.as_bytes()))
    };
    pids.filter(of_state).collect()
}

/// The mark of the state directory on the command line of its zygotes.
fn mark(zygote: u32) -> String {
    let line = std::fs::read(format!("/proc/{zygote}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.find(|word| word == "--of").and_then(|_| words.next()).unwrap_or_default()
}

fn shoot(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    // It may have ended by itself.
    let _ = kill(pid, Signal::SIGKILL);
}

fn definition(upstream: &str) -> Value {
    json!({ "blocks": [
        { "type": "hook", "path": "crash", "methods": ["POST"] },
        { "id": "heavy", "type": "transform", "parameter": { "jq": ".body" }, "retry": { "attempts": 9, "delay": "1ms" } },
        { "id": "effect", "type": "fetch",
          "parameter": { "url": format!("{upstream}/effect"), "method": "POST", "json": "{{ input }}" } },
        { "id": "look", "type": "fetch", "parameter": { "url": format!("{upstream}/look") } },
    ] })
}

#[test]
fn whatever_is_killed_what_was_acknowledged_is_kept() {
    let rounds = number("RUNLET_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("RUNLET_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("the choices of this night: RUNLET_CRASH_SEED={seed}");
    let mut chance = Chance(seed);
    let upstream = Upstream::http(|_| Page::json("1").into());
    let installation = Installation::new();
    let told = Arc::new(Told::default());
    let mut supervisor = installation.supervisor();
    let (mut gateway, address) = installation.gateway();
    installation.deploy("crash", &definition(&upstream.url()));
    wait_ready(address);
    let ready = wait_until("a zygote", || below(supervisor.id()).0.first().copied());
    let mark = mark(ready);
    assert!(mark.len() > 4, "the zygote is marked: {mark:?}");
    *told.address.lock().expect("nobody panics with it") = Some(address);
    let clients = load(&told);
    for round in 0..rounds {
        let before = told.acknowledged.look(BTreeSet::len);
        let more = 1 + usize::try_from(chance.below(20)).expect("a small number");
        // Those beyond are under way when it happens.
        told.wanted.store((before + more + CLIENTS) as u64, Ordering::Relaxed);
        let enough = told.acknowledged.wait(|runs| (runs.len() >= before + more).then_some(()));
        enough.unwrap_or_else(|| panic!("round {round}: nothing is acknowledged any more\n{}", supervisor.output()));
        let (zygotes, workers) = below(supervisor.id());
        match chance.below(4) {
            0 => {
                supervisor.signal(Signal::SIGKILL);
                let _ = supervisor.wait_exit();
                supervisor = installation.supervisor();
            }
            1 => {
                gateway.signal(Signal::SIGKILL);
                let _ = gateway.wait_exit();
                let (again, address) = installation.gateway();
                gateway = again;
                *told.address.lock().expect("nobody panics with it") = Some(address);
            }
            2 => zygotes.into_iter().for_each(shoot),
            _ => workers.into_iter().for_each(shoot),
        }
    }
    told.done.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client does not fail"));
    judge(&installation, &told, &upstream);
    supervisor.signal(Signal::SIGKILL);
    let _ = supervisor.wait_exit();
    wait_until("nothing to be left", || left(&mark).is_empty().then_some(()));
    let _: Process = gateway;
}

fn judge(installation: &Installation, told: &Told, upstream: &Upstream) {
    let live = || installation.json(&["ps"]).as_array().map_or(0, Vec::len);
    let mut left = live();
    while left > 0 {
        left = wait_until("further runs to end", || Some(live()).filter(|live| *live < left));
    }
    let acknowledged = told.acknowledged.look(Clone::clone);
    let mut states = BTreeMap::new();
    let mut before: Option<String> = None;
    loop {
        let page = match &before {
            Some(run) => installation.json(&["history", "-n", "1000", "--before", run]),
            None => installation.json(&["history", "-n", "1000"]),
        };
        let page = page.as_array().expect("a list");
        let Some(last) = page.last() else { break };
        before = Some(last["id"].as_str().expect("text").to_owned());
        for run in page {
            let id = run["id"].as_str().expect("text").to_owned();
            let state = run["state"].as_str().expect("text").to_owned();
            let known = states.insert(id, (state, run["error"].as_str().unwrap_or_default().to_owned()));
            assert!(known.is_none(), "a run is listed twice: {known:?}");
        }
    }
    for run in &acknowledged {
        let (state, error) = states.get(run).unwrap_or_else(|| panic!("acknowledged and lost: {run}"));
        let fate = match state.as_str() {
            "COMPLETED" => true,
            // Nobody knows whether it had its effect, or it was its worker that was shot too often.
            "FAILED" => error.contains("is unknown") || error.contains("worker"),
            _ => false,
        };
        assert!(fate, "{run} is {state}: {error}");
    }
    let mut effects = BTreeMap::new();
    for asked in upstream.asked().iter().filter(|asked| asked.method == "POST") {
        *effects.entry(String::from_utf8_lossy(&asked.body).into_owned()).or_insert(0) += 1;
    }
    let twice: Vec<_> = effects.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "done twice: {twice:?}");
    let completed = states.values().filter(|(state, _)| state == "COMPLETED").count();
    eprintln!("{} acknowledged, {completed} COMPLETED of {}", acknowledged.len(), states.len());
    assert!(completed > acknowledged.len() / 2, "most runs come through: {completed} of {}", acknowledged.len());
}
