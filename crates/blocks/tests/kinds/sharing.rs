//! `memory`, `send` and `receive`: what they ask of the store, and what they make of its answers.

use runlet_blocks::{CallId, Execution, Outcome, Output, Resume, Step, allowed_call};
use runlet_proto::call::{Answer, Call, WorkflowCall};
use runlet_proto::failure::Failure;
use runlet_proto::ids::BlockIndex;
use runlet_proto::memory::{
    Acknowledge, Item, LockWish, MemoryCall, MemoryOp, MemoryReply, Message, ReceiveCall, SendCall,
};
use serde_json::{Value, json};

use crate::support::{Recorder, definition, execution};

fn memory(parameter: &Value) -> Value {
    json!({ "type": "memory", "parameter": parameter })
}

/// What a block asks when it begins.
fn calls(execution: &mut Execution) -> Result<Vec<Call>, Failure> {
    match execution.resume(Resume::Start, &mut Recorder::default()) {
        Step::Wait(calls) => Ok(calls.into_iter().map(|(_, call)| call).collect()),
        Step::Done(Err(failure)) => Err(failure),
        other => panic!("{other:?}"),
    }
}

/// The one call of a block.
fn asked(block: &Value, input: &Value) -> Result<Call, Failure> {
    calls(&mut execution(block, input)).map(|mut calls| {
        assert_eq!(calls.len(), 1, "{block}");
        calls.remove(0)
    })
}

/// The operation of a `memory` block whose input has a `name`, a `version` and nothing else.
fn op(parameter: &Value) -> Result<MemoryOp, Failure> {
    let input = json!({ "name": "n", "version": 7, "none": null });
    asked(&memory(parameter), &input).map(|call| match call {
        Call::Memory(MemoryCall { namespace, op, lock: None }) if namespace == "m" => op,
        other => panic!("{other:?}"),
    })
}

/// What a block makes of an answer.
fn answered(block: &Value, answer: Answer) -> Result<Value, Failure> {
    let mut execution = execution(block, &json!("in"));
    calls(&mut execution).unwrap();
    output(execution.resume(Resume::Answer(CallId(0), answer), &mut Recorder::default()))
}

fn output(step: Step) -> Result<Value, Failure> {
    match step {
        Step::Done(Ok(Outcome::Completed(output))) => Ok(Output::to_json(&output).as_ref().clone()),
        Step::Done(Err(failure)) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn item(key: &str, value: &'static str) -> Item {
    Item { key: key.to_owned(), value: value.into(), version: 3, expires_at_ms: Some(9) }
}

fn found(value: &'static str) -> Answer {
    Answer::Memory(MemoryReply::Value(Some(item("k", value))))
}

const NOTHING: Answer = Answer::Memory(MemoryReply::Value(None));

#[test]
fn each_operation_asks_for_what_it_says() {
    let key = || "k-n".to_owned();
    for (parameter, expected) in [
        (json!({ "op": "get", "key": "k-{{ input.name }}" }), MemoryOp::Get { key: key() }),
        (json!({ "op": "take", "key": "k-{{ input.name }}", "default": 1 }), MemoryOp::Take { key: key() }),
        (json!({ "op": "delete", "namespace": "m", "key": "k-n" }), MemoryOp::Delete { key: key() }),
        (
            json!({ "op": "set", "key": "k-n", "value": { "a": ["{{ input.version }}"] }, "ttl": "1.5s" }),
            MemoryOp::Set { key: key(), value: r#"{"a":[7]}"#.into(), ttl_ms: Some(1_500) },
        ),
        (json!({ "op": "add", "key": "k-n" }), MemoryOp::Add { key: key(), value: "1".into(), ttl_ms: None }),
        (
            json!({ "op": "add", "key": "k-n", "value": "{{ 0 - input.version }}" }),
            MemoryOp::Add { key: key(), value: "-7".into(), ttl_ms: None },
        ),
        (
            json!({ "op": "append", "key": "k-n", "value": null, "ttl": "1s" }),
            MemoryOp::Append { key: key(), value: "null".into(), ttl_ms: Some(1_000) },
        ),
        (
            json!({ "op": "compare-and-set", "key": "k-n", "version": "{{ input.version }}", "value": "x" }),
            MemoryOp::CompareAndSet { key: key(), version: 7, value: r#""x""#.into(), ttl_ms: None },
        ),
        (
            json!({ "op": "list", "prefix": "{{ input.name }}", "after": "k-n", "limit": 5 }),
            MemoryOp::List { prefix: "n".to_owned(), after: Some(key()), limit: 5 },
        ),
        (json!({ "op": "list" }), MemoryOp::List { prefix: String::new(), after: None, limit: 100 }),
        (
            json!({ "op": "watch", "key": "k-n", "version": 2, "timeout": "1s" }),
            MemoryOp::Watch { key: key(), version: 2, timeout_ms: 1_000 },
        ),
        (json!({ "op": "watch", "key": "k-n" }), MemoryOp::Watch { key: key(), version: 0, timeout_ms: 30_000 }),
        (json!({ "op": "unlock" }), MemoryOp::Unlock),
    ] {
        assert_eq!(op(&parameter).unwrap(), expected, "{parameter}");
    }
}

#[test]
fn what_is_written_is_the_input_unless_there_is_a_value() {
    for (word, with) in [("set", json!({})), ("append", json!({})), ("compare-and-set", json!({ "version": 0 }))] {
        let mut parameter = json!({ "op": word, "key": "k" });
        parameter.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let call = asked(&memory(&parameter), &json!({ "a": [1, "b"] })).unwrap();
        let Call::Memory(MemoryCall {
            op: MemoryOp::Set { value, .. } | MemoryOp::Append { value, .. } | MemoryOp::CompareAndSet { value, .. },
            ..
        }) = call
        else {
            panic!("{word}: {call:?}");
        };
        assert_eq!(value, r#"{"a":[1,"b"]}"#, "{word}");
    }
}

#[test]
fn a_version_that_is_null_is_that_of_no_key_and_what_is_no_number_fails() {
    let of = |version: &str| op(&json!({ "op": "watch", "key": "k", "version": version }));
    assert_eq!(of("{{ input.none }}").unwrap(), MemoryOp::Watch { key: "k".into(), version: 0, timeout_ms: 30_000 });
    for wrong in ["{{ input.name }}", "{{ 1.5 }}", "{{ 0 - input.version }}"] {
        assert_eq!(of(wrong).unwrap_err().code, "bad-value", "{wrong}");
    }
}

#[test]
fn the_lock_is_asked_for_with_the_operation() {
    let lock = |lock: Value| match asked(&memory(&json!({ "op": "get", "key": "k", "lock": lock })), &json!(null)) {
        Ok(Call::Memory(call)) => call.lock.map(|wish| (wish.ttl_ms, wish.timeout_ms)),
        other => panic!("{other:?}"),
    };
    assert_eq!(lock(json!(false)), None);
    assert_eq!(lock(json!(true)), Some((30_000, 30_000)));
    assert_eq!(lock(json!({ "ttl": "1h", "timeout": "1s" })), Some((3_600_000, 1_000)));
    assert_eq!(lock(json!({})), Some((30_000, 30_000)));
}

#[test]
fn the_output_is_the_value_or_all_that_is_known_of_it() {
    let get = |more: Value| {
        let mut parameter = json!({ "op": "get", "key": "k" });
        parameter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        memory(&parameter)
    };
    assert_eq!(answered(&get(json!({})), found(r#"{"a":1}"#)).unwrap(), json!({ "a": 1 }));
    assert_eq!(
        answered(&get(json!({ "detail": true })), found("[1]")).unwrap(),
        json!({ "key": "k", "value": [1], "version": 3, "expiresAtMs": 9 })
    );
    assert_eq!(answered(&get(json!({})), NOTHING).unwrap(), json!(null));
    assert_eq!(answered(&get(json!({ "detail": true })), NOTHING).unwrap(), json!(null));
    assert_eq!(answered(&get(json!({ "default": ["{{ input }}"] })), NOTHING).unwrap(), json!(["in"]));
    assert_eq!(answered(&get(json!({ "default": 1 })), found("null")).unwrap(), json!(null), "the key is there");
    assert_eq!(answered(&memory(&json!({ "op": "delete", "key": "k" })), NOTHING).unwrap(), json!(null));
    let items = MemoryReply::Items { items: vec![item("a", "1"), item("b", "{}")], more: true };
    assert_eq!(
        answered(&memory(&json!({ "op": "list" })), Answer::Memory(items)).unwrap(),
        json!([{ "key": "a", "value": 1, "version": 3 }, { "key": "b", "value": {}, "version": 3 }])
    );
    let broken = answered(&get(json!({})), found("{")).unwrap_err();
    assert!(broken.code == "memory" && broken.message.contains("key `k`"), "{broken:?}");
    let failure = Failure::timeout("the lock was not free");
    let failed = answered(&get(json!({ "default": 1 })), Answer::Failed(failure.clone()));
    assert_eq!(failed, Err(failure), "that nobody could look is not that it is not there");
    assert_eq!(answered(&get(json!({})), Answer::Sent(1)).unwrap_err().code, "internal");
}

#[test]
fn a_message_is_the_input_unless_it_is_written() {
    let send = |parameter: Value| json!({ "type": "send", "parameter": parameter });
    let input = json!({ "to": "c.1", "what": [true] });
    let sent = |parameter: Value| match asked(&send(parameter), &input) {
        Ok(Call::Send(SendCall { channel, message })) => (channel, serde_json::from_slice::<Value>(&message).unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(sent(json!({ "channel": "c" })), ("c".to_owned(), input.clone()));
    assert_eq!(
        sent(json!({ "channel": "{{ input.to }}", "message": { "x": "{{ input.what }}" } })),
        ("c.1".to_owned(), json!({ "x": [true] }))
    );
    let block = send(json!({ "channel": "{{ input }}put" }));
    assert_eq!(answered(&block, Answer::Sent(12)).unwrap(), json!({ "channel": "input", "id": 12 }));
}

#[test]
fn a_message_that_does_not_come_is_the_default_or_a_failure() {
    let receive = |parameter: Value| json!({ "type": "receive", "parameter": parameter });
    let plain = receive(json!({ "channel": "c" }));
    assert_eq!(
        asked(&plain, &json!(null)).unwrap(),
        Call::Receive(ReceiveCall {
            channel: "c".into(),
            timeout_ms: None,
            acknowledge: Acknowledge::Block,
            deliveries_max: 5,
        })
    );
    let with = receive(json!({
        "channel": "{{ input }}", "timeout": "2s", "acknowledge": "run", "deliveries": 1, "default": { "none": "{{ input }}" },
        "detail": true,
    }));
    assert_eq!(
        asked(&with, &json!("x")).unwrap(),
        Call::Receive(ReceiveCall {
            channel: "x".into(),
            timeout_ms: Some(2_000),
            acknowledge: Acknowledge::Run,
            deliveries_max: 1,
        })
    );
    let message = || Answer::Received(Message { id: 4, body: r#"{"a":1}"#.into(), sent_at_ms: 5, deliveries: 2 });
    assert_eq!(answered(&plain, message()).unwrap(), json!({ "a": 1 }));
    assert_eq!(
        answered(&with, message()).unwrap(),
        json!({ "id": 4, "message": { "a": 1 }, "sentAtMs": 5, "deliveries": 2 })
    );
    let late = Failure::timeout("no message came");
    assert_eq!(answered(&with, Answer::Failed(late.clone())).unwrap(), json!({ "none": "in" }));
    assert_eq!(answered(&plain, Answer::Failed(late.clone())), Err(late));
    let away = Failure::upstream("memory-unavailable", "the store is away");
    assert_eq!(answered(&with, Answer::Failed(away.clone())), Err(away), "only what did not come in time is missing");
    assert_eq!(answered(&plain, NOTHING).unwrap_err().code, "internal");
}

#[test]
fn they_work_for_each_element() {
    let block = json!({
        "type": "memory", "for_each": "{{ input }}", "parallel": 2,
        "parameter": { "op": "get", "key": "{{ index }}-{{ item }}", "default": "{{ item }}" },
    });
    let mut execution = execution(&block, &json!(["a", "b"]));
    let keys: Vec<MemoryOp> = calls(&mut execution)
        .unwrap()
        .into_iter()
        .map(|call| match call {
            Call::Memory(call) => call.op,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys, [MemoryOp::Get { key: "0-a".into() }, MemoryOp::Get { key: "1-b".into() }]);
    let answers = vec![(CallId(1), found("2")), (CallId(0), NOTHING)];
    assert_eq!(output(execution.resume(Resume::Answers(answers), &mut Recorder::default())).unwrap(), json!(["a", 2]));

    let send = json!({ "type": "send", "for_each": "{{ input }}", "parameter": { "channel": "c" } });
    let first = asked(&send, &json!([{ "n": 1 }, { "n": 2 }])).unwrap();
    assert_eq!(first, Call::Send(SendCall { channel: "c".into(), message: r#"{"n":1}"#.into() }), "the element");
}

#[test]
fn of_a_workers_call_namespace_operation_times_and_lock_are_those_of_the_definition() {
    let allowed = |block: &Value, call: Call| allowed_call(&definition(block), BlockIndex(1), call);
    let set = |namespace: &str, key: &str, ttl_ms, lock| {
        let op = MemoryOp::Set { key: key.into(), value: "1".into(), ttl_ms };
        Call::Memory(MemoryCall { namespace: namespace.into(), op, lock })
    };
    let of_set = memory(&json!({ "op": "set", "key": "{{ input }}", "ttl": "1s" }));
    let theirs = set("theirs", "k", None, Some(LockWish { ttl_ms: u64::MAX, timeout_ms: u64::MAX }));
    assert_eq!(allowed(&of_set, theirs.clone()), Some(set("m", "k", Some(1_000), None)));
    let locked = memory(&json!({ "op": "set", "key": "{{ input }}", "lock": true }));
    let lock = Some(LockWish { ttl_ms: 30_000, timeout_ms: 30_000 });
    assert_eq!(allowed(&locked, set("m", "k", None, None)), Some(set("m", "k", None, lock)));
    let get = memory(&json!({ "op": "get", "key": "k" }));
    assert_eq!(allowed(&get, theirs), None, "another operation");
    let list = |limit| {
        let op = MemoryOp::List { prefix: "p".into(), after: None, limit };
        Call::Memory(MemoryCall { namespace: "m".into(), op, lock: None })
    };
    assert_eq!(allowed(&memory(&json!({ "op": "list", "limit": 9 })), list(u32::MAX)), Some(list(9)));

    let send = |channel: &str| Call::Send(SendCall { channel: channel.into(), message: "1".into() });
    let to = |channel: &str| json!({ "type": "send", "parameter": { "channel": channel } });
    assert_eq!(allowed(&to("mine"), send("theirs")), Some(send("mine")));
    assert_eq!(allowed(&to("{{ input }}"), send("rendered")), Some(send("rendered")));
    let receive = |timeout_ms, acknowledge, deliveries_max| {
        Call::Receive(ReceiveCall { channel: "c".into(), timeout_ms, acknowledge, deliveries_max })
    };
    let from =
        json!({ "type": "receive", "parameter": { "channel": "{{ input }}", "timeout": "1s", "acknowledge": "run" } });
    assert_eq!(
        allowed(&from, receive(None, Acknowledge::Block, u32::MAX)),
        Some(receive(Some(1_000), Acknowledge::Run, 5))
    );
    let workflow = Call::Workflow(WorkflowCall { workflow: "w".into(), input: "1".into(), wait: true });
    for (block, call) in [(&from, send("c")), (&to("c"), receive(None, Acknowledge::Block, 1)), (&get, workflow)] {
        assert_eq!(allowed(block, call), None, "{block}");
    }
}
