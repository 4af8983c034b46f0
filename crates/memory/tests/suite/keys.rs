//! Keys: values, versions, times to live, quotas, watchers.

use std::sync::Arc;

use runlet_memory::SharedMemory;
use runlet_proto::memory::{MemoryCall, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply};

use super::{World, bytes, code, items, soon, text, value};

fn set(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Set { key: key.to_owned(), value: bytes(json), ttl_ms: None }
}

fn add(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Add { key: key.to_owned(), value: bytes(json), ttl_ms: None }
}

fn append(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Append { key: key.to_owned(), value: bytes(json), ttl_ms: None }
}

fn cas(key: &str, version: u64, json: &str) -> MemoryOp {
    MemoryOp::CompareAndSet { key: key.to_owned(), version, value: bytes(json), ttl_ms: None }
}

fn take(key: &str) -> MemoryOp {
    MemoryOp::Take { key: key.to_owned() }
}

fn delete(key: &str) -> MemoryOp {
    MemoryOp::Delete { key: key.to_owned() }
}

fn watch(key: &str, version: u64, timeout_ms: u64) -> MemoryOp {
    MemoryOp::Watch { key: key.to_owned(), version, timeout_ms }
}

async fn done<S: SharedMemory + Clone>(world: &World<S>, op: MemoryOp) -> Option<String> {
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

pub(crate) async fn a_key_lives_as_long_as_it_was_told<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let item = world.set_for("a", "1", Some(60)).await;
    assert!(item.expires_at_ms.is_some());
    world.set_for("b", "1", Some(3_600_000)).await;
    world.pass(61).await;
    assert_eq!(world.get("a").await, None);
    assert_eq!(world.get("b").await.as_deref(), Some("1"));
    // Then it is as if it had never been there, but for its version.
    let again = value(world.op(cas("a", 0, "2")).await.expect("it is gone")).expect("an item");
    assert!(again.version > item.version && again.expires_at_ms.is_none());
}

pub(crate) async fn a_set_without_ttl_is_for_ever<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set_for("a", "1", Some(40)).await;
    assert_eq!(world.set("a", "2").await.expires_at_ms, None);
    world.pass(41).await;
    assert_eq!(world.get("a").await.as_deref(), Some("2"));
}

pub(crate) async fn adding_and_appending_keep_what_time_a_key_has<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let number = world.set_for("n", "1", Some(3_600_000)).await;
    let list = world.set_for("l", "[]", Some(50)).await;
    let after = value(world.op(add("n", "1")).await.expect("a sum"));
    assert_eq!(after.and_then(|item| item.expires_at_ms), number.expires_at_ms);
    let after = value(world.op(append("l", "1")).await.expect("a list"));
    assert_eq!(after.and_then(|item| item.expires_at_ms), list.expires_at_ms);
    world.pass(51).await;
    assert_eq!((world.get("l").await, world.get("n").await.as_deref()), (None, Some("2")));
}

pub(crate) async fn adding_may_begin_the_time_anew<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set_for("n", "1", Some(40)).await;
    let op = MemoryOp::Add { key: "n".to_owned(), value: bytes("1"), ttl_ms: Some(3_600_000) };
    assert_eq!(done(&world, op).await.as_deref(), Some("2"));
    world.pass(41).await;
    assert_eq!(world.get("n").await.as_deref(), Some("2"));
}

pub(crate) async fn a_ttl_of_nothing_is_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for ttl_ms in [0, u64::MAX] {
        let op = MemoryOp::Set { key: "a".to_owned(), value: bytes("1"), ttl_ms: Some(ttl_ms) };
        assert_eq!(code(world.op(op).await), "bad-value");
    }
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

pub(crate) async fn what_has_expired_is_not_listed<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set_for("a", "1", Some(30)).await;
    world.set("b", "1").await;
    world.pass(31).await;
    assert_eq!(world.keys().await, ["b"]);
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

pub(crate) async fn too_many_keys_are_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 0..40 {
        world.set(&format!("k{number}"), "1").await;
    }
    let failure = world.op(set("one more", "1")).await.expect_err("40 is the bound");
    assert_eq!(failure.code, "quota");
    assert!(failure.message.contains("40 keys") && failure.help.is_some(), "{failure}");
    world.set("k7", "2").await;
    assert_eq!(world.keys().await.len(), 40);
}

pub(crate) async fn too_many_bytes_are_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let large = format!("\"{}\"", "x".repeat(897));
    for key in ["a", "b", "c", "d"] {
        world.set(key, &large).await;
    }
    let failure = world.op(set("e", &large)).await.expect_err("4,000 is the bound");
    assert_eq!(failure.code, "quota");
    assert!(failure.message.contains("4500 bytes") && failure.message.contains("4000"), "{failure}");
    world.set("e", "1").await;
}

pub(crate) async fn a_value_may_be_too_large<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("a", &format!("\"{}\"", "x".repeat(998))).await;
    assert_eq!(code(world.op(set("a", &format!("\"{}\"", "x".repeat(999)))).await), "too-large");
}

pub(crate) async fn what_grows_may_become_too_large<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let element = format!("\"{}\"", "x".repeat(400));
    let _ = done(&world, append("l", &element)).await;
    let _ = done(&world, append("l", &element)).await;
    assert_eq!(code(world.op(append("l", &element)).await), "too-large");
    assert_eq!(world.get("l").await.map(|list| list.len()), Some(807));
}

pub(crate) async fn what_is_deleted_gives_room<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for round in 0..3 {
        for number in 0..40 {
            world.set(&format!("k{number}"), "[1,2,3]").await;
        }
        assert_eq!(code(world.op(set("x", "1")).await), "quota", "round {round}");
        for number in 0..40 {
            let _ = world
                .op(if number % 2 == 0 { delete(&format!("k{number}")) } else { take(&format!("k{number}")) })
                .await;
        }
    }
}

pub(crate) async fn what_has_expired_gives_room<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 0..40 {
        world.set_for(&format!("k{number}"), "1", Some(50)).await;
    }
    world.pass(51).await;
    for number in 0..40 {
        world.set(&format!("l{number}"), "1").await;
    }
    assert_eq!(code(world.op(set("x", "1")).await), "quota");
}

pub(crate) async fn a_refused_write_changes_nothing<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let before = world.set("a", "\"x\"").await;
    let _ = world.op(set("a", &format!("\"{}\"", "x".repeat(2_000)))).await;
    let _ = world.op(add("a", "1")).await;
    let _ = world.op(append("a", "1")).await;
    let _ = world.op(cas("a", before.version + 1, "1")).await;
    assert_eq!(world.item("a").await, Some(before.clone()));
    assert_eq!(world.set("b", "1").await.version, before.version + 1, "no version was used up");
}

pub(crate) async fn a_smaller_value_is_taken_although_the_namespace_is_full<S: SharedMemory + Clone>(
    world: Arc<World<S>>,
) {
    for key in ["a", "b", "c", "d"] {
        world.set(key, &format!("\"{}\"", "x".repeat(990))).await;
    }
    world.set("a", &format!("\"{}\"", "x".repeat(980))).await;
    assert_eq!(world.keys().await.len(), 4);
}

pub(crate) async fn a_watch_is_answered_at_once_if_the_version_is_another<S: SharedMemory + Clone>(
    world: Arc<World<S>>,
) {
    let item = world.set("a", "1").await;
    assert_eq!(value(world.op(watch("a", 0, 60_000)).await.expect("it has another")), Some(item.clone()));
    assert_eq!(value(world.op(watch("b", item.version, 60_000)).await.expect("it is not there")), None);
}

/// Watches a key while something happens to it.
async fn while_watched<S: SharedMemory + Clone>(
    world: &Arc<World<S>>,
    version: u64,
    happens: impl Future<Output = ()>,
) -> Option<String> {
    let watcher = tokio::spawn({
        let world = Arc::clone(world);
        async move { world.op(watch("a", version, 60_000)).await }
    });
    tokio::task::yield_now().await;
    happens.await;
    let reply = soon(watcher).await.expect("it does not panic").expect("it is told");
    text(&value(reply))
}

pub(crate) async fn a_watch_waits_for_a_change<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let first = world.set("a", "1").await;
    let told = while_watched(&world, first.version, async { drop(world.set("a", "2").await) }).await;
    assert_eq!(told.as_deref(), Some("2"));
    assert_eq!(while_watched(&world, 0, async {}).await.as_deref(), Some("2"));
}

pub(crate) async fn a_watch_hears_of_a_delete<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let first = world.set("a", "1").await;
    assert_eq!(while_watched(&world, first.version, async { drop(world.op(delete("a")).await) }).await, None);
}

pub(crate) async fn a_watch_does_not_mind_other_keys<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let first = world.set("a", "1").await;
    world.set("b", "1").await;
    let told = while_watched(&world, first.version, async {
        for _ in 0..5 {
            world.set("b", "2").await;
        }
        world.set("a", "3").await;
    });
    assert_eq!(told.await.as_deref(), Some("3"));
}

pub(crate) async fn a_watch_ends_with_its_time<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let failure = soon(world.op(watch("a", 0, 30))).await.expect_err("nothing happens");
    assert_eq!(failure.code, "timeout");
    assert!(failure.message.contains("`a`") && failure.message.contains("30 ms"), "{failure}");
}

pub(crate) async fn subscribers_are_told_of_every_change<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let mut changes = world.store.subscribe(&world.name).await.expect("a subscription");
    world.set("a", "\"ü x\"").await;
    let _ = done(&world, add("n", "2")).await;
    let _ = done(&world, append("l", "1")).await;
    let _ = done(&world, delete("a")).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let change = soon(changes.recv()).await.expect("a change");
        let value = change.value.map(|value| String::from_utf8_lossy(&value).into_owned());
        assert_eq!(change.namespace, world.name);
        told.push((change.key, change.version > 0, value));
    }
    let told: Vec<_> = told.iter().map(|(key, there, value)| (key.as_str(), *there, value.as_deref())).collect();
    assert_eq!(
        told,
        [("a", true, Some("\"ü x\"")), ("n", true, Some("2")), ("l", true, Some("[1]")), ("a", false, None)]
    );
}

pub(crate) async fn namespaces_are_told_of_with_their_sizes<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("ab", "123").await;
    world.set("c", "[]").await;
    world.set_for("gone", "1", Some(20)).await;
    world.pass(21).await;
    let MemoryFound::Namespaces(found) = world.look(MemoryQuestion::Namespaces).await else { panic!("namespaces") };
    let own = found.iter().find(|namespace| namespace.name == world.name).expect("it is there");
    assert_eq!((own.keys, own.bytes, own.locked_by), (2, 8, None));
    let reply = world.look(MemoryQuestion::Call(MemoryCall {
        namespace: world.name.clone(),
        op: MemoryOp::Get { key: "c".to_owned() },
        lock: None,
    }));
    let MemoryFound::Reply(MemoryReply::Value(item)) = reply.await else { panic!("a value") };
    assert_eq!(text(&item).as_deref(), Some("[]"));
}
