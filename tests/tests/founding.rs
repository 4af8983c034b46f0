//! The founding document's example, verbatim, through a real HTTPS server.

use runlet_tests::certificate::Authority;
use runlet_tests::runlet::{Installation, Port4000};
use runlet_tests::upstream::{Page, Upstream};

/// As the founding document writes it.
const FOUNDING: &str = r#"[
  {
    "type": "hook",
    "path": "test"
  },
  {
    "type": "fetch",
    "parameter": {
      "url": "https://localhost:4000"
    }
  },
  {
    "type": "html-scraper",
    "parameter": [
      {
        "tags": "h1",
        "limit": 5
      },
      {
        "tags": "h2",
        "limit": 5
      }
    ]
  },
  {
    "type": "response",
    "header": [{
      "content-type": "json"
    }],
    "body": "{}"
  }
]
"#;

/// Seven headings of the second order, entities, nesting, white space: what a page has.
const PAGE: &str = "<!doctype html><html><head><title>Shop</title></head><body>\
    <h1> Fish &amp; <em>Chips</em> </h1><h2>one</h2><section><h2>two</h2></section><h2>three</h2>\
    <h2>four</h2><h2>f\u{fc}nf</h2><h2>six</h2><h2>seven</h2></body></html>";

#[test]
fn the_founding_example_answers_what_the_page_says() {
    let _port = Port4000::take();
    let authority = Authority::new();
    let upstream = Upstream::https(&authority, 4000, |_| Page::html(PAGE).into());
    let installation = Installation::new().trusting(&authority);
    let running = installation.start_both();
    let file = installation.write("test.json", FOUNDING);
    installation.ok(&["deploy", file.to_str().expect("text")]);

    let answer = running.get("/hook/test");

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.text(), r#"{"h1":["Fish & Chips"],"h2":["one","two","three","four","fünf"]}"#);
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn without_trust_the_answer_says_what_to_do() {
    let _port = Port4000::take();
    let authority = Authority::new();
    let _upstream = Upstream::https(&authority, 4000, |_| Page::html(PAGE).into());
    let installation = Installation::new();
    let running = installation.start_both();
    let file = installation.write("test.json", FOUNDING);
    installation.ok(&["deploy", file.to_str().expect("text")]);

    let answer = running.get("/hook/test");

    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let all = answer.text();
    for word in ["fetch", "certificate"] {
        assert!(all.contains(word), "`{word}` is not in {all}");
    }
}
