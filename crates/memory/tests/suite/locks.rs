//! Locks of namespaces.

use std::sync::Arc;

use runlet_memory::{By, SharedMemory, Verdict};
use runlet_proto::memory::{LockWish, MemoryCall, MemoryFound, MemoryOp, MemoryQuestion};

use super::{World, bytes, code, soon, text, value};

/// Longer than any test.
const LONG: u64 = 3_600_000;

fn get() -> MemoryOp {
    MemoryOp::Get { key: "k".to_owned() }
}

async fn lock<S: SharedMemory + Clone>(world: &World<S>, by: By, ttl_ms: u64, timeout_ms: u64) -> Result<(), String> {
    world.locked(get(), by, ttl_ms, timeout_ms).await.map(drop).map_err(|failure| failure.code)
}

async fn holder<S: SharedMemory + Clone>(world: &World<S>) -> Option<By> {
    let MemoryFound::Namespaces(found) = world.look(MemoryQuestion::Namespaces).await else { panic!("namespaces") };
    let own = found.into_iter().find(|namespace| namespace.name == world.name)?;
    own.locked_by.map(|run| By { run: Some(run), token: None })
}

pub(crate) async fn a_lock_is_had_by_one_run<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (one, two) = (world.run(), world.run());
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    assert_eq!(holder(&world).await, Some(one));
    assert_eq!(lock(&world, two, LONG, 10).await, Err("lock-timeout".to_owned()));
}

pub(crate) async fn a_lock_is_had_again_by_the_same_run<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let one = world.run();
    for _ in 0..3 {
        assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    }
}

/// Has another run wait for the lock, and something happen meanwhile.
async fn waits_until<S: SharedMemory + Clone>(world: &Arc<World<S>>, happens: impl Future<Output = ()>) -> By {
    let two = world.run();
    let waiting = tokio::spawn({
        let world = Arc::clone(world);
        async move { lock(&world, two, LONG, 50_000).await }
    });
    tokio::task::yield_now().await;
    happens.await;
    assert_eq!(soon(waiting).await.expect("it does not panic"), Ok(()));
    two
}

pub(crate) async fn a_lock_is_waited_for<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let one = world.run();
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let two = waits_until(&world, async { drop(world.op_by(MemoryOp::Unlock, one).await) }).await;
    assert_eq!(holder(&world).await, Some(two));
}

pub(crate) async fn waiting_for_a_lock_ends_and_names_the_holder<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let one = world.run();
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let failure = soon(world.locked(get(), world.run(), LONG, 30)).await.expect_err("another has it");
    let run = one.run.expect("a run").to_string();
    assert!(failure.message.contains(&run) && failure.message.contains("30 ms"), "{failure}");
}

pub(crate) async fn a_lock_ends_with_its_time<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(lock(&world, world.run(), 40, 10).await, Ok(()));
    // Nobody gives it back: whoever waits notices by itself.
    let two = waits_until(&world, async {}).await;
    assert_eq!(holder(&world).await, Some(two));
}

pub(crate) async fn who_lost_a_lock_is_told_once<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (one, two) = (world.run(), world.run());
    assert_eq!(lock(&world, one, 30, 10).await, Ok(()));
    world.pass(31).await;
    // Nobody else had it meanwhile.
    assert_eq!(lock(&world, one, 30, 10).await, Ok(()));
    world.pass(31).await;
    assert_eq!(lock(&world, two, LONG, 10).await, Ok(()));
    assert_eq!(lock(&world, one, LONG, 10).await, Err("lock-lost".to_owned()));
    assert_eq!(lock(&world, one, LONG, 10).await, Err("lock-timeout".to_owned()));
    let _ = world.op_by(MemoryOp::Unlock, two).await;
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
}

pub(crate) async fn a_lock_is_given_back<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let one = world.run();
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let _ = world.op_by(MemoryOp::Unlock, one).await;
    assert_eq!(holder(&world).await, None);
    assert_eq!(lock(&world, world.run(), LONG, 10).await, Ok(()));
}

pub(crate) async fn a_run_that_ends_gives_its_locks_back<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let one = world.run();
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let _ = waits_until(&world, async {
        world.store.release(one.run.expect("a run"), Verdict::GiveBack).await.expect("it is released");
    })
    .await;
}

pub(crate) async fn others_cannot_give_it_back<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (one, two) = (world.run(), world.run());
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let _ = world.op_by(MemoryOp::Unlock, two).await;
    world.store.release(two.run.expect("a run"), Verdict::GiveBack).await.expect("it is released");
    assert_eq!(holder(&world).await, Some(one));
}

pub(crate) async fn without_the_lock_nothing_is_hindered<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(lock(&world, world.run(), LONG, 10).await, Ok(()));
    world.set("k", "1").await;
    assert_eq!(world.get("k").await.as_deref(), Some("1"));
}

pub(crate) async fn people_cannot_lock<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(code(world.locked(get(), By::default(), LONG, 10).await), "bad-value");
    for ttl_ms in [0, LONG + 1] {
        assert_eq!(code(world.locked(get(), world.run(), ttl_ms, 10).await), "bad-value");
    }
}

pub(crate) async fn locks_of_namespaces_are_apart<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(lock(&world, world.run(), LONG, 10).await, Ok(()));
    let call = MemoryCall {
        namespace: format!("{}.other", world.name),
        op: get(),
        lock: Some(LockWish { ttl_ms: LONG, timeout_ms: 10 }),
    };
    assert!(world.store.memory(call, world.run()).await.is_ok());
}

pub(crate) async fn who_gives_up_waiting_is_not_in_the_way<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let one = world.run();
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let gone = tokio::spawn({
        let world = Arc::clone(&world);
        async move { lock(&world, world.run(), LONG, 50_000).await }
    });
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    let _ = waits_until(&world, async { drop(world.op_by(MemoryOp::Unlock, one).await) }).await;
}

pub(crate) async fn a_lock_keeps_writers_apart<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "0").await;
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let own = world.run();
                let read = MemoryOp::Get { key: "n".to_owned() };
                let reply = world.locked(read, own, LONG, 50_000).await.expect("its turn comes");
                let number: u64 = text(&value(reply)).and_then(|text| text.parse().ok()).expect("a number");
                tokio::task::yield_now().await;
                // Without the lock some of these would be lost.
                let write =
                    MemoryOp::Set { key: "n".to_owned(), value: bytes(&(number + 1).to_string()), ttl_ms: None };
                world.op_by(write, own).await.expect("a set");
                world.store.release(own.run.expect("a run"), Verdict::GiveBack).await.expect("it is released");
            })
        })
        .collect();
    for writer in writers {
        soon(writer).await.expect("it does not panic");
    }
    assert_eq!(world.get("n").await.as_deref(), Some("16"));
}

pub(crate) async fn who_unlocks_a_lock_it_lost_is_still_told<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (one, two) = (world.run(), world.run());
    assert_eq!(lock(&world, one, 30, 10).await, Ok(()));
    world.pass(31).await;
    assert_eq!(lock(&world, two, LONG, 10).await, Ok(()));
    for own in [one, two] {
        let _ = world.op_by(MemoryOp::Unlock, own).await;
    }
    assert_eq!(lock(&world, one, LONG, 10).await, Err("lock-lost".to_owned()));
}

pub(crate) async fn a_watch_with_the_lock_waits_for_the_lock<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let (one, two) = (world.run(), world.run());
    assert_eq!(lock(&world, one, LONG, 10).await, Ok(()));
    let watch = || MemoryOp::Watch { key: "k".to_owned(), version: 0, timeout_ms: 50_000 };
    assert_eq!(code(world.locked(watch(), two, LONG, 30).await), "lock-timeout");
    world.set("k", "1").await;
    let waiting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.locked(watch(), two, LONG, 50_000).await }
    });
    tokio::task::yield_now().await;
    let _ = world.op_by(MemoryOp::Unlock, one).await;
    let reply = soon(waiting).await.expect("it does not panic").expect("the lock is free");
    assert_eq!(text(&value(reply)).as_deref(), Some("1"));
    assert_eq!(holder(&world).await, Some(two));
}
