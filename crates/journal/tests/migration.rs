//! A journal that an earlier version wrote is opened by this one, and all of it is there.
//!
//! `schema-1.txt` is the `golden.txt` of schema 1: its tables and the bytes in them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use runlet_journal::{BlockProgress, Child, Entry, Reader, Stored, check};
use runlet_proto::state::{Lane, RunState};
use rusqlite::{Connection, params};
use support::{Opened, began, ended, large, run, source};

/// Bytes from their hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Writes the database that an account tells of, and the output file it names.
fn write_schema_1(directory: &Path) {
    let account = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema-1.txt")).unwrap();
    let db = Connection::open(directory.join("journal.db")).unwrap();
    let lines = || account.lines().filter_map(|line| line.split_once(": "));
    for statement in ["CREATE TABLE", "CREATE INDEX"] {
        lines().filter(|(_, sql)| sql.starts_with(statement)).for_each(|(_, sql)| db.execute_batch(sql).unwrap());
    }
    db.pragma_update(None, "user_version", 1).unwrap();
    let source = source("shop", "v1");
    let sql = "INSERT INTO definitions(d, workflow, version, file, text) VALUES(1, ?1, ?2, ?3, ?4)";
    db.execute(sql, [&source.workflow, &source.version, &source.file, &source.text]).unwrap();
    db.execute("INSERT INTO deployed VALUES('shop', 1, 900)", []).unwrap();
    for (what, told) in lines() {
        match what.split_once(' ') {
            Some(("run", n)) => {
                let words: Vec<_> = told.splitn(3, ' ').collect();
                let state: Option<i64> = words[1].parse().ok();
                let sql = "INSERT INTO runs(n, id, d, priority, created_at_ms, state, ended_at_ms, error)
                           VALUES(?1, ?2, 1, 5, 1000, ?3, ?4, ?5)";
                let error = words.get(2).filter(|error| !error.is_empty());
                db.execute(sql, params![n, bytes(words[0]), state, state.map(|_| 1_010), error]).unwrap();
            }
            Some(("progress", place)) => {
                let (n, sequence) = place.split_once('.').unwrap();
                db.execute("INSERT INTO progress VALUES(?1, ?2, ?3)", params![n, sequence, bytes(told)]).unwrap();
            }
            Some(("record", n)) => {
                db.execute("INSERT INTO records VALUES(?1, ?2)", params![n, bytes(told)]).unwrap();
            }
            Some(("output", n)) => {
                let (hash, length) = told.split_once(' ').unwrap();
                db.execute("INSERT INTO outputs VALUES(?1, ?2, ?3)", params![n, bytes(hash), length]).unwrap();
                let name = hash.to_lowercase();
                let folder = directory.join("outputs").join(&name[..2]);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(name), large(b'a').bytes()).unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn a_journal_of_schema_1_is_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    write_schema_1(directory.path());
    let opened = Opened::at(directory.path());
    let recovered = &opened.recovered;
    assert_eq!(recovered.damaged, []);
    assert_eq!(recovered.workflows[0].source, source("shop", "v1"));
    assert_eq!(recovered.programs, [source("shop", "v1")]);
    let [open] = &recovered.runs[..] else { panic!("{:?}", recovered.runs) };
    assert_eq!((open.began.run, open.began.retry_of, open.began.handles), (run(1), Some(run(9)), None));
    assert_eq!((open.paused, open.priority, open.deaths.len(), open.log.len()), (true, 8, 0, 1));
    let BlockProgress::Done(first) = &open.blocks[&0] else { panic!("{:?}", open.blocks[&0]) };
    assert_eq!(first.output, Some(large(b'a')));

    // It goes on in the present schema, beside what was there.
    let mut more = began(run(5));
    more.handles = Some(run(4));
    more.parent = Some(run(3));
    let child = Child { block: 0, retries: 0, call: 7, run: run(6) };
    opened.write(vec![
        Entry::Died { run: run(1), cause: "out-of-memory".to_owned() },
        Entry::Ended(ended(run(1), RunState::Failed)),
        Entry::Began(more),
        Entry::Died { run: run(5), cause: "seccomp".to_owned() },
        Entry::ChildBegan { run: run(5), child },
    ]);
    opened.close();
    let report = check(directory.path()).unwrap();
    assert_eq!((report.runs_ended, report.runs_open, report.faults), (4, 1, vec![]));
    let reader = Reader::open(directory.path()).unwrap();
    let ended = |number| reader.run(run(number)).unwrap().unwrap().ended.unwrap();
    assert_eq!((ended(1).lane, ended(1).pid), (Some(Lane::Heavy), Some(7)));
    let old = ended(3);
    assert_eq!((old.lane, old.pid, old.state), (None, None, RunState::Failed));
    assert_eq!(old.blocks[1].1.output, Some(Stored::Reply("reply".into())));
    let lines = reader.history(&runlet_journal::HistoryFilter { limit: 10, ..Default::default() }).unwrap();
    let lanes: Vec<_> = lines.iter().map(|line| (line.run, line.lane)).collect();
    let expected = [(5, None), (4, None), (3, None), (2, None), (1, Some(Lane::Heavy))];
    assert_eq!(lanes, expected.map(|(number, lane)| (run(number), lane)));
    drop(reader);
    let again = Opened::at(directory.path());
    let [open] = &again.recovered.runs[..] else { panic!("{:?}", again.recovered.runs) };
    assert_eq!((open.began.handles, open.began.parent), (Some(run(4)), Some(run(3))));
    assert_eq!((&open.deaths[..], &open.children[..]), (&["seccomp".to_owned()][..], &[child][..]));
    again.close();
}
