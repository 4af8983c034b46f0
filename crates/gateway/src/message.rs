//! A hook's request as bytes for the supervisor, written straight from what hyper parsed.
//!
//! The types here serialise exactly as `ClientMessage { id, request: Request::Hook(HookRequest { .. }) }` does, without
//! building it: no text of the request is copied before it is in the outgoing buffer.

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use serde::ser::{Serialize, SerializeSeq, SerializeStruct, Serializer};

use crate::table::Hook;

/// Place of `Hook` among the variants of `Request`; a test compares the bytes.
const HOOK_VARIANT: u32 = 4;

/// The borrowed form of a `ClientMessage` with a hook's request.
pub(crate) struct HookMessage<'a> {
    pub(crate) id: u64,
    pub(crate) hook: &'a Hook,
    pub(crate) values: &'a [String],
    pub(crate) parts: &'a Parts,
    pub(crate) body: &'a Bytes,
}

impl Serialize for HookMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_struct("ClientMessage", 2)?;
        message.serialize_field("id", &self.id)?;
        message.serialize_field("request", &Variant(self))?;
        message.end()
    }
}

struct Variant<'a>(&'a HookMessage<'a>);

impl Serialize for Variant<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_variant("Request", HOOK_VARIANT, "Hook", &Request(self.0))
    }
}

struct Request<'a>(&'a HookMessage<'a>);

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let HookMessage { hook, values, parts, body, .. } = self.0;
        let mut request = serializer.serialize_struct("HookRequest", 8)?;
        request.serialize_field("workflow", &hook.route.workflow)?;
        request.serialize_field("respond", &hook.route.respond)?;
        request.serialize_field("method", parts.method.as_str())?;
        request.serialize_field("path", parts.uri.path())?;
        request.serialize_field("params", &Params(&hook.names, values))?;
        request.serialize_field("query", parts.uri.query().unwrap_or(""))?;
        request.serialize_field("headers", &Headers(&parts.headers))?;
        request.serialize_field("body", *body)?;
        request.end()
    }
}

struct Params<'a>(&'a [String], &'a [String]);

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter().zip(self.1);
        let mut list = serializer.serialize_seq(Some(pairs.len()))?;
        for pair in pairs {
            list.serialize_element(&pair)?;
        }
        list.end()
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // `len` counts values, not names, as the iterator does.
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0 {
            list.serialize_element(&(name.as_str(), String::from_utf8_lossy(value.as_bytes())))?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use http::HeaderValue;
    use runlet_proto::codec::encode_frame;
    use runlet_proto::control::{ClientMessage, Request as ControlRequest};
    use runlet_proto::hook::{HookRequest, OnDisconnect, Respond, Route};

    use super::*;

    #[test]
    fn the_borrowed_form_has_the_bytes_of_the_owned_one() {
        let request = http::Request::post("/hook/shop/a%20b/7?x=1&y=%20")
            .header("host", "localhost")
            .header("x-twice", "one")
            .header("x-twice", "two")
            .header("x-bytes", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let route = Route {
            path: "shop/:name/:id".into(),
            methods: vec![],
            workflow: "shop".into(),
            respond: Respond::AtOnce,
            body_bytes_max: 9,
            timeout_ms: 9,
            on_disconnect: OnDisconnect::Stop,
        };
        let hook = Hook { route, names: vec!["name".into(), "id".into()] };
        let values = ["a b".to_owned(), "7".to_owned()];
        let body = Bytes::from_static(b"\x00body");
        let mut borrowed = Vec::new();
        let message = HookMessage { id: 77, hook: &hook, values: &values, parts: &parts, body: &body };
        encode_frame(&message, &mut borrowed).unwrap();

        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = HookRequest {
            workflow: "shop".into(),
            respond: Respond::AtOnce,
            method: "POST".into(),
            path: "/hook/shop/a%20b/7".into(),
            params: vec![pair("name", "a b"), pair("id", "7")],
            query: "x=1&y=%20".into(),
            headers: vec![
                pair("host", "localhost"),
                pair("x-twice", "one"),
                pair("x-twice", "two"),
                pair("x-bytes", "caf\u{fffd}"),
            ],
            body,
        };
        let mut owned = Vec::new();
        encode_frame(&ClientMessage { id: 77, request: ControlRequest::Hook(request) }, &mut owned).unwrap();
        assert_eq!(borrowed, owned);
    }
}
