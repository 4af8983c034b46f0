//! The account of a disk, and what is left of it after a crash at any point of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::random::Random;
use super::vfs;

/// Which file of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Database,
    Log,
    Rollback,
}

impl Kind {
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        [Self::Database, Self::Log, Self::Rollback].into_iter().find(|kind| path.ends_with(kind.file()))
    }

    fn file(self) -> &'static str {
        match self {
            Self::Database => "journal.db",
            Self::Log => "journal.db-wal",
            Self::Rollback => "journal.db-journal",
        }
    }
}

/// What happened on the disk, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Write(Kind, usize, Vec<u8>),
    Truncate(Kind, usize),
    Sync(Kind),
    /// What was written since the last sync may be lost, and no later sync says so.
    SyncFailed(Kind),
    Delete(Kind),
}

/// What becomes of a write or a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Do,
    Fail,
}

/// A disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    syncs: usize,
    writes: usize,
    failing_sync: Option<usize>,
    /// There is no space for writes from the first to before the second.
    full: Option<(usize, usize)>,
}

impl Disk {
    /// A disk, and the name SQLite knows it by.
    pub(crate) fn new() -> (Arc<Self>, String) {
        static DISKS: AtomicU64 = AtomicU64::new(0);
        let name = format!("simulated-{}", DISKS.fetch_add(1, Ordering::Relaxed));
        let disk = Arc::new(Self::default());
        vfs::register(&disk, &name);
        (disk, name)
    }

    /// Lets the sync of this number, from 0, fail.
    pub(crate) fn fail_sync(&self, number: usize) {
        self.state.lock().unwrap().failing_sync = Some(number);
    }

    /// Takes all space away for a number of writes, after some more.
    pub(crate) fn fill(&self, after: usize, writes: usize) {
        let mut state = self.state.lock().unwrap();
        state.full =
            Some((state.writes.saturating_add(after), state.writes.saturating_add(after).saturating_add(writes)));
    }

    /// Gives the space back.
    pub(crate) fn make_room(&self) {
        self.state.lock().unwrap().full = None;
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    pub(crate) fn length(&self) -> usize {
        self.state.lock().unwrap().events.len()
    }

    pub(crate) fn writes(&self) -> usize {
        self.state.lock().unwrap().writes
    }

    pub(crate) fn write(&self, kind: Kind, offset: usize, data: &[u8]) -> Verdict {
        let mut state = self.state.lock().unwrap();
        let number = state.writes;
        state.writes += 1;
        if state.full.is_some_and(|(first, end)| (first..end).contains(&number)) {
            return Verdict::Fail;
        }
        state.events.push(Event::Write(kind, offset, data.to_vec()));
        Verdict::Do
    }

    pub(crate) fn truncated(&self, kind: Kind, size: usize) {
        self.state.lock().unwrap().events.push(Event::Truncate(kind, size));
    }

    pub(crate) fn deleted(&self, kind: Kind) {
        self.state.lock().unwrap().events.push(Event::Delete(kind));
    }

    pub(crate) fn sync(&self, kind: Kind) -> Verdict {
        let mut state = self.state.lock().unwrap();
        let number = state.syncs;
        state.syncs += 1;
        let fails = state.failing_sync == Some(number);
        state.events.push(if fails { Event::SyncFailed(kind) } else { Event::Sync(kind) });
        if fails { Verdict::Fail } else { Verdict::Do }
    }
}

/// What becomes of what was written and not synced when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// Nothing of it was written.
    Lost,
    /// Everything was.
    Kept,
    /// Some of it was, in whatever order the disk liked.
    Some(u64),
    /// Everything was, the last write only up to this per mille of it.
    Torn(usize),
    /// Everything was, with bits of it flipped.
    Flipped(u64),
}

/// The files of a disk: what is safe in them, and what is not yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    files: BTreeMap<Kind, Vec<u8>>,
    unsynced: BTreeMap<Kind, Vec<Event>>,
}

impl Image {
    /// The next thing that happens.
    pub(crate) fn advance(&mut self, event: &Event) {
        match event {
            Event::Write(kind, ..) | Event::Truncate(kind, _) => {
                self.files.entry(*kind).or_default();
                self.unsynced.entry(*kind).or_default().push(event.clone());
            }
            Event::Sync(kind) => {
                let file = self.files.entry(*kind).or_default();
                self.unsynced.remove(kind).into_iter().flatten().for_each(|event| apply(file, &event));
            }
            Event::SyncFailed(kind) => drop(self.unsynced.remove(kind)),
            Event::Delete(kind) => {
                self.files.remove(kind);
                self.unsynced.remove(kind);
            }
        }
    }

    /// How much is at stake in a crash now.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.unsynced.values().any(|events| !events.is_empty())
    }

    /// Writes the files as a crash now leaves them.
    pub(crate) fn write_to(&self, directory: &Path, unsynced: Unsynced) {
        for (kind, safe) in &self.files {
            let mut file = safe.clone();
            let events = self.unsynced.get(kind).map_or(&[][..], Vec::as_slice);
            survivors(events, unsynced).iter().for_each(|event| apply(&mut file, event));
            fs::write(directory.join(kind.file()), file).unwrap();
        }
    }
}

fn survivors(events: &[Event], unsynced: Unsynced) -> Vec<Event> {
    match unsynced {
        Unsynced::Lost => Vec::new(),
        Unsynced::Kept => events.to_vec(),
        Unsynced::Some(seed) => {
            let mut random = Random::new(seed);
            events.iter().filter(|_| random.below(2) == 0).cloned().collect()
        }
        Unsynced::Torn(per_mille) => {
            let mut kept = events.to_vec();
            if let Some(Event::Write(_, _, data)) = kept.last_mut() {
                data.truncate(data.len() * per_mille / 1000);
            }
            kept
        }
        Unsynced::Flipped(seed) => {
            let mut random = Random::new(seed);
            let mut kept = events.to_vec();
            for event in &mut kept {
                if let Event::Write(_, _, data) = event
                    && random.below(3) == 0
                {
                    let at = random.below(data.len() as u64) as usize;
                    data[at] ^= 1 << random.below(8);
                }
            }
            kept
        }
    }
}

fn apply(file: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(_, offset, data) => {
            let end = offset + data.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[*offset..end].copy_from_slice(data);
        }
        Event::Truncate(_, size) => file.resize(*size, 0),
        Event::Sync(_) | Event::SyncFailed(_) | Event::Delete(_) => {}
    }
}
