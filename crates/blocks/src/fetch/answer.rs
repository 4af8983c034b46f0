//! What becomes of the answer to a fetch.

use runlet_proto::call::{Body, FetchReply};
use runlet_proto::control::LogLevel;
use runlet_proto::failure::Failure;
use runlet_workflow::block::fetch::{FailOnStatus, Fetch, ResponseAs};
use serde_json::{Map, Value};
use url::Url;

use super::retry_after::retry_after_ms;
use crate::calls::Calls;
use crate::limits::EXCERPT_CHARS_MAX;
use crate::media_type::{self, BASE64, MediaType};
use crate::output::{Output, headers_value};

/// Whether the body of `reply` is gone through byte by byte here: as JSON, or to write it as Base64. Text is moved.
pub(crate) fn is_parsed(config: &Fetch, reply: &FetchReply) -> bool {
    match &reply.body {
        Body::Bytes(_) => true,
        Body::Text { .. } => wants_json(config, reply),
    }
}

fn wants_json(config: &Fetch, reply: &FetchReply) -> bool {
    match config.response {
        ResponseAs::Json => true,
        ResponseAs::Auto => media_type::of_headers(&reply.headers).is_some_and(|text| MediaType::parse(text).is_json()),
        ResponseAs::Text | ResponseAs::Bytes => false,
    }
}

/// Makes the block's output of the answer: `{url, status, headers, contentType, encoding, body, json?, redirects,
/// elapsedMs}`.
pub(crate) fn finish(
    config: &Fetch,
    method: &str,
    reply: FetchReply,
    calls: &mut dyn Calls,
) -> Result<Output, Failure> {
    check_status(config, method, &reply)?;
    let json = parsed(config, method, &reply, calls)?;
    let content_type = media_type::of_headers(&reply.headers).map_or(Value::Null, Value::from);
    let (body, encoding) = match reply.body {
        Body::Text { text, encoding } => (text, encoding),
        Body::Bytes(bytes) => (media_type::base64(&bytes), BASE64.to_owned()),
    };
    let mut members = Map::with_capacity(9);
    let mut put = |key: &str, value: Value| members.insert(key.to_owned(), value);
    put("url", Value::String(reply.url));
    put("status", Value::from(reply.status));
    put("headers", headers_value(&reply.headers));
    put("contentType", content_type);
    put("encoding", Value::String(encoding));
    put("body", Value::String(body));
    if let Some(json) = json {
        put("json", json);
    }
    put("redirects", Value::from(reply.redirects));
    // Microseconds as a fraction: on a local network whole milliseconds say nothing.
    put("elapsedMs", Value::from(f64::from(u32::try_from(reply.elapsed_us).unwrap_or(u32::MAX)) / 1_000.0));
    Ok(Output::json(Value::Object(members)))
}

fn check_status(config: &Fetch, method: &str, reply: &FetchReply) -> Result<(), Failure> {
    let accepted = match &config.fail_on_status {
        FailOnStatus::NotSuccess => (200..300).contains(&reply.status),
        FailOnStatus::Never => true,
        FailOnStatus::Unless(list) => list.contains(&reply.status),
    };
    if accepted {
        return Ok(());
    }
    let mut message = format!("{method} {} was answered {}", shown_url(&reply.url), reply.status);
    if let Some(excerpt) = excerpt(&reply.body) {
        message.push_str(": ");
        message.push_str(&excerpt);
    }
    let failure = Failure {
        retryable: matches!(reply.status, 408 | 425 | 429 | 500..=599),
        retry_after_ms: retry_after_ms(&reply.headers),
        ..Failure::upstream("status", message)
    };
    let help = match reply.status {
        300..=399 => {
            "raise `max_redirects` to follow the redirect, or take it as it is with `\"fail_on_status\": false`"
        }
        401 | 403 => "the server wants to know who asks: add the header it expects, such as `authorization`",
        _ => "`\"fail_on_status\": false` lets the workflow look at the status itself",
    };
    Err(failure.with_help(help))
}

/// Without user name and password.
fn shown_url(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            // Fails for URLs that cannot have any, which therefore have none.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.into()
        }
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// The beginning of a body on one line, for a message.
fn excerpt(body: &Body) -> Option<String> {
    let Body::Text { text, .. } = body else { return None };
    let mut line = String::new();
    let mut words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut chars_left = EXCERPT_CHARS_MAX;
    while let Some(word) = words.next() {
        if !line.is_empty() {
            line.push(' ');
            chars_left = chars_left.saturating_sub(1);
        }
        match word.char_indices().nth(chars_left) {
            Some((end, _)) => {
                line.push_str(&word[..end]);
                line.push('…');
                break;
            }
            None => {
                line.push_str(word);
                chars_left -= word.chars().count();
            }
        }
        if chars_left == 0 {
            if words.next().is_some() {
                line.push('…');
            }
            break;
        }
    }
    (!line.is_empty()).then_some(line)
}

/// The body as JSON, where that is asked for or said by the server. A server that says so wrongly fails the block only
/// if it was asked for.
fn parsed(config: &Fetch, method: &str, reply: &FetchReply, calls: &mut dyn Calls) -> Result<Option<Value>, Failure> {
    if !wants_json(config, reply) {
        return Ok(None);
    }
    let Body::Text { text, .. } = &reply.body else { return Ok(None) };
    let error = match serde_json::from_str(text) {
        Ok(value) => return Ok(Some(value)),
        Err(error) => error,
    };
    let message = format!("the answer to {method} {} is not JSON: {error}", shown_url(&reply.url));
    if config.response == ResponseAs::Json {
        let help = "`\"response\": \"text\"` takes the body as it is";
        return Err(Failure { retryable: false, ..Failure::upstream("not-json", message).with_help(help) });
    }
    calls.log(LogLevel::Warn, &message);
    Ok(None)
}
