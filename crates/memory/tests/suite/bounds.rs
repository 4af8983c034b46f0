//! Times to live, and quotas.

use std::sync::Arc;

use runlet_memory::SharedMemory;
use runlet_proto::memory::MemoryOp;

use super::keys::{add, append, cas, delete, done, set, take};
use super::{World, bytes, code, value};

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

pub(crate) async fn what_has_expired_is_not_listed<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set_for("a", "1", Some(30)).await;
    world.set("b", "1").await;
    world.pass(31).await;
    assert_eq!(world.keys().await, ["b"]);
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
