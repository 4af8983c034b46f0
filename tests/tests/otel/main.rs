//! Traces of runs are exported to a collector of OpenTelemetry: whole, with the ids that others were told, and with nothing
//! that is secret. The binary is the one with the feature `otel`, which scripts/test builds.

mod delivery;
mod spans;

use runlet_tests::http::{self, Answer};
use runlet_tests::runlet::Running;
use runlet_tests::upstream::Asked;
use serde_json::{Value, json};

pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const CALLER: &str = "b7ad6b7169203331";

pub(crate) fn hook(path: &str) -> Value {
    json!({ "type": "hook", "path": path, "methods": ["GET"] })
}

pub(crate) fn fetch(id: &str, url: &str) -> Value {
    json!({ "id": id, "type": "fetch", "parameter": { "url": url } })
}

pub(crate) fn transform(id: &str, jq: &str) -> Value {
    json!({ "id": id, "type": "transform", "parameter": { "jq": jq } })
}

pub(crate) fn get(running: &Running, path: &str, traceparent: Option<&str>) -> Answer {
    running.wait_route(path);
    let headers: Vec<_> = traceparent.map(|parent| ("traceparent", parent)).into_iter().collect();
    http::request(running.address, "GET", path, &headers, b"")
}

pub(crate) fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Trace, span and flags that a server was told.
pub(crate) fn told(asked: &Asked) -> [&str; 3] {
    let header = asked.headers.iter().find(|(name, _)| name == "traceparent");
    let (_, value) = header.unwrap_or_else(|| panic!("no traceparent: {asked:?}"));
    let [_, trace, span, flags] = value.split('-').collect::<Vec<_>>()[..] else { panic!("{value}") };
    [trace, span, flags]
}
