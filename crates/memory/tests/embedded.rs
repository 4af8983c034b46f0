//! The embedded store: the suite, and that nothing is lost between what it hands over and what it is restored from.

mod suite;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use runlet_journal::{MemoryChange, StoredAnswer, StoredKeyValue, StoredMemory, StoredMessage, StoredNamespace};
use runlet_memory::{By, Clock, Embedded, SharedMemory as _, Verdict};
use runlet_proto::ids::RunId;
use runlet_proto::memory::{Acknowledge, LockWish, MemoryCall, MemoryOp, MemoryQuestion, ReceiveCall, SendCall};
use suite::{QUOTA, World, bytes, for_each_case, with_token};

/// A store whose clock is the test's, which goes on when everybody waits.
fn world() -> Arc<World<Embedded>> {
    let origin = tokio::time::Instant::now();
    let clock: Clock = Arc::new(move || 1_000_000 + u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX));
    let store = Embedded::restore(QUOTA, clock, StoredMemory::default());
    World::new(store, Box::new(|ms| Box::pin(tokio::time::advance(std::time::Duration::from_millis(ms)))))
}

macro_rules! tests {
    ($($module:ident: $($name:ident),+;)+) => {
        $(mod $module {
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    super::suite::$module::$name(super::world()).await;
                }
            )+
        })+
    };
}

for_each_case!(tests);

/// What a journal makes of changes, one after the other.
#[derive(Default)]
struct Kept {
    namespaces: BTreeMap<String, (u64, Option<(RunId, u64)>)>,
    lost: std::collections::BTreeSet<(String, RunId)>,
    keys: BTreeMap<(String, String), StoredKeyValue>,
    channels: BTreeMap<String, u64>,
    messages: BTreeMap<(String, u64), StoredMessage>,
    answers: BTreeMap<(RunId, u16, u32, u32), StoredAnswer>,
}

impl Kept {
    fn apply(&mut self, change: MemoryChange) {
        match change {
            MemoryChange::Set { namespace, key, value, version, expires_at_ms } => {
                let stored =
                    StoredKeyValue { namespace: namespace.clone(), key: key.clone(), value, version, expires_at_ms };
                self.keys.insert((namespace, key), stored);
            }
            MemoryChange::Removed { namespace, key, version } => {
                let known = self.namespaces.entry(namespace.clone()).or_default();
                known.0 = known.0.max(version);
                self.keys.remove(&(namespace, key));
            }
            MemoryChange::Locked { namespace, holder } => self.namespaces.entry(namespace).or_default().1 = holder,
            MemoryChange::Lost { namespace, run, untold: true } => {
                self.lost.insert((namespace, run));
            }
            MemoryChange::Lost { namespace, run, untold: false } => {
                self.lost.remove(&(namespace, run));
            }
            MemoryChange::Message(message) => {
                let last = self.channels.entry(message.channel.clone()).or_default();
                *last = message.id.max(*last);
                let place = (message.channel.clone(), message.id);
                let body = message.body.clone().or_else(|| self.messages.get(&place)?.body.clone());
                assert!(body.is_some(), "a message comes with its body first");
                self.messages.insert(place, StoredMessage { body, ..message });
            }
            MemoryChange::Done { channel, id } => drop(self.messages.remove(&(channel, id))),
            MemoryChange::Answered(answer) => {
                drop(self.answers.insert((answer.run, answer.block, answer.retries, answer.call), answer));
            }
            MemoryChange::Outdated { run, block, retries, call } => {
                drop(self.answers.remove(&(run, block, retries, call)));
            }
            MemoryChange::Forgotten(run) => self.answers.retain(|(of, ..), _| *of != run),
        }
    }

    fn stored(&self) -> StoredMemory {
        StoredMemory {
            namespaces: self
                .namespaces
                .iter()
                .map(|(name, (version, holder))| StoredNamespace {
                    name: name.clone(),
                    version: *version,
                    holder: *holder,
                })
                .collect(),
            lost: self.lost.iter().cloned().collect(),
            keys: self.keys.values().cloned().collect(),
            channels: self.channels.iter().map(|(name, last)| (name.clone(), *last)).collect(),
            messages: self.messages.values().cloned().collect(),
            answers: self.answers.values().cloned().collect(),
        }
    }
}

fn run(number: u8) -> RunId {
    RunId::new(1, &[number; 10])
}

fn by(number: u8) -> By {
    with_token(By { run: Some(run(number)), token: None }, u32::from(number))
}

/// One step; what it answers says whether two stores are the same.
fn step(store: &Embedded, (what, of, value): (u8, u8, u8)) -> String {
    let key = format!("k{}", of % 4);
    let json = bytes(&value.to_string());
    let memory = |op, lock| {
        let call = MemoryCall { namespace: format!("m{}", of % 2), op, lock };
        format!("{:?}", store.try_memory(&call, by(value % 3)))
    };
    let channel = format!("c{}", of % 2);
    match what % 11 {
        0 => memory(MemoryOp::Set { key, value: json, ttl_ms: None }, None),
        1 => memory(MemoryOp::Set { key, value: json, ttl_ms: Some(u64::from(value) + 1) }, None),
        2 => memory(MemoryOp::Delete { key }, None),
        3 => memory(MemoryOp::Add { key, value: json, ttl_ms: None }, None),
        4 => memory(MemoryOp::Append { key, value: json, ttl_ms: None }, None),
        5 => memory(MemoryOp::Get { key }, Some(LockWish { ttl_ms: 50, timeout_ms: 10 })),
        6 => format!("{:?}", store.try_send(SendCall { channel, message: json }, by(value % 3))),
        7 => {
            let call = ReceiveCall { channel, timeout_ms: None, acknowledge: Acknowledge::Block, deliveries_max: 2 };
            let by = By { token: None, ..by(value % 3) };
            format!("{:?}", store.try_receive(&call, by))
        }
        8 => format!("{:?}", store.settle_now(&channel, u64::from(value % 8), run(of % 3), &Verdict::GiveBack)),
        9 => format!("{:?}", store.settle_now(&channel, u64::from(value % 8), run(of % 3), &Verdict::Acknowledge)),
        _ => {
            store.release_now(run(value % 3), &Verdict::GiveBack);
            String::new()
        }
    }
}

/// All that can be seen from outside.
fn seen(store: &Embedded) -> String {
    let mut seen = String::new();
    for question in [MemoryQuestion::Namespaces, MemoryQuestion::Channels] {
        seen += &format!("{:?}\n", store.look_now(question));
    }
    for number in 0..2 {
        let list = MemoryOp::List { prefix: String::new(), after: None, limit: 1_000 };
        let call = MemoryCall { namespace: format!("m{number}"), op: list, lock: None };
        seen += &format!("{:?}\n", store.look_now(MemoryQuestion::Call(call)));
        let channel = format!("c{number}");
        seen += &format!("{:?}\n", store.look_now(MemoryQuestion::Peek { channel: channel.clone(), limit: 1_000 }));
        seen += &format!("{:?}\n", store.look_now(MemoryQuestion::Dead { channel: Some(channel), limit: 1_000 }));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_restored_from_the_changes_is_the_same_and_goes_on_the_same(
        before in prop::collection::vec(any::<(u8, u8, u8)>(), 0..60),
        after in prop::collection::vec(any::<(u8, u8, u8)>(), 0..30),
    ) {
        let time = Arc::new(std::sync::atomic::AtomicU64::new(1_000));
        let clock = || -> Clock {
            let time = Arc::clone(&time);
            Arc::new(move || time.load(std::sync::atomic::Ordering::Relaxed))
        };
        let (store, mut kept) = (Embedded::restore(QUOTA, clock(), StoredMemory::default()), Kept::default());
        for one in before {
            let _ = step(&store, one);
            time.fetch_add(3, std::sync::atomic::Ordering::Relaxed);
            store.take_changes().into_iter().for_each(|change| kept.apply(change));
        }
        prop_assert!(!store.has_changes());
        let again = Embedded::restore(QUOTA, clock(), kept.stored());
        prop_assert_eq!(seen(&store), seen(&again));
        for one in after {
            prop_assert_eq!(step(&store, one), step(&again, one));
            time.fetch_add(3, std::sync::atomic::Ordering::Relaxed);
        }
        prop_assert_eq!(seen(&store), seen(&again));
    }
}

#[tokio::test(start_paused = true)]
async fn what_runs_have_that_do_not_go_on_is_given_up() {
    let world = world();
    let own = world.run();
    let _ = world.send("1").await;
    let _ = world.receive(own).await;
    let lock = Some(LockWish { ttl_ms: 60_000, timeout_ms: 10 });
    let call = MemoryCall { namespace: world.name.clone(), op: MemoryOp::Get { key: "a".to_owned() }, lock };
    world.store.memory(call.clone(), own).await.expect("it is free");
    world.store.release_unless(|run| Some(run) == own.run);
    assert_eq!((world.ready().await.len(), world.store.holder(&world.name)), (0, own.run));
    world.store.release_unless(|_| false);
    assert_eq!((world.ready().await.len(), world.store.holder(&world.name)), (1, None));
    world.store.memory(call, world.run()).await.expect("it is free");
}

#[tokio::test(start_paused = true)]
async fn keys_are_swept_when_their_time_is_over() {
    let world = world();
    assert_eq!(world.store.sweep(), None);
    world.set_for("a", "1", Some(100)).await;
    world.set_for("b", "1", Some(200)).await;
    let _ = world.store.take_changes();
    let first = world.store.sweep().expect("the first one");
    world.pass(101).await;
    let second = world.store.sweep().expect("the second one");
    assert_eq!(second - first, 100);
    let removed = world.store.take_changes();
    assert!(matches!(&removed[..], [MemoryChange::Removed { key, .. }] if key == "a"), "{removed:?}");
    world.pass(100).await;
    assert_eq!(world.store.sweep(), None);
}
