//! Golden vectors: the tables and the bytes in them, so that no change of what is stored goes unseen.
//!
//! `golden.txt` holds one line per table, index and blob. `RUNLET_WRITE_GOLDEN=1 cargo test -p runlet-journal --test golden`
//! writes it. A line that *changes* means that a newer version cannot read what an older one wrote: give the blobs a new
//! format (`src/kept.rs`) or the tables a migration (`src/schema.rs`), and keep reading the old.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use runlet_journal::{Child, Entry, Stored};
use runlet_proto::failure::Failure;
use runlet_proto::state::RunState;
use rusqlite::Connection;
use support::{Opened, began, done, ended, json, large, line, run, source};

fn entries() -> Vec<Entry> {
    let id = run(1);
    let mut full = began(id);
    full.source = Some(source("shop", "v1"));
    full.waited_for = true;
    full.input = Stored::Hook(Bytes::from_static(b"hook"));
    full.key = Some([0xab; 32]);
    // So late that upkeep does not remove the key.
    full.created_at_ms = 4_000_000_000_000;
    full.retry_of = Some(run(9));
    full.traceparent = Some("00-trace".to_owned());
    full.handles = Some(run(8));
    full.parent = Some(run(7));
    let failure = Failure::upstream("http-status", "503").with_help("wait");
    let failure = Failure { retry_after_ms: Some(3), ..failure };
    vec![
        Entry::Deployed { source: source("shop", "v1"), at_ms: 900 },
        Entry::Began(full),
        Entry::Intent { run: id, block: 0, attempt: 1, at_ms: 2_000 },
        Entry::BlockEnded { run: id, block: 0, done: done(1, large(b'a')) },
        Entry::BlockEnded { run: id, block: 1, done: done(2, Stored::Reply(Bytes::from_static(b"reply"))) },
        Entry::Backoff { run: id, block: 2, attempt: 1, retries: 1, failure, retry_at_ms: 9_000 },
        Entry::Held { run: id, paused: true, priority: 8 },
        Entry::Log { run: id, line: line(1, "said") },
        Entry::BlockEnded { run: id, block: 3, done: done(1, Stored::Nothing) },
        Entry::Died { run: id, cause: "out-of-memory".to_owned() },
        Entry::ChildBegan { run: id, child: Child { block: 4, retries: 1, call: 2, run: run(3) } },
        Entry::Whole(began(run(2)), ended(run(2), RunState::Completed)),
        Entry::Began(began(run(3))),
        Entry::BlockEnded { run: run(3), block: 0, done: done(1, json("1")) },
        Entry::Ended(ended(run(3), RunState::Failed)),
        Entry::Whole(began(run(4)), ended(run(4), RunState::Stopped)),
    ]
}

fn lines(db: &Connection) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |sql: &str| {
        let mut sql = db.prepare(sql).unwrap();
        let rows = sql.query_map([], |row| row.get::<_, String>(0)).unwrap();
        lines.extend(rows.map(|row| row.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")));
    };
    add("SELECT 'schema ' || user_version FROM pragma_user_version");
    add("SELECT name || ': ' || sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name");
    add(
        "SELECT 'run ' || n || ': ' || hex(id) || ' ' || coalesce(state, 'open') || ' ' || coalesce(error, '') FROM runs",
    );
    add(
        "SELECT 'beside ' || n || ': ' || coalesce(hex(handles), '-') || ' ' || coalesce(hex(parent), '-') || ' ' || coalesce(lane, '-') || ' ' || coalesce(pid, '-') FROM runs",
    );
    add("SELECT 'progress ' || n || '.' || sequence || ': ' || hex(entry) FROM progress");
    add("SELECT 'record ' || n || ': ' || hex(record) FROM records");
    add("SELECT 'output ' || n || ': ' || hex(hash) || ' ' || bytes FROM outputs");
    add("SELECT 'key: ' || hex(key) || ' ' || hex(run) || ' ' || at_ms FROM keys");
    lines
}

#[test]
fn what_is_stored_is_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    opened.write(entries());
    let reader = Connection::open(directory.path().join("journal.db")).unwrap();
    let now = lines(&reader);
    drop(reader);
    opened.close();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden.txt");
    let text = now.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    });
    if std::env::var_os("RUNLET_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    for (line, expected) in now.iter().zip(committed.lines()) {
        assert_eq!(line, expected, "what is stored changed: a newer version could not read what an older one wrote");
    }
    assert_eq!(now.len(), committed.lines().count(), "golden.txt has other lines than there are now");
}
