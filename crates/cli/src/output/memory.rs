//! Shared memory and channels, as tables and as JSON.

use comfy_table::Cell;
use runlet_proto::memory::{ChannelSummary, Item, MemoryChange, MessageSummary, NamespaceSummary};
use serde::Serialize;
use serde_json::value::RawValue;

use super::one_line;
use super::table::{Table, or_dash, short_id};
use super::time::{age, elapsed, memory, now_unix_ms, rfc3339};

/// Characters of a value in a table.
const VALUE_CHARS_MAX: usize = 60;

/// A namespace as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamespaceView<'a> {
    name: &'a str,
    keys: u64,
    bytes: u64,
    locked_by: Option<String>,
    locked_for_ms: Option<u64>,
}

impl<'a> From<&'a NamespaceSummary> for NamespaceView<'a> {
    fn from(summary: &'a NamespaceSummary) -> Self {
        let NamespaceSummary { name, keys, bytes, locked_by, locked_for_ms } = summary;
        let locked_by = locked_by.map(|run| run.to_string());
        Self { name, keys: *keys, bytes: *bytes, locked_by, locked_for_ms: *locked_for_ms }
    }
}

/// A key as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ItemView<'a> {
    key: &'a str,
    value: Option<&'a RawValue>,
    version: u64,
    expires_at: Option<String>,
}

impl<'a> From<&'a Item> for ItemView<'a> {
    fn from(item: &'a Item) -> Self {
        let Item { key, value, version, expires_at_ms } = item;
        Self { key, value: raw(value), version: *version, expires_at: expires_at_ms.map(rfc3339) }
    }
}

/// A message as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageView<'a> {
    channel: &'a str,
    id: u64,
    message: Option<&'a RawValue>,
    sent_at: String,
    deliveries: u32,
    run: Option<String>,
}

impl<'a> From<&'a MessageSummary> for MessageView<'a> {
    fn from(summary: &'a MessageSummary) -> Self {
        let MessageSummary { channel, id, body, sent_at_ms, deliveries, run } = summary;
        let (message, run) = (raw(body), run.map(|run| run.to_string()));
        Self { channel, id: *id, message, sent_at: rfc3339(*sent_at_ms), deliveries: *deliveries, run }
    }
}

/// A change as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeView<'a> {
    namespace: &'a str,
    /// Absent: changes were missed.
    key: Option<&'a str>,
    /// 0: it is gone.
    version: u64,
    value: Option<&'a RawValue>,
}

impl<'a> From<&'a MemoryChange> for ChangeView<'a> {
    fn from(change: &'a MemoryChange) -> Self {
        let MemoryChange { namespace, key, version, value } = change;
        let key = (!key.is_empty()).then_some(key.as_str());
        Self { namespace, key, version: *version, value: value.as_deref().and_then(raw) }
    }
}

/// JSON text as it stands; none for what is no JSON, which no store keeps.
fn raw(text: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(text).ok()
}

/// `runlet memory ls`.
pub(crate) fn namespaces(found: &[NamespaceSummary], headers: bool) -> String {
    let mut table = Table::new(&["NAMESPACE", "KEYS", "SIZE", "LOCKED BY", "FOR"], headers);
    for namespace in found {
        table.row(vec![
            Cell::new(&namespace.name),
            Cell::new(namespace.keys),
            Cell::new(memory(namespace.bytes)),
            Cell::new(or_dash(namespace.locked_by.map(short_id))),
            Cell::new(or_dash(namespace.locked_for_ms.map(|ms| elapsed(ms.saturating_mul(1_000))))),
        ]);
    }
    table.finish()
}

/// `runlet memory ls NAMESPACE`.
pub(crate) fn items(found: &[Item], headers: bool) -> String {
    let now = now_unix_ms();
    let mut table = Table::new(&["KEY", "VERSION", "EXPIRES", "VALUE"], headers);
    for item in found {
        let expires = item.expires_at_ms.map(|at_ms| format!("in {}", age(now, at_ms)));
        table.row(vec![
            Cell::new(one_line(&item.key)),
            Cell::new(item.version),
            Cell::new(or_dash(expires)),
            Cell::new(shown(&item.value)),
        ]);
    }
    table.finish()
}

/// `runlet channel ls`.
pub(crate) fn channels(found: &[ChannelSummary], headers: bool) -> String {
    let mut table = Table::new(&["CHANNEL", "READY", "DELIVERED", "DEAD", "SIZE", "RECEIVERS"], headers);
    for channel in found {
        table.row(vec![
            Cell::new(&channel.name),
            Cell::new(channel.ready),
            Cell::new(channel.delivered),
            Cell::new(channel.dead),
            Cell::new(memory(channel.bytes)),
            Cell::new(channel.receivers),
        ]);
    }
    table.finish()
}

/// `runlet channel peek` and `runlet dead messages`.
pub(crate) fn messages(found: &[MessageSummary], headers: bool) -> String {
    let now = now_unix_ms();
    let mut table = Table::new(&["CHANNEL", "ID", "AGE", "DELIVERIES", "RUN", "MESSAGE"], headers);
    for message in found {
        table.row(vec![
            Cell::new(&message.channel),
            Cell::new(message.id),
            Cell::new(age(message.sent_at_ms, now)),
            Cell::new(message.deliveries),
            Cell::new(or_dash(message.run.map(short_id))),
            Cell::new(shown(&message.body)),
        ]);
    }
    table.finish()
}

/// A line of `runlet memory watch`.
pub(crate) fn changes(change: &MemoryChange) -> String {
    let MemoryChange { namespace: _, key, version, value } = change;
    let key = one_line(key);
    match (key.is_empty(), version, value) {
        (true, ..) => "… changes were missed: look again".to_owned(),
        (false, 0, _) => format!("{key} is gone"),
        (false, _, Some(value)) => format!("{key} = {}  (version {version})", shown(value)),
        (false, _, None) => format!("{key} has version {version}"),
    }
}

fn shown(text: &[u8]) -> String {
    let text = one_line(&String::from_utf8_lossy(text));
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_change_is_told_in_a_line() {
        let told = |key: &str, version, value: Option<&'static str>| {
            let value = value.map(|value| Bytes::from_static(value.as_bytes()));
            changes(&MemoryChange { namespace: "prices".to_owned(), key: key.to_owned(), version, value })
        };
        assert_eq!(told("a\u{1b}", 7, Some("{\"x\":\n1}")), "a? = {\"x\": 1}  (version 7)");
        assert_eq!(told("a", 7, None), "a has version 7");
        assert_eq!(told("a", 0, None), "a is gone");
        assert!(told("", 0, None).contains("missed"));
    }

    #[test]
    fn values_are_cut_between_characters_and_json_has_them_as_they_are() {
        let long = Bytes::from(format!("\"{}\"", "ü".repeat(80)));
        assert_eq!(shown(&long).chars().count(), VALUE_CHARS_MAX + 1);
        let item = Item { key: "k".to_owned(), value: long, version: 2, expires_at_ms: Some(0) };
        let view = serde_json::to_value(ItemView::from(&item)).expect("it is JSON");
        assert_eq!(view["value"].as_str().map(str::len), Some(160));
        assert_eq!(view["expiresAt"], "1970-01-01T00:00:00.000Z");
    }
}
