//! What a scrape costs beside the plainest use of `scraper` (full parse, one `select` a rule), and what a fixed reply
//! costs.

#![expect(missing_docs, reason = "criterion_group! makes public functions")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use runlet_blocks::{Assignment, Calls, Execution, Interrupted, Outcome, Output, Resume, Step};
use runlet_proto::control::LogLevel;
use runlet_proto::ids::BlockIndex;
use runlet_workflow::Definition;
use scraper::{Html, Selector};
use serde_json::{Value, json};

struct Quiet;

impl Calls for Quiet {
    fn tick(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }

    fn log(&mut self, _: LogLevel, _: &str) {}
}

/// A shop page of about `bytes`: five `h1` and `h2` within the first tenth, more of them further down.
fn page(bytes: usize) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Shop &amp; more</title>\
         <link rel=stylesheet href=/style.css></head><body class=shop><nav><ul>",
    );
    for entry in 0..4 {
        let _ = write!(page, "<li><a class='nav item' href='/{entry}'>Entry {entry}</a></li>");
    }
    page.push_str("</ul></nav><main>");
    let mut number = 0;
    while page.len() < bytes {
        if number < 5 || number % 10 == 0 {
            let _ = write!(page, "<h1>Department {number}</h1><h2 class=sub>Shelf &eacute; {number}</h2>");
        }
        if number >= 5 {
            let _ = write!(
                page,
                "<div class='product card' data-id={number}><a href='/p/{number}?a=1&amp;b=2'><img src=/i/{number}.png \
                 alt='Thing'></a><h3>Thing {number}</h3><p class=price>{number}.99 <b>EUR</b></p><p>Made of wood, \
                 <i>well</i> made, and long enough a text to look like one.</p></div>\n",
            );
        }
        number += 1;
    }
    page.push_str("</main></body></html>");
    page
}

fn definition(block: &Value) -> Arc<Definition> {
    let text = json!([{ "type": "hook", "path": "bench" }, block]).to_string();
    Arc::new(runlet_workflow::parse("bench.json", &text).expect("a valid definition"))
}

fn run(definition: &Arc<Definition>, input: &Output) -> Output {
    let assignment = Assignment {
        definition: Arc::clone(definition),
        block: BlockIndex(1),
        input: input.clone(),
        scope: None,
    };
    match Execution::new(assignment).resume(Resume::Start, &mut Quiet) {
        Step::Done(Ok(Outcome::Completed(output))) => output,
        other => panic!("{other:?}"),
    }
}

/// What somebody writes who has `scraper` and no engine.
fn plain(page: &str, selectors: &[(&str, Selector)], limit: usize) -> Value {
    let html = Html::parse_document(page);
    let texts = |selector| -> Vec<String> {
        html.select(selector).take(limit).map(|element| element.text().collect::<String>().trim().to_owned()).collect()
    };
    selectors.iter().map(|(name, selector)| ((*name).to_owned(), json!(texts(selector)))).collect()
}

fn scrape(criterion: &mut Criterion) {
    let selector = |text| Selector::parse(text).expect("a selector");
    let types = [("h1", selector("h1")), ("h2", selector("h2"))];
    let classes = [(".product h3", selector(".product h3")), (".price b", selector(".price b"))];
    let block = |rules: Value| definition(&json!({ "type": "html-scraper", "parameter": rules }));
    let limited = block(json!([{ "tags": "h1", "limit": 5 }, { "tags": "h2", "limit": 5 }]));
    let unlimited = block(json!([{ "tags": "h1" }, { "tags": "h2" }]));
    let by_class = block(json!([{ "selector": ".product h3" }, { "selector": ".price b" }]));
    let by_class_limited = block(json!([{ "selector": ".product h3", "limit": 5 }, { "selector": ".price b", "limit": 5 }]));
    for (name, bytes) in [("16k", 16 * 1024), ("1m", 1024 * 1024)] {
        let page = page(bytes);
        let input = Output::json(json!({ "body": page, "contentType": "text/html" }));
        assert_eq!(*run(&unlimited, &input).to_json(), plain(&page, &types, usize::MAX));
        assert_eq!(*run(&limited, &input).to_json(), plain(&page, &types, 5));
        assert_eq!(*run(&by_class, &input).to_json(), plain(&page, &classes, usize::MAX));
        let mut group = criterion.benchmark_group(name);
        group.bench_function("types/scraper", |b| b.iter(|| plain(black_box(&page), &types, usize::MAX)));
        group.bench_function("types/all", |b| b.iter(|| run(&unlimited, black_box(&input))));
        group.bench_function("types/limit-5", |b| b.iter(|| run(&limited, black_box(&input))));
        group.bench_function("classes/scraper", |b| b.iter(|| plain(black_box(&page), &classes, usize::MAX)));
        group.bench_function("classes/all", |b| b.iter(|| run(&by_class, black_box(&input))));
        group.bench_function("classes/limit-5", |b| b.iter(|| run(&by_class_limited, black_box(&input))));
        group.finish();
    }
}

fn hello(criterion: &mut Criterion) {
    let fixed = definition(&json!({ "type": "response", "parameter": { "body": { "hello": "world" } } }));
    let input = Output::json(Value::Null);
    criterion.bench_function("fixed-reply", |b| b.iter(|| run(&fixed, black_box(&input))));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(500));
    targets = scrape, hello
}
criterion_main!(benches);
