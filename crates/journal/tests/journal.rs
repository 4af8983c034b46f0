//! The journal as the supervisor uses it: what is appended comes back, ended runs are records, and there is one writer.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::channel;

use bytes::Bytes;
use runlet_journal::limits::BACKLOG_BYTES_MAX;
use runlet_journal::{
    Backlog, BlockProgress, Config, Entry, Heard, OpenError, Reader, Stored, StoredKey, StoredSource, StoredWorkflow,
    open,
};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;
use support::{KEEP_ALL, Opened, PATIENCE, began, done, ended, json, large, line, run, source};

/// A journal with a deployed workflow and one open run that has done something of everything.
fn write_open_run(directory: &Path) -> RunId {
    let id = run(1);
    let opened = Opened::at(directory);
    let mut head = began(id);
    head.waited_for = true;
    head.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    head.input = Stored::Hook(Bytes::from_static(b"hook"));
    let failure = Failure::upstream("http-status", "503");
    opened.write(vec![Entry::Deployed { source: source("shop", "v1"), at_ms: 900 }, Entry::Began(head)]);
    opened.write(vec![
        Entry::BlockEnded { run: id, block: 0, done: done(1, large(b'a')) },
        Entry::Backoff { run: id, block: 1, attempt: 1, retries: 1, failure, retry_at_ms: 9_000 },
        Entry::Intent { run: id, block: 2, attempt: 1, at_ms: 2_000 },
        Entry::Log { run: id, line: line(1, "first") },
    ]);
    opened.write(vec![
        Entry::Held { run: id, paused: true, priority: 8 },
        Entry::Log { run: id, line: line(2, "second") },
    ]);
    opened.close();
    id
}

#[test]
fn an_open_run_comes_back_with_all_that_it_did() {
    let directory = tempfile::tempdir().unwrap();
    let id = write_open_run(directory.path());

    let opened = Opened::at(directory.path());
    let deployed = StoredWorkflow { source: source("shop", "v1"), deployed_at_ms: 900 };
    assert_eq!(opened.recovered.workflows, [deployed]);
    assert_eq!(opened.recovered.programs, [source("shop", "v1")]);
    assert_eq!(opened.recovered.damaged, []);
    let [open] = &*opened.recovered.runs else { panic!("one run is open: {:?}", opened.recovered.runs) };
    assert_eq!((open.began.run, open.began.waited_for, open.paused, open.priority), (id, true, true, 8));
    assert_eq!(open.began.input, Stored::Hook(Bytes::from_static(b"hook")));
    let waiting = BlockProgress::Waiting {
        attempt: 1,
        retries: 1,
        failure: Failure::upstream("http-status", "503"),
        retry_at_ms: 9_000,
    };
    let blocks =
        [(0, BlockProgress::Done(done(1, large(b'a')))), (1, waiting), (2, BlockProgress::Unknown { attempt: 1 })];
    assert_eq!(open.blocks, BTreeMap::from(blocks));
    assert_eq!(open.log, [line(1, "first"), line(2, "second")]);
    // It goes on where it was.
    opened.write(vec![Entry::BlockEnded { run: id, block: 2, done: done(1, json("2")) }]);
    opened.close();
    let opened = Opened::at(directory.path());
    assert_eq!(opened.recovered.runs[0].blocks[&2], BlockProgress::Done(done(1, json("2"))));
}

#[test]
fn a_run_ends_once_and_becomes_one_record() {
    let directory = tempfile::tempdir().unwrap();
    let id = write_open_run(directory.path());
    let opened = Opened::at(directory.path());
    let mut end = ended(id, RunState::Failed);
    end.blocks.push((2, done(1, large(b'a'))));
    opened.write(vec![Entry::Ended(end.clone())]);
    assert_eq!(opened.journal.stats().out_of_place, 0);
    opened.write(vec![
        Entry::Ended(ended(id, RunState::Completed)),
        Entry::Began(began(id)),
        Entry::Intent { run: id, block: 0, attempt: 7, at_ms: 1 },
        Entry::Whole(began(id), ended(id, RunState::Completed)),
        Entry::Ended(ended(run(99), RunState::Completed)),
        Entry::Ended(ended(run(98), RunState::Running)),
    ]);
    opened.close();

    let opened = Opened::at(directory.path());
    assert_eq!(opened.recovered.runs, []);
    assert_eq!(opened.recovered.programs, []);
    let reader = Reader::open(directory.path()).unwrap();
    let stored = reader.run(id).unwrap().expect("the run is stored");
    assert_eq!(stored.ended.as_ref(), Some(&*end));
    assert_eq!((stored.began.run, stored.began.waited_for, stored.blocks.len()), (id, true, 0));
    assert_eq!(stored.source, Some(source("shop", "v1")));
    assert_eq!(reader.history(&runlet_journal::HistoryFilter { limit: 10, ..Default::default() }).unwrap().len(), 1);
    assert_eq!(runlet_journal::check(directory.path()).unwrap().faults, Vec::<String>::new());
}

#[test]
fn entries_out_of_place_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    opened.write(vec![Entry::Whole(began(run(1)), ended(run(1), RunState::Completed))]);
    opened.write(vec![
        Entry::Ended(ended(run(1), RunState::Stopped)),
        Entry::Whole(began(run(1)), ended(run(1), RunState::Stopped)),
        Entry::Ended(ended(run(2), RunState::Stopped)),
        Entry::Began(began(run(3))),
    ]);
    let journal = opened.journal.clone();
    opened.close();
    assert_eq!(journal.stats().out_of_place, 3);
    let reader = Reader::open(directory.path()).unwrap();
    assert_eq!(reader.run(run(1)).unwrap().unwrap().ended.unwrap().state, RunState::Completed);
    assert_eq!(reader.run(run(2)).unwrap(), None);
}

#[test]
fn definitions_are_kept_as_long_as_somebody_needs_them() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let deploy = |version, at_ms| Entry::Deployed { source: source("shop", version), at_ms };
    let mut inline = began(run(2));
    inline.version = "inline".to_owned();
    inline.source = Some(source("shop", "inline"));
    opened.write(vec![
        deploy("v1", 1),
        Entry::Began(began(run(1))),
        deploy("v2", 2),
        deploy("v3", 3),
        Entry::Began(inline),
    ]);
    opened.write(vec![Entry::Deployed { source: source("rates", "r1"), at_ms: 4 }]);
    opened.write(vec![Entry::Removed { workflow: "rates".to_owned() }]);
    opened.close();

    let versions = |sources: &[StoredSource]| sources.iter().map(|source| source.version.clone()).collect::<Vec<_>>();
    let opened = Opened::at(directory.path());
    assert_eq!(versions(&opened.recovered.programs), ["v1", "inline"]);
    assert_eq!(opened.recovered.workflows.len(), 1);
    assert_eq!(
        (&*opened.recovered.workflows[0].source.version, opened.recovered.workflows[0].deployed_at_ms),
        ("v3", 3)
    );
    opened.close();
    assert_eq!(runlet_journal::check(directory.path()).unwrap().definitions, 3, "v1, v3 and the inline one");
}

#[test]
fn keys_come_back_for_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let keyed = |number, key: u8, created_at_ms| {
        let mut began = began(run(number));
        began.key = Some([key; 32]);
        began.created_at_ms = created_at_ms;
        Entry::Began(began)
    };
    let opened = Opened::at(directory.path());
    let (old, new) = (now_ms - 25 * 3_600_000, now_ms - 23 * 3_600_000);
    opened.write(vec![keyed(1, 1, old), keyed(2, 2, new)]);
    opened.close();
    let opened = Opened::at(directory.path());
    assert_eq!(opened.recovered.keys, [StoredKey { key: [2; 32], run: run(2), at_ms: new }]);
}

#[test]
fn there_is_one_writer() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let config = || Config { directory: directory.path().to_owned(), retention: KEEP_ALL };
    let error = open(config(), |_| {}).expect_err("a second writer is refused");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another supervisor holds its lock"), "{error}");
    opened.close();
    let (journal, _) = open(config(), |_| {}).expect("the lock is free");
    journal.close();
}

#[test]
fn a_closed_journal_takes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let journal = opened.journal.clone();
    opened.close();
    assert_eq!(journal.append(vec![Entry::Began(began(run(1)))]), Err(Backlog { bytes_waiting: 0 }));
}

#[test]
fn its_files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("journal");
    let opened = Opened::at(&path);
    let mut head = began(run(1));
    head.input = large(b'x');
    opened.write(vec![Entry::Began(head)]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut folders = vec![path];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                folders.push(entry);
            } else {
                assert_eq!(mode(&entry), 0o600, "{}", entry.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, 5, "database, log, index, lock, output");
    opened.close();
}

#[test]
fn a_newer_schema_and_a_damaged_file_are_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let config = || Config { directory: directory.path().to_owned(), retention: KEEP_ALL };
    Opened::at(directory.path()).close();
    let path = directory.path().join("journal.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 1_000).unwrap();
    drop(db);
    let refused =
        [open(config(), |_| {}).map(drop).unwrap_err(), Reader::open(directory.path()).map(drop).unwrap_err()];
    for error in refused {
        assert!(
            error.to_string().contains("has schema 1000, and this version of Runlet knows schemas up to 3"),
            "{error}"
        );
    }
    fs::write(&path, "no database at all, but long enough to be looked at as one".repeat(100)).unwrap();
    let error = open(config(), |_| {}).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("journal.db is damaged") && said.contains("`runlet journal check`"), "{said}");
    let missing = Reader::open(&directory.path().join("other")).unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
}

#[test]
fn many_large_payloads_of_one_run_fit_into_its_record() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let mut end = ended(run(1), RunState::Completed);
    end.blocks = (0..200).map(|block| (block, done(1, json(&format!("\"{block}{}\"", "x".repeat(200_000)))))).collect();
    opened.write(vec![Entry::Whole(began(run(1)), end.clone())]);
    opened.close();
    let stored = Reader::open(directory.path()).unwrap().run(run(1)).unwrap().unwrap();
    assert_eq!(stored.ended, Some(*end));
    let report = runlet_journal::check(directory.path()).unwrap();
    assert!(report.outputs > 100 && report.faults.is_empty(), "{report:?}");
}

#[test]
fn relaxed_entries_are_written_without_being_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let mut last = 0;
    for number in 0..50 {
        let whole = Entry::Whole(began(run(number)), ended(run(number), RunState::Completed));
        last = opened.journal.append_relaxed(vec![whole]).unwrap();
    }
    assert_eq!(last, 50);
    opened.until_durable(last);
    assert_eq!(opened.journal.stats().bytes_waiting, 0);
    opened.close();
    assert_eq!(runlet_journal::check(directory.path()).unwrap().runs_ended, 50);
}

#[test]
fn a_backlog_is_refused_and_a_writer_that_panics_is_heard_of() {
    let directory = tempfile::tempdir().unwrap();
    let (say, heard) = channel();
    let (go, gone) = channel::<()>();
    let hear = move |said: Heard| {
        let durable = matches!(said, Heard::Durable { .. });
        say.send(said).unwrap();
        if durable {
            gone.recv().unwrap_err();
            panic!("as a mistake of the writer would");
        }
    };
    let config = Config { directory: directory.path().to_owned(), retention: KEEP_ALL };
    let (journal, _) = open(config, hear).unwrap();
    journal.append(vec![Entry::Began(began(run(1)))]).unwrap();
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Heard::Durable { up_to: 1 }));

    // The writer is held up, and what is appended waits.
    let megabytes = Stored::Json(vec![b'1'; 10_000_000].into());
    let block = |number| Entry::BlockEnded { run: run(1), block: number, done: done(1, megabytes.clone()) };
    let taken = (0..1_000).take_while(|number| journal.append(vec![block(*number)]).is_ok()).count() as u64;
    assert_eq!(taken, BACKLOG_BYTES_MAX / 10_000_000, "as many as fit are taken");
    assert_eq!(journal.append(vec![block(0)]), Err(Backlog { bytes_waiting: journal.stats().bytes_waiting }));
    assert!(journal.append_relaxed(vec![Entry::Began(began(run(2)))]).is_ok(), "what fits is taken");

    drop(go);
    let Ok(Heard::Failed(why)) = heard.recv_timeout(PATIENCE) else { panic!("it says that it failed") };
    assert!(why.contains("panicked"), "{why}");
    assert!(journal.append(vec![Entry::Began(began(run(3)))]).is_err());
    journal.close();
}
