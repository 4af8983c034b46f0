//! `response`: the reply to the hook's client.

use std::sync::Arc;

use bytes::Bytes;
use runlet_proto::control::LogLevel;
use runlet_proto::failure::Failure;
use runlet_proto::hook::HttpReply;
use runlet_workflow::block::response::{Response, ResponseBody};
use runlet_workflow::template::{Scope, TextTemplate};
use serde_json::Value;

use crate::calls::Calls;
use crate::limits::REPLY_HEADER_BYTES_MAX;
use crate::media_type::{self, MediaType};
use crate::output::Output;
use crate::template::{evaluate, json, markup, text};

/// What of a reply is the same in every run.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// Everything.
    Whole(Arc<HttpReply>),
    /// Status and headers; the body is the block's input.
    Head(Head),
    /// Nothing, or it is wrong and each run is to say so.
    Nothing,
}

/// Status and headers of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    /// Fields that were left out because they are the server's to write.
    dropped: Vec<String>,
}

impl Prepared {
    pub(crate) fn new(config: &Response) -> Self {
        if config.has_templates() {
            return Self::Nothing;
        }
        // Fields that are dropped are named in the log of each run: such a reply is made anew each time.
        let Ok(head) = Head::render(config, None) else { return Self::Nothing };
        if !head.dropped.is_empty() {
            return Self::Nothing;
        }
        match &config.body {
            ResponseBody::Input => Self::Head(head),
            ResponseBody::Text(_) | ResponseBody::ByType(_) | ResponseBody::Json(_) => {
                match body(config, &head, &Output::json(Value::Null), None) {
                    Ok(body) => Self::Whole(Arc::new(head.with_body(body))),
                    Err(_) => Self::Nothing,
                }
            }
        }
    }

    /// Whether the reply depends on the run's input, which may be large.
    pub(crate) fn sends_input(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Head(_) | Self::Nothing => true,
        }
    }
}

/// Makes the reply.
pub(crate) fn execute(
    config: &Response,
    prepared: &Prepared,
    input: &Output,
    scope: Option<&Scope>,
    calls: &mut dyn Calls,
) -> Result<Output, Failure> {
    let head = match prepared {
        Prepared::Whole(reply) => return Ok(Output::Reply(Arc::clone(reply))),
        Prepared::Head(head) => head.clone(),
        Prepared::Nothing => Head::render(config, scope)?,
    };
    for name in &head.dropped {
        calls.log(LogLevel::Warn, &format!("header `{name}` was left out: the server writes it itself"));
    }
    let body = body(config, &head, input, scope)?;
    Ok(Output::Reply(Arc::new(head.with_body(body))))
}

impl Head {
    fn render(config: &Response, scope: Option<&Scope>) -> Result<Self, Failure> {
        let status = status(&*json(&config.status, scope, "status")?)?;
        let mut head = Self { status, headers: Vec::with_capacity(config.headers.len() + 1), dropped: Vec::new() };
        let mut bytes = 0;
        for (name, template) in &config.headers {
            if is_servers_own(name) {
                head.dropped.push(name.clone());
                continue;
            }
            let value = header_value(name, template, scope)?;
            bytes += name.len() + value.len();
            if bytes > REPLY_HEADER_BYTES_MAX {
                return Err(Failure::workflow(
                    "too-large",
                    format!("the headers of the reply are longer than {REPLY_HEADER_BYTES_MAX} bytes"),
                ));
            }
            head.headers.push((name.clone(), value));
        }
        Ok(head)
    }

    fn media_type(&self) -> Option<MediaType<'_>> {
        media_type::of_headers(&self.headers).map(MediaType::parse)
    }

    /// The reply, with a `content-type` if the workflow named none.
    fn with_body(mut self, (body, default_type): (Bytes, &str)) -> HttpReply {
        if !may_have_body(self.status) {
            return HttpReply { status: self.status, headers: self.headers, body: Bytes::new() };
        }
        if self.media_type().is_none() {
            self.headers.push(("content-type".to_owned(), default_type.to_owned()));
        }
        HttpReply { status: self.status, headers: self.headers, body }
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The body and the media type it has if nobody says otherwise.
fn body(
    config: &Response,
    head: &Head,
    input: &Output,
    scope: Option<&Scope>,
) -> Result<(Bytes, &'static str), Failure> {
    if !may_have_body(head.status) {
        return Ok((Bytes::new(), JSON));
    }
    let is_json = head.media_type().is_none_or(MediaType::is_json);
    Ok(match &config.body {
        ResponseBody::Input => match input {
            Output::Json(value) => (value_bytes(value, is_json), JSON),
            Output::Hook(_) | Output::Reply(_) => (input.to_json_text(), JSON),
        },
        ResponseBody::Text(template) => (Bytes::from(text(template, scope, "body")?), TEXT),
        ResponseBody::ByType(template) => match template.expression() {
            Some(expression) if is_json => (value_bytes(&evaluate(expression, scope, "body")?, true), JSON),
            _ if head.media_type().is_some_and(MediaType::is_markup) => {
                (Bytes::from(markup(template, scope, "body")?), TEXT)
            }
            _ => (Bytes::from(text(template, scope, "body")?), TEXT),
        },
        ResponseBody::Json(template) => (value_bytes(&*json(template, scope, "body")?, is_json), JSON),
    })
}

/// JSON; but a string under a media type that is not JSON is what it is: a page, a line of text.
fn value_bytes(value: &Value, is_json: bool) -> Bytes {
    match value {
        Value::String(text) if !is_json => Bytes::copy_from_slice(text.as_bytes()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Bytes::from(serde_json::to_vec(value).expect("a JSON value has text keys and finite numbers"))
        }
    }
}

/// Whether a reply of this status has a body at all (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
fn may_have_body(status: u16) -> bool {
    !matches!(status, 204 | 205 | 304)
}

fn status(value: &Value) -> Result<u16, Failure> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|status| (200..=599).contains(status)).ok_or_else(
        || {
            Failure::workflow("status", format!("the status of the reply is {}", excerpt(value)))
                .with_help("a reply has a status from 200 to 599")
        },
    )
}

fn excerpt(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
    }
}

/// Fields of one connection (RFC 9110, section 7.6.1) and the length, which the server knows better.
fn is_servers_own(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn header_value(name: &str, template: &TextTemplate, scope: Option<&Scope>) -> Result<String, Failure> {
    let value = text(template, scope, name)?;
    crate::header::check(name, &value)?;
    Ok(value)
}
