//! What a valid document means: names, defaults, references, both forms.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use runlet_workflow::block::fetch::{FailOnStatus, Fetch, FetchBody, ResponseAs};
use runlet_workflow::block::hook::{Hook, IdempotencyKey, Respond};
use runlet_workflow::block::html_scraper::{Extract, HtmlScraper};
use runlet_workflow::block::response::{Response, ResponseBody};
use runlet_workflow::definition::{Durability, Isolation, OnError, OnUnknown, Retry};
use runlet_workflow::{BlockConfig, Definition, parse};
use serde_json::{Value, json};

fn read(document: &Value) -> Definition {
    parse("test.json", &document.to_string()).unwrap_or_else(|found| panic!("{document}: {found:#?}"))
}

fn hook(definition: &Definition, index: usize) -> &Hook {
    let BlockConfig::Hook(hook) = &definition.blocks[index].config else { panic!("a hook at {index}") };
    hook
}

fn fetch(definition: &Definition, index: usize) -> &Fetch {
    let BlockConfig::Fetch(fetch) = &definition.blocks[index].config else { panic!("a fetch at {index}") };
    fetch
}

fn scraper(definition: &Definition, index: usize) -> &HtmlScraper {
    let BlockConfig::HtmlScraper(scraper) = &definition.blocks[index].config else { panic!("a scraper at {index}") };
    scraper
}

fn response(definition: &Definition, index: usize) -> &Response {
    let BlockConfig::Response(response) = &definition.blocks[index].config else { panic!("a response at {index}") };
    response
}

/// The founding document's example, as it stands there.
const FOUNDING: &str = include_str!("../../../examples/headlines.json");

#[test]
fn the_founding_example_means_what_it_says() {
    let definition = parse("headlines.json", FOUNDING).unwrap();
    assert_eq!((definition.name.as_str(), definition.priority), ("headlines", 5));
    assert_eq!((definition.isolation, definition.timeout, definition.concurrency), (Isolation::Auto, None, None));
    assert_eq!(definition.literal_hosts, ["localhost"]);
    let ids: Vec<&str> = definition.blocks.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(ids, ["hook", "fetch", "html-scraper", "response"]);
    let dependencies: Vec<&[usize]> = definition.blocks.iter().map(|block| block.dependencies.as_slice()).collect();
    assert_eq!(dependencies, [&[][..], &[0], &[1], &[2]]);
    assert_eq!(
        *hook(&definition, 0),
        Hook {
            path: "test".to_owned(),
            methods: Vec::new(),
            respond: Respond::WhenDone,
            body_bytes_max: 1 << 20,
            timeout: Duration::from_secs(30),
            stop_on_disconnect: true,
            idempotency_key: None,
        }
    );
    let page = fetch(&definition, 1);
    assert_eq!((page.url.literal(), page.method.literal()), (Some("https://localhost:4000"), Some("GET")));
    assert_eq!((page.timeout, page.connect_timeout), (Duration::from_secs(30), Duration::from_secs(10)));
    assert_eq!((page.redirects_max, page.body_bytes_max, page.tls_verify), (10, 10 << 20, true));
    assert_eq!((page.response, &page.fail_on_status), (ResponseAs::Auto, &FailOnStatus::NotSuccess));
    let rules = &scraper(&definition, 2).rules;
    assert_eq!((rules[0].name.as_str(), rules[0].limit, &rules[0].extract), ("h1", Some(5), &Extract::Text));
    assert_eq!((rules[1].name.as_str(), rules[1].offset, rules[1].multiple, rules[1].trim), ("h2", 0, true, true));
    let reply = response(&definition, 3);
    assert_eq!(reply.status.literal(), Some(&json!(200)));
    assert_eq!((reply.headers[0].0.as_str(), reply.headers[0].1.literal()), ("content-type", Some("application/json")));
    assert!(matches!(reply.body, ResponseBody::Input));
    assert!(definition.blocks.iter().all(|block| !block.has_templates() && block.retry == Retry::NEVER));
}

#[test]
fn everything_the_object_form_says_is_read() {
    let definition = read(&json!({
        "$schema": "x", "name": "all", "description": "d", "priority": 0, "isolation": "thread", "timeout": "1m",
        "concurrency": 8, "durability": "auto", "limits": { "memory": "256MiB", "cpu": "10s", "output": "1MiB", "log": "64KiB", "processes": 3 }, "on_error": "skip",
        "blocks": [{
            "id": "page", "type": "fetch", "input": { "a": 1 }, "dependencies": [], "timeout": "5s", "when": "{{ input.a }}",
            "for_each": "{{ input.list }}", "parallel": 4,
            "retry": { "attempts": 5, "delay": "1s", "backoff": 1.5, "max_delay": "1m", "jitter": false },
            "parameter": {
                "url": "https://a.example/", "method": "patch", "headers": { "Accept": "json", "X-A": "{{ item }}" },
                "query": { "q": ["a", "{{ index }}"], "n": null }, "json": { "b": [1] }, "timeout": "2s", "connect_timeout": "1s",
                "follow_redirects": false, "tls": { "verify": false, "ca_file": "ca.pem" }, "max_body_size": "1MiB",
                "encoding": "latin1", "response": "bytes", "fail_on_status": [200, 404],
            },
        }],
    }));
    assert_eq!(
        (definition.name.as_str(), definition.description.as_deref(), definition.priority),
        ("all", Some("d"), 0)
    );
    assert_eq!((definition.isolation, definition.timeout), (Isolation::Thread, Some(Duration::from_secs(60))));
    assert_eq!(definition.concurrency.unwrap().get(), 8);
    assert_eq!(
        (definition.limits.memory_bytes, definition.limits.cpu),
        (Some(256 << 20), Some(Duration::from_secs(10)))
    );
    assert_eq!((definition.limits.output_bytes, definition.limits.log_bytes), (Some(1 << 20), Some(64 << 10)));
    assert_eq!(definition.limits.processes, Some(3));
    assert_eq!(definition.on_error, OnError::Skip);
    let block = &definition.blocks[0];
    assert_eq!(
        (block.id.as_str(), block.timeout, block.on_error),
        ("page", Some(Duration::from_secs(5)), OnError::Skip)
    );
    assert_eq!(block.input.as_ref().unwrap().literal(), Some(&json!({ "a": 1 })));
    assert_eq!((block.when.as_ref().unwrap().source(), block.for_each.as_ref().unwrap().parallel), ("input.a", 4));
    let retry = Retry {
        attempts: 5,
        delay: Duration::from_secs(1),
        backoff: 1.5,
        delay_max: Duration::from_secs(60),
        jitter: false,
    };
    assert_eq!(block.retry, retry);
    let page = fetch(&definition, 0);
    assert_eq!((page.method.literal(), page.redirects_max, page.tls_verify), (Some("PATCH"), 0, false));
    assert_eq!((page.ca_file.as_deref(), page.encoding.as_deref()), (Some("ca.pem"), Some("latin1")));
    assert_eq!((page.headers[0].0.as_str(), page.headers[0].1.literal()), ("accept", Some("application/json")));
    assert!(page.headers[1].1.literal().is_none() && page.query[0].1.literal().is_none());
    assert_eq!((page.query[1].0.as_str(), page.query[1].1.literal()), ("n", Some(&Value::Null)));
    assert!(matches!(&page.body, Some(FetchBody::Json(body)) if body.literal() == Some(&json!({ "b": [1] }))));
    assert_eq!((page.timeout, page.body_bytes_max), (Duration::from_secs(2), 1 << 20));
    assert_eq!((page.response, &page.fail_on_status), (ResponseAs::Bytes, &FailOnStatus::Unless(vec![200, 404])));
}

#[test]
fn ids_are_made_where_none_is_written() {
    let definition = read(&json!([
        { "type": "html-scraper", "parameter": [{ "tags": "a" }] },
        { "type": "html-scraper", "id": "html-scraper-2", "parameter": [{ "tags": "a" }] },
        { "type": "html-scraper", "parameter": [{ "tags": "a" }] },
        { "type": "response", "id": "html-scraper-4" },
        { "type": "html-scraper", "parameter": [{ "tags": "a" }] },
    ]));
    let ids: Vec<&str> = definition.blocks.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(ids, ["html-scraper", "html-scraper-2", "html-scraper-3", "html-scraper-4", "html-scraper-5"]);
}

#[test]
fn what_follows_an_error_is_the_blocks_word_then_the_workflows() {
    let default = Retry::DEFAULT;
    let own = Retry { attempts: 7, ..default };
    let written = json!({ "attempts": 7 });
    for (workflow, block, retry, expected) in [
        (None, None, None, (Retry::NEVER, OnError::Fail)),
        (None, None, Some(&written), (own, OnError::Fail)),
        (None, Some("retry"), None, (default, OnError::Fail)),
        (None, Some("skip"), None, (Retry::NEVER, OnError::Skip)),
        (None, Some("skip"), Some(&written), (own, OnError::Skip)),
        (Some("retry"), None, None, (default, OnError::Fail)),
        (Some("retry"), Some("fail"), None, (Retry::NEVER, OnError::Fail)),
        (Some("skip"), None, Some(&written), (own, OnError::Skip)),
        (Some("skip"), Some("fail"), None, (Retry::NEVER, OnError::Fail)),
    ] {
        let mut document = json!({ "blocks": [{ "type": "response" }] });
        if let Some(word) = workflow {
            document["on_error"] = word.into();
        }
        if let Some(word) = block {
            document["blocks"][0]["on_error"] = word.into();
        }
        if let Some(retry) = retry {
            document["blocks"][0]["retry"] = retry.clone();
        }
        let definition = read(&document);
        assert_eq!((definition.blocks[0].retry, definition.blocks[0].on_error), expected, "{document}");
    }
    let long = read(&json!([{ "type": "response", "retry": { "delay": "1m" } }]));
    assert_eq!(long.blocks[0].retry.delay_max, Duration::from_secs(60), "no delay is cut below the first");
}

#[test]
fn hooks_and_their_answers() {
    let hooks = |more: &[Value]| {
        let mut document = vec![
            json!({ "type": "hook", "path": "/a/:id/", "methods": ["post", "GET"] }),
            json!({ "type": "hook", "parameter": { "path": "b", "timeout": "5s", "max_body_size": "8MiB", "on_disconnect": "continue" } }),
        ];
        document.extend_from_slice(more);
        read(&json!(document))
    };
    let alone = hooks(&[]);
    assert_eq!((hook(&alone, 0).path.as_str(), hook(&alone, 0).pattern().as_str()), ("a/:id", "a/:"));
    assert_eq!(
        (hook(&alone, 0).methods.as_slice(), hook(&alone, 0).respond),
        (&["POST".to_owned(), "GET".to_owned()][..], Respond::AtOnce)
    );
    assert_eq!((hook(&alone, 1).timeout, hook(&alone, 1).body_bytes_max), (Duration::from_secs(5), 8 << 20));
    assert!(!hook(&alone, 1).stop_on_disconnect && alone.blocks[1].timeout.is_none());
    assert_eq!(alone.blocks[1].dependencies, [0; 0]);
    let answered = hooks(&[json!({ "type": "response" })]);
    assert_eq!((hook(&answered, 0).respond, answered.blocks[2].dependencies.as_slice()), (Respond::WhenDone, &[1][..]));
}

#[test]
fn rules_say_what_is_taken() {
    let definition = read(&json!([{ "type": "html-scraper", "parameter": { "rules": [
        { "selector": "a", "attr": "HREF" },
        { "selector": "b", "extract": { "attr": "title" }, "name": "bold" },
        { "selector": "c", "extract": "attr", "attr": "x" },
        { "selector": "d", "extract": "outer_html", "multiple": false, "trim": false, "offset": 2 },
        { "tags": "e, f > g:not(.h)", "extract": "attrs" },
    ] } }]));
    let rules = &scraper(&definition, 0).rules;
    let extracts: Vec<&Extract> = rules.iter().map(|rule| &rule.extract).collect();
    let attr = |name: &str| Extract::Attr(name.to_owned());
    assert_eq!(extracts, [&attr("href"), &attr("title"), &attr("x"), &Extract::OuterHtml, &Extract::Attrs]);
    assert_eq!((rules[1].name.as_str(), rules[1].selector_text.as_str()), ("bold", "b"));
    assert_eq!((rules[3].multiple, rules[3].trim, rules[3].offset, rules[3].limit), (false, false, 2, None));
    assert_eq!(rules[4].name, "e, f > g:not(.h)");
}

#[test]
fn the_body_of_a_reply_is_what_its_type_asks_for() {
    let kind = |headers: Value, body: Value| {
        let definition = read(&json!([{ "type": "response", "headers": headers, "body": body }]));
        match &response(&definition, 0).body {
            ResponseBody::Input => "input",
            ResponseBody::Text(_) => "text",
            ResponseBody::ByType(_) => "by type",
            ResponseBody::Json(_) => "json",
        }
    };
    assert_eq!(kind(json!({}), json!("{}")), "input");
    assert_eq!(kind(json!({}), json!({})), "json");
    assert_eq!(kind(json!({}), json!("{ }")), "text");
    assert_eq!(kind(json!({}), json!("{{ input }}")), "json");
    assert_eq!(kind(json!({ "content-type": "application/problem+json" }), json!("{{ input }}")), "json");
    assert_eq!(kind(json!({ "content-type": "html" }), json!("{{ input }}")), "text");
    assert_eq!(kind(json!({}), json!("a {{ input }}")), "text");
    assert_eq!(kind(json!({}), json!(null)), "json");
    let late = json!({ "content-type": "{{ input.type }}" });
    for (body, expected) in
        [("{{ input }}", "by type"), ("<b>{{ input }}</b>", "by type"), ("plain", "text"), ("{}", "input")]
    {
        assert_eq!(kind(late.clone(), json!(body)), expected, "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The router of the gateway takes any set of paths that do not conflict by our rule.
    #[test]
    fn paths_of_different_patterns_fit_one_router(
        paths in prop::collection::vec(prop::collection::vec(select(vec!["a", "ab", "b", ":x", ":y", "a.b", "-", "~(c)"]), 1..4), 1..12)
    ) {
        let mut router = matchit::Router::new();
        let mut patterns = std::collections::HashSet::new();
        for segments in paths {
            let path = segments.join("/");
            let Ok(definition) = parse("a.json", &json!([{ "type": "hook", "path": path }]).to_string()) else {
                continue; // a parameter twice
            };
            let hook = hook(&definition, 0);
            let segments: Vec<String> = hook.path.split('/').map(|s| s.strip_prefix(':').map_or_else(|| s.to_owned(), |name| format!("{{{name}}}"))).collect();
            let new = patterns.insert(hook.pattern());
            prop_assert_eq!(router.insert(format!("/{}", segments.join("/")), ()).is_ok(), new);
        }
    }
}

#[test]
fn what_a_crash_is_to_mean_is_read() {
    let text = r#"{ "name": "pays", "durability": "strict", "on_unknown": "retry", "blocks": [
        { "type": "hook", "path": "pay", "idempotency_key": "Idempotency-Key" },
        { "type": "hook", "path": "order", "idempotency_key": "{{ hook.body.order }}" },
        { "type": "fetch", "on_unknown": "skip", "parameter": { "url": "https://example.org", "method": "POST" } },
        { "type": "response" } ] }"#;
    let definition = parse("pays.json", text).unwrap();
    assert_eq!(definition.durability, Durability::Strict);
    let unknown: Vec<_> = definition.blocks.iter().map(|block| block.on_unknown).collect();
    assert_eq!(unknown, [OnUnknown::Retry, OnUnknown::Retry, OnUnknown::Skip, OnUnknown::Retry]);
    let key = |at| hook(&definition, at).idempotency_key.as_ref().map(IdempotencyKey::source);
    assert_eq!((key(0), key(1)), (Some("idempotency-key"), Some("{{ hook.body.order }}")));
    let bare = parse("bare.json", FOUNDING).unwrap();
    assert_eq!((bare.durability, bare.blocks[1].on_unknown), (Durability::Auto, OnUnknown::Fail));
    for wrong in ["no header", "{{ hok.body }}", "{{ input"] {
        let text = format!(r#"[{{ "type": "hook", "path": "x", "idempotency_key": {wrong:?} }}]"#);
        assert!(parse("x.json", &text).is_err(), "{wrong}");
    }
}

#[test]
fn dependencies_on_workflows_hold_first_blocks_back_and_leave_the_order_alone() {
    let text = r#"{ "name": "nightly", "memory": ["a", "b:read"],
        "dependencies": ["workflow:rates", { "workflow": "stock", "max_age": "1h", "start": false, "on_failure": "continue" }],
        "blocks": [
            { "type": "hook", "path": "a" },
            { "id": "one", "type": "transform", "parameter": { "jq": "." } },
            { "id": "two", "type": "transform", "dependencies": ["workflow:other"], "parameter": { "jq": "." } },
            { "id": "three", "type": "transform", "dependencies": [], "parameter": { "jq": "." } }] }"#;
    let definition = parse("x.json", text).unwrap();
    let gates = |block: usize| definition.gates(block).map(|gate| gate.workflow.as_str()).collect::<Vec<_>>();
    assert_eq!(gates(0), [""; 0], "a hook has fired when there is a run");
    assert_eq!(gates(1), ["rates", "stock"]);
    assert_eq!(
        (gates(2), definition.blocks[2].dependencies.clone()),
        (vec!["other"], vec![1]),
        "after the block before it"
    );
    assert_eq!((gates(3), definition.blocks[3].dependencies.len()), (vec!["rates", "stock"], 0));
    let stock = &definition.dependencies[1];
    assert_eq!((stock.max_age.as_secs(), stock.start), (3_600, false));
    assert_eq!(definition.dependencies[0].max_age.as_secs(), 24 * 3_600, "if it says nothing");
    let may = |name, writes| definition.may_use(name, writes);
    assert_eq!([may("a", true), may("b", false), may("b", true), may("c", false)], [true, true, false, false]);
}
