//! What may be done in place by the supervisor's loop.

use bytes::Bytes;
use runlet_blocks::{CallId, Execution, Outcome, Resume, Step, Weight};
use runlet_proto::call::Answer;
use runlet_proto::memory::{Item, MemoryReply, Message};
use serde_json::{Value, json};

use crate::support::{Recorder, definition, execution, reply};

fn starts(block: &Value, input: &Value) -> Weight {
    let weight = execution(block, input).weight(&Resume::Start);
    let brief = Execution::starts_brief(&definition(block).blocks[1]);
    assert!(brief || weight == Weight::Compute, "{block}");
    weight
}

fn answer_weight(content_type: &str, bytes: usize) -> Weight {
    let block = json!({ "type": "fetch", "parameter": { "url": "http://example.org/" } });
    let mut execution = execution(&block, &json!(null));
    execution.resume(Resume::Start, &mut Recorder::default());
    let reply = reply(200, content_type, &" ".repeat(bytes));
    execution.weight(&Resume::Answer(CallId(0), Answer::Fetch(Box::new(reply))))
}

#[test]
fn light_beginnings_are_brief() {
    let big = json!("x".repeat(100_000));
    let response = json!({ "type": "response" });
    assert_eq!(starts(&json!({ "type": "fetch", "parameter": { "url": "http://example.org/" } }), &big), Weight::Brief);
    assert_eq!(starts(&json!({ "type": "response", "parameter": { "body": "x" } }), &big), Weight::Brief);
    assert_eq!(starts(&response, &json!([1])), Weight::Brief);
    assert_eq!(starts(&response, &big), Weight::Compute);
    assert_eq!(
        starts(&json!({ "type": "response", "parameter": { "body": "{{ input }}" } }), &json!(1)),
        Weight::Compute
    );
    assert_eq!(
        starts(&json!({ "type": "html-scraper", "parameter": [{ "selector": "p" }] }), &json!("")),
        Weight::Compute
    );
}

#[test]
fn what_is_shared_is_brief_while_it_is_small() {
    let big = json!("x".repeat(100_000));
    let memory = |parameter: Value| json!({ "type": "memory", "parameter": parameter });
    let set = memory(json!({ "op": "set", "key": "k" }));
    assert_eq!((starts(&set, &json!(1)), starts(&set, &big)), (Weight::Brief, Weight::Compute), "its input is written");
    assert_eq!(starts(&memory(json!({ "op": "set", "key": "k", "value": 1 })), &big), Weight::Brief);
    assert_eq!(starts(&memory(json!({ "op": "add", "key": "k" })), &big), Weight::Brief);
    assert_eq!(starts(&memory(json!({ "op": "get", "key": "{{ input }}" })), &json!(1)), Weight::Compute);
    let send = json!({ "type": "send", "parameter": { "channel": "c" } });
    assert_eq!((starts(&send, &json!(1)), starts(&send, &big)), (Weight::Brief, Weight::Compute));
    let receive = json!({ "type": "receive", "parameter": { "channel": "c" } });
    assert_eq!(starts(&receive, &big), Weight::Brief);
    for (bytes, weight) in [(1_000, Weight::Brief), (1_000_000, Weight::Compute)] {
        let mut execution = execution(&receive, &json!(null));
        execution.resume(Resume::Start, &mut Recorder::default());
        let message = Message { id: 1, body: " ".repeat(bytes).into(), sent_at_ms: 0, deliveries: 1 };
        assert_eq!(execution.weight(&Resume::Answer(CallId(0), Answer::Received(message))), weight, "{bytes} bytes");
    }
}

#[test]
fn answers_are_brief_unless_they_are_gone_through() {
    assert_eq!(answer_weight("text/html", 5_000_000), Weight::Brief);
    assert_eq!(answer_weight("application/json", 1_000), Weight::Brief);
    assert_eq!(answer_weight("application/json", 5_000_000), Weight::Compute);
}

#[test]
fn a_scraper_is_brief_when_the_beginning_of_its_page_is_enough() {
    let limited = json!({ "type": "html-scraper", "parameter": [{ "selector": "h1", "limit": 1 }] });
    let unlimited = json!({ "type": "html-scraper", "parameter": [{ "selector": "h1" }] });
    let filling = "<p>and so on</p>".repeat(2_000);
    let (early, late) = (json!(format!("<h1>a</h1>{filling}")), json!(format!("{filling}<h1>a</h1>")));
    let brief = |block: &Value, page: &Value| execution(block, page).try_brief(&mut Recorder::default()).is_some();
    assert!(brief(&limited, &early));
    assert!(!brief(&limited, &late));
    assert!(!brief(&unlimited, &early));
    assert!(brief(&unlimited, &json!("<h1>a</h1>")));
    // Trying in vain changes nothing.
    let (mut tried, mut recorder) = (execution(&limited, &late), Recorder::default());
    assert!(tried.try_brief(&mut recorder).is_none());
    let Step::Done(Ok(Outcome::Completed(output))) = tried.resume(Resume::Start, &mut recorder) else {
        panic!("the page is scraped all the same");
    };
    assert_eq!(*output.to_json(), json!({ "h1": ["a"] }));
    assert!(recorder.lines.is_empty());
}

#[test]
fn an_execution_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Execution>();
}

/// What it weighs to go on when some of `of` elements are answered, of which twenty are under way.
fn next_step(kind: &str, parameter: &Value, element: &Value, answered: usize, of: usize, value: &str) -> Weight {
    let block = json!({ "type": kind, "for_each": "{{ input }}", "parallel": 20, "parameter": parameter });
    let mut execution = execution(&block, &Value::Array(vec![element.clone(); of]));
    let Step::Wait(calls) = execution.resume(Resume::Start, &mut Recorder::default()) else { panic!("it waits") };
    let item =
        Item { key: "k".to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), version: 1, expires_at_ms: None };
    let answers = calls.into_iter().take(answered).map(|(id, _)| (id, MemoryReply::Value(Some(item.clone()))));
    execution.weight(&Resume::Answers(answers.map(|(id, reply)| (id, Answer::Memory(reply))).collect()))
}

#[test]
fn a_few_answers_to_elements_are_a_step_while_all_is_small() {
    let element = json!({ "id": "a", "text": "b" });
    let key = json!({ "op": "set", "key": "p:{{ item.id }}", "value": { "t": "{{ item.text }}", "n": "{{ index }}" } });
    let weighs = |parameter: &Value| next_step("memory", parameter, &element, 16, 40, "1");
    assert_eq!(weighs(&key), Weight::Step);
    assert_eq!(weighs(&json!({ "op": "get", "key": "k" })), Weight::Step);
    assert_eq!(next_step("memory", &key, &element, 17, 40, "1"), Weight::Compute, "many");
    assert_eq!(next_step("memory", &key, &element, 16, 35, "1"), Weight::Compute, "the last are made an output of");
    assert_eq!(
        next_step("memory", &key, &element, 1, 40, &format!("\"{}\"", "x".repeat(16_384))),
        Weight::Compute,
        "large answers"
    );
    let large = json!({ "id": "a", "text": "x".repeat(2_000) });
    assert_eq!(next_step("memory", &key, &large, 1, 40, "1"), Weight::Compute, "large elements");
    let send = json!({ "channel": "c", "message": "{{ item.text }}" });
    assert_eq!(next_step("send", &send, &element, 1, 40, "1"), Weight::Step);
    let receive = json!({ "channel": "c" });
    assert_eq!(next_step("receive", &receive, &element, 1, 40, "1"), Weight::Compute, "its messages may be large");
    // What a template computes has fuel for milliseconds; what it names outside the element may be large.
    for key in ["{{ item.id | upper }}", "{{ item.id ~ 'x' }}", "{{ input[0].id }}", "{{ run.id }}"] {
        assert_eq!(weighs(&json!({ "op": "get", "key": key })), Weight::Compute, "{key}");
    }
    let large = "x".repeat(2_000);
    assert_eq!(weighs(&json!({ "op": "set", "key": "k", "value": large })), Weight::Compute, "a large value");
    assert_eq!(weighs(&json!({ "op": "get", "key": "k", "default": large })), Weight::Compute, "a large default");
}
