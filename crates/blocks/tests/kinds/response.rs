//! `response`: the reply a hook's client gets.

use std::sync::Arc;

use bytes::Bytes;
use runlet_blocks::{Outcome, Output, Resume, Step};
use runlet_proto::failure::Failure;
use runlet_proto::hook::{HookRequest, HttpReply, Respond};
use serde_json::{Value, json};

use crate::support::{Recorder, execution, execution_of, run};

fn response(mut fields: Value) -> Value {
    fields["type"] = json!("response");
    fields
}

fn reply(block: &Value, input: &Value) -> Result<Arc<HttpReply>, Failure> {
    run(block, input).map(|output| match output {
        Output::Reply(reply) => reply,
        other => panic!("{other:?}"),
    })
}

fn content_type(reply: &HttpReply) -> Option<&str> {
    reply.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())
}

#[test]
fn the_founding_response_sends_the_input_as_json() {
    let block = response(json!({ "header": [{ "content-type": "json" }], "body": "{}" }));
    let reply = reply(&block, &json!({ "h1": ["a"], "h2": [] })).unwrap();
    assert_eq!((reply.status, content_type(&reply)), (200, Some("application/json")));
    assert_eq!(reply.body, r#"{"h1":["a"],"h2":[]}"#);
}

#[test]
fn every_body_has_a_content_type() {
    for (fields, input, body, expected) in [
        (json!({}), json!("x"), "\"x\"", "application/json"),
        (json!({ "headers": { "content-type": "html" } }), json!("<p>"), "<p>", "text/html"),
        (json!({ "headers": { "content-type": "html" } }), json!([1]), "[1]", "text/html"),
        (json!({ "body": "hi" }), json!(1), "hi", "text/plain; charset=utf-8"),
        (json!({ "body": { "a": "{{ input }}" } }), json!([1]), r#"{"a":[1]}"#, "application/json"),
        (json!({ "body": {} }), json!(1), "{}", "application/json"),
    ] {
        let reply = reply(&response(fields.clone()), &input).unwrap();
        assert_eq!(reply.body, body, "{fields}");
        assert!(content_type(&reply).unwrap().starts_with(expected), "{fields}: {:?}", reply.headers);
    }
}

#[test]
fn a_reply_that_is_the_same_in_every_run_is_made_once() {
    let block = response(json!({ "body": { "hello": "world" }, "headers": { "x-a": "b" } }));
    let definition = crate::support::definition(&block);
    let reply = || {
        let assignment = runlet_blocks::Assignment {
            definition: Arc::clone(&definition),
            block: runlet_proto::ids::BlockIndex(1),
            input: Output::json(json!(1)),
            scope: None,
        };
        match runlet_blocks::Execution::new(assignment).resume(Resume::Start, &mut Recorder::default()) {
            Step::Done(Ok(Outcome::Completed(Output::Reply(reply)))) => reply,
            other => panic!("{other:?}"),
        }
    };
    assert!(Arc::ptr_eq(&reply(), &reply()));
}

#[test]
fn a_status_may_come_from_a_template_and_is_checked() {
    let block = response(json!({ "status": "{{ input.status }}" }));
    assert_eq!(reply(&block, &json!({ "status": 418 })).unwrap().status, 418);
    assert_eq!(reply(&block, &json!({ "status": "404" })).unwrap().status, 404);
    for status in [json!(99), json!(600), json!(-1), json!("no"), json!(null), json!([200]), json!(200.5)] {
        assert_eq!(reply(&block, &json!({ "status": status })).unwrap_err().code, "status");
    }
    let empty = reply(&block, &json!({ "status": 204 })).unwrap();
    assert_eq!((empty.body.len(), content_type(&empty)), (0, None));
}

#[test]
fn header_values_cannot_break_out() {
    let block = response(json!({ "headers": { "x-name": "{{ input }}" }, "body": "ok" }));
    assert_eq!(reply(&block, &json!("a\r\nset-cookie: b=c")).unwrap_err().code, "header");
    assert_eq!(reply(&block, &json!("fine")).unwrap().headers[0], ("x-name".to_owned(), "fine".to_owned()));
}

#[test]
fn a_request_can_be_sent_back() {
    let request = HookRequest {
        workflow: "w".to_owned(),
        respond: Respond::WhenDone,
        method: "POST".to_owned(),
        path: "/hook/t/5".to_owned(),
        params: vec![("id".to_owned(), "5".to_owned())],
        query: "a=1&b=%26&a=2".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Bytes::from_static(b"{\"n\": [1]}"),
    };
    let input = Output::Hook(Arc::new(request));
    match execution_of(&response(json!({})), input).resume(Resume::Start, &mut Recorder::default()) {
        Step::Done(Ok(Outcome::Completed(Output::Reply(reply)))) => assert_eq!(
            serde_json::from_slice::<Value>(&reply.body).unwrap(),
            json!({
                "method": "POST", "path": "/hook/t/5", "params": { "id": "5" }, "query": { "a": ["1", "2"], "b": "&" },
                "headers": { "content-type": "application/json" }, "body": { "n": [1] },
            })
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hook_that_is_executed_passes_its_input_on() {
    let mut execution = execution(&json!({ "type": "hook", "path": "again" }), &json!({ "a": 1 }));
    match execution.resume(Resume::Start, &mut Recorder::default()) {
        Step::Done(Ok(Outcome::Completed(output))) => assert_eq!(*output.to_json(), json!({ "a": 1 })),
        other => panic!("{other:?}"),
    }
}

#[test]
fn outputs_merge_in_order_and_weigh_about_what_they_hold() {
    let (a, b) = (Output::json(json!([1])), Output::json(json!("x")));
    let merged = Output::merge([("b", &b), ("a", &a)].into_iter());
    assert_eq!(merged.to_json_text(), r#"{"b":"x","a":[1]}"#);

    let text = "x".repeat(100_000);
    assert!(Output::json(json!({ "body": text })).heap_bytes() >= 100_000);
    let list = Output::json(json!(vec!["0123456789"; 100_000]));
    assert!((1_000_000..10_000_000).contains(&list.heap_bytes()), "{}", list.heap_bytes());
}
