//! `html-scraper`: CSS rules over a page. Bounded rules read no more of it than they need.

mod candidate;
#[cfg(test)]
mod differential;
mod extract;
mod frontier;
mod page;
mod parser;
mod plain;
mod roots;
mod rules;
mod selector;
mod sink;
mod walk;

use bytes::Bytes;
use runlet_proto::control::LogLevel;
use runlet_proto::failure::Failure;
use serde_json::{Map, Value};

use crate::calls::{Calls, Interrupted};
use crate::limits::{PAGE_DEPTH_MAX, PAGE_ELEMENTS_MAX, SCRAPED_BYTES_MAX};
use crate::media_type::{self, MediaType};
use crate::output::Output;

pub(crate) use rules::Rules;

use page::{Hurdle, Scraped};

/// Applies the rules to the page in `input`.
pub(crate) fn execute(rules: &Rules, input: &Output, calls: &mut dyn Calls) -> Result<Output, Failure> {
    let page = Page::of(input)?;
    let scraped = page::scrape(page.text()?, rules, calls).map_err(hurdle_failure)?;
    warn_of_nothing(rules, &scraped, calls);
    Ok(Output::json(scraped.value))
}

/// Applies the rules to the page in `input` if that takes no more than microseconds. `None`: nothing has happened, it is
/// [`execute`]'s.
pub(crate) fn try_brief(rules: &Rules, input: &Output, calls: &mut dyn Calls) -> Option<Output> {
    let text = Page::of(input).and_then(|page| page.text()).ok()?;
    let scraped = page::scrape_beginning(text, rules, calls)?;
    warn_of_nothing(rules, &scraped, calls);
    Some(Output::json(scraped.value))
}

/// The page in a block's input.
enum Page<'a> {
    Text(&'a str),
    Bytes(&'a Bytes),
}

impl<'a> Page<'a> {
    fn of(input: &'a Output) -> Result<Self, Failure> {
        match input {
            Output::Json(value) => Self::of_value(value),
            Output::Hook(request) => {
                check_media_type(media_type::of_headers(&request.headers))?;
                Ok(Page::Bytes(&request.body))
            }
            Output::Reply(reply) => {
                check_media_type(media_type::of_headers(&reply.headers))?;
                Ok(Page::Bytes(&reply.body))
            }
        }
    }

    fn of_value(value: &'a Value) -> Result<Self, Failure> {
        let found = match value {
            Value::String(text) => return Ok(Page::Text(text)),
            Value::Object(object) => match object.get("body") {
                Some(Value::String(body)) => return Self::of_body(body, object),
                Some(other) => format!("an object whose `body` is {}", kind_of(other)),
                None => "an object without `body`".to_owned(),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => kind_of(value).to_owned(),
        };
        let message = format!(
            "html-scraper expects a page as text, or an object with a text `body` as fetch yields it, and got {found}"
        );
        Err(Failure::workflow("input", message).with_help("name the page with `\"input\": \"{{ … }}\"` on this block"))
    }

    fn of_body(body: &'a str, object: &Map<String, Value>) -> Result<Self, Failure> {
        check_media_type(object.get("contentType").and_then(Value::as_str))?;
        if object.get("encoding").and_then(Value::as_str) == Some(media_type::BASE64) {
            return Err(final_failure(
                Failure::upstream("not-html", "the page is not HTML: its body is binary data")
                    .with_help("`\"response\": \"text\"` on the fetch block reads it as text"),
            ));
        }
        Ok(Page::Text(body))
    }

    fn text(&self) -> Result<&'a str, Failure> {
        match self {
            Page::Text(text) => Ok(text),
            Page::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|error| {
                Failure::workflow("encoding", format!("the page is not UTF-8: byte {} is wrong", error.valid_up_to()))
            }),
        }
    }
}

/// A server that sends something else sends it again: another attempt would not help.
fn final_failure(failure: Failure) -> Failure {
    Failure { retryable: false, ..failure }
}

fn check_media_type(content_type: Option<&str>) -> Result<(), Failure> {
    match content_type {
        Some(text) if !MediaType::parse(text).may_be_markup() => Err(final_failure(
            Failure::upstream("not-html", format!("the page is not HTML: its content type is `{text}`")).with_help(
                "pass the text itself, `\"input\": \"{{ blocks.<id>.output.body }}\"`, to scrape it all the same",
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn hurdle_failure(hurdle: Hurdle) -> Failure {
    final_failure(match hurdle {
        Hurdle::Interrupted(Interrupted) => crate::execution::cancelled(),
        Hurdle::TooDeep => {
            Failure::upstream("too-large", format!("the page nests elements deeper than {PAGE_DEPTH_MAX} levels"))
        }
        Hurdle::TooManyElements => {
            Failure::upstream("too-large", format!("the page grows to more than {PAGE_ELEMENTS_MAX} elements"))
        }
        Hurdle::TooMuchTaken => Failure::workflow(
            "too-large",
            format!("the rules take more than {} MiB from the page", SCRAPED_BYTES_MAX / (1024 * 1024)),
        )
        .with_help("set `limit`, or choose elements that do not contain each other"),
    })
}

/// A selector that matches nothing is the usual sign that a page has changed.
fn warn_of_nothing(rules: &Rules, scraped: &Scraped, calls: &mut dyn Calls) {
    for (rule, &matches) in rules.list.iter().zip(&scraped.matches) {
        if matches > rule.offset || rule.matches_max == 0 {
            continue;
        }
        let text = match matches {
            0 => format!("selector `{}` matched nothing", rule.selector_text),
            _ => format!(
                "selector `{}` matched only {matches} of the {} elements that `offset` passes over",
                rule.selector_text, rule.offset
            ),
        };
        calls.log(LogLevel::Warn, &text);
    }
}
