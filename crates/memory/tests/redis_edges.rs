//! The store in Redis at its edges: futures that are dropped midway, wake-ups that are lost, bounds, and two databases.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use runlet_memory::{By, Quota, RedisStore, SharedMemory as _, Tuning, Verdict};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    Acknowledge, Item, MemoryCall, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply, ReceiveCall, SendCall,
};
use runlet_tests::redis_server::Server;

const QUOTA: Quota = Quota {
    keys_max: 1_000,
    bytes_max: 100_000,
    value_bytes_max: 60_000,
    messages_max: 100,
    message_bytes_max: 100_000,
};

/// A lease that does not end while a test looks on.
const TUNING: Tuning =
    Tuning { lease: Duration::from_secs(120), recheck: Duration::from_millis(50), patience: Duration::from_secs(30) };

/// Longest wait for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

fn connect(server: &Server) -> redis::Connection {
    let client = redis::Client::open(format!("redis+unix://{}", server.socket().display()));
    client.and_then(|client| client.get_connection()).expect("a connection")
}

fn store(server: &Server) -> RedisStore {
    RedisStore::tuned(&server.url(), QUOTA, TUNING).expect("an address")
}

fn run() -> By {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    By { run: Some(RunId::new(1_000 + RUNS.fetch_add(1, Ordering::Relaxed), &[7; 10])), token: None }
}

fn text(json: &str) -> Bytes {
    Bytes::copy_from_slice(json.as_bytes())
}

async fn op_in(store: &RedisStore, namespace: &str, op: MemoryOp) -> Result<MemoryReply, Failure> {
    store.memory(MemoryCall { namespace: namespace.to_owned(), op, lock: None }, run()).await
}

async fn op(store: &RedisStore, op: MemoryOp) -> Result<MemoryReply, Failure> {
    op_in(store, "space", op).await
}

fn set(key: &str, json: &str, ttl_ms: Option<u64>) -> MemoryOp {
    MemoryOp::Set { key: key.to_owned(), value: text(json), ttl_ms }
}

fn get(key: &str) -> MemoryOp {
    MemoryOp::Get { key: key.to_owned() }
}

fn item(reply: MemoryReply) -> Option<Item> {
    match reply {
        MemoryReply::Value(item) => item,
        MemoryReply::Items { .. } => panic!("a listing"),
    }
}

async fn send(store: &RedisStore) -> Result<u64, Failure> {
    store.send(SendCall { channel: "queue".to_owned(), message: text("1") }, run()).await
}

fn receive(timeout_ms: Option<u64>) -> ReceiveCall {
    ReceiveCall { channel: "queue".to_owned(), timeout_ms, acknowledge: Acknowledge::Run, deliveries_max: 999 }
}

async fn namespaces(store: &RedisStore) -> Vec<String> {
    let found = store.look(MemoryQuestion::Namespaces).await.expect("a look");
    let MemoryFound::Namespaces(found) = found else { panic!("namespaces") };
    found.into_iter().map(|namespace| namespace.name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_could_not_be_handed_over_is_not_acknowledged_with_the_run() {
    let server = Server::start();
    let store = store(&server);
    let own = run();
    let id = send(&store).await.expect("there is room");
    // What a run has cannot be noted: receiving fails after the message was delivered.
    let noted = format!("runlet:{{r:{}}}", own.run.expect("a run"));
    let mut connection = connect(&server);
    redis::cmd("SET").arg(&noted).arg("in the way").exec(&mut connection).expect("it is set");
    store.receive(receive(Some(1_000)), own).await.expect_err("it cannot be noted");
    redis::cmd("DEL").arg(&noted).exec(&mut connection).expect("it is gone");
    store.release(own.run.expect("a run"), Verdict::Acknowledge).await.expect("it is released");
    let again = soon(store.receive(receive(Some(10_000)), run())).await.expect("nobody has handled it yet");
    assert_eq!(again.id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_dropped_midway_gives_its_message_back() {
    let server = Server::start();
    let store = store(&server);
    let id = send(&store).await.expect("there is room");
    let mut connection = connect(&server);
    // Dropped when the message is delivered, and when that is noted too; often, for it is seldom caught at the same moment.
    let seen = ["ZCARD runlet:{c:queue}:delivered", "SCARD runlet:{r:RUN}"];
    for seen in seen.iter().cycle().take(40) {
        let own = run();
        let holder = own.run.expect("a run");
        let (command, key) = seen.split_once(' ').expect("two words");
        let mut look = redis::cmd(command);
        look.arg(key.replace("RUN", &holder.to_string()));
        let mut receiving = Box::pin(store.receive(receive(None), own));
        let mut had = None;
        soon(async {
            while had.is_none() && look.query::<u64>(&mut connection).expect("a number") == 0 {
                // Nobody else polls it.
                if let Poll::Ready(received) = receiving.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    had = Some(received.expect("a message"));
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop(receiving);
        // One that came is the run's, and has been handled when the run completes; one that did not has not.
        let verdict = if had.is_some() { Verdict::GiveBack } else { Verdict::Acknowledge };
        store.release(holder, verdict).await.expect("it is released");
        let next = run();
        let again = soon(store.receive(receive(Some(10_000)), next)).await;
        assert_eq!(again.map(|message| message.id), Ok(id), "nobody has handled it yet: {seen}, {had:?}");
        let holder = next.run.expect("a run");
        assert!(store.settle("queue".to_owned(), id, holder, Verdict::GiveBack).await.expect("it is decided"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_could_not_be_given_back_is_not_acknowledged_with_the_run() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let tuning = Tuning { lease: Duration::from_secs(3), patience: Duration::from_secs(3), ..TUNING };
    let store = RedisStore::tuned(&server.url(), QUOTA, tuning).expect("an address");
    let own = run();
    let holder = own.run.expect("a run");
    let id = send(&store).await.expect("there is room");
    store.receive(receive(Some(10_000)), own).await.expect("a message");
    server.kill();
    let failed = soon(store.settle("queue".to_owned(), id, holder, Verdict::GiveBack)).await;
    assert_eq!(failed.expect_err("it is away").code, "memory-unavailable");
    server.start_again();
    // Another attempt has done without the message.
    store.release(holder, Verdict::Acknowledge).await.expect("it is released");
    let again = soon(store.receive(receive(Some(15_000)), run())).await.expect("its lease ends");
    assert_eq!(again.id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_nobody_was_subscribed_is_said_to_be_missed() {
    let server = Server::start();
    let store = store(&server);
    let mut changes = store.subscribe("space").await.expect("a subscription");
    op(&store, set("a", "1", None)).await.expect("it is set");
    assert_eq!(soon(changes.recv()).await.expect("a change").key, "a");
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).exec(&mut connect(&server)).expect("it is cut");
    assert_eq!(soon(changes.recv()).await.expect("a change").key, "", "something may be missed");
    // At once, before there is another subscription.
    op(&store, set("b", "1", None)).await.expect("it is set");
    let told = soon(changes.recv()).await.expect("a change").key;
    assert!(["", "b"].contains(&told.as_str()), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_no_more_is_not_subscribed_for_ever() {
    let server = Server::start();
    let store = store(&server);
    drop(store.subscribe("space").await.expect("a subscription"));
    let mut connection = connect(&server);
    soon(async {
        loop {
            // The first change that nobody wants is the last.
            op(&store, set("a", "1", None)).await.expect("it is set");
            let subscribed: Vec<String> =
                redis::cmd("PUBSUB").arg("CHANNELS").query(&mut connection).expect("channels");
            if subscribed.is_empty() {
                return;
            }
        }
    })
    .await;
    let mut changes = store.subscribe("space").await.expect("a subscription");
    op(&store, set("a", "2", None)).await.expect("it is set");
    assert_eq!(soon(changes.recv()).await.expect("a change").value, Some(text("2")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_one_server_do_not_hear_each_other() {
    let server = Server::with(&["--databases", "2"]);
    let here = store(&server);
    let other = RedisStore::tuned(&format!("{}?db=1", server.url()), QUOTA, TUNING).expect("an address");
    let mut changes = other.subscribe("space").await.expect("a subscription");
    op(&here, set("a", "\"here\"", None)).await.expect("it is set");
    op(&other, set("a", "\"other\"", None)).await.expect("it is set");
    assert_eq!(soon(changes.recv()).await.expect("a change").value, Some(text("\"other\"")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_much_has_expired_gives_room() {
    let server = Server::start();
    let store = store(&server);
    let large = format!("\"{}\"", "x".repeat(59_000));
    for number in 0..150 {
        op(&store, set(&format!("small{number}"), "1", Some(1))).await.expect("there is room");
    }
    // All of the small ones have to go before its turn comes.
    op(&store, set("large", &large, Some(300))).await.expect("there is room");
    soon(async {
        while item(op(&store, get("large")).await.expect("a get")).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Rewritten with the expired ones in the index, as when nothing was written for a long time.
    let mut connection = connect(&server);
    for number in 0..150 {
        let key = format!("small{number}");
        redis::cmd("ZADD")
            .arg("runlet:{m:space}:expiries")
            .arg(number + 1)
            .arg(&key)
            .exec(&mut connection)
            .expect("it");
        redis::cmd("ZADD").arg("runlet:{m:space}:keys").arg(0).arg(&key).exec(&mut connection).expect("it");
        redis::cmd("HSET").arg("runlet:{m:space}:sizes").arg(&key).arg(8).exec(&mut connection).expect("it");
    }
    redis::cmd("HINCRBY").arg("runlet:{m:space}:totals").arg("bytes").arg(150 * 8).exec(&mut connection).expect("it");
    op(&store, set("next", &large, None)).await.expect("what was there has expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_and_channels_are_bounded_and_empty_ones_make_room() {
    let server = Server::start();
    let store = store(&server);
    let mut connection = connect(&server);
    for number in 0..1_000 {
        redis::cmd("SADD").arg("runlet:namespaces").arg(format!("n{number}")).exec(&mut connection).expect("it");
        let keys = format!("runlet:{{m:n{number}}}:keys");
        redis::cmd("ZADD").arg(keys).arg(0).arg("a").exec(&mut connection).expect("it");
        redis::cmd("SADD").arg("runlet:channels").arg(format!("c{number}")).exec(&mut connection).expect("it");
        let bodies = format!("runlet:{{c:c{number}}}:bodies");
        redis::cmd("HSET").arg(bodies).arg(1).arg("1 1").exec(&mut connection).expect("it");
    }
    let refused = op(&store, set("a", "1", None)).await.expect_err("1,000 is the bound");
    assert_eq!(refused.code, "quota", "{refused}");
    assert_eq!(send(&store).await.expect_err("1,000 is the bound").code, "quota");
    op_in(&store, "n5", set("a", "1", None)).await.expect("it is one of them");
    redis::cmd("DEL").arg("runlet:{m:n7}:keys").exec(&mut connection).expect("it");
    redis::cmd("DEL").arg("runlet:{c:c7}:bodies").exec(&mut connection).expect("it");
    op(&store, set("a", "1", None)).await.expect("there is room again");
    send(&store).await.expect("there is room again");
    assert!(namespaces(&store).await.contains(&"space".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_known_again_when_the_server_comes_back_empty() {
    let mut server = Server::start();
    let store = store(&server);
    op(&store, set("a", "1", None)).await.expect("it is set");
    send(&store).await.expect("there is room");
    server.kill();
    server.start_again();
    op(&store, set("a", "1", None)).await.expect("it is set");
    assert_eq!(namespaces(&store).await, ["space"]);
    send(&store).await.expect("there is room");
    let found = store.look(MemoryQuestion::Channels).await.expect("a look");
    assert!(matches!(found, MemoryFound::Channels(found) if found.len() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_server_longer_than_the_call_may_take() {
    let mut server = Server::start();
    let store = store(&server);
    send(&store).await.expect("there is room");
    server.kill();
    let began = tokio::time::Instant::now();
    let failure = soon(store.receive(receive(Some(100)), run())).await.expect_err("it is away");
    assert_eq!(failure.code, "memory-unavailable");
    let watch = MemoryOp::Watch { key: "a".to_owned(), version: 0, timeout_ms: 100 };
    assert_eq!(soon(op(&store, watch)).await.expect_err("it is away").code, "memory-unavailable");
    let lock = Some(runlet_proto::memory::LockWish { ttl_ms: 1_000, timeout_ms: 100 });
    let locked = store.memory(MemoryCall { namespace: "space".to_owned(), op: get("a"), lock }, run());
    assert_eq!(soon(locked).await.expect_err("it is away").code, "memory-unavailable");
    // Not the patience of three calls, nor of one: which is all that is asked of the clock here.
    assert!(began.elapsed() < TUNING.patience);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_is_what_was_there_at_one_moment() {
    let server = Server::start();
    let store = store(&server);
    op(&store, set("a", "1", None)).await.expect("it is set");
    let mover = tokio::spawn({
        let store = store.clone();
        async move {
            for turn in 0..600 {
                let (to, from) = if turn % 2 == 0 { ("b", "a") } else { ("a", "b") };
                op(&store, set(to, "1", None)).await.expect("it is set");
                op(&store, MemoryOp::Delete { key: from.to_owned() }).await.expect("it is gone");
            }
        }
    });
    while !mover.is_finished() {
        let list = MemoryOp::List { prefix: String::new(), after: None, limit: 10 };
        let MemoryReply::Items { items, .. } = op(&store, list).await.expect("a list") else { panic!("a value") };
        assert!(!items.is_empty(), "one of them is there at every moment");
    }
    mover.await.expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_is_full_and_not_away() {
    let server = Server::start();
    let store = store(&server);
    op(&store, set("a", "1", None)).await.expect("it is set");
    let mut connection = connect(&server);
    redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec(&mut connection).expect("it is set");
    let refused = op(&store, set("a", "2", None)).await.expect_err("it is full");
    assert_eq!(refused.code, "memory-unavailable");
    assert!(refused.help.as_deref().is_some_and(|help| help.contains("maxmemory")), "{refused:?}");
    assert_eq!(store.away(), None);
    assert_eq!(item(op(&store, get("a")).await.expect("a get")).expect("it is there").value, text("1"));
}
