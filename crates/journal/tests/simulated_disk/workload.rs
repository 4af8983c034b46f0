//! What is written to the simulated disk, and what a journal has to say about it after any number of calls.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use runlet_journal::{BlockProgress, Child, Entry, HistoryFilter, MemoryChange, OpenRun, Reader, Recovered};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;

use super::random::Random;
use super::support::{began, done, ended, json, line, run, source};

/// Calls of a seed: workflows come and go, runs begin, do something of everything, and end.
pub(crate) fn calls(seed: u64, count: usize) -> Vec<Vec<Entry>> {
    let mut maker = Maker { random: Random::new(seed), runs: 0, open: Vec::new(), lines: 0 };
    (0..count).map(|_| (0..=maker.random.below(2)).map(|_| maker.entry()).collect()).collect()
}

struct Maker {
    random: Random,
    runs: u128,
    open: Vec<(RunId, u16)>,
    lines: u64,
}

impl Maker {
    fn entry(&mut self) -> Entry {
        let choice = self.random.below(15);
        match choice {
            0 => Entry::Deployed { source: source("shop", &format!("v{}", self.random.below(4))), at_ms: 7 },
            1 => Entry::Removed { workflow: "shop".to_owned() },
            2 | 3 => {
                self.runs += 1;
                Entry::Whole(began(run(self.runs)), ended(run(self.runs), RunState::Completed))
            }
            4..=6 => self.begin(),
            7 if !self.open.is_empty() => {
                let (id, _) = self.take_open();
                Entry::Ended(ended(id, RunState::Failed))
            }
            12 | 13 => self.share(),
            _ if self.open.is_empty() => self.begin(),
            _ => self.change(choice),
        }
    }

    fn begin(&mut self) -> Entry {
        self.runs += 1;
        let id = run(self.runs);
        self.open.push((id, 0));
        let mut began = began(id);
        began.input = json(&format!("\"{}\"", "i".repeat(self.random.below(6_000) as usize)));
        began.source = Some(source("shop", "v1"));
        Entry::Began(began)
    }

    /// Some keys are written or removed.
    fn share(&mut self) -> Entry {
        let change = |random: &mut Random, version| {
            let (namespace, key) = ("prices".to_owned(), format!("k{}", random.below(6)));
            if random.below(3) == 0 {
                return MemoryChange::Removed { namespace, key, version };
            }
            let value = Bytes::from("7".repeat(1 + random.below(3_000) as usize));
            MemoryChange::Set { namespace, key, value, version, expires_at_ms: None }
        };
        self.lines += 4;
        Entry::Memory((0..=self.random.below(3)).map(|at| change(&mut self.random, self.lines + at)).collect())
    }

    fn take_open(&mut self) -> (RunId, u16) {
        let at = self.random.below(self.open.len() as u64) as usize;
        self.open.swap_remove(at)
    }

    fn change(&mut self, choice: u64) -> Entry {
        let (run, block) = self.take_open();
        self.open.push((run, block + u16::from(choice == 10)));
        self.lines += 1;
        match choice {
            8 => Entry::Intent { run, block, attempt: 1, at_ms: 9 },
            9 => Entry::Held { run, paused: self.lines.is_multiple_of(2), priority: (self.lines % 10) as u8 },
            10 => Entry::BlockEnded { run, block, done: done(1, json(&"9".repeat(self.random.below(9_000) as usize))) },
            11 => {
                let failure = Failure::upstream("connect", "refused");
                Entry::Backoff { run, block: block + 1_000, attempt: 1, retries: 1, failure, retry_at_ms: self.lines }
            }
            14 => Entry::ChildBegan {
                run,
                child: Child { block, retries: 0, call: self.lines as u32, run: super::support::run(1) },
            },
            _ if self.lines.is_multiple_of(3) => Entry::Died { run, cause: format!("death {}", self.lines) },
            _ => Entry::Log { run, line: line(self.lines, "said") },
        }
    }
}

/// What there is to know of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    pub(crate) deployed: BTreeMap<String, String>,
    pub(crate) open: BTreeMap<RunId, OpenRun>,
    pub(crate) ended: BTreeMap<RunId, RunState>,
    /// Versions and lengths of keys in shared memory.
    pub(crate) keys: BTreeMap<String, (u64, usize)>,
}

impl Snapshot {
    /// What there is to know after each number of calls, from none.
    pub(crate) fn after_each(calls: &[Vec<Entry>]) -> Vec<Self> {
        let mut snapshots = vec![Self::default()];
        for call in calls {
            let mut next = snapshots.last().unwrap().clone();
            call.iter().for_each(|entry| next.apply(entry));
            snapshots.push(next);
        }
        snapshots
    }

    /// What the journal of a directory says, after `open` has said its part.
    pub(crate) fn of(directory: &Path, recovered: Recovered) -> Self {
        let deployed = recovered.workflows.into_iter().map(|stored| (stored.source.workflow, stored.source.version));
        let reader = Reader::open(directory).expect("a journal that was opened can be read");
        let history = reader.history(&HistoryFilter { limit: 10_000, ..HistoryFilter::default() }).unwrap();
        Self {
            deployed: deployed.collect(),
            open: recovered.runs.into_iter().map(|run| (run.began.run, run)).collect(),
            keys: recovered.memory.keys.into_iter().map(|key| (key.key, (key.version, key.value.len()))).collect(),
            ended: history.into_iter().filter_map(|line| Some((line.run, line.state?))).collect(),
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        let mut to = |run: &RunId, block: u16, progress| {
            self.open.get_mut(run).unwrap().blocks.insert(block, progress);
        };
        match entry {
            Entry::Deployed { source, .. } => {
                drop(self.deployed.insert(source.workflow.clone(), source.version.clone()));
            }
            Entry::Removed { workflow } => drop(self.deployed.remove(workflow)),
            Entry::Began(began) => {
                let mut began = (**began).clone();
                began.source = None;
                let (run, priority) = (began.run, began.priority);
                let (blocks, log, deaths) = (BTreeMap::new(), Vec::new(), Vec::new());
                let open = OpenRun { began, blocks, paused: false, priority, log, deaths, children: Vec::new() };
                self.open.insert(run, open);
            }
            Entry::Intent { run, block, attempt, .. } => to(run, *block, BlockProgress::Unknown { attempt: *attempt }),
            Entry::BlockEnded { run, block, done } => to(run, *block, BlockProgress::Done(done.clone())),
            Entry::Backoff { run, block, attempt, retries, failure, retry_at_ms } => {
                let (attempt, retries, retry_at_ms) = (*attempt, *retries, *retry_at_ms);
                // Of one attempt, the failure that was told first counts.
                let open = self.open.get_mut(run).unwrap();
                let failure = failure.clone();
                open.blocks.entry(*block).or_insert(BlockProgress::Waiting { attempt, retries, failure, retry_at_ms });
            }
            Entry::Held { run, paused, priority } => {
                let open = self.open.get_mut(run).unwrap();
                (open.paused, open.priority) = (*paused, *priority);
            }
            Entry::Died { run, cause } => self.open.get_mut(run).unwrap().deaths.push(cause.clone()),
            Entry::ChildBegan { run, child } => self.open.get_mut(run).unwrap().children.push(*child),
            Entry::Memory(changes) => changes.iter().for_each(|change| self.share(change)),
            Entry::Log { run, line } => self.open.get_mut(run).unwrap().log.push(line.clone()),
            Entry::Ended(ended) => {
                self.open.remove(&ended.run);
                self.ended.insert(ended.run, ended.state);
            }
            Entry::Whole(_, ended) => drop(self.ended.insert(ended.run, ended.state)),
        }
    }

    fn share(&mut self, change: &MemoryChange) {
        match change {
            MemoryChange::Set { key, value, version, .. } => {
                self.keys.insert(key.clone(), (*version, value.len()));
            }
            MemoryChange::Removed { key, .. } => {
                self.keys.remove(key);
            }
            MemoryChange::Locked { .. }
            | MemoryChange::Lost { .. }
            | MemoryChange::Message(_)
            | MemoryChange::Done { .. }
            | MemoryChange::Answered(_)
            | MemoryChange::Outdated { .. }
            | MemoryChange::Forgotten(_) => {}
        }
    }
}
