//! `html-scraper`: rules, inputs, and pages made to hurt.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use runlet_blocks::{Outcome, Output, Resume, Step, limits};
use runlet_proto::control::LogLevel;
use runlet_proto::failure::{Failure, FailureClass};
use runlet_proto::hook::HttpReply;
use serde_json::{Value, json};

use crate::support::{Recorder, execution, execution_of, run};

fn scraper(rules: impl Into<Value>) -> Value {
    let rules: Value = rules.into();
    json!({ "type": "html-scraper", "parameter": rules })
}

fn scrape(rules: Value, page: &str) -> Result<Value, Failure> {
    run(&scraper(rules), &json!(page)).map(|output| Value::clone(&output.to_json()))
}

const PAGE: &str = "<!doctype html><title> A &amp; B </title>
<h1 class='big top'>One <b>&lt;1&gt;</b></h1><h1> Two\n</h1><h1>Three</h1>
<p><a href='/a?x=1&amp;y=2' title='t'>a</a> <a>none</a> <a href=/c>c</a></p>
<form><input name=q value=' v '><input type=checkbox><textarea>\nx\ny</textarea>
<select><option>1<option selected>  2  2 </select><select><option disabled>0<option value=one>1</select></form>";

#[test]
fn every_kind_of_extract() {
    for (rule, expected) in [
        (json!({ "selector": "h1" }), json!(["One <1>", "Two", "Three"])),
        (json!({ "tags": "h1", "limit": 2 }), json!(["One <1>", "Two"])),
        (json!({ "selector": "h1", "limit": 1, "offset": 1 }), json!(["Two"])),
        (json!({ "selector": "h1", "multiple": false }), json!("One <1>")),
        (json!({ "selector": "h6", "multiple": false }), json!(null)),
        (json!({ "selector": "h1", "offset": 1, "trim": false, "limit": 1 }), json!([" Two\n"])),
        (json!({ "selector": "h1", "extract": "html", "limit": 1 }), json!(["One <b>&lt;1&gt;</b>"])),
        (
            json!({ "selector": "h1", "extract": "outer_html", "limit": 1 }),
            json!(["<h1 class=\"big top\">One <b>&lt;1&gt;</b></h1>"]),
        ),
        (json!({ "selector": "a", "extract": "attr", "attr": "HREF" }), json!(["/a?x=1&y=2", "/c"])),
        (
            json!({ "selector": "a", "extract": "attrs", "limit": 2 }),
            json!([{ "href": "/a?x=1&y=2", "title": "t" }, {}]),
        ),
        (
            json!({ "selector": "form *", "extract": "value" }),
            json!(["v", "on", "x\ny", "2 2", "1", "2 2", "one", "0", "one"]),
        ),
        (json!({ "selector": "title" }), json!(["A & B"])),
    ] {
        let mut rule = rule;
        rule["name"] = json!("r");
        assert_eq!(scrape(json!([rule]), PAGE).unwrap()["r"], expected, "{rule}");
    }
}

#[test]
fn the_result_names_the_rules_in_their_order() {
    let rules = json!([{ "selector": "title", "name": "z" }, { "selector": "h1", "limit": 1 }, { "selector": "b", "name": "a" }]);
    let text = run(&scraper(rules), &json!(PAGE)).unwrap().to_json_text();
    assert_eq!(text, r#"{"z":["A & B"],"h1":["One <1>"],"a":["<1>"]}"#);
}

#[test]
fn a_page_comes_as_text_or_in_a_body() {
    let block = scraper(json!([{ "selector": "b", "multiple": false }]));
    for input in [
        json!("<b>x"),
        json!({ "body": "<b>x" }),
        json!({ "body": "<b>x", "contentType": "text/html; charset=utf-8", "encoding": "UTF-8" }),
        json!({ "body": "<b>x", "contentType": "application/xml", "status": 200 }),
        json!({ "body": "<b>x", "contentType": null }),
    ] {
        assert_eq!(run(&block, &input).unwrap().to_json()["b"], "x", "{input}");
    }
    let page = |content_type: &str, body: &'static [u8]| {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Output::Reply(Arc::new(HttpReply { status: 200, headers, body: Bytes::from_static(body) }))
    };
    let outcome = |input| match execution_of(&block, input).resume(Resume::Start, &mut Recorder::default()) {
        Step::Done(result) => result,
        Step::Wait(calls) => panic!("{calls:?}"),
    };
    assert!(
        matches!(outcome(page("text/html", b"<b>x")), Ok(Outcome::Completed(output)) if output.to_json()["b"] == "x")
    );
    assert_eq!(outcome(page("image/png", b"<b>x")).unwrap_err().code, "not-html");
    assert_eq!(outcome(page("text/html", b"<b>\xff")).unwrap_err().code, "encoding");
}

#[test]
fn what_is_no_page_is_refused_by_name() {
    let block = scraper(json!([{ "selector": "b" }]));
    for (input, code, class, part) in [
        (json!(5), "input", FailureClass::Workflow, "a number"),
        (json!(null), "input", FailureClass::Workflow, "null"),
        (json!({ "html": "" }), "input", FailureClass::Workflow, "an object without `body`"),
        (json!({ "body": [1] }), "input", FailureClass::Workflow, "`body` is a list"),
        (
            json!({ "body": "{}", "contentType": "application/json" }),
            "not-html",
            FailureClass::Upstream,
            "application/json",
        ),
        (json!({ "body": "AA==", "encoding": "base64" }), "not-html", FailureClass::Upstream, "binary"),
    ] {
        let failure = run(&block, &input).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.class, failure.retryable), (code, class, false), "{input}");
        assert!(failure.message.contains(part), "{}", failure.message);
        assert!(failure.help.is_some());
    }
}

#[test]
fn a_rule_that_matches_nothing_is_logged() {
    let rules =
        json!([{ "selector": "h1" }, { "selector": ".gone" }, { "selector": "title", "offset": 3, "limit": 1 }]);
    let mut recorder = Recorder::default();
    execution(&scraper(rules), &json!(PAGE)).resume(Resume::Start, &mut recorder);
    let lines: Vec<&str> = recorder.lines.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        lines,
        [
            "selector `.gone` matched nothing",
            "selector `title` matched only 1 of the 3 elements that `offset` passes over"
        ]
    );
    assert!(recorder.lines.iter().all(|(level, _)| *level == LogLevel::Warn));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("<b>x</b>{}y", "<div>".repeat(depth));
    let everything = || json!([{ "selector": "div", "name": "r", "offset": 1999 }]);
    assert_eq!(scrape(everything(), &nested(2_000)).unwrap()["r"], json!(["y"]));
    let failure = scrape(everything(), &nested(100_000)).unwrap_err();
    assert_eq!(failure.code, "too-large");
    assert!(failure.message.contains(&limits::PAGE_DEPTH_MAX.to_string()), "{}", failure.message);
    // What is needed lies before the bomb.
    assert_eq!(
        scrape(
            json!([{ "selector": "b", "name": "r", "limit": 1 }]),
            &format!("<b>x</b>{}{}", "<p>y</p>".repeat(500), nested(100_000))
        )
        .unwrap()["r"],
        json!(["x"])
    );
}

#[test]
fn elements_made_anew_in_every_paragraph_are_bounded() {
    let mut page = String::from("<p>");
    for number in 0..1_000 {
        write!(page, "<b id={number}>").unwrap();
    }
    page.push_str(&"<p>x".repeat(100_000));
    let failure = scrape(json!([{ "selector": "h1" }]), &page).unwrap_err();
    assert_eq!(failure.code, "too-large");
    assert!(failure.message.contains(&limits::PAGE_ELEMENTS_MAX.to_string()), "{}", failure.message);
}

#[test]
fn what_is_taken_is_bounded() {
    let page = format!("{}{}", "<div>".repeat(1_000), "x".repeat(1_000_000));
    let failure = scrape(json!([{ "selector": "div" }]), &page).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("too-large", FailureClass::Workflow));
}

#[test]
fn a_long_scrape_can_be_interrupted_anywhere() {
    let block = scraper(json!([{ "selector": "p:last-child" }, { "selector": "p", "name": "all" }]));
    let page = json!("<div><p>x</p></div>".repeat(10_000));
    let ticks = {
        let mut recorder = Recorder { ticks_left: Some(usize::MAX), ..Recorder::default() };
        execution(&block, &page).resume(Resume::Start, &mut recorder);
        usize::MAX - recorder.ticks_left.unwrap()
    };
    assert!(ticks > 100, "only {ticks} ticks");
    for ticks_left in [0, 3, ticks / 2, ticks - 1] {
        let mut recorder = Recorder { ticks_left: Some(ticks_left), ..Recorder::default() };
        match execution(&block, &page).resume(Resume::Start, &mut recorder) {
            Step::Done(Err(failure)) => assert_eq!(failure.class, FailureClass::Stopped),
            other => panic!("{other:?}"),
        }
    }
}
