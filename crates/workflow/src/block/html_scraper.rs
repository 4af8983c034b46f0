//! `html-scraper`: CSS rules over a page.

use std::collections::HashMap;

use jsonc_parser::ast::Value;
use scraper::Selector;
use scraper::error::SelectorErrorKind;

use crate::field::{self, Field, Shape};
use crate::parse::config::Kind;
use crate::parse::report::{Finding, Report};
use crate::parse::spot::{Fields, Spot, clip};
use crate::{limits, suggest, unavailable};

/// Configuration of an `html-scraper` block. Its output is an object with one member a rule, in order.
#[derive(Debug)]
pub struct HtmlScraper {
    /// The rules, at least one, no two of one name.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Key in the output: `name`, else the selector as written.
    pub name: String,
    /// The selector as written.
    pub selector_text: String,
    /// What it matches, compiled.
    pub selector: Selector,
    /// What is taken of a match.
    pub extract: Extract,
    /// How many matches are taken, after `offset`.
    pub limit: Option<usize>,
    /// How many matches are passed over.
    pub offset: usize,
    /// A list of all matches (the default) or the first match alone, `null` without one.
    pub multiple: bool,
    /// Whether white space at both ends is cut off.
    pub trim: bool,
}

/// What is taken of a matched element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extract {
    /// Its text content.
    Text,
    /// Its inner HTML.
    Html,
    /// Its outer HTML.
    OuterHtml,
    /// One attribute; an element without it is left out of a list.
    Attr(String),
    /// All attributes as an object.
    Attrs,
    /// The value of a form control.
    Value,
}

/// The fields of one rule.
pub(crate) const RULE_FIELDS: &[Field] = &[
    Field::new("selector", "CSS selector.", Shape::Text),
    Field::new("tags", "The same as selector.", Shape::Text),
    Field::new("name", "Key in the output. Default: the selector.", Shape::Text),
    Field::new(
        "extract",
        "What is taken of a matched element; {\"attr\": \"href\"} is one attribute. Default: text.",
        Shape::Either(&[
            Shape::Words(&["text", "html", "outer_html", "value", "attrs", "attr"]),
            Shape::Object(&[Field::new("attr", "Name of the attribute.", Shape::Text)], &["attr"]),
        ]),
    ),
    Field::new("attr", "Takes this attribute: short for \"extract\": {\"attr\": …}.", Shape::Text),
    Field::new("limit", "Most matches that are taken.", Shape::Integer(1, u64::MAX)),
    Field::new("offset", "How many matches are passed over. Default: 0.", Shape::Integer(0, u64::MAX)),
    Field::new(
        "multiple",
        "A list of all matches, or with false the first match alone, null without one. Default: true.",
        Shape::Flag,
    ),
    Field::new("trim", "Whether white space at both ends is cut off. Default: true.", Shape::Flag),
];

/// `parameter` of the block is a list of rules, or an object with `rules`.
pub(crate) static KIND: Kind = Kind {
    fields: &[Field::new(
        "rules",
        "The rules, in the order of the output.",
        Shape::List(1, &Shape::Object(RULE_FIELDS, &[])),
    )],
    bare: &[],
    unavailable: &[],
};

impl HtmlScraper {
    /// Reads `parameter`.
    pub(crate) fn read(parameter: &Spot<'_, '_>, report: &mut Report<'_>) -> Self {
        let Value::Object(object) = parameter.value else { return Self::rules(parameter, report) };
        let fields = Fields::new(object, parameter.place);
        let rules = fields.take("rules").map(|spot| Self::rules(&spot, report));
        fields.finish(&["rules"], report);
        rules.unwrap_or_else(|| {
            fields.missing("rules", "such as \"rules\": [{ \"selector\": \"h1\" }]", report);
            Self { rules: Vec::new() }
        })
    }

    fn rules(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Self {
        let mut rules = Vec::new();
        let Some(list) = spot.list("a list of rules such as [{ \"selector\": \"h1\" }]", report) else {
            return Self { rules };
        };
        if list.is_empty() || list.len() > limits::RULES_MAX {
            let message = format!("expected 1 to {} rules, found {}", limits::RULES_MAX, list.len());
            spot.refuse(Finding::new("invalid-value", message), report);
            return Self { rules };
        }
        let mut seen = HashMap::new();
        for (index, value) in list.iter().enumerate() {
            let element = spot.element(index, value);
            let Some(rule) = rule(&element, report) else { continue };
            if let Some(first) = seen.insert(rule.name.clone(), index) {
                let message = format!("two rules are called `{}`: this one and number {}", clip(&rule.name), first + 1);
                let finding = Finding::new("duplicate-name", message);
                element.refuse(finding.help("give one of them a `name` of its own"), report);
            }
            rules.push(rule);
        }
        Self { rules }
    }
}

fn rule(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<Rule> {
    let fields = spot.object("a rule such as { \"selector\": \"h1\" }", report)?;
    let compiled = match (fields.take("selector"), fields.take("tags")) {
        (Some(spot), alias) => {
            if let Some(alias) = alias {
                let finding = Finding::new("duplicate-key", "`tags` and `selector` are the same field");
                alias.refuse(finding.help("keep one of them"), report);
            }
            selector(&spot, report)
        }
        (None, Some(spot)) => selector(&spot, report),
        (None, None) => {
            fields.missing("selector", "a CSS selector, such as \"selector\": \"h1\"", report);
            None
        }
    };
    let name = fields.take("name").and_then(|spot| {
        let name = spot.string(report)?;
        if name.is_empty() {
            spot.refuse(Finding::new("invalid-value", "the name is empty"), report);
        }
        Some(name.to_owned())
    });
    let limit = fields.take("limit").and_then(|spot| spot.integer(1..=u64::MAX, report));
    let offset = fields.take("offset").and_then(|spot| spot.integer(0..=u64::MAX, report)).unwrap_or(0);
    let extract = extract(&fields, report);
    let multiple = fields.take("multiple").and_then(|spot| spot.flag(report)).unwrap_or(true);
    let trim = fields.take("trim").and_then(|spot| spot.flag(report)).unwrap_or(true);
    finish_rule(&fields, report);
    let (selector_text, selector) = compiled?;
    Some(Rule {
        name: name.unwrap_or_else(|| selector_text.clone()),
        selector_text,
        selector,
        extract,
        // No page has more matches than that.
        limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        offset: usize::try_from(offset).unwrap_or(usize::MAX),
        multiple,
        trim,
    })
}

fn finish_rule(fields: &Fields<'_, '_>, report: &mut Report<'_>) {
    let known = field::names(RULE_FIELDS);
    for (name, range) in fields.left() {
        let finding = if unavailable::RULE_FIELDS.contains(&name) {
            unavailable::finding(&format!("`{name}` of a rule"))
        } else {
            Finding::new("unknown-field", format!("there is no field `{}` in a rule", clip(name)))
                .help_if(suggest::help(name, &known))
        };
        report.add(finding, range, &fields.place.key(name));
    }
}

fn extract(fields: &Fields<'_, '_>, report: &mut Report<'_>) -> Extract {
    const WORDS: [(&str, Option<Extract>); 6] = [
        ("text", Some(Extract::Text)),
        ("html", Some(Extract::Html)),
        ("outer_html", Some(Extract::OuterHtml)),
        ("value", Some(Extract::Value)),
        ("attrs", Some(Extract::Attrs)),
        ("attr", None),
    ];
    let attr = fields.take("attr").and_then(|spot| attribute(&spot, report));
    let Some(spot) = fields.take("extract") else { return attr.map_or(Extract::Text, Extract::Attr) };
    if let Value::Object(object) = spot.value {
        let inner = Fields::new(object, spot.place);
        let name = inner.take("attr").and_then(|spot| attribute(&spot, report));
        inner.finish(&["attr"], report);
        if attr.is_some() {
            let finding = Finding::new("duplicate-key", "the attribute is named twice: in `attr` and in `extract`");
            spot.refuse(finding.help("keep one of them"), report);
        }
        if object.get("attr").is_none() {
            inner.missing("attr", "such as { \"attr\": \"href\" }", report);
        }
        return name.map_or(Extract::Text, Extract::Attr);
    }
    let words: Vec<(&'static str, usize)> = WORDS.iter().enumerate().map(|(i, (word, _))| (*word, i)).collect();
    match (spot.word(&words, report).map(|index| WORDS[index].1.clone()), attr) {
        (Some(None), Some(attr)) => Extract::Attr(attr),
        (Some(None), None) => {
            let finding = Finding::new("missing-field", "`extract` is `attr`, but no attribute is named");
            spot.refuse(finding.help("write \"attr\": \"href\" beside it"), report);
            Extract::Text
        }
        (Some(Some(_)), Some(_)) => {
            let finding = Finding::new("invalid-value", "`attr` takes an attribute, `extract` something else");
            spot.refuse(finding.help("keep one of them"), report);
            Extract::Text
        }
        (Some(Some(extract)), None) => extract,
        (None, _) => Extract::Text,
    }
}

/// The name of an attribute, in lower case as the HTML parser leaves it.
fn attribute(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<String> {
    let name = spot.string(report)?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/' | '"' | '\'')) {
        spot.refuse(Finding::new("invalid-value", format!("`{}` is no name of an attribute", clip(name))), report);
        return None;
    }
    Some(name.to_ascii_lowercase())
}

fn selector(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<(String, Selector)> {
    let text = spot.string(report)?;
    match Selector::parse(text) {
        Ok(selector) => Some((text.to_owned(), selector)),
        Err(error) => {
            let message = format!("`{}` is no CSS selector: {}", clip(text), selector_cause(&error));
            let finding = Finding::new("invalid-selector", message);
            spot.refuse(finding.help_if(selector_help(text)), report);
            None
        }
    }
}

/// The cause in words of ours: the parser's own text asks the reader to report a bug.
fn selector_cause(error: &SelectorErrorKind) -> String {
    let SelectorErrorKind::UnexpectedSelectorParseError(kind) = error else {
        if let SelectorErrorKind::EndOfLine = error {
            return "it ends too early".to_owned();
        }
        return error.to_string().to_lowercase();
    };
    match format!("{kind:?}").as_str() {
        "EmptySelector" => "a part of it is empty".to_owned(),
        "DanglingCombinator" => "a combinator stands at its end".to_owned(),
        "UnsupportedPseudoClassOrElement" => "there is no such pseudo-class".to_owned(),
        "ClassNeedsIdent" => "a dot is followed by the name of a class".to_owned(),
        "NoQualifiedNameInAttributeSelector" => "brackets hold the name of an attribute".to_owned(),
        "BadValueInAttr" => "the value of an attribute is a word or stands in quotes".to_owned(),
        other => other.chars().fold(String::new(), |mut words, c| {
            if c.is_ascii_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.push(c.to_ascii_lowercase());
            words
        }),
    }
}

/// What people write who think of another selector language.
fn selector_help(text: &str) -> Option<String> {
    if text.trim().is_empty() {
        return Some("such as \"h1\", \".price\" or \"table.items > tbody > tr\"".to_owned());
    }
    if text.starts_with('/') || text.starts_with("./") || text.contains("//") || text.contains("text()") {
        return Some("this looks like XPath; selectors are CSS: //div[@class='a']/p is div.a > p".to_owned());
    }
    for (foreign, instead) in [
        (":contains(", "`:contains()` is jQuery, not CSS: select more and filter the output"),
        (":eq(", "`:eq(n)` is jQuery, not CSS: use `offset` and `limit` of the rule, or :nth-of-type()"),
        (":first", "`:first` is jQuery, not CSS: use \"limit\": 1, or :first-of-type"),
        (":last", "`:last` is jQuery, not CSS: use :last-of-type"),
        ("::text", "`::text` is Scrapy's: text is what `extract` takes by default"),
        ("::attr(", "`::attr()` is Scrapy's: write \"attr\": \"href\" in the rule"),
        ("::", "pseudo-elements cannot be selected"),
    ] {
        if text.contains(foreign) {
            return Some(instead.to_owned());
        }
    }
    None
}
