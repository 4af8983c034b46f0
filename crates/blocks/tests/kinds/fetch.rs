//! `fetch`: what it asks for, and what it makes of answers.

use bytes::Bytes;
use runlet_blocks::{CallId, Resume, Step};
use runlet_proto::call::{Answer, Body, BodyAs};
use runlet_proto::control::LogLevel;
use runlet_proto::failure::{Failure, FailureClass};
use serde_json::{Value, json};

use crate::support::{Recorder, answered, execution, only_call, reply};

fn fetch(parameter: &Value) -> Value {
    json!({ "type": "fetch", "parameter": parameter })
}

fn plain() -> Value {
    fetch(&json!({ "url": "http://example.org/" }))
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[test]
fn a_plain_request_is_rendered_from_the_definition_alone() {
    let call = only_call(&mut execution(&plain(), &json!(null)));
    assert_eq!((call.method.as_str(), call.url.as_str()), ("GET", "http://example.org/"));
    assert_eq!(call.literal_hosts, ["example.org"]);
    assert_eq!((call.body, call.body_as, call.tls_verify), (None, BodyAs::Auto, true));
}

#[test]
fn query_parameters_are_added_and_escaped() {
    let parameter = json!({
        "url": "http://example.org/s?a=1#part",
        "query": { "q": "{{ hook.query.q }}", "n": 5, "list": ["x", 2, null], "none": null, "yes": true },
    });
    let call = only_call(&mut execution(&fetch(&parameter), &json!({})));
    assert_eq!(call.url, "http://example.org/s?a=1&q=tea+%26+cake&n=5&list=x&list=2&yes=true#part");
}

#[test]
fn each_body_names_its_media_type_unless_a_header_does() {
    for (parameter, body, content_type) in [
        (json!({ "json": { "a": "{{ input.n }}" } }), r#"{"a":7}"#, "application/json"),
        (json!({ "form": { "a": "x y", "b": ["1", "2"] } }), "a=x+y&b=1&b=2", "application/x-www-form-urlencoded"),
        (json!({ "body": "n={{ input.n }}" }), "n=7", "text/plain; charset=utf-8"),
        (json!({ "body": "<a/>", "headers": { "Content-Type": "text/xml" } }), "<a/>", "text/xml"),
    ] {
        let mut parameter = parameter;
        parameter["url"] = json!("http://example.org/");
        parameter["method"] = json!("post");
        let call = only_call(&mut execution(&fetch(&parameter), &json!({ "n": 7 })));
        assert_eq!(call.method, "POST");
        assert_eq!(call.body.as_deref(), Some(body.as_bytes()));
        assert_eq!(header(&call.headers, "content-type"), Some(content_type));
        assert_eq!(call.headers.len(), 1, "{:?}", call.headers);
    }
}

#[test]
fn what_comes_out_of_templates_is_checked() {
    for (parameter, code) in [
        (json!({ "url": "{{ input.url }}" }), "url"),
        (json!({ "url": "{{ input.ftp }}" }), "url"),
        (json!({ "url": "http://example.org/", "headers": { "x": "{{ hook.headers.evil }}" } }), "header"),
        (json!({ "url": "http://example.org/", "method": "{{ input.method }}" }), "method"),
        (json!({ "url": "http://example.org/{{ input.absent }}" }), "template-undefined"),
    ] {
        let input = json!({ "url": "example.org", "ftp": "ftp://example.org/", "method": "GET /x" });
        match execution(&fetch(&parameter), &input).resume(Resume::Start, &mut Recorder::default()) {
            Step::Done(Err(failure)) => assert_eq!(failure.code, code, "{failure:?}"),
            other => panic!("{parameter}: {other:?}"),
        }
    }
}

#[test]
fn an_answer_becomes_an_object() {
    let mut reply = reply(200, "text/html; charset=utf-8", "<p>é</p>");
    reply.headers.push(("set-cookie".to_owned(), "a=1".to_owned()));
    reply.headers.push(("set-cookie".to_owned(), "b=2".to_owned()));
    let (output, recorder) = answered(&plain(), reply);
    assert_eq!(
        output.unwrap(),
        json!({
            "url": "http://user:secret@example.org/end",
            "status": 200,
            "headers": { "content-type": "text/html; charset=utf-8", "set-cookie": ["a=1", "b=2"] },
            "contentType": "text/html; charset=utf-8",
            "encoding": "UTF-8",
            "body": "<p>é</p>",
            "redirects": ["http://example.org/"],
            "elapsedMs": 12.345,
        })
    );
    assert!(recorder.lines.is_empty());
}

#[test]
fn json_is_parsed_when_it_is_said_or_asked_for() {
    let (output, _) = answered(&plain(), reply(200, "application/problem+json", "[1, 2]"));
    assert_eq!(output.unwrap()["json"], json!([1, 2]));

    let asked = fetch(&json!({ "url": "http://example.org/", "response": "json" }));
    let (output, _) = answered(&asked, reply(200, "text/plain", "{\"a\": 1}"));
    assert_eq!(output.unwrap()["json"], json!({ "a": 1 }));

    let (output, _) = answered(&asked, reply(200, "text/plain", "{\"a\":\n oops}"));
    let failure = output.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class, failure.retryable), ("not-json", FailureClass::Upstream, false));
    assert!(failure.message.contains("line 2 column 2"), "{}", failure.message);

    // A server that only says so does not fail the block.
    let (output, recorder) = answered(&plain(), reply(200, "application/json", "<html>"));
    assert_eq!(output.unwrap().get("json"), None);
    assert_eq!(recorder.lines[0].0, LogLevel::Warn);
}

#[test]
fn bytes_are_base64() {
    let mut answer = reply(200, "image/png", "");
    answer.body = Body::Bytes(Bytes::from_static(&[0, 255, 1]));
    let (output, _) = answered(&plain(), answer);
    let output = output.unwrap();
    assert_eq!((&output["body"], &output["encoding"]), (&json!("AP8B"), &json!("base64")));
}

#[test]
fn a_bad_status_fails_with_what_was_asked_and_what_was_said() {
    let long = format!("<h1>Sorry</h1>\n\n  {}", "word ".repeat(200));
    let (output, _) = answered(&plain(), reply(503, "text/html", &long));
    let failure = output.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("status", FailureClass::Upstream));
    assert!(failure.message.starts_with("GET http://example.org/end was answered 503: <h1>Sorry</h1> word"));
    assert!(failure.message.ends_with('…') && failure.message.chars().count() < 300, "{}", failure.message);
    for (status, retryable) in
        [(404, false), (400, false), (302, false), (408, true), (425, true), (429, true), (500, true)]
    {
        let (output, _) = answered(&plain(), reply(status, "text/html", ""));
        assert_eq!(output.unwrap_err().retryable, retryable, "{status}");
    }
}

#[test]
fn which_status_fails_is_the_workflows_choice() {
    let never = fetch(&json!({ "url": "http://example.org/", "fail_on_status": false }));
    assert_eq!(answered(&never, reply(500, "text/html", "x")).0.unwrap()["status"], 500);
}

#[test]
fn a_failed_call_fails_the_block_as_it_is() {
    let mut execution = execution(&plain(), &json!(null));
    only_call(&mut execution);
    let failure = Failure::timeout("too slow");
    match execution.resume(Resume::Answer(CallId(0), Answer::Failed(failure.clone())), &mut Recorder::default()) {
        Step::Done(Err(found)) => assert_eq!(found, failure),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_to_nothing_is_an_error_not_a_panic() {
    let mut execution = execution(&plain(), &json!(null));
    only_call(&mut execution);
    let stray = Answer::Fetch(Box::new(reply(200, "text/html", "")));
    match execution.resume(Resume::Answer(CallId(9), stray), &mut Recorder::default()) {
        Step::Done(Err(failure)) => assert_eq!(failure.code, "internal"),
        other => panic!("{other:?}"),
    }
}
