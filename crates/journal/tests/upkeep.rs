//! What is not kept goes, and takes its space with it; what must be kept stays; and a check tells what is damaged.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use runlet_journal::{Collected, Entry, OpenError, Reader, Retention, Stats, Tuning, check, gc};
use runlet_proto::state::RunState;
use support::{KEEP_ALL, Opened, PATIENCE, began, done, ended, json, large, run, source};

fn whole(number: u128, payload: usize) -> Entry {
    let mut end = ended(run(number), RunState::Completed);
    end.output = Some(json(&format!("\"{number}{}\"", "x".repeat(payload))));
    Entry::Whole(began(run(number)), end)
}

fn until(opened: &Opened, what: &str, reached: impl Fn(&Stats) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached(&opened.journal.stats()) {
        assert!(Instant::now() < deadline, "{what}: {:?}", opened.journal.stats());
        std::thread::yield_now();
    }
}

fn database_bytes(directory: &Path) -> u64 {
    fs::metadata(directory.join("journal.db")).unwrap().len()
}

fn output_files(directory: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(directory.join("outputs")).unwrap().map(|folder| folder.unwrap().path());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path()).collect()
}

const MEGABYTE: u64 = 1_000_000;

#[test]
fn the_file_shrinks_when_runs_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    (0..30_u128)
        .for_each(|tens| opened.write((tens * 10..tens * 10 + 10).map(|number| whole(number, 100_000)).collect()));
    opened.write(vec![Entry::Began(began(run(1_000)))]);
    opened.close();
    assert!(database_bytes(directory.path()) > 30 * MEGABYTE);

    let retention = Retention { runs_max: Some(20), ..KEEP_ALL };
    let opened = Opened::with(directory.path(), retention, Tuning::default());
    until(&opened, "it shrinks without being asked", |stats| stats.runs_kept == 20 && stats.bytes_kept < 8 * MEGABYTE);
    opened.close();
    assert!(database_bytes(directory.path()) < 8 * MEGABYTE, "{}", database_bytes(directory.path()));
    let report = check(directory.path()).unwrap();
    assert_eq!((report.runs_ended, report.runs_open, report.faults), (20, 1, vec![]));
    let reader = Reader::open(directory.path()).unwrap();
    assert!(reader.run(run(280)).unwrap().is_some() && reader.run(run(279)).unwrap().is_none(), "the newest are kept");

    let none = Retention { runs_max: Some(0), ..KEEP_ALL };
    let went = gc(directory.path(), none).unwrap();
    assert_eq!(went.runs, 20);
    assert!(went.bytes > 2 * MEGABYTE && database_bytes(directory.path()) < MEGABYTE, "{went:?}");
    assert_eq!(check(directory.path()).unwrap().runs_open, 1, "an open run is never removed");
}

#[test]
fn under_load_it_stays_within_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { bytes_max: Some(5 * MEGABYTE), ..KEEP_ALL };
    let opened = Opened::with(directory.path(), retention, Tuning::default());
    for tens in 0..100_u128 {
        opened.write((tens * 10..tens * 10 + 10).map(|number| whole(number, 20_000)).collect());
    }
    until(&opened, "what is kept is within bounds", |stats| stats.bytes_kept < 10 * MEGABYTE && stats.runs_kept < 250);
    assert!(opened.journal.stats().runs_kept > 50, "it keeps what it may");
    let log = fs::metadata(directory.path().join("journal.db-wal")).unwrap().len();
    assert!(log < 8 * MEGABYTE, "the log is written again from its beginning: {log} bytes");
    opened.close();
    assert!(database_bytes(directory.path()) < 10 * MEGABYTE, "{}", database_bytes(directory.path()));
}

#[test]
fn what_is_too_old_goes() {
    let directory = tempfile::tempdir().unwrap();
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let aged = |number, age_ms: u64| {
        let mut end = ended(run(number), RunState::Completed);
        end.ended_at_ms = now_ms - age_ms;
        Entry::Whole(began(run(number)), end)
    };
    let retention = Retention { age: Some(Duration::from_secs(3_600)), ..KEEP_ALL };
    let opened = Opened::with(directory.path(), retention, Tuning::default());
    opened.write(vec![aged(1, 7_200_000), aged(2, 60_000), aged(3, 3_700_000)]);
    until(&opened, "the old ones go", |stats| stats.runs_kept == 1);
    opened.close();
    assert!(Reader::open(directory.path()).unwrap().run(run(2)).unwrap().is_some());
}

#[test]
fn an_output_file_goes_with_the_last_run_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let with_output = |number, letter| {
        let mut end = ended(run(number), RunState::Completed);
        end.output = Some(large(letter));
        end.ended_at_ms = number as u64;
        Entry::Whole(began(run(number)), end)
    };
    opened.write(vec![with_output(1, b'a'), with_output(2, b'b'), with_output(3, b'a')]);
    assert_eq!(output_files(directory.path()).len(), 2, "equal payloads share a file");
    opened.write(vec![Entry::Deployed { source: source("other", "v9"), at_ms: 1 }]);
    opened.close();
    let orphan = output_files(directory.path())[0].with_file_name("0".repeat(64));
    fs::write(&orphan, "left by a crash").unwrap();
    assert_eq!(check(directory.path()).unwrap().orphans, 1);

    let keep = |runs| Retention { runs_max: Some(runs), ..KEEP_ALL };
    let went = gc(directory.path(), keep(2)).unwrap();
    assert_eq!((went.runs, went.outputs), (1, 1), "the orphan; run 3 still names the file of run 1");
    let went = gc(directory.path(), keep(1)).unwrap();
    assert_eq!((went.runs, went.outputs), (1, 1), "the file of run 2");
    assert!(went.bytes > 200_000, "{went:?}");
    assert_eq!(output_files(directory.path()).len(), 1);
    let stored = Reader::open(directory.path()).unwrap().run(run(3)).unwrap().unwrap();
    assert_eq!(stored.ended.unwrap().output, Some(large(b'a')));
    let went = gc(directory.path(), keep(0)).unwrap();
    assert_eq!((went.runs, went.outputs, went.definitions), (1, 1, 1), "and the definition with its last run");
    let report = check(directory.path()).unwrap();
    assert_eq!((report.definitions, report.orphans, report.faults), (1, 0, vec![]));
}

#[test]
fn an_open_journal_collects_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { runs_max: Some(5), ..KEEP_ALL };
    let opened = Opened::with(directory.path(), retention, Tuning::default());
    opened.write((0..50).map(|number| whole(number, 50_000)).collect());
    let (answer, answered) = channel();
    opened.journal.gc(move |went: Collected| answer.send(went).unwrap());
    answered.recv_timeout(PATIENCE).unwrap();
    assert!(database_bytes(directory.path()) < MEGABYTE, "free pages are given back");
    until(&opened, "the runs are removed", |stats| stats.runs_kept == 5);
    let used = gc(directory.path(), retention).unwrap_err();
    assert!(matches!(used, OpenError::Locked { .. }), "{used}");
    opened.close();
    let missing = gc(&directory.path().join("other"), retention).unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    assert!(!directory.path().join("other").exists(), "and nothing is created");
}

#[test]
fn a_check_finds_what_is_damaged_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    opened.write(vec![Entry::Began(began(run(1))), Entry::Began(began(run(2)))]);
    opened.write(vec![Entry::BlockEnded { run: run(1), block: 0, done: done(1, large(b'a')) }]);
    opened.write(vec![Entry::BlockEnded { run: run(2), block: 0, done: done(1, large(b'b')) }, whole(3, 10)]);
    opened.close();
    let report = check(directory.path()).unwrap();
    assert_eq!((report.runs_open, report.runs_ended, report.outputs, report.faults), (2, 1, 2, vec![]));

    let files = output_files(directory.path());
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&files[0], &bytes).unwrap();
    fs::remove_file(&files[1]).unwrap();
    let db = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    db.execute("UPDATE records SET record = substr(record, 1, 40)", []).unwrap();
    drop(db);
    let report = check(directory.path()).unwrap();
    assert_eq!(report.faults.len(), 3, "{:?}", report.faults);
    let says = |what: &str| report.faults.iter().any(|fault| fault.contains(what));
    assert!(
        says("is damaged: its hash differs")
            && says("cannot be read")
            && says(&format!("the record of run {}", run(3)))
    );
    assert!(!files[1].exists() && fs::read(&files[0]).unwrap() == bytes, "nothing was changed");
    let error = Reader::open(directory.path()).unwrap().run(run(3)).unwrap_err().to_string();
    assert!(error.contains("cannot read the record of run"), "{error}");

    // Runs that cannot be gone on with are named, and the others go on.
    let opened = Opened::at(directory.path());
    let damaged = &opened.recovered.damaged;
    assert_eq!((damaged.len(), opened.recovered.runs.len()), (2, 0));
    assert!(damaged.iter().all(|damaged| damaged.why.contains("its output")), "{damaged:?}");
    opened.write(vec![Entry::Ended(ended(run(1), RunState::Failed)), Entry::Ended(ended(run(2), RunState::Failed))]);
    opened.close();
    assert_eq!(Opened::at(directory.path()).recovered.damaged, []);
}

#[test]
fn a_check_finds_a_damaged_page() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    opened.write((0..200).map(|number| whole(number, 2_000)).collect());
    opened.close();
    let path = directory.path().join("journal.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let report = check(directory.path()).unwrap();
    assert!(!report.faults.is_empty());
    assert!(report.faults[0].contains("damaged"), "{:?}", report.faults);
}

/// Flips a bit of the first place where the database has this text; it stays text.
fn flip(directory: &Path, text: &str) {
    let path = directory.join("journal.db");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(text.len()).position(|found| found == text.as_bytes()).expect("it is stored");
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
}

#[test]
fn a_bit_that_flips_inside_a_text_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let open = |number, input: &str| {
        let mut began = began(run(number));
        began.input = json(input);
        Entry::Began(began)
    };
    let mut other = source("other", "v1");
    other.text = "{\"name\": \"other\", \"description\": \"definition-text\"}".to_owned();
    opened.write(vec![Entry::Deployed { source: source("shop", "v1"), at_ms: 1 }]);
    opened.write(vec![Entry::Deployed { source: other.clone(), at_ms: 1 }]);
    opened.write(vec![open(1, "\"input-of-one\""), open(2, "\"input-of-two\""), open(3, "\"input-of-three\"")]);
    let block = |number, output: &str| Entry::BlockEnded { run: run(number), block: 0, done: done(1, json(output)) };
    opened.write(vec![block(2, "\"output-of-two\""), block(3, "\"output-of-three\"")]);
    let mut end = ended(run(4), RunState::Completed);
    end.output = Some(json("\"output-of-four\""));
    opened.write(vec![Entry::Whole(began(run(4)), end)]);
    opened.close();
    assert_eq!(check(directory.path()).unwrap().faults, Vec::<String>::new());

    for text in ["definition-text", "input-of-one", "output-of-two", "output-of-four"] {
        flip(directory.path(), text);
    }
    let faults = check(directory.path()).unwrap().faults;
    let named = ["workflow `other`".to_owned()].into_iter().chain([1, 2, 4].map(|number| run(number).to_string()));
    assert_eq!(faults.len(), 4, "{faults:?}");
    for name in named {
        assert!(faults.iter().any(|fault| fault.contains(&name) && fault.contains("checksum")), "{name}: {faults:?}");
    }

    // Those that are damaged are named, and the others go on.
    let opened = Opened::at(directory.path());
    let recovered = &opened.recovered;
    assert_eq!(recovered.damaged.iter().map(|damaged| damaged.run).collect::<Vec<_>>(), [run(1), run(2)]);
    assert!(recovered.damaged.iter().all(|damaged| damaged.why.contains("checksum")), "{:?}", recovered.damaged);
    assert_eq!(recovered.runs.iter().map(|open| open.began.run).collect::<Vec<_>>(), [run(3)]);
    assert_eq!(recovered.workflows.iter().map(|live| &*live.source.workflow).collect::<Vec<_>>(), ["shop"]);
    assert_eq!(recovered.damaged_sources[0].workflow, "other");
    let error = Reader::open(directory.path()).unwrap().run(run(4)).unwrap_err().to_string();
    assert!(error.contains("its checksum differs"), "{error}");
    // Deployed again, it is whole again.
    opened.write(vec![Entry::Deployed { source: other.clone(), at_ms: 2 }]);
    opened.close();
    let again = Opened::at(directory.path());
    assert!(again.recovered.workflows.iter().any(|live| live.source == other), "{:?}", again.recovered.workflows);
    again.close();
}
