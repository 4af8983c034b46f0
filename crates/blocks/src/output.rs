//! What flows between blocks.

use std::mem::size_of;
use std::sync::Arc;

use bytes::Bytes;
use runlet_proto::hook::{HookRequest, HttpReply};
use serde_json::{Map, Value, json};

use crate::limits::ESTIMATE_VALUES_MAX;
use crate::media_type::{self, BASE64, MediaType};

/// The output of a block, the input of a run. Cheap to clone; JSON is made of the special forms only when somebody
/// looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A JSON value.
    Json(Arc<Value>),
    /// The request that started the run: output of the `hook` block.
    Hook(Arc<HookRequest>),
    /// The reply of a `response` block.
    Reply(Arc<HttpReply>),
}

impl Output {
    /// A JSON value.
    #[must_use]
    pub fn json(value: Value) -> Self {
        Self::Json(Arc::new(value))
    }

    /// The outputs of several blocks: an object keyed by their ids, in the order given.
    pub fn merge<'a>(parts: impl Iterator<Item = (&'a str, &'a Self)>) -> Self {
        Self::json(Value::Object(
            parts.map(|(id, output)| (id.to_owned(), Arc::unwrap_or_clone(output.to_json()))).collect(),
        ))
    }

    /// The output as JSON; made anew at each call unless it is JSON already.
    ///
    /// A request is `{method, path, params, query, headers, body}`, a reply `{status, headers, body}`. A field of
    /// headers or query that occurs several times has a list of values. A JSON body is the value it holds, a form an
    /// object like `query`, and a body that is no text is Base64, with `"encoding": "base64"` beside it.
    #[must_use]
    pub fn to_json(&self) -> Arc<Value> {
        match self {
            Self::Json(value) => Arc::clone(value),
            Self::Hook(request) => Arc::new(request_value(request)),
            Self::Reply(reply) => Arc::new(reply_value(reply)),
        }
    }

    /// The output as JSON text.
    #[must_use]
    pub fn to_json_text(&self) -> Bytes {
        Self::text_of(&self.to_json())
    }

    /// A value as JSON text.
    pub(crate) fn text_of(value: &Value) -> Bytes {
        Bytes::from(serde_json::to_vec(value).expect("a JSON value has text keys and finite numbers"))
    }

    /// About how much memory it holds, in bytes. Looks at no more than [`ESTIMATE_VALUES_MAX`] values: of what it does
    /// not see it assumes that it is like what it saw.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Json(value) => value_bytes(value),
            Self::Hook(request) => {
                size_of::<HookRequest>()
                    + request.body.len()
                    + request.path.len()
                    + request.query.len()
                    + pairs_bytes(&request.params)
                    + pairs_bytes(&request.headers)
            }
            Self::Reply(reply) => size_of::<HttpReply>() + reply.body.len() + pairs_bytes(&reply.headers),
        }
    }
}

/// As [`Output::heap_bytes`].
pub(crate) fn value_bytes(value: &Value) -> usize {
    size_of::<Value>() + estimate(value, &mut { ESTIMATE_VALUES_MAX })
}

fn pairs_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len()).sum()
}

/// Memory that `value` holds apart from its own place.
fn estimate(value: &Value, values_left: &mut usize) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(list) => {
            list.len() * size_of::<Value>() + extrapolate(list.len(), list.iter().map(|item| (0, item)), values_left)
        }
        Value::Object(members) => {
            // A key, a hash and an index beside each value.
            const MEMBER_BYTES: usize = size_of::<(String, Value)>() + 2 * size_of::<u64>();
            let pairs = members.iter().map(|(key, value)| (key.len(), value));
            members.len() * MEMBER_BYTES + extrapolate(members.len(), pairs, values_left)
        }
    }
}

fn extrapolate<'a>(count: usize, pairs: impl Iterator<Item = (usize, &'a Value)>, values_left: &mut usize) -> usize {
    let (mut seen, mut bytes) = (0_usize, 0_usize);
    for (key_bytes, value) in pairs {
        if *values_left == 0 {
            break;
        }
        *values_left -= 1;
        seen += 1;
        bytes = bytes.saturating_add(key_bytes).saturating_add(estimate(value, values_left));
    }
    match seen {
        0 => 0,
        _ if seen == count => bytes,
        _ => (bytes / seen).saturating_mul(count),
    }
}

/// Names to values in the order of first occurrence; several values of one name become a list.
pub(crate) fn grouped<N: Into<String>, V: Into<String>>(pairs: impl Iterator<Item = (N, V)>) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, value) in pairs {
        let value = Value::String(value.into());
        match members.entry(name.into()) {
            serde_json::map::Entry::Vacant(entry) => {
                entry.insert(value);
            }
            serde_json::map::Entry::Occupied(mut entry) => {
                let earlier = entry.get_mut();
                match earlier.as_array_mut() {
                    Some(list) => list.push(value),
                    None => *earlier = Value::Array(vec![earlier.take(), value]),
                }
            }
        }
    }
    members
}

fn request_value(request: &HookRequest) -> Value {
    let form = |text: &[u8]| Value::Object(grouped(url::form_urlencoded::parse(text)));
    let content_type = media_type::of_headers(&request.headers);
    let is_form = content_type.is_some_and(|text| MediaType::parse(text).is("application/x-www-form-urlencoded"));
    let (body, binary) =
        if is_form { (form(&request.body), false) } else { media_type::body_value(content_type, &request.body) };
    let params: Map<String, Value> =
        request.params.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    let mut value = json!({
        "method": request.method,
        "path": request.path,
        "params": params,
        "query": form(request.query.as_bytes()),
        "headers": headers_value(&request.headers),
        "body": body,
    });
    mark_binary(&mut value, binary);
    value
}

fn reply_value(reply: &HttpReply) -> Value {
    let (body, binary) = media_type::body_value(media_type::of_headers(&reply.headers), &reply.body);
    let mut value = json!({ "status": reply.status, "headers": headers_value(&reply.headers), "body": body });
    mark_binary(&mut value, binary);
    value
}

/// Header fields as an object.
pub(crate) fn headers_value(headers: &[(String, String)]) -> Value {
    Value::Object(grouped(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

fn mark_binary(value: &mut Value, binary: bool) {
    if binary {
        value["encoding"] = Value::String(BASE64.to_owned());
    }
}
