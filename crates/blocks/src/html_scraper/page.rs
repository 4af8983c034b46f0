//! Parses a page as far as its rules need and takes from it what they ask for.

use ego_tree::{NodeId, Tree};
use html5ever::local_name;
use scraper::{ElementRef, Node};
use serde_json::{Map, Value};

use super::extract::{Budget, TooMuch, extract};
use super::frontier::Frontier;
use super::parser::Parser;
use super::roots::Roots;
use super::rules::{Rule, Rules};
use super::sink::Excess;
use super::walk::Walk;
use crate::calls::{Calls, Interrupted};
use crate::limits::{BRIEF_PAGE_BYTES_MAX, BRIEF_PARSE_BYTES_MAX, PAGE_CHUNK_BYTES_MAX, PAGE_CHUNK_BYTES_MIN};

/// What the rules took.
#[derive(Debug)]
pub(super) struct Scraped {
    /// One member a rule, in order.
    pub(super) value: Value,
    /// Matches of each rule, as far as they were counted.
    pub(super) matches: Vec<usize>,
    /// Bytes of the page that were parsed.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests see by it that the rest was not read"))]
    pub(super) consumed: usize,
}

/// Why a page was not scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hurdle {
    Interrupted(Interrupted),
    TooDeep,
    TooManyElements,
    TooMuchTaken,
}

impl From<Interrupted> for Hurdle {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

impl From<Excess> for Hurdle {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Depth => Self::TooDeep,
            Excess::Elements => Self::TooManyElements,
        }
    }
}

impl From<TooMuch> for Hurdle {
    fn from(TooMuch: TooMuch) -> Self {
        Self::TooMuchTaken
    }
}

/// Scrapes `page`.
pub(super) fn scrape(page: &str, rules: &Rules, calls: &mut dyn Calls) -> Result<Scraped, Hurdle> {
    if rules.may_stop_early {
        scrape_in_chunks(page, rules, calls, growing)
    } else {
        scrape_in_chunks(page, rules, calls, |_| PAGE_CHUNK_BYTES_MAX)
    }
}

/// Scrapes `page` if its first [`BRIEF_PARSE_BYTES_MAX`] are enough for that.
pub(super) fn scrape_beginning(page: &str, rules: &Rules, calls: &mut dyn Calls) -> Option<Scraped> {
    let hopeless = !rules.may_stop_early && page.len() > BRIEF_PARSE_BYTES_MAX;
    if hopeless || page.len() > BRIEF_PAGE_BYTES_MAX {
        return None;
    }
    // What stands in the way of it stands in the way of the second try too, and is told then.
    scrape_until(BRIEF_PARSE_BYTES_MAX, page, rules, calls, growing).unwrap_or_default()
}

/// Scrapes `page` in chunks whose size depends on what is parsed already.
pub(super) fn scrape_in_chunks(
    page: &str,
    rules: &Rules,
    calls: &mut dyn Calls,
    chunk_bytes: impl Fn(usize) -> usize,
) -> Result<Scraped, Hurdle> {
    let scraped = scrape_until(usize::MAX, page, rules, calls, chunk_bytes)?;
    Ok(scraped.expect("no page is longer than usize::MAX"))
}

/// When all rules can be satisfied early, chunks begin small and grow with what is already parsed, so that asking whether
/// it is enough costs a fixed share of the parsing and overshoots by no more than an eighth.
fn growing(consumed: usize) -> usize {
    (consumed / 8).clamp(PAGE_CHUNK_BYTES_MIN, PAGE_CHUNK_BYTES_MAX)
}

/// Scrapes `page`; `None` if that takes more than about its first `bytes_max` bytes.
fn scrape_until(
    bytes_max: usize,
    page: &str,
    rules: &Rules,
    calls: &mut dyn Calls,
    chunk_bytes: impl Fn(usize) -> usize,
) -> Result<Option<Scraped>, Hurdle> {
    let mut parser = Parser::new(rules.read_attributes);
    let mut walk = Walk::new(rules);
    let mut roots = Roots::default();
    while parser.consumed() < page.len() {
        if parser.consumed() >= bytes_max {
            return Ok(None);
        }
        parser.feed(page, chunk_bytes(parser.consumed()))?;
        calls.tick()?;
        if rules.may_stop_early
            && parser.consumed() < page.len()
            && is_enough(page, &parser, rules, &mut walk, &mut roots, calls)?
        {
            return take(&parser.tree(), rules, &walk, parser.consumed(), calls).map(Some);
        }
    }
    parser.finish()?;
    let tree = parser.tree();
    if parser.sink().take_roots_changed() {
        walk = Walk::new(rules);
    }
    walk.advance(&tree, rules, None, calls)?;
    take(&tree, rules, &walk, page.len(), calls).map(Some)
}

/// Whether the result is certain, whatever the rest of the page is.
fn is_enough(
    page: &str,
    parser: &Parser,
    rules: &Rules,
    walk: &mut Walk,
    roots: &mut Roots,
    calls: &mut dyn Calls,
) -> Result<bool, Interrupted> {
    if parser.sink().take_roots_changed() {
        // The one thing that reaches behind the frontier: what was matched before may be so no longer.
        *walk = Walk::new(rules);
    }
    let frontier = parser.frontier();
    let tree = parser.tree();
    walk.advance(&tree, rules, Some(&frontier), calls)?;
    let all_final =
        || rules.list.iter().enumerate().all(|(index, rule)| is_final(rule, walk.found(index), &tree, &frontier));
    if !walk.is_satisfied() || !all_final() {
        return Ok(false);
    }
    if parser.sink().body_text() && !rules.read_root_attributes {
        return Ok(true);
    }
    let (since, through) = parser.roots_since();
    Ok(roots.after(page, since) <= through)
}

/// Whether what the rule takes of its matches stays as it is. That the matches stay is known already.
fn is_final(rule: &Rule, found: &[NodeId], tree: &Tree<Node>, frontier: &Frontier) -> bool {
    found.iter().skip(rule.offset).all(|&id| {
        if rule.reads_content() {
            return !frontier.grows(id);
        }
        // Only these two get further attributes once they exist.
        let element = tree.get(id).and_then(|place| place.value().as_element());
        element.is_some_and(|element| !matches!(element.name.local, local_name!("html") | local_name!("body")))
    })
}

/// Takes from the matches what the rules ask for.
fn take(
    tree: &Tree<Node>,
    rules: &Rules,
    walk: &Walk,
    consumed: usize,
    calls: &mut dyn Calls,
) -> Result<Scraped, Hurdle> {
    let mut budget = Budget::default();
    let mut members = Map::with_capacity(rules.list.len());
    let mut matches = Vec::with_capacity(rules.list.len());
    for (index, rule) in rules.list.iter().enumerate() {
        let found = walk.found(index);
        matches.push(found.len());
        let mut taken = Vec::with_capacity(found.len().saturating_sub(rule.offset));
        for &id in found.iter().skip(rule.offset) {
            calls.tick()?;
            let element = tree.get(id).and_then(ElementRef::wrap).expect("matches are elements of this tree");
            if let Some(value) = extract(rule, element, &mut budget)? {
                taken.push(value);
            }
        }
        let value = if rule.multiple { Value::Array(taken) } else { taken.pop().unwrap_or(Value::Null) };
        members.insert(rule.name.clone(), value);
    }
    Ok(Scraped { value: Value::Object(members), matches, consumed })
}
