//! What is taken of a matched element.

use ego_tree::NodeRef;
use ego_tree::iter::Edge;
use html5ever::{LocalName, local_name, ns};
use runlet_workflow::block::html_scraper::Extract;
use scraper::node::Element;
use scraper::{ElementRef, Node};
use serde_json::{Map, Value};

use super::rules::Rule;
use crate::limits::SCRAPED_BYTES_MAX;

/// The rules took more than [`SCRAPED_BYTES_MAX`] in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMuch;

/// What is left of [`SCRAPED_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(SCRAPED_BYTES_MAX)
    }
}

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.0 = self.0.checked_sub(bytes).ok_or(TooMuch)?;
        Ok(())
    }
}

/// Takes of `element` what the rule asks for; `None` when it has no such thing.
pub(super) fn extract(rule: &Rule, element: ElementRef<'_>, budget: &mut Budget) -> Result<Option<Value>, TooMuch> {
    let text = match &rule.extract {
        Extract::Text => Some(text(*element, budget)?),
        Extract::Html => Some(taken(element.inner_html(), budget)?),
        Extract::OuterHtml => Some(taken(element.html(), budget)?),
        Extract::Attr(name) => attribute(element.value(), name).map(str::to_owned),
        Extract::Value => form_value(element, budget)?,
        Extract::Attrs => return Ok(Some(Value::Object(attributes(rule, element.value())))),
    };
    Ok(text.map(|text| Value::String(trimmed(rule, text))))
}

fn taken(text: String, budget: &mut Budget) -> Result<String, TooMuch> {
    budget.take(text.len())?;
    Ok(text)
}

fn trimmed(rule: &Rule, mut text: String) -> String {
    if rule.trim {
        text.truncate(text.trim_end().len());
        let blank = text.len() - text.trim_start().len();
        if blank > 0 {
            text.drain(..blank);
        }
    }
    text
}

/// All text inside, joined.
fn text(place: NodeRef<'_, Node>, budget: &mut Budget) -> Result<String, TooMuch> {
    let mut joined = String::new();
    for edge in place.traverse() {
        if let Edge::Open(place) = edge
            && let Node::Text(text) = place.value()
        {
            budget.take(text.len())?;
            joined.push_str(text);
        }
    }
    Ok(joined)
}

/// An attribute without a namespace; in HTML the case of its name does not matter.
fn attribute<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    let html = element.name.ns == ns!(html);
    element
        .attrs
        .iter()
        .find(|(own, _)| {
            own.ns == ns!() && (&*own.local == name || html && str::eq_ignore_ascii_case(&own.local, name))
        })
        .map(|(_, value)| &**value)
}

fn attributes(rule: &Rule, element: &Element) -> Map<String, Value> {
    element
        .attrs
        .iter()
        .map(|(name, value)| {
            let key = match &name.prefix {
                Some(prefix) if !prefix.is_empty() => format!("{prefix}:{}", name.local),
                Some(_) | None => name.local.to_string(),
            };
            (key, Value::String(trimmed(rule, value.to_string())))
        })
        .collect()
}

/// The value a form would send for a control, as far as the page says it; for other elements their `value` attribute.
fn form_value(element: ElementRef<'_>, budget: &mut Budget) -> Result<Option<String>, TooMuch> {
    let own = |element: &Element| attribute(element, "value").map(str::to_owned);
    if element.value().name.ns != ns!(html) {
        return Ok(own(element.value()));
    }
    match element.value().name.local {
        local_name!("input") => Ok(Some(own(element.value()).unwrap_or_else(|| default_input(element.value())))),
        local_name!("textarea") => text(*element, budget).map(Some),
        local_name!("option") => option_value(element, budget).map(Some),
        local_name!("select") => match chosen(element) {
            Some(option) => option_value(option, budget).map(Some),
            None => Ok(None),
        },
        _ => Ok(own(element.value())),
    }
}

/// A check box or radio button without a value sends `on`; other controls send nothing.
fn default_input(input: &Element) -> String {
    let checkable = attribute(input, "type")
        .is_some_and(|kind| kind.eq_ignore_ascii_case("checkbox") || kind.eq_ignore_ascii_case("radio"));
    if checkable { "on".to_owned() } else { String::new() }
}

/// The `value` attribute, else the text with white space collapsed.
fn option_value(option: ElementRef<'_>, budget: &mut Budget) -> Result<String, TooMuch> {
    if let Some(value) = attribute(option.value(), "value") {
        return Ok(value.to_owned());
    }
    let text = text(*option, budget)?;
    Ok(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// The option a `select` shows: the last one marked as selected, else the first one that is not disabled. One that
/// takes several values has none unless it is marked; the first marked one stands for all.
fn chosen(select: ElementRef<'_>) -> Option<ElementRef<'_>> {
    let options = || select.descendent_elements().filter(|element| is_html(element.value(), &local_name!("option")));
    let selected = |option: &ElementRef<'_>| attribute(option.value(), "selected").is_some();
    if attribute(select.value(), "multiple").is_some() {
        return options().find(selected);
    }
    options()
        .filter(selected)
        .last()
        .or_else(|| options().find(|option| attribute(option.value(), "disabled").is_none()))
}

fn is_html(element: &Element, name: &LocalName) -> bool {
    element.name.ns == ns!(html) && element.name.local == *name
}
