//! `when`, `input` and `for_each`, which every kind has.

use runlet_blocks::{CallId, Outcome, Resume, Step};
use runlet_proto::call::{Answer, Call};
use serde_json::{Value, json};

use crate::support::{Recorder, execution, reply, run};

fn pages(parallel: usize) -> Value {
    json!({
        "type": "fetch",
        "for_each": "{{ input.ids }}",
        "parallel": parallel,
        "parameter": { "url": "http://example.org/{{ item }}?at={{ index }}&of={{ input.shop }}" },
    })
}

fn urls(step: Step) -> Vec<(CallId, String)> {
    match step {
        Step::Wait(calls) => calls
            .into_iter()
            .map(|(id, call)| match call {
                Call::Fetch(call) => (id, call.url),
                other => panic!("{other:?}"),
            })
            .collect(),
        Step::Done(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_block_whose_condition_is_false_is_skipped() {
    let block = json!({ "type": "response", "when": "{{ input.go }}", "parameter": { "body": "x" } });
    for (go, skipped) in
        [(json!(false), true), (json!(0), true), (json!(""), true), (json!([]), true), (json!(1), false)]
    {
        match execution(&block, &json!({ "go": go })).resume(Resume::Start, &mut Recorder::default()) {
            Step::Done(Ok(Outcome::Skipped)) => assert!(skipped, "{go}"),
            Step::Done(Ok(Outcome::Completed(_))) => assert!(!skipped, "{go}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_predefined_input_takes_the_place_of_the_given_one() {
    let rules = json!([{ "selector": "b", "limit": 1 }]);
    let fixed = json!({ "type": "html-scraper", "input": "<b>1</b>", "parameter": rules });
    assert_eq!(*run(&fixed, &json!(null)).unwrap().to_json(), json!({ "b": ["1"] }));
    let chosen = json!({ "type": "html-scraper", "input": "{{ input.html }}", "parameter": rules });
    assert_eq!(*run(&chosen, &json!({ "html": "<b>2</b>" })).unwrap().to_json(), json!({ "b": ["2"] }));
}

#[test]
fn several_elements_wait_at_once_and_keep_their_order() {
    let input = json!({ "ids": ["a", "b", "c"], "shop": "s" });
    let mut execution = execution(&pages(2), &input);
    let recorder = &mut Recorder::default();
    let first = urls(execution.resume(Resume::Start, recorder));
    assert_eq!(
        first,
        [
            (CallId(0), "http://example.org/a?at=0&of=s".to_owned()),
            (CallId(1), "http://example.org/b?at=1&of=s".to_owned()),
        ]
    );
    let answer = |text: &str| Answer::Fetch(Box::new(reply(200, "text/plain", text)));
    let second = urls(execution.resume(Resume::Answer(CallId(1), answer("B")), recorder));
    assert_eq!(second, [(CallId(2), "http://example.org/c?at=2&of=s".to_owned())]);
    assert!(urls(execution.resume(Resume::Answer(CallId(2), answer("C")), recorder)).is_empty());
    match execution.resume(Resume::Answer(CallId(0), answer("A")), recorder) {
        Step::Done(Ok(Outcome::Completed(output))) => {
            let bodies: Vec<Value> =
                output.to_json().as_array().unwrap().iter().map(|one| one["body"].clone()).collect();
            assert_eq!(bodies, ["A", "B", "C"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_failure_of_an_element_fails_the_block_and_says_which() {
    let mut execution = execution(&pages(2), &json!({ "ids": [1, 2], "shop": "s" }));
    let recorder = &mut Recorder::default();
    execution.resume(Resume::Start, recorder);
    let answer = Answer::Fetch(Box::new(reply(500, "text/plain", "no")));
    match execution.resume(Resume::Answer(CallId(1), answer), recorder) {
        Step::Done(Err(failure)) => {
            assert!(failure.message.starts_with("element 1: GET "), "{}", failure.message);
            assert!(failure.retryable);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_element_is_the_input_of_its_pass() {
    let block = json!({
        "type": "html-scraper", "for_each": "{{ input }}", "parameter": [{ "selector": "b", "limit": 1, "multiple": false }],
    });
    let output = run(&block, &json!(["<b>1</b>", { "body": "<b>2</b>" }])).unwrap();
    assert_eq!(*output.to_json(), json!([{ "b": "1" }, { "b": "2" }]));
    assert_eq!(*run(&block, &json!([])).unwrap().to_json(), json!([]));
    assert_eq!(run(&block, &json!("x")).unwrap_err().code, "for-each");
    assert_eq!(run(&block, &json!(vec![0; 10_001])).unwrap_err().code, "for-each");
}
