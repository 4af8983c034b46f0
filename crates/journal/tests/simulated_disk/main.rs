//! The journal on a simulated disk: the power fails at every point, every `fsync` fails once, the space ends at every write.
//! It always opens again, and what was said to be durable is there.

#![expect(clippy::unwrap_used, reason = "tests")]

mod disk;
mod random;
#[path = "../support/mod.rs"]
mod support;
mod vfs;
mod workload;

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use disk::{Disk, Event, Image, Unsynced};
use random::Random;
use runlet_journal::{Config, Entry, Heard, Journal, Recovered, Retention, Tuning, open_tuned};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use support::{KEEP_ALL, PATIENCE, began, done, ended, json, run};
use tempfile::TempDir;
use workload::{Snapshot, calls};

/// A directory in memory where there is one: the disk is simulated, and the real one would only be waited for.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A journal on a simulated disk.
struct Simulated {
    journal: Journal,
    heard: Receiver<Heard>,
    /// How long the account of the disk was when something became durable.
    durable: Arc<Mutex<Vec<(usize, u64)>>>,
}

fn tuning(vfs: &str) -> Tuning {
    // Checkpoints are frequent, so that there is a crash in the midst of many.
    Tuning { vfs: Some(vfs.to_owned()), checkpoint_pages: 24, full_retry: Duration::from_millis(1) }
}

fn open(directory: &Path, disk: &Arc<Disk>, vfs: &str, retention: Retention) -> Result<(Simulated, Recovered), String> {
    let (say, heard) = channel();
    let durable = Arc::new(Mutex::new(Vec::new()));
    let (account, marks) = (Arc::clone(disk), Arc::clone(&durable));
    let hear = move |said| {
        if let Heard::Durable { up_to } = said {
            marks.lock().unwrap().push((account.length(), up_to));
        }
        drop(say.send(said));
    };
    let config = Config { directory: directory.to_owned(), retention };
    let (journal, recovered) = open_tuned(config, tuning(vfs), hear).map_err(|error| error.to_string())?;
    Ok((Simulated { journal, heard, durable }, recovered))
}

impl Simulated {
    /// Appends calls, some of them together, until all are durable or writing has failed.
    fn write(&self, calls: &[Vec<Entry>], random: &mut Random) -> Result<(), String> {
        let mut rest = calls;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + random.below(3) as usize));
            let mut last = 0;
            for call in now {
                last = self.journal.append(call.clone()).map_err(|error| error.to_string())?;
            }
            self.until_durable(last)?;
            rest = later;
        }
        Ok(())
    }

    fn until_durable(&self, sequence: u64) -> Result<(), String> {
        loop {
            match self.hear() {
                Heard::Durable { up_to } if up_to >= sequence => return Ok(()),
                Heard::Durable { .. } | Heard::Room => {}
                Heard::Failed(why) => return Err(why),
                Heard::Full { refused } => panic!("nothing is full, and {refused:?} were refused"),
            }
        }
    }

    fn hear(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("the writer says something")
    }
}

/// How many calls are complete with the entry of this number.
fn calls_up_to(calls: &[Vec<Entry>], sequence: u64) -> usize {
    let mut entries = 0;
    let complete = calls.iter().take_while(|call| {
        entries += call.len() as u64;
        entries <= sequence
    });
    complete.count()
}

/// Opens what a crash left and compares it with what must be there. `exact` also says that no ended run may be missing.
fn judge(
    image: &Image,
    unsynced: Unsynced,
    snapshots: &[Snapshot],
    durable_calls: usize,
    exact: bool,
) -> Result<(), String> {
    let directory = directory();
    image.write_to(directory.path(), unsynced);
    let config = Config { directory: directory.path().to_owned(), retention: KEEP_ALL };
    let opened = open_tuned(config, Tuning::default(), |_| {});
    let (journal, recovered) = opened.map_err(|error| format!("it does not open: {error}"))?;
    if !recovered.damaged.is_empty() {
        return Err(format!("damaged: {:?}", recovered.damaged));
    }
    let found = Snapshot::of(directory.path(), recovered);
    journal.close();
    let faults = runlet_journal::check(directory.path()).map_err(|error| error.to_string())?.faults;
    if !faults.is_empty() {
        return Err(format!("faults: {faults:?}"));
    }
    let fits = |snapshot: &Snapshot| match exact {
        true => *snapshot == found,
        false => {
            let known = |(run, state): (&RunId, &RunState)| snapshot.ended.get(run) == Some(state);
            snapshot.open == found.open && snapshot.deployed == found.deployed && found.ended.iter().all(known)
        }
    };
    match snapshots[durable_calls..].iter().any(fits) {
        true => Ok(()),
        false => {
            Err(format!("what is there is not what some number of calls from {durable_calls} on leaves: {found:?}"))
        }
    }
}

/// Crashes a workload after every event of the disk's account, in each of several ways.
fn crash_everywhere(seed: u64, count: usize, retention: Retention) {
    let exact = retention == KEEP_ALL;
    let (disk, vfs) = Disk::new();
    let written = calls(seed, count);
    let snapshots = Snapshot::after_each(&written);
    let place = directory();
    let (simulated, _) = open(place.path(), &disk, &vfs, retention).expect("an empty journal opens");
    simulated.write(&written, &mut Random::new(seed)).expect("nothing fails");
    simulated.journal.close();
    let events = disk.events();
    assert!(
        events.iter().filter(|event| matches!(event, Event::Sync(disk::Kind::Database))).count() > 4,
        "checkpoints"
    );
    let durable = simulated.durable.lock().unwrap().clone();

    let mut image = Image::default();
    let mut crashes = 0;
    for (happened, event) in events.iter().enumerate() {
        image.advance(event);
        let known = durable.iter().rev().find(|(length, _)| *length <= happened + 1).map_or(0, |(_, up_to)| *up_to);
        let durable_calls = calls_up_to(&written, known);
        let at = happened as u64;
        let ways = match image.has_unsynced() {
            false => vec![Unsynced::Lost],
            true => match happened % 4 {
                0 => vec![Unsynced::Lost, Unsynced::Kept],
                1 => vec![Unsynced::Kept, Unsynced::Torn([1, 5, 250, 500, 990, 999][happened / 4 % 6])],
                2 => vec![Unsynced::Some(seed ^ at), Unsynced::Some(!seed ^ at)],
                _ => vec![Unsynced::Flipped(seed ^ at), Unsynced::Torn(500)],
            },
        };
        for way in ways {
            crashes += 1;
            let judged = judge(&image, way, &snapshots, durable_calls, exact);
            assert_eq!(judged, Ok(()), "seed {seed}, after event {happened} of {}, unsynced {way:?}", events.len());
        }
    }
    assert!(crashes > 300, "{crashes} crashes are too few to say anything");
}

#[test]
fn a_crash_at_any_point_loses_nothing_durable() {
    crash_everywhere(1, 24, KEEP_ALL);
}

#[test]
fn a_crash_at_any_point_of_another_workload_loses_nothing_durable() {
    crash_everywhere(2, 24, KEEP_ALL);
}

#[test]
fn a_crash_while_old_runs_are_removed_loses_nothing_durable() {
    crash_everywhere(3, 24, Retention { runs_max: Some(2), ..KEEP_ALL });
}

#[test]
#[ignore = "many seeds; for a night"]
fn crashes_of_many_workloads() {
    for seed in 100..140 {
        crash_everywhere(seed, 40, KEEP_ALL);
        crash_everywhere(seed, 40, Retention { runs_max: Some(3), ..KEEP_ALL });
    }
}

/// Lets one `fsync` fail, and goes on as a supervisor does: it ends, starts again, and the power fails later. Whether there
/// were as many as `number`.
fn fail_one_sync(number: usize, written: &[Vec<Entry>], snapshots: &[Snapshot]) -> bool {
    let (disk, vfs) = Disk::new();
    disk.fail_sync(number);
    let place = directory();
    let mut durable_calls = 0;
    if let Ok((simulated, _)) = open(place.path(), &disk, &vfs, KEEP_ALL) {
        let result = simulated.write(written, &mut Random::new(7));
        simulated.journal.clone().close();
        let said: Vec<_> = simulated.heard.try_iter().collect();
        let told = said.iter().position(|said| matches!(said, Heard::Failed(_)));
        let failed = result.is_err() || told.is_some();
        let happened = disk.events();
        let Some(at) = happened.iter().position(|event| matches!(event, Event::SyncFailed(_))) else {
            assert!(!failed, "no sync failed");
            return false;
        };
        assert!(failed, "sync {number} failed, and nobody was told");
        assert_eq!(happened[at + 1..], [], "sync {number} failed, and something was written after it");
        assert!(simulated.journal.append(written[0].clone()).is_err(), "nothing is taken after a failure");
        assert!(told.is_none_or(|told| told + 1 == said.len()), "nothing is said after a failure: {said:?}");
        let marks = simulated.durable.lock().unwrap();
        assert!(marks.iter().all(|(length, _)| *length <= at), "nothing is durable after a failure");
        durable_calls = marks.last().map_or(0, |(_, up_to)| calls_up_to(written, *up_to));
    }
    // The next process sees what the failed sync left in memory. What it says to be durable has to be, all the same.
    let (simulated, recovered) = open(place.path(), &disk, &vfs, KEEP_ALL).expect("it opens after a failed sync");
    let found = Snapshot::of(place.path(), recovered);
    let calls = snapshots.iter().rposition(|snapshot| *snapshot == found).expect("some number of calls is there");
    assert!(
        calls >= durable_calls,
        "{durable_calls} calls were durable, and {calls} are there after sync {number} failed"
    );
    let more: Vec<_> = (0..5).map(|more| vec![Entry::Began(began(run(1_000 + more)))]).collect();
    simulated.write(&more, &mut Random::new(8)).expect("nothing else fails");

    let mut last = found;
    more.iter().flatten().for_each(|entry| last.apply(entry));
    let mut image = Image::default();
    disk.events().iter().for_each(|event| image.advance(event));
    for way in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(number as u64)] {
        let judged = judge(&image, way, std::slice::from_ref(&last), 0, true);
        assert_eq!(judged, Ok(()), "sync {number} failed, then the power, unsynced {way:?}");
    }
    true
}

#[test]
fn a_failed_sync_ends_writing_and_loses_nothing_durable() {
    let written = calls(4, 30);
    let snapshots = Snapshot::after_each(&written);
    let failed = (0..).take_while(|number| fail_one_sync(*number, &written, &snapshots)).count();
    assert!(failed > 30, "{failed} syncs are too few to say anything");
}

#[test]
fn without_space_new_runs_are_refused_and_the_others_go_on() {
    let (disk, vfs) = Disk::new();
    let place = directory();
    let (simulated, _) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    let journal = &simulated.journal;
    let begin = |number| vec![Entry::Began(began(run(number)))];
    simulated.write(&[begin(1), begin(2)], &mut Random::new(1)).unwrap();
    assert!(!journal.is_full());

    disk.fill(0, usize::MAX);
    journal.append(begin(3)).unwrap();
    assert_eq!(simulated.hear(), Heard::Full { refused: vec![run(3)] });
    assert!(journal.is_full());
    let block = Entry::BlockEnded { run: run(1), block: 0, done: done(1, json("1")) };
    journal.append(vec![block]).unwrap();
    let whole = Entry::Whole(began(run(4)), ended(run(4), RunState::Completed));
    journal.append(vec![whole, Entry::Ended(ended(run(2), RunState::Failed))]).unwrap();
    assert_eq!(simulated.hear(), Heard::Full { refused: vec![run(4)] });
    assert!(journal.stats().bytes_waiting > 0);

    disk.make_room();
    assert_eq!(simulated.hear(), Heard::Room);
    assert_eq!(simulated.hear(), Heard::Durable { up_to: 6 });
    assert!(!journal.is_full());
    simulated.write(&[begin(5)], &mut Random::new(1)).unwrap();
    assert_eq!(journal.stats().bytes_waiting, 0);
    journal.clone().close();

    let (again, recovered) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    let found = Snapshot::of(place.path(), recovered);
    assert_eq!(found.open.keys().copied().collect::<Vec<_>>(), [run(1), run(5)]);
    assert_eq!(found.open[&run(1)].blocks.len(), 1);
    assert_eq!(found.ended.into_iter().collect::<Vec<_>>(), [(run(2), RunState::Failed)]);
    again.journal.close();
}

#[test]
fn what_begins_with_the_end_of_another_run_is_not_refused() {
    let (disk, vfs) = Disk::new();
    let place = directory();
    let (simulated, _) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    simulated.write(&[vec![Entry::Began(began(run(1)))]], &mut Random::new(1)).unwrap();
    disk.fill(0, usize::MAX);
    let end = Entry::Ended(ended(run(1), RunState::Failed));
    simulated.journal.append(vec![end, Entry::Began(began(run(2)))]).unwrap();
    assert_eq!(simulated.hear(), Heard::Full { refused: vec![] });
    disk.make_room();
    assert_eq!(simulated.hear(), Heard::Room);
    assert_eq!(simulated.hear(), Heard::Durable { up_to: 3 });
    assert_eq!(simulated.journal.close(), None);
    let (again, recovered) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    assert_eq!(recovered.runs.iter().map(|open| open.began.run).collect::<Vec<_>>(), [run(2)]);
    again.journal.close();
}

#[test]
fn what_is_not_written_at_the_end_is_said_to_who_closes() {
    let (disk, vfs) = Disk::new();
    let place = directory();
    let (simulated, _) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    simulated.write(&[vec![Entry::Began(began(run(1)))]], &mut Random::new(1)).unwrap();
    disk.fill(0, usize::MAX);
    simulated.journal.append(vec![Entry::Ended(ended(run(1), RunState::Failed))]).unwrap();
    let why = simulated.journal.close().expect("it could not be written");
    assert!(why.contains("1 entries were not written"), "{why}");
}

#[test]
fn room_is_noticed_without_anybody_appending() {
    let (disk, vfs) = Disk::new();
    let place = directory();
    let (simulated, _) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    disk.fill(0, usize::MAX);
    simulated.journal.append(vec![Entry::Began(began(run(1)))]).unwrap();
    assert_eq!(simulated.hear(), Heard::Full { refused: vec![run(1)] });
    disk.make_room();
    assert_eq!(simulated.hear(), Heard::Room);
    assert!(!simulated.journal.is_full());
    simulated.journal.close();
}

/// Takes the space away at one write of a workload, for a few writes; whether there were as many writes.
fn fill_at(write: usize, written: &[Vec<Entry>]) -> bool {
    let (disk, vfs) = Disk::new();
    let place = directory();
    let (simulated, _) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    disk.fill(write, 3);
    let reached = disk.writes() + write;
    let mut refused: Vec<RunId> = Vec::new();
    let mut expected = Snapshot::default();
    for call in written {
        // Whose run was refused has been told so, and says no more of it.
        let told = |entry: &&Entry| entry.run().is_none_or(|run| !refused.contains(&run));
        let call: Vec<Entry> = call.iter().filter(told).cloned().collect();
        let before = refused.len();
        let last = simulated.journal.append(call.clone()).unwrap();
        while refused.len() == before && !call.is_empty() {
            match simulated.hear() {
                Heard::Durable { up_to } if up_to >= last => break,
                Heard::Full { refused: more } => refused.extend(more),
                Heard::Durable { .. } | Heard::Room => {}
                Heard::Failed(why) => panic!("{why}"),
            }
        }
        call.iter()
            .filter(|entry| entry.run().is_none_or(|run| !refused.contains(&run)))
            .for_each(|entry| expected.apply(entry));
    }
    simulated.journal.close();
    assert!(simulated.heard.try_iter().all(|said| !matches!(said, Heard::Failed(_))));
    disk.make_room();
    let (again, recovered) = open(place.path(), &disk, &vfs, KEEP_ALL).unwrap();
    again.journal.close();
    assert_eq!(Snapshot::of(place.path(), recovered), expected, "no space from write {write} on");
    disk.writes() > reached
}

#[test]
fn space_that_ends_at_any_write_loses_only_what_is_refused() {
    let written = calls(5, 16);
    let filled = (0..).step_by(3).take_while(|write| fill_at(*write, &written)).count();
    assert!(filled > 30, "{filled} writes are too few to say anything");
}
