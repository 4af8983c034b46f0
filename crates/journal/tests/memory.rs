//! What is kept of shared memory: all of it is there again, and what is damaged is told of by name and left out.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use runlet_journal::{
    Entry, MemoryChange, MessageState, StoredAnswer, StoredKeyValue, StoredMemory, StoredMessage, StoredNamespace,
    check,
};
use runlet_proto::ids::RunId;
use rusqlite::Connection;
use support::{Opened, run};

fn set(key: &str, value: &'static str, version: u64, expires_at_ms: Option<u64>) -> MemoryChange {
    let (namespace, key) = ("prices".to_owned(), key.to_owned());
    MemoryChange::Set { namespace, key, value: Bytes::from_static(value.as_bytes()), version, expires_at_ms }
}

fn namespace(name: &str, version: u64, holder: Option<(RunId, u64)>) -> StoredNamespace {
    StoredNamespace { name: name.to_owned(), version, holder }
}

fn stored(key: &str, value: &'static str, version: u64, expires_at_ms: Option<u64>) -> StoredKeyValue {
    let (namespace, key) = ("prices".to_owned(), key.to_owned());
    StoredKeyValue { namespace, key, value: Bytes::from_static(value.as_bytes()), version, expires_at_ms }
}

fn message(id: u64, body: Option<&'static str>, state: MessageState) -> StoredMessage {
    StoredMessage {
        channel: "orders".to_owned(),
        id,
        body: body.map(|body| Bytes::from_static(body.as_bytes())),
        sent_at_ms: 1_000 + id,
        deliveries: u32::from(state != MessageState::Ready),
        run: (state != MessageState::Ready).then(|| run(7)),
        state,
        deliveries_max: 5,
    }
}

fn answer(number: u128, call: u32) -> StoredAnswer {
    StoredAnswer { run: run(number), block: 2, retries: 1, call, answer: Bytes::from_static(b"9") }
}

fn outdated(answer: &StoredAnswer) -> MemoryChange {
    let StoredAnswer { run, block, retries, call, .. } = *answer;
    MemoryChange::Outdated { run, block, retries, call }
}

#[test]
fn all_changes_are_there_again_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    assert_eq!(opened.recovered.memory, StoredMemory::default());
    let done = |id| MemoryChange::Done { channel: "orders".to_owned(), id };
    let locked = |namespace: &str, holder| MemoryChange::Locked { namespace: namespace.to_owned(), holder };
    let lost = |number, untold| MemoryChange::Lost { namespace: "prices".to_owned(), run: run(number), untold };
    opened.write(vec![
        Entry::Memory(vec![
            set("a", "1", 1, None),
            set("b", "[\"ü\"]", 2, Some(9_000)),
            set("a", "{}", 3, Some(8_000)),
        ]),
        Entry::Memory(vec![MemoryChange::Removed { namespace: "prices".to_owned(), key: "b".to_owned(), version: 4 }]),
        Entry::Memory(vec![locked("prices", Some((run(7), 5_000))), locked("other", Some((run(8), 6_000)))]),
        Entry::Memory(vec![locked("other", None), lost(8, true), lost(9, true)]),
        Entry::Memory(vec![lost(9, false)]),
        Entry::Memory(vec![
            MemoryChange::Message(message(1, Some("\"first\""), MessageState::Ready)),
            MemoryChange::Message(message(2, Some("\"second\""), MessageState::Ready)),
            MemoryChange::Message(message(3, Some("\"third\""), MessageState::Ready)),
            MemoryChange::Message(message(2, None, MessageState::Delivered)),
            MemoryChange::Message(message(1, None, MessageState::Dead)),
            done(3),
        ]),
        Entry::Memory(
            [(7, 3), (7, 0), (7, 2), (8, 0)].map(|(of, call)| MemoryChange::Answered(answer(of, call))).to_vec(),
        ),
        Entry::Memory(vec![outdated(&answer(7, 2))]),
        Entry::Memory(vec![MemoryChange::Answered(answer(7, 1)), MemoryChange::Forgotten(run(8))]),
    ]);
    opened.close();
    let opened = Opened::at(directory.path());
    let expected = StoredMemory {
        namespaces: vec![namespace("other", 0, None), namespace("prices", 4, Some((run(7), 5_000)))],
        lost: vec![("prices".to_owned(), run(8))],
        keys: vec![stored("a", "{}", 3, Some(8_000))],
        channels: vec![("orders".to_owned(), 3)],
        messages: vec![
            message(1, Some("\"first\""), MessageState::Dead),
            message(2, Some("\"second\""), MessageState::Delivered),
        ],
        answers: vec![answer(7, 3), answer(7, 0), answer(7, 1)],
    };
    assert_eq!(opened.recovered.memory, expected);
    assert_eq!(opened.recovered.damaged_memory, Vec::<String>::new());
    assert_eq!(opened.journal.stats().out_of_place, 0);
    opened.close();
}

#[test]
fn what_is_damaged_is_told_of_and_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::at(directory.path());
    let sent = |id, body| MemoryChange::Message(message(id, Some(body), MessageState::Ready));
    let changes = vec![set("a", "1", 1, None), set("b", "2", 2, None), sent(1, "\"a\""), sent(2, "\"b\"")];
    opened.write(vec![Entry::Memory(changes)]);
    opened.close();
    let db = Connection::open(directory.path().join("journal.db")).unwrap();
    db.execute("UPDATE memory_keys SET value = CAST('3' AS BLOB) WHERE key = 'b'", []).unwrap();
    db.execute("UPDATE memory_messages SET state = 9 WHERE id = 1", []).unwrap();
    drop(db);
    let report = check(directory.path()).unwrap();
    let said = "it is not what was written: its checksum differs";
    let expected = [
        format!("key `b` of the memory namespace `prices` is damaged: {said}"),
        format!("message 1 of the channel `orders` is damaged: {said}"),
    ];
    assert_eq!(report.faults, expected);
    let opened = Opened::at(directory.path());
    assert_eq!(opened.recovered.damaged_memory, expected);
    assert_eq!(opened.recovered.memory.keys, [stored("a", "1", 1, None)]);
    assert_eq!(opened.recovered.memory.messages, [message(2, Some("\"b\""), MessageState::Ready)]);
    opened.close();
}
