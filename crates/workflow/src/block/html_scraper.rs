//! `html-scraper`: CSS rules over a page.

use scraper::Selector;

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
