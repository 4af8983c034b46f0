//! Watchers of one key and of all, and what is told of namespaces.

use std::sync::Arc;

use runlet_memory::SharedMemory;
use runlet_proto::memory::{MemoryCall, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply};

use super::keys::{add, append, delete, done};
use super::{World, soon, text, value};

fn watch(key: &str, version: u64, timeout_ms: u64) -> MemoryOp {
    MemoryOp::Watch { key: key.to_owned(), version, timeout_ms }
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
