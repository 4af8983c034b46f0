//! `fetch`: an HTTP request. Renders the call, and makes an output or a failure of the answer.

mod answer;
mod retry_after;

use std::time::Duration;

use bytes::Bytes;
use runlet_proto::call::{BodyAs, FetchCall};
use runlet_proto::failure::Failure;
use runlet_workflow::Definition;
use runlet_workflow::block::fetch::{Fetch, FetchBody, ResponseAs};
use runlet_workflow::template::{JsonTemplate, Scope};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::template::{json, text};

pub(crate) use answer::{finish, is_parsed};

/// Renders the request.
pub(crate) fn call(config: &Fetch, definition: &Definition, scope: Option<&Scope>) -> Result<FetchCall, Failure> {
    let mut headers = headers(config, scope)?;
    let (body, content_type) = body(config, scope)?;
    if let Some(content_type) = content_type
        && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    Ok(with_policy(config, definition, method(config, scope)?, url(config, scope)?, headers, body))
}

/// The same request, with everything that decides what may be reached and at what cost as the definition has it.
pub(crate) fn restricted(config: &Fetch, definition: &Definition, call: FetchCall) -> FetchCall {
    let FetchCall { method, url, headers, body, .. } = call;
    with_policy(config, definition, method, url, headers, body)
}

fn with_policy(
    config: &Fetch,
    definition: &Definition,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
) -> FetchCall {
    FetchCall {
        method,
        url,
        literal_hosts: definition.literal_hosts.clone(),
        headers,
        body,
        timeout_ms: whole_ms(config.timeout),
        connect_timeout_ms: whole_ms(config.connect_timeout),
        redirects_max: config.redirects_max,
        body_bytes_max: config.body_bytes_max,
        tls_verify: config.tls_verify,
        ca_file: config.ca_file.clone(),
        encoding: config.encoding.clone(),
        body_as: match config.response {
            ResponseAs::Auto => BodyAs::Auto,
            ResponseAs::Json | ResponseAs::Text => BodyAs::Text,
            ResponseAs::Bytes => BodyAs::Bytes,
        },
    }
}

/// Rounded up: a limit that was written is never none.
fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn method(config: &Fetch, scope: Option<&Scope>) -> Result<String, Failure> {
    let mut method = text(&config.method, scope, "method")?;
    method.make_ascii_uppercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(Failure::workflow("method", format!("`{}` is not an HTTP method", method.escape_debug())));
    }
    Ok(method)
}

/// The URL with the query parameters behind those it has already.
fn url(config: &Fetch, scope: Option<&Scope>) -> Result<String, Failure> {
    let written = text(&config.url, scope, "url")?;
    let refused = |cause: &str| {
        Failure::workflow("url", format!("`{}` is not a URL that can be fetched: {cause}", written.escape_debug()))
            .with_help("write the whole address, such as `https://example.org/page`")
    };
    let mut url = Url::parse(written.trim()).map_err(|error| refused(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("only http and https are"));
    }
    let parameters = parameters(&config.query, scope, "query")?;
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
    Ok(url.into())
}

/// Names and values of a query or a form: a list repeats its name, `null` leaves it out.
fn parameters<'a>(
    fields: &'a [(String, JsonTemplate)],
    scope: Option<&Scope>,
    place: &str,
) -> Result<Vec<(&'a str, String)>, Failure> {
    let mut parameters = Vec::with_capacity(fields.len());
    for (name, template) in fields {
        let value = json(template, scope, &format!("{place}.{name}"))?;
        let values = value.as_array().map_or_else(|| std::slice::from_ref(&*value), Vec::as_slice);
        parameters.extend(values.iter().filter_map(plain).map(|value| (name.as_str(), value)));
    }
    Ok(parameters)
}

/// A value as the text of a parameter; objects and lists as JSON.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

fn headers(config: &Fetch, scope: Option<&Scope>) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = Vec::with_capacity(config.headers.len() + 1);
    for (name, template) in &config.headers {
        let value = text(template, scope, name)?;
        crate::header::check(name, &value)?;
        headers.push((name.clone(), value));
    }
    Ok(headers)
}

/// The body and the media type it has if no header says otherwise.
fn body(config: &Fetch, scope: Option<&Scope>) -> Result<(Option<Bytes>, Option<&'static str>), Failure> {
    Ok(match &config.body {
        None => (None, None),
        Some(FetchBody::Text(template)) => {
            (Some(Bytes::from(text(template, scope, "body")?)), Some("text/plain; charset=utf-8"))
        }
        Some(FetchBody::Json(template)) => {
            let value = json(template, scope, "json")?;
            let text = serde_json::to_vec(&*value).expect("a JSON value has text keys and finite numbers");
            (Some(Bytes::from(text)), Some("application/json"))
        }
        Some(FetchBody::Form(fields)) => {
            let mut form = Serializer::new(String::new());
            form.extend_pairs(parameters(fields, scope, "form")?);
            (Some(Bytes::from(form.finish())), Some("application/x-www-form-urlencoded"))
        }
    })
}
