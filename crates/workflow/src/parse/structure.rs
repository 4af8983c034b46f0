//! What must hold of any JSON before its meaning is looked at: depth, keys, numbers; and its hash.

use std::collections::HashSet;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::Number;
use sha2::{Digest, Sha256};

use super::report::{Finding, Place, Report};
use super::spot::{Spot, clip};
use super::strings::scalar;
use crate::limits;

/// Comments and trailing commas are allowed; nothing else that is not JSON.
const JSONC: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Parses the text, or files why it is no JSON.
pub(crate) fn parse<'t>(report: &mut Report<'t>) -> Option<Value<'t>> {
    let text = report.text();
    let end = text.len();
    if end > limits::DOCUMENT_BYTES_MAX {
        let message = format!("the definition is {end} bytes long; at most {}", limits::DOCUMENT_BYTES_MAX);
        report.add(Finding::new("too-large", message), 0..0, &Place::ROOT);
        return None;
    }
    if let Some(at) = too_deep(text) {
        let message = format!("nested deeper than {} levels", limits::DOCUMENT_DEPTH_MAX);
        report.add(Finding::new("too-deep", message), at..at + 1, &Place::ROOT);
        return None;
    }
    match parse_to_ast(text, &CollectOptions::default(), &JSONC) {
        Ok(parsed) if parsed.value.is_some() => parsed.value,
        Ok(_) => {
            let finding = Finding::new("syntax", "the document is empty")
                .help("a definition is a list of blocks, or an object with `blocks`");
            report.add(finding, 0..0, &Place::ROOT);
            None
        }
        Err(error) => {
            let range = error.range();
            let (start, stop) = (range.start.min(end), range.end.min(end));
            let message = format!("this is no JSON: {}", lower_first(&error.kind().to_string()));
            report.add(Finding::new("syntax", message), start..stop.max(start), &Place::ROOT);
            None
        }
    }
}

/// Where brackets nest too deep, seen before a recursive parser is let loose on them.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(bytes.len(), |n| at + n);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = bytes[at + 2..].windows(2).position(|pair| pair == b"*/").map_or(bytes.len(), |n| at + 3 + n);
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > limits::DOCUMENT_DEPTH_MAX {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Files duplicate keys and numbers that cannot be carried, everywhere.
pub(crate) fn check(spot: &Spot<'_, '_>, report: &mut Report<'_>) {
    match spot.value {
        Value::Array(list) => {
            for (index, value) in list.elements.iter().enumerate() {
                check(&spot.element(index, value), report);
            }
        }
        Value::Object(object) => {
            let mut seen = HashSet::with_capacity(object.properties.len());
            for property in &object.properties {
                let name = property.name.as_str();
                let place = spot.place.key(name);
                if !seen.insert(name) {
                    let range = property.name.range();
                    let finding = Finding::new("duplicate-key", format!("`{}` is there twice", clip(name)));
                    report.add(finding.help("keep one of them"), range.start..range.end, &place);
                }
                check(&Spot { value: &property.value, place }, report);
            }
        }
        Value::NumberLit(number) => {
            if number.value.parse::<Number>().is_err() {
                let message = format!("{} is no number JSON can carry", clip(number.value));
                spot.refuse(Finding::new("invalid-value", message), report);
            }
        }
        Value::StringLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {}
    }
}

/// SHA-256 of the canonical JSON, hexadecimal.
pub(crate) fn version(value: &Value<'_>) -> String {
    use std::fmt::Write as _;
    let mut canonical = String::new();
    write_canonical(value, &mut canonical);
    Sha256::digest(canonical.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// JSON without white space, keys in byte order.
fn write_canonical(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Array(list) => {
            out.push('[');
            for (index, element) in list.elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(element, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            let mut members: Vec<_> = object.properties.iter().map(|member| (member.name.as_str(), member)).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::Value::from(name).to_string());
                out.push(':');
                write_canonical(&member.value, out);
            }
            out.push('}');
        }
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => {
            out.push_str(&scalar(value).to_string());
        }
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
