//! Many at once: what is atomic stays so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runlet_memory::SharedMemory;
use runlet_proto::memory::{Item, MemoryOp};

use super::{World, bytes, soon, value};

const WRITERS: u64 = 16;

/// Has sixteen do something at once.
async fn together<S, T, F>(world: &Arc<World<S>>, each: impl Fn(Arc<World<S>>, u64) -> F) -> Vec<T>
where
    S: SharedMemory + Clone,
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let all: Vec<_> = (0..WRITERS).map(|number| tokio::spawn(each(Arc::clone(world), number))).collect();
    let mut done = Vec::new();
    for one in all {
        done.push(soon(one).await.expect("it does not panic"));
    }
    done
}

pub(crate) async fn additions_of_many_are_all_there<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    together(&world, |world, number| async move {
        for _ in 0..20 {
            let value = bytes(if number % 2 == 0 { "1" } else { "9007199254740993" });
            world.op(MemoryOp::Add { key: "n".to_owned(), value, ttl_ms: None }).await.expect("a sum");
            tokio::task::yield_now().await;
        }
    })
    .await;
    let expected = 8 * 20 + 8 * 20 * 9_007_199_254_740_993_u64;
    assert_eq!(world.get("n").await, Some(expected.to_string()));
}

pub(crate) async fn appends_of_many_are_all_there<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    together(&world, |world, number| async move {
        for step in 0..10 {
            let value = bytes(&(number * 10 + step).to_string());
            world.op(MemoryOp::Append { key: "l".to_owned(), value, ttl_ms: None }).await.expect("a list");
            tokio::task::yield_now().await;
        }
    })
    .await;
    let list: Vec<u64> = serde_json::from_str(&world.get("l").await.expect("a list")).expect("numbers");
    assert_eq!(list.iter().copied().collect::<BTreeSet<_>>(), (0..160).collect());
    assert_eq!(list.len(), 160);
    for number in 0..WRITERS {
        let own: Vec<_> = list.iter().filter(|element| **element / 10 == number).collect();
        assert!(own.is_sorted(), "what one appended comes in its order: {own:?}");
    }
}

pub(crate) async fn of_many_takes_one_finds_it<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for _ in 0..5 {
        world.set("a", "1").await;
        let found = together(&world, |world, _| async move {
            value(world.op(MemoryOp::Take { key: "a".to_owned() }).await.expect("a take")).is_some()
        })
        .await;
        assert_eq!(found.iter().filter(|found| **found).count(), 1);
    }
}

pub(crate) async fn of_many_creations_one_succeeds<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for round in 0..5 {
        let created = together(&world, |world, _| async move {
            let op = MemoryOp::CompareAndSet { key: format!("k{round}"), version: 0, value: bytes("1"), ttl_ms: None };
            world.op(op).await.is_ok()
        })
        .await;
        assert_eq!(created.iter().filter(|created| **created).count(), 1);
    }
}

/// A compare-and-set that succeeded: when it began and ended on a common clock, the version it named, the one it made.
#[derive(Debug, Clone, Copy)]
struct Swap {
    began: u64,
    ended: u64,
    from: u64,
    to: u64,
}

/// Linearizability (Herlihy and Wing, 1990) of compare-and-set on one register: the successful operations must form one
/// chain in which each names the version that the one before it made, and no operation may have ended before another began
/// that comes earlier in the chain.
pub(crate) async fn compare_and_set_is_linearizable<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let clock = Arc::new(AtomicU64::new(0));
    let first = world.set("r", "0").await.version;
    let swaps = together(&world, |world, number| {
        let clock = Arc::clone(&clock);
        async move {
            let mut swaps = Vec::new();
            for step in 0..25_u64 {
                let known = world.item("r").await.expect("it is there").version;
                tokio::task::yield_now().await;
                let value_text = bytes(&(number * 100 + step).to_string());
                let op =
                    MemoryOp::CompareAndSet { key: "r".to_owned(), version: known, value: value_text, ttl_ms: None };
                let began = clock.fetch_add(1, Ordering::SeqCst);
                let swapped = world.op(op).await;
                let ended = clock.fetch_add(1, Ordering::SeqCst);
                match swapped {
                    Ok(reply) => {
                        let to = value(reply).expect("an item").version;
                        swaps.push(Swap { began, ended, from: known, to });
                    }
                    Err(failure) => assert_eq!(failure.code, "version-conflict"),
                }
            }
            swaps
        }
    })
    .await;
    let mut chain: Vec<Swap> = swaps.into_iter().flatten().collect();
    chain.sort_by_key(|swap| swap.to);
    assert!(chain.len() >= 25, "at least one succeeds in each round: {}", chain.len());
    let mut version = first;
    for swap in &chain {
        assert_eq!(swap.from, version, "{swap:?} did not see what was there");
        version = swap.to;
    }
    assert_eq!(world.item("r").await.map(|item| item.version), Some(version));
    let mut latest_began = 0;
    for swap in &chain {
        assert!(swap.ended > latest_began, "{swap:?} was over before one began that comes before it");
        latest_began = latest_began.max(swap.began);
    }
}

pub(crate) async fn a_counter_behind_compare_and_set_is_exact<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("n", "0").await;
    together(&world, |world, _| async move {
        for _ in 0..5 {
            loop {
                let Item { value, version, .. } = world.item("n").await.expect("it is there");
                let number: u64 = serde_json::from_slice(&value).expect("a number");
                tokio::task::yield_now().await;
                let value = bytes(&(number + 1).to_string());
                let op = MemoryOp::CompareAndSet { key: "n".to_owned(), version, value, ttl_ms: None };
                match world.op(op).await {
                    Ok(_) => break,
                    Err(failure) => assert_eq!(failure.code, "version-conflict"),
                }
            }
        }
    })
    .await;
    assert_eq!(world.get("n").await.as_deref(), Some("80"));
}

pub(crate) async fn readers_never_see_an_older_version<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    world.set("r", "0").await;
    together(&world, |world, number| async move {
        let mut last = 0;
        for step in 0..20 {
            if number < 4 {
                let _ = world.set("r", &step.to_string()).await;
            }
            let version = world.item("r").await.expect("it is there").version;
            assert!(version >= last, "{version} after {last}");
            last = version;
            tokio::task::yield_now().await;
        }
    })
    .await;
}
