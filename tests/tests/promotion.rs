//! Light work that turns out to be heavy: large pages, and workflows that overran what a shared thread is for.

use runlet_tests::runlet::Installation;
use runlet_tests::upstream::{Page, Upstream};
use serde_json::{Value, json};

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

fn scraping(name: &str, url: &str, isolation: &str) -> Value {
    json!({ "name": name, "isolation": isolation, "blocks": [
        { "id": "page", "type": "fetch", "parameter": { "url": url } },
        { "id": "titles", "type": "html-scraper", "parameter": [{ "tags": "h1" }] }
    ]})
}

#[test]
fn a_large_page_is_scraped_in_a_process_and_a_small_one_is_not() {
    let large = format!(
        "<h1>One</h1>{}<h1>Two</h1>",
        "<p>some sixty characters of text, as a paragraph of a page has</p>".repeat(40_000)
    );
    let upstream = Upstream::http(move |asked| match asked.target.as_str() {
        "/large" => Page::html(large.clone()).into(),
        _ => Page::html("<h1>Small</h1>").into(),
    });
    let installation = Installation::new();
    let _running = installation.start_both();
    let url = |path: &str| format!("{}{path}", upstream.url());
    installation.deploy("large", &scraping("large", &url("/large"), "auto"));
    installation.deploy("small", &scraping("small", &url("/small"), "auto"));
    installation.deploy("pinned", &scraping("pinned", &url("/large"), "thread"));
    for (workflow, lane, titles, why) in [
        ("large", "heavy", json!({ "h1": ["One", "Two"] }), "its page has"),
        ("small", "light", json!({ "h1": ["Small"] }), "nothing it does"),
        ("pinned", "light", json!({ "h1": ["One", "Two"] }), "isolation: thread"),
    ] {
        let run = installation.run_detached(workflow);
        let line = installation.wait_state(&run, "COMPLETED");
        assert_eq!(line["lane"], lane, "{line}");
        let told = inspect(&installation, &run);
        let block = &told["blocks"][1];
        assert_eq!((&block["lane"], &block["attempt"]), (&json!(lane), &json!(1)), "{block}");
        assert!(block["laneReason"].as_str().is_some_and(|reason| reason.contains(why)), "{block}");
        assert_eq!(told["worker"].is_null(), lane == "light", "{}", told["worker"]);
        assert_eq!(block["output"], titles, "{block}");
    }
}

#[test]
fn what_overruns_on_a_thread_begins_again_in_a_process_and_its_workflow_follows() {
    // Small enough for a thread, and much work: every element is compared with many rules.
    let page = format!("<h1>Found</h1>{}", "<b><i>".repeat(100) + &"<p class=a><u>x</u></p>".repeat(60_000));
    let upstream = Upstream::http(move |_| Page::html(page.clone()).into());
    let installation = Installation::new();
    let _running = installation.start_both();
    let rules: Vec<Value> = (0..60)
        .map(|at| json!({ "name": format!("n{at}"), "selector": format!("i p.a u:nth-child({})", at + 2) }))
        .collect();
    let definition = json!({ "blocks": [
        { "id": "page", "type": "fetch", "parameter": { "url": upstream.url() } },
        { "id": "much", "type": "html-scraper", "parameter": rules }
    ]});
    installation.deploy("slow", &definition);
    for why in ["began again", "within the last"] {
        let run = installation.run_detached("slow");
        let line = installation.wait_state(&run, "COMPLETED");
        assert_eq!(line["lane"], "heavy", "{line}");
        let told = inspect(&installation, &run);
        let block = &told["blocks"][1];
        assert!(block["laneReason"].as_str().is_some_and(|reason| reason.contains(why)), "{block}");
        assert_eq!(block["attempt"], 1, "{block}");
    }
}
