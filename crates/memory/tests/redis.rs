//! The store in Redis: the suite, several stores on one server, and a server that is killed, held and started again.

mod suite;

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use runlet_memory::{By, Prompted, RedisStore, SharedMemory, Tuning, Verdict, Way};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    LockWish, MemoryCall, MemoryChange, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply, Message, ReceiveCall,
    SendCall,
};
use runlet_tests::redis_server::Server;
use suite::{PATIENCE, QUOTA, World, bytes, code, soon, text, value, with_token};
use tokio::sync::broadcast;

/// Short enough to be waited for.
const TUNING: Tuning =
    Tuning { lease: Duration::from_millis(900), recheck: Duration::from_millis(50), patience: Duration::from_secs(30) };

/// A connection of the test's own.
fn connect(server: &Server) -> redis::Connection {
    let client = redis::Client::open(format!("redis+unix://{}", server.socket().display()));
    client.and_then(|client| client.get_connection()).expect("a connection")
}

fn store(server: &Server) -> RedisStore {
    RedisStore::tuned(&server.url(), QUOTA, TUNING).expect("an address")
}

/// A world of this store; its time is the server's.
fn world_of<S: SharedMemory + Clone>(store: S, server: &Arc<Server>) -> Arc<World<S>> {
    let server = Arc::clone(server);
    let pass = move |ms: u64| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let server = Arc::clone(&server);
        Box::pin(async move {
            let mut connection = connect(&server);
            let mut now_ms = move || {
                let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut connection).expect("the time");
                seconds * 1_000 + micros / 1_000
            };
            let end = now_ms() + ms;
            while now_ms() <= end {
                tokio::task::yield_now().await;
            }
        })
    };
    World::new(store, Box::new(pass))
}

/// The suite on a store.
macro_rules! suite_on {
    ($store:path: $($module:ident: $($name:ident),+;)+) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let server = std::sync::Arc::new(runlet_tests::redis_server::Server::start());
                    let world = crate::world_of($store(crate::store(&server)), &server);
                    crate::suite::$module::$name(world).await;
                }
            )+
        })+
    };
}

/// Every call alone.
mod alone {
    macro_rules! tests {
        ($($cases:tt)+) => { suite_on!(std::convert::identity: $($cases)+); };
    }
    crate::suite::for_each_case!(tests);
}

/// Calls that can go together with others do, each between two that read.
mod together {
    macro_rules! tests {
        ($($cases:tt)+) => { suite_on!(crate::Together: $($cases)+); };
    }
    crate::suite::for_each_case!(tests);
}

/// A store whose calls go together if they can.
#[derive(Clone)]
struct Together(RedisStore);

impl SharedMemory for Together {
    async fn memory(&self, call: MemoryCall, by: By) -> Result<MemoryReply, Failure> {
        let read = |key: &str| MemoryCall { namespace: call.namespace.clone(), op: get(key), lock: None };
        let ways = [read("before"), call.clone(), read("after")].map(|call| self.0.way_of(call, by));
        let [Way::Together(before), Way::Together(prompt), Way::Together(after)] = ways else {
            return self.0.memory(call, by).await;
        };
        let prompted = self.0.together(vec![before, prompt, after]).await;
        match <[Prompted; 3]>::try_from(prompted).expect("three answers") {
            [_, Prompted::Left(left), _] => {
                assert_eq!(left, call);
                self.0.memory(left, by).await
            }
            [Prompted::Answered(Ok(_)), Prompted::Answered(answer), Prompted::Answered(Ok(_))] => answer,
            others => panic!("{others:?}"),
        }
    }

    async fn send(&self, call: SendCall, by: By) -> Result<u64, Failure> {
        self.0.send(call, by).await
    }

    async fn receive(&self, call: ReceiveCall, by: By) -> Result<Message, Failure> {
        self.0.receive(call, by).await
    }

    async fn settle(&self, channel: String, id: u64, run: RunId, verdict: Verdict) -> Result<bool, Failure> {
        self.0.settle(channel, id, run, verdict).await
    }

    async fn release(&self, run: RunId, verdict: Verdict) -> Result<(), Failure> {
        self.0.release(run, verdict).await
    }

    async fn look(&self, question: MemoryQuestion) -> Result<MemoryFound, Failure> {
        self.0.look(question).await
    }

    async fn subscribe(&self, namespace: &str) -> Result<broadcast::Receiver<MemoryChange>, Failure> {
        self.0.subscribe(namespace).await
    }
}

fn get(key: &str) -> MemoryOp {
    MemoryOp::Get { key: key.to_owned() }
}

fn add(key: &str) -> MemoryOp {
    MemoryOp::Add { key: key.to_owned(), value: bytes("1"), ttl_ms: None }
}

/// Another store, as of another supervisor, with the same names.
fn beside(world: &World<RedisStore>, server: &Arc<Server>) -> Arc<World<RedisStore>> {
    let mut other = world_of(store(server), server);
    Arc::get_mut(&mut other).expect("it is new").name.clone_from(&world.name);
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_server_see_the_same() {
    let server = Arc::new(Server::start());
    let here = world_of(store(&server), &server);
    let there = beside(&here, &server);
    let item = here.set("a", "1").await;
    assert_eq!(there.item("a").await, Some(item.clone()));
    let watching = tokio::spawn({
        let there = Arc::clone(&there);
        async move { there.op(MemoryOp::Watch { key: "a".to_owned(), version: item.version, timeout_ms: 50_000 }).await }
    });
    here.set("a", "2").await;
    let told = soon(watching).await.expect("it does not panic").expect("it is told");
    assert_eq!(text(&value(told)).as_deref(), Some("2"));
    // A lock keeps out runs of both, and a message goes to one receiver.
    let (one, two) = (here.run(), there.run());
    here.locked(get("a"), one, 60_000, 10).await.expect("it is free");
    assert_eq!(code(there.locked(get("a"), two, 60_000, 10).await), "lock-timeout");
    let waiting = tokio::spawn({
        let there = Arc::clone(&there);
        async move { there.locked(get("a"), two, 60_000, 50_000).await }
    });
    here.store.release(one.run.expect("a run"), Verdict::GiveBack).await.expect("it is released");
    assert!(soon(waiting).await.expect("it does not panic").is_ok());
    for number in 0..5 {
        let _ = here.send(&number.to_string()).await;
    }
    let mut had = Vec::new();
    for (world, own) in [(&here, one), (&there, two), (&here, one), (&there, two), (&there, two)] {
        had.push(world.receive(own).await.expect("a message").id);
    }
    assert_eq!(had, [1, 2, 3, 4, 5]);
    assert_eq!(code(here.receive(one).await), "timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_supervisor_had_that_died_is_free_when_its_time_is_over() {
    let server = Arc::new(Server::start());
    let here = world_of(store(&server), &server);
    let there = beside(&here, &server);
    let own = here.run();
    let _ = here.send("\"x\"").await;
    let message = here.receive(own).await.expect("a message");
    here.locked(get("a"), own, 300, 10).await.expect("it is free");
    // It renews its lease for as long as it lives: much longer than the lease, nobody else gets the message.
    here.pass(2_000).await;
    assert_eq!(code(there.receive(there.run()).await), "timeout");
    // As kill -9 leaves it: nothing is given back.
    drop(here);
    let again = there.store.receive(there.receive_call(None, 3), there.run());
    let again = soon(again).await.expect("it comes again");
    assert_eq!((again.id, again.deliveries), (message.id, 2));
    assert!(soon(there.locked(get("a"), there.run(), 300, 50_000)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_supervisor_goes_on_with_what_a_run_has() {
    let server = Arc::new(Server::start());
    let here = world_of(store(&server), &server);
    let own = with_token(here.run(), 0);
    let run = own.run.expect("a run");
    let _ = here.send("1").await;
    let message = here.receive(own).await.expect("a message");
    here.locked(get("a"), own, 60_000, 10).await.expect("it is free");
    let next = beside(&here, &server);
    drop(here);
    next.store.adopt(run);
    // The block is executed again, and has the same message; and it keeps it longer than the lease.
    assert_eq!(next.receive(own).await.expect("the same"), message);
    next.pass(2_000).await;
    assert_eq!(code(next.receive(next.run()).await), "timeout");
    next.store.release(run, Verdict::Acknowledge).await.expect("it is released");
    assert_eq!(next.ready().await, Vec::<String>::new());
    next.locked(get("a"), next.run(), 60_000, 10).await.expect("it is free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_has_what_it_answered() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = store(&server);
    let pass: suite::Pass = Box::new(|_| Box::pin(async {}));
    let world = World::new(store, pass);
    world.set("a", "1").await;
    let own = world.run();
    let _ = world.send("\"kept\"").await;
    let message = world.receive(own).await.expect("a message");
    let waiting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.store.receive(world.receive_call(None, 3), world.run()).await }
    });
    server.kill();
    // What is asked meanwhile waits.
    let asked = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.op_by(add("a"), with_token(world.run(), 0)).await }
    });
    soon(async {
        while world.store.away().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.start_again();
    let sum = soon(asked).await.expect("it does not panic").expect("it is done then");
    assert_eq!(text(&value(sum)).as_deref(), Some("2"));
    assert_eq!(world.get("a").await.as_deref(), Some("2"));
    assert!(
        world.store.settle(world.name.clone(), message.id, own.run.expect("a run"), Verdict::Acknowledge).await.is_ok()
    );
    let _ = world.send("\"after\"").await;
    let woken = soon(waiting).await.expect("it does not panic").expect("a message");
    assert_eq!(woken.body, bytes("\"after\""));
    assert!(world.store.away().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_held_is_waited_for_and_nothing_is_done_twice() {
    let server = Server::start();
    let world = World::new(store(&server), Box::new(|_| Box::pin(async {})));
    world.set("n", "0").await;
    server.signal(Signal::SIGSTOP);
    let asked: Vec<_> = (0..8_u32)
        .map(|call| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.op_by(add("n"), with_token(world.run(), call)).await })
        })
        .collect();
    // Until the first of them has given up waiting for an answer, and asks again.
    soon(async {
        while world.store.away().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.signal(Signal::SIGCONT);
    for one in asked {
        soon(one).await.expect("it does not panic").expect("it is done");
    }
    assert_eq!(world.get("n").await.as_deref(), Some("8"), "each once, although each was sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_done_twice_and_has_no_token_fails_when_nobody_knows() {
    let server = Server::start();
    let world = World::new(store(&server), Box::new(|_| Box::pin(async {})));
    world.set("n", "0").await;
    server.signal(Signal::SIGSTOP);
    let failure = soon(world.op(add("n"))).await.expect_err("nobody knows");
    assert_eq!((failure.code.as_str(), failure.retryable), ("memory-unavailable", false));
    assert!(failure.message.contains("may or may not"), "{failure}");
    server.signal(Signal::SIGCONT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_filled_again() {
    let mut server = Server::start();
    let world = World::new(store(&server), Box::new(|_| Box::pin(async {})));
    world.set("a", "1").await;
    let _ = world.send("1").await;
    server.kill();
    server.start_again();
    assert_eq!(world.get("a").await, None);
    world.set("b", "2").await;
    assert_eq!(world.send("2").await, Ok(1));
    assert_eq!(world.keys().await, ["b"]);
    assert_eq!(world.ready().await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stays_away_is_named_when_the_patience_is_over() {
    let mut server = Server::on_a_port(&[]);
    let tuning = Tuning { patience: Duration::from_millis(200), ..TUNING };
    let url = format!("redis://:secret@127.0.0.1:{}", server.port());
    server.kill();
    let store = RedisStore::tuned(&url, QUOTA, tuning).expect("an address");
    let world = World::new(store, Box::new(|_| Box::pin(async {})));
    for asked in [
        soon(world.op(get("a"))).await.expect_err("it is away"),
        soon(world.send("1")).await.expect_err("it is away"),
        soon(world.receive(world.run())).await.expect_err("it is away"),
        soon(world.store.look(MemoryQuestion::Channels)).await.expect_err("it is away"),
    ] {
        assert_eq!((asked.code.as_str(), asked.retryable), ("memory-unavailable", true), "{asked}");
        assert!(asked.message.contains(&format!("127.0.0.1:{}", server.port())), "{asked}");
        assert!(!format!("{asked:?} {:?}", world.store).contains("secret"), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = Server::on_a_port(&["--requirepass", "right"]);
    let tuning = Tuning { patience: Duration::from_millis(200), ..TUNING };
    for (url, works) in [("redis://:right@", true), ("redis://:secret@", false), ("redis://", false)] {
        let url = format!("{url}127.0.0.1:{}", server.port());
        let store = RedisStore::tuned(&url, QUOTA, tuning).expect("an address");
        let world = World::new(store, Box::new(|_| Box::pin(async {})));
        let answered = soon(world.op(get("a"))).await;
        assert_eq!(answered.is_ok(), works, "{url}: {answered:?}");
        if let Err(failure) = answered {
            let said = format!("{failure} {:?}", failure.help);
            assert!(said.contains("password") && !said.contains("secret"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_none_is_refused_at_once() {
    for url in ["http://localhost", "redis://", "", "redis://host:port"] {
        let refused = RedisStore::new(url, QUOTA).map(drop);
        if url != "redis://" {
            assert!(refused.is_err(), "{url}");
        }
    }
    // A server without TLS that is asked for TLS.
    let server = Server::on_a_port(&[]);
    let tuning = Tuning { patience: Duration::from_millis(200), ..TUNING };
    let store = RedisStore::tuned(&format!("rediss://127.0.0.1:{}", server.port()), QUOTA, tuning).expect("an address");
    let world = World::new(store, Box::new(|_| Box::pin(async {})));
    let failure = tokio::time::timeout(PATIENCE, world.op(get("a"))).await.expect("in time").expect_err("no TLS there");
    assert_eq!(failure.code, "memory-unavailable", "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_keys_of_a_namespace_and_of_a_channel_are_in_one_slot() {
    let server = Arc::new(Server::start());
    let world = world_of(store(&server), &server);
    let own = with_token(world.run(), 0);
    world.set_for("a", "1", Some(60_000)).await;
    world.op_by(add("n"), own).await.expect("a sum");
    let lock = Some(LockWish { ttl_ms: 60_000, timeout_ms: 10 });
    let call = MemoryCall { namespace: world.name.clone(), op: get("a"), lock };
    world.store.memory(call, own).await.expect("it is free");
    let _ = world.send("1").await;
    let _ = world.receive(own).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connect(&server)).expect("keys");
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys.iter().filter(|key| !["runlet:namespaces", "runlet:channels"].contains(&key.as_str())) {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let of_it =
            [format!("m:{}", world.name), format!("c:{}", world.name), format!("r:{}", own.run.expect("a run"))];
        assert!(tag.is_some_and(|tag| of_it.iter().any(|one| one == tag)), "{key}");
    }
}
