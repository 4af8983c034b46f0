//! Channels: order, acknowledgement, the dead, bounds.

use std::collections::HashMap;
use std::sync::Arc;

use runlet_memory::{By, SharedMemory, Verdict};
use runlet_proto::ids::RunId;
use runlet_proto::memory::{MemoryFound, MemoryQuestion, Message, SendCall};

use super::{World, bytes, code, soon};

fn run(by: By) -> RunId {
    by.run.expect("a run")
}

fn body(message: &Message) -> &str {
    std::str::from_utf8(&message.body).expect("text")
}

async fn settle<S: SharedMemory + Clone>(world: &World<S>, id: u64, by: By, verdict: Verdict) -> bool {
    world.store.settle(world.name.clone(), id, run(by), verdict).await.expect("it is decided")
}

pub(crate) async fn messages_come_in_their_order<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 1..=4 {
        assert_eq!(world.send(&number.to_string()).await, Ok(number));
    }
    let own = world.run();
    for number in 1..=4 {
        let message = world.receive(own).await.expect("a message");
        assert_eq!((message.id, body(&message), message.deliveries), (number, number.to_string().as_str(), 1));
        assert!(message.sent_at_ms > 0);
    }
}

pub(crate) async fn a_message_is_received_once<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("1").await;
    assert!(world.receive(world.run()).await.is_ok());
    assert_eq!(code(world.receive(world.run()).await), "timeout");
}

pub(crate) async fn a_receiver_waits<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let waiting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.store.receive(world.receive_call(None, 3), world.run()).await }
    });
    tokio::task::yield_now().await;
    let _ = world.send("\"x\"").await;
    let message = soon(waiting).await.expect("it does not panic").expect("a message");
    assert_eq!(body(&message), "\"x\"");
}

pub(crate) async fn a_receiver_waits_no_longer_than_it_said<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let failure = soon(world.receive(world.run())).await.expect_err("nothing is sent");
    assert_eq!(failure.code, "timeout");
    assert!(failure.message.contains(&world.name) && failure.message.contains("20 ms"), "{failure}");
}

pub(crate) async fn what_is_acknowledged_is_gone<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("1").await;
    let own = world.run();
    let message = world.receive(own).await.expect("a message");
    assert!(settle(&world, message.id, own, Verdict::Acknowledge).await);
    assert!(!settle(&world, message.id, own, Verdict::Acknowledge).await, "only once");
    world.store.release(run(own), Verdict::GiveBack).await.expect("it is released");
    assert_eq!((world.ready().await, world.dead().await), (Vec::<String>::new(), Vec::new()));
}

pub(crate) async fn what_is_given_back_comes_first<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 1..=3 {
        let _ = world.send(&number.to_string()).await;
    }
    let own = world.run();
    let message = world.receive(own).await.expect("a message");
    assert!(settle(&world, message.id, own, Verdict::GiveBack).await);
    assert_eq!(world.ready().await, ["1", "2", "3"]);
    let again = world.receive(world.run()).await.expect("a message");
    assert_eq!((again.id, again.deliveries), (1, 2));
}

pub(crate) async fn what_is_given_back_too_often_is_dead<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("\"poison\"").await;
    let _ = world.send("\"good\"").await;
    for deliveries in 1..=3 {
        let own = world.run();
        let message = world.receive(own).await.expect("a message");
        assert_eq!((message.id, message.deliveries), (1, deliveries));
        assert!(settle(&world, 1, own, Verdict::GiveBack).await);
    }
    assert_eq!(world.dead().await, [1]);
    assert_eq!(body(&world.receive(world.run()).await.expect("the next one")), "\"good\"");
}

/// Sends a message, and has it die.
async fn kill<S: SharedMemory + Clone>(world: &World<S>, json: &str) -> u64 {
    let id = world.send(json).await.expect("there is room");
    let own = world.run();
    let message = world.store.receive(world.receive_call(Some(20), 1), own).await.expect("a message");
    assert_eq!(message.id, id);
    assert!(settle(world, id, own, Verdict::GiveBack).await);
    id
}

pub(crate) async fn the_dead_can_be_revived<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let id = kill(&world, "1").await;
    let _ = world.send("2").await;
    let revive = |id| MemoryQuestion::Revive { channel: world.name.clone(), id };
    assert_eq!(world.look(revive(id)).await, MemoryFound::Done(true));
    assert_eq!(world.look(revive(id)).await, MemoryFound::Done(false));
    assert_eq!((world.ready().await, world.dead().await), (vec!["2".to_owned(), "1".to_owned()], vec![]));
    let _ = world.receive(world.run()).await;
    assert_eq!(world.receive(world.run()).await.expect("a message").deliveries, 1, "as if it were new");
}

pub(crate) async fn the_dead_can_be_buried<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let id = kill(&world, "1").await;
    let bury = |id| MemoryQuestion::Bury { channel: world.name.clone(), id };
    assert_eq!(world.look(bury(id + 1)).await, MemoryFound::Done(false));
    assert_eq!(world.look(bury(id)).await, MemoryFound::Done(true));
    assert_eq!(world.dead().await, Vec::<u64>::new());
}

pub(crate) async fn looking_takes_nothing<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("1").await;
    let _ = world.send("2").await;
    for _ in 0..3 {
        assert_eq!(world.ready().await, ["1", "2"]);
    }
    let one = world.look(MemoryQuestion::Peek { channel: world.name.clone(), limit: 1 }).await;
    assert!(matches!(one, MemoryFound::Messages(found) if found.len() == 1));
}

pub(crate) async fn a_full_channel_refuses<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 1..=5 {
        assert_eq!(world.send("1").await, Ok(number));
    }
    let failure = world.send("1").await.expect_err("5 is the bound");
    assert_eq!((failure.code.as_str(), failure.retryable), ("channel-full", true));
    assert!(failure.message.contains("5 messages") && failure.help.is_some(), "{failure}");
}

pub(crate) async fn a_channel_is_bounded_in_bytes<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let large = format!("\"{}\"", "x".repeat(700));
    assert_eq!(world.send(&large).await, Ok(1));
    assert_eq!(world.send(&large).await, Ok(2));
    assert_eq!(code(world.send(&large).await), "channel-full");
    assert_eq!(code(world.send(&format!("\"{}\"", "x".repeat(1_000))).await), "too-large");
}

pub(crate) async fn what_is_acknowledged_gives_room<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for number in 1..=20 {
        assert_eq!(world.send(&format!("\"{}\"", "x".repeat(900))).await, Ok(number));
        let own = world.run();
        let message = world.receive(own).await.expect("a message");
        assert!(settle(&world, message.id, own, Verdict::Acknowledge).await);
    }
}

pub(crate) async fn only_who_has_a_message_decides_about_it<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("1").await;
    let own = world.run();
    assert!(!settle(&world, 1, own, Verdict::Acknowledge).await, "nobody has it");
    let message = world.receive(own).await.expect("a message");
    let other = world.run();
    assert!(!settle(&world, message.id, other, Verdict::Acknowledge).await);
    assert!(!settle(&world, message.id + 1, own, Verdict::Acknowledge).await);
    world.store.release(run(other), Verdict::GiveBack).await.expect("it is released");
    assert!(settle(&world, message.id, own, Verdict::Acknowledge).await);
}

pub(crate) async fn a_run_that_ends_gives_its_messages_back<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let own = world.run();
    for number in 1..=3 {
        let _ = world.send(&number.to_string()).await;
        let _ = world.receive(own).await;
    }
    assert_eq!(world.ready().await, Vec::<String>::new());
    world.store.release(run(own), Verdict::GiveBack).await.expect("it is released");
    assert_eq!(world.ready().await, ["1", "2", "3"]);
}

pub(crate) async fn a_run_that_completes_has_its_messages_acknowledged<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let own = world.run();
    let _ = world.send("1").await;
    let _ = world.receive(own).await;
    world.store.release(run(own), Verdict::Acknowledge).await.expect("it is released");
    assert_eq!((world.ready().await, world.dead().await), (Vec::<String>::new(), Vec::new()));
}

pub(crate) async fn channels_are_apart<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let call = SendCall { channel: format!("{}.other", world.name), message: bytes("1") };
    assert_eq!(world.store.send(call, world.run()).await, Ok(1));
    assert_eq!(code(world.receive(world.run()).await), "timeout");
    assert_eq!(world.send("1").await, Ok(1));
}

pub(crate) async fn bad_messages_are_refused<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    assert_eq!(code(world.send("nope").await), "bad-value");
    let call = SendCall { channel: "No Channel".to_owned(), message: bytes("1") };
    assert_eq!(code(world.store.send(call, world.run()).await), "bad-name");
}

pub(crate) async fn people_do_not_receive<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = world.send("1").await;
    assert_eq!(code(world.receive(By::default()).await), "bad-value");
    let by = world.run();
    assert_eq!(code(world.store.receive(world.receive_call(Some(10), 0), by).await), "bad-value");
}

pub(crate) async fn many_receivers_share_the_messages<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    const MESSAGES: u64 = 60;
    let receivers: Vec<_> = (0..6)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let mut had = Vec::new();
                for _ in 0..MESSAGES / 6 {
                    let own = world.run();
                    let call = world.receive_call(Some(50_000), 3);
                    let message = world.store.receive(call, own).await.expect("a message");
                    assert!(settle(&world, message.id, own, Verdict::Acknowledge).await);
                    had.push(message.id);
                }
                had
            })
        })
        .collect();
    for number in 0..MESSAGES {
        soon(async {
            while world.send(&number.to_string()).await.is_err() {
                // It is full: they are at work.
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let mut times: HashMap<u64, usize> = HashMap::new();
    for receiver in receivers {
        for id in soon(receiver).await.expect("it does not panic") {
            *times.entry(id).or_default() += 1;
        }
    }
    assert_eq!(times.len() as u64, MESSAGES);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

pub(crate) async fn who_gives_up_receiving_takes_nothing_with_it<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    for _ in 0..5 {
        let gone = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.store.receive(world.receive_call(None, 3), world.run()).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    }
    let _ = world.send("1").await;
    assert!(soon(world.receive(world.run())).await.is_ok());
}

pub(crate) async fn channels_are_told_of_with_their_counts<S: SharedMemory + Clone>(world: Arc<World<S>>) {
    let _ = kill(&world, "1").await;
    let own = world.run();
    let _ = world.send("23").await;
    let _ = world.receive(own).await;
    let _ = world.send("\"x\"").await;
    let MemoryFound::Channels(found) = world.look(MemoryQuestion::Channels).await else { panic!("channels") };
    let own = found.iter().find(|channel| channel.name == world.name).expect("it is there");
    assert_eq!((own.ready, own.delivered, own.dead, own.bytes), (1, 1, 1, 6));
}
