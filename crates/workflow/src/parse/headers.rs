//! Header fields: an object, or a list of one-pair objects.

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;

use super::report::{Finding, Place, Report};
use super::spot::{Spot, clip};
use super::strings::plain_key;
use crate::template::{Escape, TextTemplate};

/// Short names of media types.
const SHORT_MEDIA_TYPES: [(&str, &str); 5] = [
    ("json", "application/json"),
    ("html", "text/html; charset=utf-8"),
    ("text", "text/plain; charset=utf-8"),
    ("xml", "application/xml"),
    ("csv", "text/csv; charset=utf-8"),
];

/// Fields that say how a message travels: whoever sends it sets them.
const TRANSPORT: [&str; 7] =
    ["connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Reads header fields, names in lower case.
pub(crate) fn read(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Vec<(String, TextTemplate)> {
    let mut headers = Vec::new();
    match spot.value {
        Value::Object(object) => pairs(object, &spot.place, &mut headers, report),
        Value::Array(list) => {
            for (index, value) in list.elements.iter().enumerate() {
                let element = spot.element(index, value);
                match value.as_object() {
                    Some(object) if !object.properties.is_empty() => {
                        pairs(object, &element.place, &mut headers, report);
                    }
                    Some(_) | None => {
                        let finding = element.mismatch("an object with one header field");
                        element.refuse(finding.help(r#"such as { "content-type": "json" }"#), report);
                    }
                }
            }
        }
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {
            spot.expected("an object, or a list of one-pair objects", report);
        }
    }
    headers
}

fn pairs(object: &Object<'_>, place: &Place<'_>, headers: &mut Vec<(String, TextTemplate)>, report: &mut Report<'_>) {
    let fields = super::spot::Fields::new(object, *place);
    for property in &object.properties {
        let name = property.name.as_str();
        let range = property.name.range().start..property.name.range().end;
        let spot = Spot { value: &property.value, place: place.key(name) };
        plain_key(name, range.clone(), &fields, report);
        let lower = name.to_ascii_lowercase();
        if !is_token(name) {
            let message = format!("`{}` is no header name", clip(name));
            let finding = Finding::new("invalid-value", message).help("letters, digits and !#$%&'*+-.^_`|~");
            report.add(finding, range, &spot.place);
        } else if TRANSPORT.contains(&lower.as_str()) {
            let message = format!("`{lower}` says how a message travels and is set by the engine");
            report.add(Finding::new("invalid-value", message).help("leave it out"), range, &spot.place);
        }
        if let Some(value) = spot.text(Escape::None, report) {
            let value = check_value(value, &lower, &spot, report);
            headers.push((lower, value));
        }
    }
}

/// Writes short media types out; a value that would break the message is refused here, a rendered one when it is sent.
fn check_value(value: TextTemplate, name: &str, spot: &Spot<'_, '_>, report: &mut Report<'_>) -> TextTemplate {
    let Some(text) = value.literal() else { return value };
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let finding = Finding::new("invalid-value", "a header value cannot hold line breaks or control characters");
        spot.refuse(finding, report);
        return value;
    }
    if !matches!(name, "content-type" | "accept") {
        return value;
    }
    if let Some((_, long)) = SHORT_MEDIA_TYPES.iter().find(|(short, _)| *short == text) {
        return TextTemplate::from_literal(*long);
    }
    if !text.contains('/') {
        let message = format!("`{}` is no media type", clip(text));
        let finding = Finding::new("invalid-value", message)
            .help("such as \"application/json\"; `json`, `html`, `text`, `xml` and `csv` are short for theirs");
        spot.refuse(finding, report);
    }
    value
}

/// Whether a text is a token of RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The media type a message certainly has: its literal `content-type` without parameters, in lower case.
pub(crate) fn media_type(headers: &[(String, TextTemplate)]) -> Option<String> {
    let (_, value) = headers.iter().find(|(name, _)| name == "content-type")?;
    let media_type = value.literal()?.split(';').next()?;
    Some(media_type.trim().to_ascii_lowercase())
}
