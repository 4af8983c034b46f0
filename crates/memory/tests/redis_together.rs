//! Calls to a Redis server that go there together: each has its own answer, and none is lost or done twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use runlet_memory::{By, Prompt, Prompted, Quota, RedisStore, SharedMemory as _, Token, Verdict, Way};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{LockWish, MemoryCall, MemoryOp, MemoryReply};
use runlet_tests::redis_server::Server;

const QUOTA: Quota =
    Quota { keys_max: 1_000, bytes_max: 100_000, value_bytes_max: 100, messages_max: 100, message_bytes_max: 100_000 };

/// Longest wait for what comes by itself.
const PATIENCE: Duration = Duration::from_secs(30);

fn store(server: &Server) -> RedisStore {
    RedisStore::new(&server.url(), QUOTA).expect("an address")
}

fn connect(server: &Server) -> redis::Connection {
    let client = redis::Client::open(format!("redis+unix://{}", server.socket().display()));
    client.and_then(|client| client.get_connection()).expect("a connection")
}

fn run() -> By {
    static RUNS: AtomicU64 = AtomicU64::new(1);
    By { run: Some(RunId::new(1_000 + RUNS.fetch_add(1, Ordering::Relaxed), &[7; 10])), token: None }
}

fn with_token(by: By, call: u32) -> By {
    By { token: Some(Token { block: 0, retries: 0, call }), ..by }
}

fn call(op: MemoryOp) -> MemoryCall {
    MemoryCall { namespace: "space".to_owned(), op, lock: None }
}

fn set(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Set { key: key.to_owned(), value: Bytes::copy_from_slice(json.as_bytes()), ttl_ms: None }
}

fn add(key: &str, json: &str) -> MemoryOp {
    MemoryOp::Add { key: key.to_owned(), value: Bytes::copy_from_slice(json.as_bytes()), ttl_ms: None }
}

fn get(key: &str) -> MemoryOp {
    MemoryOp::Get { key: key.to_owned() }
}

fn prompt(store: &RedisStore, call: MemoryCall, by: By) -> Result<Prompt, Box<MemoryCall>> {
    match store.way_of(call, by) {
        Way::Together(prompt) => Ok(prompt),
        Way::Alone(call) => Err(Box::new(call)),
    }
}

/// What became of calls in one group.
async fn together(store: &RedisStore, ops: Vec<MemoryOp>, by: By) -> Vec<Prompted> {
    let prompts = ops.into_iter().map(|op| prompt(store, call(op), by).expect("one round trip answers it")).collect();
    tokio::time::timeout(PATIENCE, store.together(prompts)).await.expect("it comes in time")
}

fn in_words(prompted: &Prompted) -> String {
    match prompted {
        Prompted::Answered(Ok(MemoryReply::Value(None))) => "nothing".to_owned(),
        Prompted::Answered(Ok(MemoryReply::Value(Some(item)))) => String::from_utf8_lossy(&item.value).into_owned(),
        Prompted::Answered(Ok(MemoryReply::Items { .. })) => "a listing".to_owned(),
        Prompted::Answered(Err(failure)) => failure.code.to_string(),
        Prompted::Left(_) => "left".to_owned(),
    }
}

/// Does it, in a group or alone.
async fn finish(store: &RedisStore, prompted: Prompted, by: By) -> Result<MemoryReply, Failure> {
    match prompted {
        Prompted::Answered(answer) => answer,
        Prompted::Left(left) => tokio::time::timeout(PATIENCE, store.memory(left, by)).await.expect("in time"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_of_a_group_has_its_own_answer_in_the_order_of_the_calls() {
    let server = Server::start();
    let store = store(&server);
    store.memory(call(set("a", "\"x\"")), run()).await.expect("it is set");
    let (key, one) = ("a".to_owned(), Bytes::from_static(b"1"));
    let ops = vec![
        get("a"),
        MemoryOp::CompareAndSet { key: key.clone(), version: 77, value: one.clone(), ttl_ms: None },
        MemoryOp::Append { key: key.clone(), value: one.clone(), ttl_ms: None },
        add("n", "1"),
        add("n", "2"),
        // Too long for the script to be exact.
        add("n", "12345678901234567"),
        get("missing"),
        MemoryOp::Take { key: key.clone() },
        get("a"),
        set("a", "3"),
        MemoryOp::Delete { key },
        get("n"),
    ];
    let prompted = together(&store, ops, run()).await;
    let words: Vec<String> = prompted.iter().map(in_words).collect();
    let expected = [
        "\"x\"",
        "version-conflict",
        "not-a-list",
        "1",
        "3",
        "left",
        "nothing",
        "\"x\"",
        "nothing",
        "3",
        "nothing",
        "3",
    ];
    assert_eq!(words, expected);
    let left = prompted.into_iter().nth(5).expect("the sixth");
    let sum = finish(&store, left, run()).await.map(|sum| in_words(&Prompted::Answered(Ok(sum))));
    assert_eq!(sum.as_deref(), Ok("12345678901234570"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_or_is_wrong_goes_alone() {
    let server = Server::start();
    let store = store(&server);
    prompt(&store, call(set("a", "1")), run()).expect_err("nobody has told the server of the namespace yet");
    prompt(&store, call(get("a")), run()).expect("reading needs no name");
    store.memory(call(set("a", "1")), run()).await.expect("it is set");
    prompt(&store, call(set("a", "1")), run()).expect("now it is known");
    let lock = Some(LockWish { ttl_ms: 1_000, timeout_ms: 1_000 });
    prompt(&store, MemoryCall { lock, ..call(get("a")) }, run()).expect_err("a lock may be waited for");
    let watch = MemoryOp::Watch { key: "a".to_owned(), version: 1, timeout_ms: 1_000 };
    prompt(&store, call(watch), run()).expect_err("a change is waited for");
    prompt(&store, call(MemoryOp::Unlock), run()).expect_err("it is a script of its own");
    for wrong in [set("a", "{"), set("a", &format!("\"{}\"", "x".repeat(100))), add("a", "\"1\""), get("")] {
        let left = prompt(&store, call(wrong), run()).expect_err("it is told what is wrong elsewhere");
        store.memory(*left, run()).await.expect_err("there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_the_server_has_forgotten_is_loaded_again() {
    let server = Server::start();
    let store = store(&server);
    store.memory(call(set("a", "1")), run()).await.expect("it is set");
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connect(&server)).expect("it forgets");
    let prompted = together(&store, vec![add("a", "1"), get("a")], run()).await;
    assert_eq!(prompted.iter().map(in_words).collect::<Vec<_>>(), ["left", "1"]);
    for left in prompted {
        finish(&store, left, run()).await.expect("it is done");
    }
    let prompted = together(&store, vec![add("a", "1")], run()).await;
    assert_eq!(in_words(&prompted[0]), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_has_a_call_in_a_group_done_once_and_its_answer_is_given_up_with_the_run() {
    let server = Server::start();
    let store = store(&server);
    store.memory(call(set("a", "1")), run()).await.expect("it is set");
    let own = run();
    let holder = own.run.expect("a run");
    for _ in 0..2 {
        let prompted = together(&store, vec![add("a", "1")], with_token(own, 0)).await;
        assert_eq!(in_words(&prompted[0]), "2");
        let alone = store.memory(call(add("a", "1")), with_token(own, 0)).await.expect("it has been done");
        assert_eq!(in_words(&Prompted::Answered(Ok(alone))), "2");
    }
    let mut connection = connect(&server);
    let noted: Vec<String> =
        redis::cmd("SMEMBERS").arg(format!("runlet:{{r:{holder}}}")).query(&mut connection).expect("members");
    let [noted] = &noted[..] else { panic!("{noted:?}") };
    let key = noted.strip_prefix("answer ").expect("an answer");
    let mut exists = || redis::cmd("EXISTS").arg(key).query::<u64>(&mut connection).expect("a number");
    assert_eq!(exists(), 1);
    store.release(holder, Verdict::Acknowledge).await.expect("it is released");
    assert_eq!(exists(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_server_dies_repeats_only_what_may_be_repeated() {
    let mut server = Server::start();
    let store = store(&server);
    store.memory(call(set("a", "1")), run()).await.expect("it is set");
    let own = run();
    let ops = [(get("a"), own), (set("a", "5"), own), (add("n", "1"), own), (add("t", "1"), with_token(own, 0))];
    let made = |(op, by): (MemoryOp, By)| prompt(&store, call(op), by).expect("one round trip answers it");
    let prompts = ops.into_iter().map(made).collect();
    let late = made((get("a"), own));
    // It has the group and never answers.
    server.signal(Signal::SIGSTOP);
    let (prompted, ()) = tokio::join!(store.together(prompts), async {
        // The commands are in its socket before it dies: what they were is not known.
        tokio::task::yield_now().await;
        tokio::task::block_in_place(|| server.kill());
    });
    let words: Vec<String> = prompted.iter().map(in_words).collect();
    assert_eq!(words, ["left", "left", "memory-unavailable", "left"]);
    prompt(&store, call(get("a")), own).expect_err("the server is away: it is waited for alone");
    let prompted_late = tokio::time::timeout(PATIENCE, store.together(vec![late])).await.expect("it does not wait");
    assert_eq!(in_words(&prompted_late[0]), "left");
    server.start_again();
    for (left, by) in prompted.into_iter().zip([own, own, own, with_token(own, 0)]) {
        let is_refused = in_words(&left) == "memory-unavailable";
        assert_eq!(finish(&store, left, by).await.is_err(), is_refused);
    }
    let prompted = together(&store, vec![get("a"), get("t")], own).await;
    assert_eq!(prompted.iter().map(in_words).collect::<Vec<_>>(), ["5", "1"]);
}
