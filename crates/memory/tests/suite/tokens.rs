//! Calls that are made again after a crash, and must not be done twice.

use std::sync::Arc;

use runlet_memory::{SharedMemory, Verdict};
use runlet_proto::memory::{MemoryOp, SendCall};

use super::{World, bytes, code, text, value, with_token};

fn add(key: &str) -> MemoryOp {
    MemoryOp::Add { key: key.to_owned(), value: bytes("1"), ttl_ms: None }
}

pub(crate) async fn a_repeated_addition_is_done_once<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let by = with_token(world.run(), 0);
    let first = world.op_by(add("n"), by).await;
    world.op(add("n")).await.expect("another adds too");
    assert_eq!(world.op_by(add("n"), by).await, first);
    assert_eq!(world.get("n").await.as_deref(), Some("2"));
}

pub(crate) async fn a_repeated_append_is_done_once<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let by = with_token(world.run(), 0);
    let append = || MemoryOp::Append { key: "l".to_owned(), value: bytes("1"), ttl_ms: None };
    let first = world.op_by(append(), by).await;
    assert_eq!(world.op_by(append(), by).await, first);
    assert_eq!(world.get("l").await.as_deref(), Some("[1]"));
}

pub(crate) async fn a_repeated_take_gives_the_same<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (by, nothing) = (with_token(world.run(), 0), with_token(world.run(), 0));
    let take = || MemoryOp::Take { key: "a".to_owned() };
    assert_eq!(value(world.op_by(take(), nothing).await.expect("a take")), None);
    world.set("a", "7").await;
    let first = world.op_by(take(), by).await.expect("a take");
    world.set("a", "8").await;
    assert_eq!(world.op_by(take(), by).await.expect("a take"), first);
    assert_eq!(text(&value(first)).as_deref(), Some("7"));
    assert_eq!(value(world.op_by(take(), nothing).await.expect("a take")), None);
    assert_eq!(world.get("a").await.as_deref(), Some("8"));
}

pub(crate) async fn a_repeated_compare_and_set_succeeds_again<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let by = with_token(world.run(), 0);
    let create = || MemoryOp::CompareAndSet { key: "a".to_owned(), version: 0, value: bytes("1"), ttl_ms: None };
    let first = world.op_by(create(), by).await.expect("it is not there");
    assert_eq!(world.op_by(create(), by).await, Ok(first));
    assert_eq!(code(world.op(create()).await), "version-conflict");
}

pub(crate) async fn a_repeated_message_is_sent_once<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let by = with_token(world.run(), 0);
    let send = || SendCall { channel: world.name.clone(), message: bytes("1") };
    assert_eq!(world.store.send(send(), by).await, Ok(1));
    assert_eq!(world.store.send(send(), by).await, Ok(1));
    assert_eq!(world.ready().await, ["1"]);
}

pub(crate) async fn a_repeated_receive_gives_the_same_message<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("1").await;
    let _ = world.send("2").await;
    let by = with_token(world.run(), 0);
    let first = world.receive(by).await.expect("a message");
    assert_eq!(world.receive(by).await.expect("the same"), first);
    assert_eq!(world.ready().await, ["2"]);
    // Once it is decided on, it is another.
    let run = by.run.expect("a run");
    assert_eq!(world.store.settle(world.name.clone(), first.id, run, Verdict::Acknowledge).await, Ok(true));
    assert_eq!(world.receive(by).await.expect("the next").id, 2);
}

pub(crate) async fn other_calls_are_other_calls<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let run = world.run();
    for call in 0..3 {
        world.op_by(add("n"), with_token(run, call)).await.expect("a sum");
    }
    world.op_by(add("n"), with_token(world.run(), 0)).await.expect("a sum");
    world.op_by(add("n"), run).await.expect("without a token");
    world.op_by(add("n"), run).await.expect("it is done each time");
    assert_eq!(world.get("n").await.as_deref(), Some("6"));
}

pub(crate) async fn what_failed_is_done_when_it_is_repeated<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let by = with_token(world.run(), 0);
    world.set("n", "\"no number\"").await;
    assert_eq!(code(world.op_by(add("n"), by).await), "not-a-number");
    world.set("n", "1").await;
    assert_eq!(text(&value(world.op_by(add("n"), by).await.expect("a sum"))).as_deref(), Some("2"));
}

pub(crate) async fn an_end_forgets_the_answers<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let by = with_token(world.run(), 0);
    world.op_by(add("n"), by).await.expect("a sum");
    world.store.release(by.run.expect("a run"), Verdict::Acknowledge).await.expect("it is released");
    world.op_by(add("n"), by).await.expect("a sum");
    assert_eq!(world.get("n").await.as_deref(), Some("2"));
}
