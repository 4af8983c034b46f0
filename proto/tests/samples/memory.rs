//! Samples of what is said about shared memory and channels.

use bytes::Bytes;
use runlet_proto::memory::{
    Acknowledge, ChannelSummary, Item, LockWish, MemoryCall, MemoryChange, MemoryFound, MemoryOp, MemoryQuestion,
    MemoryReply, MemoryWatch, MessageSummary, NamespaceSummary, SendCall,
};

use super::RUN;

pub(in super::super) fn memory_ops() -> Vec<MemoryOp> {
    let key = || "k".to_owned();
    let value = || Bytes::from_static(b"9");
    vec![
        MemoryOp::Get { key: key() },
        MemoryOp::Set { key: key(), value: value(), ttl_ms: Some(1) },
        MemoryOp::Delete { key: key() },
        MemoryOp::Add { key: key(), value: value(), ttl_ms: None },
        MemoryOp::Append { key: key(), value: value(), ttl_ms: None },
        MemoryOp::Take { key: key() },
        MemoryOp::CompareAndSet { key: key(), version: 2, value: value(), ttl_ms: None },
        MemoryOp::List { prefix: "p".into(), after: Some(key()), limit: 3 },
        MemoryOp::Watch { key: key(), version: 4, timeout_ms: 5 },
        MemoryOp::Unlock,
    ]
}

pub(in super::super) fn memory_replies() -> Vec<MemoryReply> {
    vec![MemoryReply::Value(Some(item())), MemoryReply::Items { items: vec![item()], more: true }]
}

pub(in super::super) fn acknowledges() -> Vec<Acknowledge> {
    vec![Acknowledge::Block, Acknowledge::Run]
}

pub(in super::super) fn memory_questions() -> Vec<MemoryQuestion> {
    vec![
        MemoryQuestion::Namespaces,
        MemoryQuestion::Call(memory_call()),
        MemoryQuestion::Channels,
        MemoryQuestion::Send(send_call()),
        MemoryQuestion::Peek { channel: "c".into(), limit: 2 },
        MemoryQuestion::Dead { channel: Some("c".into()), limit: 2 },
        MemoryQuestion::Revive { channel: "c".into(), id: 3 },
        MemoryQuestion::Bury { channel: "c".into(), id: 3 },
    ]
}

pub(in super::super) fn memory_found() -> Vec<MemoryFound> {
    vec![
        MemoryFound::Namespaces(vec![NamespaceSummary {
            name: "m".into(),
            keys: 1,
            bytes: 2,
            locked_by: Some(RUN),
            locked_for_ms: Some(3),
        }]),
        MemoryFound::Reply(MemoryReply::Value(None)),
        MemoryFound::Channels(vec![ChannelSummary {
            name: "c".into(),
            ready: 1,
            delivered: 2,
            dead: 3,
            bytes: 4,
            receivers: 5,
        }]),
        MemoryFound::Sent(6),
        MemoryFound::Messages(vec![MessageSummary {
            channel: "c".into(),
            id: 1,
            body: Bytes::from_static(b"2"),
            sent_at_ms: 3,
            deliveries: 4,
            run: Some(RUN),
        }]),
        MemoryFound::Done(true),
    ]
}

pub(super) fn memory_call() -> MemoryCall {
    let lock = Some(LockWish { ttl_ms: 1, timeout_ms: 2 });
    MemoryCall { namespace: "m".into(), op: MemoryOp::Get { key: "k".into() }, lock }
}

pub(super) fn send_call() -> SendCall {
    SendCall { channel: "c".into(), message: Bytes::from_static(b"1") }
}

pub(super) fn item() -> Item {
    Item { key: "k".into(), value: Bytes::from_static(b"9"), version: 2, expires_at_ms: Some(3) }
}

pub(super) fn memory_change() -> MemoryChange {
    MemoryChange { namespace: "m".into(), key: "k".into(), version: 7, value: Some(Bytes::from_static(b"8")) }
}

pub(super) fn memory_watch() -> MemoryWatch {
    MemoryWatch { namespace: "m".into(), prefix: "p".into() }
}
