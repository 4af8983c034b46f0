//! Keys: values and their versions, what is done with them, lists.

use std::sync::Arc;

use runlet_memory::SharedMemory;
use runlet_proto::memory::{MemoryCall, MemoryOp};

use super::{World, bytes, code, items, text, value};

pub(super) fn set(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Set { key: key.to_owned(), value: bytes(json), ttl_ms: None }
}

pub(super) fn add(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Add { key: key.to_owned(), value: bytes(json), ttl_ms: None }
}

pub(super) fn append(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Append { key: key.to_owned(), value: bytes(json), ttl_ms: None }
}

pub(super) fn cas(key: &str, version: u64, json: &str) -> MemoryOp {
    MemoryOp::CompareAndSet { key: key.to_owned(), version, value: bytes(json), ttl_ms: None }
}

pub(super) fn take(key: &str) -> MemoryOp {
    MemoryOp::Take { key: key.to_owned() }
}

pub(super) fn delete(key: &str) -> MemoryOp {
    MemoryOp::Delete { key: key.to_owned() }
}

pub(super) async fn done<S: SharedMemory + Clone>(world: &World<S>, op: MemoryOp) -> Option<String> {
    text(&value(world.op(op).await.expect("it is done")))
}

pub(crate) async fn a_key_is_read_as_it_was_written<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let item = world.set("a", "{\"x\":[1,2]}").await;
    assert_eq!((item.key.as_str(), item.version, item.expires_at_ms), ("a", 1, None));
    assert_eq!(world.item("a").await, Some(item));
}

pub(crate) async fn a_key_that_is_not_there_is_nothing<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(world.get("a").await, None);
    assert_eq!(world.keys().await, Vec::<String>::new());
}

pub(crate) async fn a_later_set_replaces<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("a", "1").await;
    world.set("a", "\"two\"").await;
    assert_eq!(world.get("a").await.as_deref(), Some("\"two\""));
}

pub(crate) async fn versions_only_grow_also_over_deletes<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let mut last = 0;
    for round in 0..5 {
        let item = world.set("a", "1").await;
        assert!(item.version > last, "round {round}: {} after {last}", item.version);
        last = item.version;
        let _ = world.op(if round % 2 == 0 { delete("a") } else { take("a") }).await;
    }
}

pub(crate) async fn versions_of_one_namespace_come_from_one_counter<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (a, b, c) = (world.set("a", "1").await, world.set("b", "1").await, world.set("a", "2").await);
    assert!(a.version < b.version && b.version < c.version, "{a:?} {b:?} {c:?}");
}

pub(crate) async fn every_kind_of_json_is_kept_as_it_was_written<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for json in
        ["null", "true", "0", "-1.50e3", "\"\\u00fc ü \\n\"", "[]", "{ \"a\" : [ { } ] }", "18446744073709551615"]
    {
        world.set("k", json).await;
        assert_eq!(world.get("k").await.as_deref(), Some(json));
    }
}

pub(crate) async fn what_is_no_json_is_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let deep = "[".repeat(10_000);
    for json in ["", "text", "{", "1 2", "'a'", "\u{0}", "nul", &deep[..900]] {
        assert_eq!(code(world.op(set("k", json)).await), "bad-value", "{json}");
    }
    assert_eq!(world.get("k").await, None);
}

pub(crate) async fn a_bad_namespace_is_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for name in ["", "A", "-a", "a b", "a{b}", "ü", &"a".repeat(65)] {
        let call = MemoryCall { namespace: name.to_owned(), op: set("k", "1"), lock: None };
        assert_eq!(code(world.store.memory(call, world.run()).await), "bad-name", "{name}");
    }
}

pub(crate) async fn bad_keys_are_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for key in ["", "a\nb", "\u{7f}", &"k".repeat(513)] {
        assert_eq!(code(world.op(set(key, "1")).await), "bad-name", "{key:?}");
        assert_eq!(code(world.op(delete(key)).await), "bad-name", "{key:?}");
    }
}

pub(crate) async fn keys_may_be_any_text<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for key in ["a b", "ü/ß?*", "{tag}:x", "'\"\\", &"k".repeat(512)] {
        world.set(key, "1").await;
        assert_eq!(world.get(key).await.as_deref(), Some("1"), "{key}");
    }
    assert_eq!(world.keys().await.len(), 5);
}

pub(crate) async fn a_delete_need_not_find_anything<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(done(&world, delete("a")).await, None);
    world.set("a", "1").await;
    assert_eq!(done(&world, delete("a")).await, None);
    assert_eq!(world.get("a").await, None);
}

pub(crate) async fn a_take_reads_and_removes<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let item = world.set("a", "[7]").await;
    assert_eq!(value(world.op(take("a")).await.expect("a take")), Some(item));
    assert_eq!(world.get("a").await, None);
}

pub(crate) async fn a_take_of_nothing_is_nothing<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(done(&world, take("a")).await, None);
}

pub(crate) async fn numbers_are_added<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "40").await;
    assert_eq!(done(&world, add("n", "2")).await.as_deref(), Some("42"));
    assert_eq!(done(&world, add("n", "-50")).await.as_deref(), Some("-8"));
    assert_eq!(done(&world, add("n", "8")).await.as_deref(), Some("0"));
    assert_eq!(world.get("n").await.as_deref(), Some("0"));
}

pub(crate) async fn a_sum_begins_at_zero<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(done(&world, add("n", "3")).await.as_deref(), Some("3"));
}

pub(crate) async fn only_numbers_are_added<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for json in ["\"1\"", "null", "[1]", "true"] {
        assert_eq!(code(world.op(add("n", json)).await), "bad-value", "{json}");
    }
}

pub(crate) async fn only_to_numbers_is_added<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for json in ["\"1\"", "null", "[1]", "{}"] {
        world.set("n", json).await;
        assert_eq!(code(world.op(add("n", "1")).await), "not-a-number", "{json}");
        assert_eq!(world.get("n").await.as_deref(), Some(json));
    }
}

pub(crate) async fn large_numbers_stay_exact<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "9007199254740992").await;
    assert_eq!(done(&world, add("n", "1")).await.as_deref(), Some("9007199254740993"));
    world.set("n", "999999999999999").await;
    assert_eq!(done(&world, add("n", "999999999999999")).await.as_deref(), Some("1999999999999998"));
    world.set("n", "18446744073709551614").await;
    assert_eq!(done(&world, add("n", "1")).await.as_deref(), Some("18446744073709551615"));
}

pub(crate) async fn sums_that_do_not_fit_are_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "18446744073709551615").await;
    assert_eq!(code(world.op(add("n", "1")).await), "overflow");
    world.set("n", "1e308").await;
    assert_eq!(code(world.op(add("n", "1e308")).await), "overflow");
    assert_eq!(world.get("n").await.as_deref(), Some("1e308"));
}

pub(crate) async fn floats_are_added<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "1").await;
    assert_eq!(done(&world, add("n", "0.5")).await.as_deref(), Some("1.5"));
    assert_eq!(done(&world, add("n", "2")).await.as_deref(), Some("3.5"));
}

pub(crate) async fn elements_are_appended<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("l", " [ \"]\" ] ").await;
    assert_eq!(done(&world, append("l", "[1]")).await.as_deref(), Some("[\"]\",[1]]"));
    assert_eq!(done(&world, append("l", " {} ")).await.as_deref(), Some("[\"]\",[1],{}]"));
    assert_eq!(world.get("l").await.as_deref(), Some("[\"]\",[1],{}]"));
}

pub(crate) async fn an_append_begins_with_an_empty_list<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(done(&world, append("l", "1")).await.as_deref(), Some("[1]"));
    world.set("e", "[]").await;
    assert_eq!(done(&world, append("e", "\"ü\"")).await.as_deref(), Some("[\"ü\"]"));
}

pub(crate) async fn only_to_lists_is_appended<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for json in ["\"[]\"", "null", "1", "{\"a\":[1]}"] {
        world.set("l", json).await;
        assert_eq!(code(world.op(append("l", "1")).await), "not-a-list", "{json}");
        assert_eq!(world.get("l").await.as_deref(), Some(json));
    }
}

pub(crate) async fn compare_and_set_creates<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(done(&world, cas("a", 0, "1")).await.as_deref(), Some("1"));
    assert_eq!(code(world.op(cas("a", 0, "2")).await), "version-conflict");
    assert_eq!(world.get("a").await.as_deref(), Some("1"));
}

pub(crate) async fn compare_and_set_replaces<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let first = world.set("a", "1").await;
    let second = value(world.op(cas("a", first.version, "2")).await.expect("it has that version")).expect("an item");
    assert!(second.version > first.version);
    assert_eq!(world.item("a").await, Some(second));
}

pub(crate) async fn compare_and_set_refuses_another_version<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let first = world.set("a", "1").await;
    let second = world.set("a", "2").await;
    let failure = world.op(cas("a", first.version, "3")).await.expect_err("it has another");
    assert_eq!((failure.code.as_str(), failure.retryable), ("version-conflict", true));
    assert!(failure.message.contains(&format!("version {}", second.version)), "{failure}");
    assert_eq!(code(world.op(cas("b", 7, "1")).await), "version-conflict");
    assert_eq!(world.get("b").await, None);
}

pub(crate) async fn keys_are_listed_in_order<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for key in ["b", "a", "ü", "B", "aa", "a!"] {
        world.set(key, "1").await;
    }
    assert_eq!(world.keys().await, ["B", "a", "a!", "aa", "b", "ü"]);
}

pub(crate) async fn keys_are_listed_by_prefix<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for key in ["a", "ab", "ab/1", "ab/2", "ac", "b"] {
        world.set(key, "1").await;
    }
    let list = |prefix: &str| MemoryOp::List { prefix: prefix.to_owned(), after: None, limit: 100 };
    assert_eq!(items(world.op(list("ab")).await.expect("a list")).0, ["ab", "ab/1", "ab/2"]);
    assert_eq!(items(world.op(list("ab/")).await.expect("a list")).0, ["ab/1", "ab/2"]);
    assert_eq!(items(world.op(list("x")).await.expect("a list")).0, Vec::<String>::new());
}

pub(crate) async fn keys_are_listed_page_by_page<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 0..25 {
        world.set(&format!("k{number:02}"), "1").await;
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let list = MemoryOp::List { prefix: "k".to_owned(), after: after.clone(), limit: 10 };
        let (page, more) = items(world.op(list).await.expect("a list"));
        assert!(page.len() <= 10);
        after = page.last().cloned();
        all.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(all, world.keys().await);
    assert_eq!(all.len(), 25);
}

pub(crate) async fn namespaces_do_not_see_each_other<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("a", "1").await;
    let other = format!("{}.other", world.name);
    let call = |op| MemoryCall { namespace: other.clone(), op, lock: None };
    let get = || MemoryOp::Get { key: "a".to_owned() };
    assert_eq!(value(world.store.memory(call(get()), world.run()).await.expect("a get")), None);
    let item = value(world.store.memory(call(set("a", "2")), world.run()).await.expect("a set"));
    assert_eq!(item.map(|item| item.version), Some(1));
    assert_eq!(world.get("a").await.as_deref(), Some("1"));
}

pub(crate) async fn what_no_reader_can_read_is_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for json in [deep.as_bytes(), b"\"\xff\"", br#""\ud800""#, b"1e999"] {
        assert!(serde_json::from_slice::<serde_json::Value>(json).is_err(), "{json:?}");
        let value = bytes::Bytes::copy_from_slice(json);
        let set = MemoryOp::Set { key: "k".to_owned(), value: value.clone(), ttl_ms: None };
        assert_eq!(code(world.op(set).await), "bad-value", "{json:?}");
        let append = MemoryOp::Append { key: "l".to_owned(), value, ttl_ms: None };
        assert_eq!(code(world.op(append).await), "bad-value", "{json:?}");
    }
}

pub(crate) async fn a_minus_before_zero_makes_no_float<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "5").await;
    assert_eq!(done(&world, add("n", "-0")).await.as_deref(), Some("5"));
    world.set("n", "-0").await;
    assert_eq!(done(&world, add("n", "1")).await.as_deref(), Some("1"));
}
