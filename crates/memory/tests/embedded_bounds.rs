//! The embedded store at its bounds: what is counted, what is forgotten, and what is kept in spite of them.

#[expect(dead_code, unused_macros, unused_imports, reason = "the cases are run by `embedded.rs`")]
mod suite;

use std::sync::Arc;

use runlet_journal::{MemoryChange, StoredMemory, StoredMessage};
use runlet_memory::{By, Clock, Embedded, Quota, SharedMemory as _, Token, Verdict};
use runlet_proto::memory::{MemoryCall, MemoryFound, MemoryOp, MemoryQuestion};
use suite::{QUOTA, World, bytes, code};

fn world_of(quota: Quota, stored: StoredMemory) -> Arc<World<Embedded>> {
    let origin = tokio::time::Instant::now();
    let clock: Clock = Arc::new(move || 1_000_000 + u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX));
    let store = Embedded::restore(quota, clock, stored);
    World::new(store, Box::new(|ms| Box::pin(tokio::time::advance(std::time::Duration::from_millis(ms)))))
}

fn world() -> Arc<World<Embedded>> {
    world_of(QUOTA, StoredMemory::default())
}

fn get_in(namespace: String) -> MemoryCall {
    MemoryCall { namespace, op: MemoryOp::Get { key: "k".to_owned() }, lock: None }
}

#[tokio::test(start_paused = true)]
async fn reading_does_not_use_up_the_namespaces() {
    let world = world();
    for number in 0..1_100 {
        world.store.memory(get_in(format!("n{number}")), world.run()).await.expect("a get");
        let _ = world.store.subscribe(&format!("s{number}")).await;
    }
    world.set("a", "1").await;
}

#[tokio::test(start_paused = true)]
async fn receiving_in_vain_does_not_use_up_the_channels() {
    let world = world();
    for number in 0..1_100 {
        let mut call = world.receive_call(Some(1), 3);
        call.channel = format!("c{number}");
        assert_eq!(code(world.store.receive(call, world.run()).await), "timeout");
    }
    assert_eq!(world.send("1").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn what_fails_does_not_use_up_the_namespaces() {
    let world = world();
    for number in 0..1_100 {
        let op = MemoryOp::CompareAndSet { key: "k".to_owned(), version: 7, value: bytes("1"), ttl_ms: None };
        let call = MemoryCall { namespace: format!("n{number}"), op, lock: None };
        assert_eq!(code(world.store.memory(call, world.run()).await), "version-conflict");
    }
    world.set("a", "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_message_survives_being_revived_into_a_full_channel() {
    let world = world();
    let own = world.run();
    let id = world.send("1").await.expect("there is room");
    let _ = world.store.receive(world.receive_call(Some(20), 1), own).await.expect("a message");
    let run = own.run.expect("a run");
    assert_eq!(world.store.settle(world.name.clone(), id, run, Verdict::GiveBack).await, Ok(true));
    let stored = StoredMemory {
        channels: vec![(world.name.clone(), id)],
        messages: last_messages(&world),
        ..StoredMemory::default()
    };
    // Started again with a configuration that allows less.
    let again = world_of(Quota { value_bytes_max: 0, messages_max: 0, ..QUOTA }, stored);
    let revived = again.store.look(MemoryQuestion::Revive { channel: world.name.clone(), id }).await;
    assert_eq!(revived, Ok(MemoryFound::Done(true)));
    let MemoryFound::Messages(ready) = again.look(MemoryQuestion::Peek { channel: world.name.clone(), limit: 9 }).await
    else {
        panic!("messages")
    };
    assert_eq!(ready.len(), 1, "it is still there");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_answers_are_forgotten_first() {
    let world = world();
    let own = world.run();
    let by = |block, call| By { token: Some(Token { block, retries: 0, call }), ..own };
    let add = || MemoryOp::Add { key: "n".to_owned(), value: bytes("1"), ttl_ms: None };
    for call in 0..100_000 {
        world.op_by(add(), by(5, call)).await.expect("a sum");
        let _ = world.store.take_changes();
    }
    // A later block has an earlier position: a loop goes back.
    let first = world.op_by(add(), by(2, 0)).await.expect("a sum");
    world.op_by(add(), by(2, 1)).await.expect("a sum");
    assert_eq!(world.op_by(add(), by(2, 0)).await, Ok(first), "it is the youngest but one");
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_growing_list_have_a_bound_in_bytes() {
    let world = world_of(Quota { value_bytes_max: 1 << 20, bytes_max: 1 << 21, ..QUOTA }, StoredMemory::default());
    let own = world.run();
    let by = |call| By { token: Some(Token { block: 1, retries: 0, call }), ..own };
    let append = || {
        let value = bytes(&format!("\"{}\"", "x".repeat(1_000)));
        MemoryOp::Append { key: "l".to_owned(), value, ttl_ms: None }
    };
    // The answers are 1 kB, 2 kB, …: 80 MB all together.
    let mut kept = std::collections::BTreeMap::new();
    for call in 0..400 {
        world.op_by(append(), by(call)).await.expect("a list");
        for change in world.store.take_changes() {
            if let MemoryChange::Answered(answer) = change {
                kept.insert(answer.call, answer.answer.len());
            } else if let MemoryChange::Outdated { call, .. } = change {
                kept.remove(&call);
            }
        }
    }
    let bytes = kept.values().sum::<usize>();
    assert!(bytes <= runlet_memory::limits::ANSWER_BYTES_PER_RUN_MAX, "{bytes}");
    assert_eq!(kept.last_key_value().map(|(call, _)| *call), Some(399), "the newest is kept");
    let last = world.op_by(append(), by(399)).await.expect("the answer again");
    assert_eq!(world.op_by(append(), by(399)).await, Ok(last), "and it is not done twice");
}

fn last_messages(world: &World<Embedded>) -> Vec<StoredMessage> {
    let mut body = None;
    let mut last = None;
    for change in world.store.take_changes() {
        if let MemoryChange::Message(message) = change {
            body = message.body.clone().or(body);
            last = Some(StoredMessage { body: body.clone(), ..message });
        }
    }
    last.into_iter().collect()
}
