//! What a scrape costs beside the plainest use of `scraper` (full parse, one `select` a rule), and what a fixed reply
//! costs: `cargo bench -p runlet-blocks`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
            let _ = writeln!(
                page,
                "<div class='product card' data-id={number}><a href='/p/{number}?a=1&amp;b=2'><img src=/i/{number}.png \
                 alt='Thing'></a><h3>Thing {number}</h3><p class=price>{number}.99 <b>EUR</b></p><p>Made of wood, \
                 <i>well</i> made, and long enough a text to look like one.</p></div>",
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
    let assignment =
        Assignment { definition: Arc::clone(definition), block: BlockIndex(1), input: input.clone(), scope: None };
    match Execution::new(assignment).resume(Resume::Start, &mut Quiet) {
        Step::Done(Ok(Outcome::Completed(output))) => output,
        Step::Done(Ok(Outcome::Skipped) | Err(_)) | Step::Wait(_) => panic!("the block completes at once"),
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

/// Rounds of each measurement. The contenders take turns, so that a busy machine is busy for all of them.
const ROUNDS: usize = 41;
/// Time one contender has in a round.
const ROUND: Duration = Duration::from_millis(20);

/// A name, and the work itself.
type Contender<'a> = (&'a str, &'a dyn Fn());

/// Prints the median time of each contender, and how many times as fast as the first it is.
fn measure(title: &str, contenders: &[Contender<'_>]) {
    let mut times = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for _ in 0..ROUNDS {
        for ((_, work), times) in contenders.iter().zip(&mut times) {
            let (start, mut turns) = (Instant::now(), 0_u32);
            while start.elapsed() < ROUND || turns == 0 {
                work();
                turns += 1;
            }
            times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(turns));
        }
    }
    let medians: Vec<f64> = times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        })
        .collect();
    println!("{title}");
    for ((name, _), median) in contenders.iter().zip(&medians) {
        println!("  {name:<24} {median:>10.2} µs   × {:.2}", medians[0] / median);
    }
}

fn block(rules: &Value) -> Arc<Definition> {
    definition(&json!({ "type": "html-scraper", "parameter": rules }))
}

/// Two rules for `first` and `second`, by `scraper`, by the block, and by the block with a limit of 5.
fn compare(title: &str, page: &str, first: &str, second: &str) {
    let selectors = [first, second].map(|text| (text, Selector::parse(text).expect("a selector")));
    let all = block(&json!([{ "selector": first }, { "selector": second }]));
    let limited = block(&json!([{ "selector": first, "limit": 5 }, { "selector": second, "limit": 5 }]));
    let input = Output::json(json!({ "body": page, "contentType": "text/html" }));
    assert_eq!(*run(&all, &input).to_json(), plain(page, &selectors, usize::MAX));
    assert_eq!(*run(&limited, &input).to_json(), plain(page, &selectors, 5));
    measure(
        title,
        &[
            ("scraper", &|| drop(black_box(plain(black_box(page), &selectors, usize::MAX)))),
            ("html-scraper", &|| drop(black_box(run(&all, black_box(&input))))),
            ("html-scraper, limit 5", &|| drop(black_box(run(&limited, black_box(&input))))),
        ],
    );
}

fn main() {
    for (size, bytes) in [("16 KiB", 16 * 1024), ("1 MiB", 1024 * 1024)] {
        let page = page(bytes);
        compare(&format!("{size}, h1 and h2"), &page, "h1", "h2");
        compare(&format!("{size}, .product h3 and .price b"), &page, ".product h3", ".price b");
    }
    let fixed = definition(&json!({ "type": "response", "parameter": { "body": { "hello": "world" } } }));
    let input = Output::json(Value::Null);
    measure(
        "a reply that is the same in every run",
        &[("response", &|| drop(black_box(run(&fixed, black_box(&input)))))],
    );
}
