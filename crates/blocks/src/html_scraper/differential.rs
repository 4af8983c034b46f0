//! Proves that stopping early changes nothing: thousands of generated and damaged pages, each scraped in chunks of
//! several sizes and compared with a plain full parse by `scraper`.

mod page_generator;

use runlet_proto::control::LogLevel;
use runlet_workflow::block::html_scraper::{Extract, HtmlScraper, Rule as Config};
use scraper::{ElementRef, Html, Selector};
use serde_json::{Map, Value, json};

use page_generator::{Generator, Random};

use super::extract::{Budget, extract};
use super::page::{Scraped, scrape, scrape_beginning, scrape_in_chunks};
use super::rules::Rules;
use crate::calls::{Calls, Interrupted};

struct Quiet;

impl Calls for Quiet {
    fn tick(&mut self) -> Result<(), Interrupted> {
        Ok(())
    }

    fn log(&mut self, _: LogLevel, _: &str) {}
}

/// Mostly found early in a page.
const COMMON: &[&str] = &[
    "h1",
    "h2",
    "p",
    "li",
    "a",
    "div",
    "title",
    "h1.x",
    ".x",
    "div p",
    "div > p",
    "p:first-child",
    ".late *",
    "[lang] div",
    "#m",
];

const SELECTORS: &[&str] = &[
    "h1",
    "h2",
    "p",
    "li",
    "a",
    "*",
    "title",
    "H1",
    "div",
    "body",
    "head",
    "html",
    "td",
    "b",
    "input",
    "select",
    "option",
    "template",
    "svg",
    "desc",
    "script",
    "textarea",
    ".x",
    "h1.x",
    "#m",
    "p#m",
    "[lang]",
    "a[href]",
    "[class~=y]",
    "[data-a*=h]",
    ".late h1",
    "body.late",
    "html[lang] p",
    "div p",
    "div > p",
    "h1 + p",
    "h1 ~ p",
    "ul li",
    "body > *",
    "p a",
    "div div *",
    "li:first-child",
    "p:nth-child(2)",
    "*:nth-child(odd)",
    "p:first-of-type",
    "p:nth-of-type(2)",
    "p:not(.x)",
    "div :not(p)",
    ":is(h1, h2)",
    ":where(.x, p) > *",
    "h1, h2",
    "b, li, .y",
    ":root",
    ":root > body",
    "li:last-child",
    "p:only-child",
    "p:last-of-type",
    "p:nth-last-child(2)",
    "p:empty",
    "div:has(p)",
    "div:has(> a) p",
    "body:not(.late) p",
    "p:not(:last-child)",
    "table p",
    "td > *",
    "form *",
    "tr",
    "tbody",
];

fn rules(random: &mut Random) -> HtmlScraper {
    let count = 1 + random.below(2);
    let rules = (0..count).map(|index| rule(random, index)).collect();
    HtmlScraper { rules }
}

fn rule(random: &mut Random, index: usize) -> Config {
    let list = if random.one_in(2) { COMMON } else { SELECTORS };
    let text = random.pick(list);
    let extract = match random.below(10) {
        0..=3 => Extract::Text,
        4 => Extract::Html,
        5 => Extract::OuterHtml,
        6 => Extract::Attr("class".to_owned()),
        7 => Extract::Attr("HREF".to_owned()),
        8 => Extract::Attrs,
        _ => Extract::Value,
    };
    Config {
        name: format!("r{index}"),
        offset: if random.one_in(4) { random.below(3) } else { 0 },
        multiple: !random.one_in(4),
        trim: random.one_in(2),
        ..config(text, extract, if random.one_in(12) { None } else { Some(random.below(3)) })
    }
}

fn config(selector: &str, extract: Extract, limit: Option<usize>) -> Config {
    Config {
        name: "r".to_owned(),
        selector_text: selector.to_owned(),
        selector: Selector::parse(selector).expect("a selector"),
        extract,
        limit,
        offset: 0,
        multiple: true,
        trim: false,
    }
}

/// What the rules yield by the plainest means: everything parsed, each rule on its own, in document order.
fn reference(page: &str, config: &HtmlScraper) -> Value {
    let html = Html::parse_document(page);
    let compiled = Rules::compile(config).expect("selectors compile");
    let mut members = Map::new();
    for (rule, compiled) in config.rules.iter().zip(&compiled.list) {
        let matches = html
            .tree
            .root()
            .descendants()
            .filter_map(ElementRef::wrap)
            .filter(|element| rule.selector.matches(element))
            .skip(rule.offset)
            .take(rule.limit.unwrap_or(usize::MAX).min(if rule.multiple { usize::MAX } else { 1 }));
        let trimmed = |text: String| if rule.trim { text.trim().to_owned() } else { text };
        let mut values = matches.filter_map(|element| match &rule.extract {
            Extract::Text => Some(json!(trimmed(element.text().collect()))),
            Extract::Html => Some(json!(trimmed(element.inner_html()))),
            Extract::OuterHtml => Some(json!(trimmed(element.html()))),
            Extract::Attr(name) => {
                element.attr(&name.to_ascii_lowercase()).map(|value| json!(trimmed(value.to_owned())))
            }
            Extract::Attrs | Extract::Value => {
                extract(compiled, element, &mut Budget::default()).expect("a small page")
            }
        });
        let value = if rule.multiple { values.collect() } else { values.next().unwrap_or(Value::Null) };
        members.insert(rule.name.clone(), value);
    }
    Value::Object(members)
}

fn check(seed: u64, page: &str, config: &HtmlScraper, scraped: &Scraped, chunk: usize, expected: &Value) {
    assert!(
        scraped.value == *expected,
        "seed {seed}, chunks of {chunk}, {} of {} bytes read\nrules {:#?}\npage {page:?}\nread {:?}\nexpected {expected}\nfound    {}",
        scraped.consumed,
        page.len(),
        config
            .rules
            .iter()
            .map(|rule| (&rule.selector_text, &rule.extract, rule.offset, rule.limit, rule.multiple))
            .collect::<Vec<_>>(),
        &page[..scraped.consumed],
        scraped.value,
    );
}

/// Pages compared in the normal test run; `RUNLET_DIFFERENTIAL_PAGES` and `RUNLET_DIFFERENTIAL_SEED` search further.
const PAGES: u64 = 2_500;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn an_early_stop_yields_what_a_full_parse_yields() {
    let first = from_env("RUNLET_DIFFERENTIAL_SEED", 0);
    let (mut stopped, mut scraped) = (0, 0);
    for seed in first..first + from_env("RUNLET_DIFFERENTIAL_PAGES", PAGES) {
        let page = Generator::page(seed);
        let mut random = Random(seed ^ 0x5eed);
        for _ in 0..2 {
            let config = rules(&mut random);
            let rules = Rules::compile(&config).expect("selectors compile");
            let expected = reference(&page, &config);
            let smallest = if page.len() < 400 { 1 } else { 20 };
            for chunk in [smallest + random.below(4), 5 + random.below(60), 100 + random.below(1000)] {
                let found = scrape_in_chunks(&page, &rules, &mut Quiet, |_| chunk)
                    .unwrap_or_else(|hurdle| panic!("seed {seed}: {hurdle:?} in {page:?}"));
                check(seed, &page, &config, &found, chunk, &expected);
                scraped += 1;
                stopped += usize::from(found.consumed < page.len());
            }
            if let Some(found) = scrape_beginning(&page, &rules, &mut Quiet) {
                check(seed, &page, &config, &found, 0, &expected);
            }
        }
    }
    assert!(stopped * 5 > scraped, "only {stopped} of {scraped} stopped early: the test proves little");
}

#[test]
fn the_whole_of_a_page_is_read_alike_in_chunks_of_every_size() {
    for seed in 1_000_000..1_000_150 {
        let page = Generator::page(seed);
        let page = &page[..page.floor_char_boundary(300)];
        let config = rules(&mut Random(seed));
        let rules = Rules::compile(&config).expect("selectors compile");
        let expected = reference(page, &config);
        for chunk in 1..40 {
            let found = scrape_in_chunks(page, &rules, &mut Quiet, |_| chunk).expect("a small page");
            check(seed, page, &config, &found, chunk, &expected);
        }
        check(seed, page, &config, &scrape(page, &rules, &mut Quiet).expect("a small page"), 0, &expected);
    }
}

/// Each of these has been, or would be, got wrong by a rule that stops a little too soon.
#[test]
fn pages_made_to_reach_back_are_scraped_as_if_they_were_read_whole() {
    let tail = "<p>and so on</p>".repeat(4);
    for (selector, page) in [
        ("h1", "<h1></h1><h2></h2><div></div><frameset><frame></frameset>"),
        (".late h1", "<h1>a</h1><h1>b</h1><body class=late>"),
        ("html[lang] h1", "<h1>a</h1><p>b</p><HTML LANG=de>"),
        ("body:not(.late) h1", "<body><h1>a</h1><p>b</p><body class=late>"),
        (".late", "<body><p class=late>a</p><p>b</p><html class=late>"),
        ("h1", "<table><tr><td><h1>in</h1></td></tr><h1>before</h1></table>"),
        ("p", "<div><table><tr><td><p>in</p></td></tr>text<p>before</p></table></div>"),
        ("h1", "<p>a</p><table><h1>b</h1><tr><td>c</td></tr><h1>d</h1></table>"),
        ("div > h1", "<b><div><h1>a</h1><h1>b</h1></b></div>"),
        ("b", "<b>a<p>b</b>c</p>"),
        ("a", "<a href=1>one<div>two<a href=2>three</div>four</a>"),
        ("i", "<p><i>one</p><p>two</p>three"),
        ("form", "<form><div>a</form>b</div>c<form>d</form>"),
        ("head", "<head><title>a</title></head><meta name=b><title>c</title><body>d"),
        ("select", "<select><option>a<option selected>b</select>c"),
        ("h1", "<template><h1>a</h1></template><h1>b</h1>"),
        ("svg *", "<svg><desc><h1>a</h1></desc><g><p>b</svg>"),
        ("p", "<p>&am"),
        ("p", "<p>a&amp"),
        ("h1", "<h1>a</h1><!-- <body class=x> --><h1>b</h1><body class=y><!--<html>"),
        ("p", "<p>a\u{feff}\u{feff}b</p>\u{feff}<p>\u{feff}c</p>"),
        ("pre", "<pre>\r\n\na</pre><pre>\n\r\nb</pre>"),
        ("h1", "<h1>a</h1><plaintext><h1>b</h1>"),
    ] {
        for page in [page.to_owned(), format!("<!doctype html>{page}{tail}")] {
            for (extract, limit) in [Extract::Text, Extract::OuterHtml, Extract::Attrs].into_iter().zip(1..) {
                let config = HtmlScraper { rules: vec![config(selector, extract, Some(limit))] };
                let rules = Rules::compile(&config).expect("selectors compile");
                let expected = reference(&page, &config);
                for chunk in 1..=page.len() {
                    let found = scrape_in_chunks(&page, &rules, &mut Quiet, |_| chunk).expect("a small page");
                    check(0, &page, &config, &found, chunk, &expected);
                }
            }
        }
    }
}

#[test]
fn the_rest_of_a_long_page_is_not_read() {
    let head = "<!doctype html><html lang=en><head><title>Shop</title></head><body class=shop><h1>One</h1><ul>";
    let mut page = format!("{head}{}</ul>", "<li class=item><a href=/x>Thing</a> <b>9</b></li>".repeat(20));
    let early = page.len();
    while page.len() < 1_000_000 {
        page.push_str("<div class=more><h2>More</h2><p>and <i>more</i>, <a href=/y>and more</a></p></div>");
    }
    for (selector, limit, bytes_max) in [
        ("h1", 1, 3_000),
        ("title", 1, 3_000),
        ("li", 5, 3_000),
        (".item b", 3, 3_000),
        ("li:nth-child(2) > a", 1, 3_000),
        ("h2", 5, 5_000),
        // It takes the whole page to know that there is no sixth.
        ("h1", 2, page.len()),
        ("li:last-child", 1, page.len()),
    ] {
        let config = HtmlScraper { rules: vec![config(selector, Extract::Text, Some(limit))] };
        let rules = Rules::compile(&config).expect("selectors compile");
        let found = scrape(&page, &rules, &mut Quiet).expect("a page within bounds");
        assert!(
            found.consumed <= bytes_max,
            "{selector}: {} bytes read, the matches end before {early}",
            found.consumed
        );
        assert_eq!(found.consumed == page.len(), bytes_max == page.len(), "{selector}");
        assert_eq!(found.value, reference(&page, &config), "{selector}");
    }
}
