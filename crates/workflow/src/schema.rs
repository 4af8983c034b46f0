//! The JSON Schema of the language (2020-12), made of the same tables the parser reads.

use serde_json::{Map, Value, json};

use crate::block::html_scraper::RULE_FIELDS;
use crate::block::{KINDS, hook};
use crate::field::{self, Field};
use crate::limits;
use crate::parse::DEFINITION;
use crate::parse::blocks::COMMON;
use crate::parse::config::Kind;

/// The schema of a definition, in both its forms. It knows the shape of everything; what holds between blocks,
/// selectors, URLs and templates only [`crate::parse`] can say.
#[must_use]
pub fn schema() -> Value {
    let blocks = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": limits::BLOCKS_MAX,
        "items": { "$ref": "#/$defs/block" },
        "description": "The blocks, in order: each takes the output of the one before, unless it names dependencies.",
    });
    let mut properties = field::properties(DEFINITION);
    properties.insert("blocks".to_owned(), blocks.clone());
    let mut definitions = Map::new();
    definitions.insert("duration".to_owned(), duration());
    definitions.insert("size".to_owned(), size());
    definitions.insert("headers".to_owned(), headers());
    definitions.insert("rule".to_owned(), rule());
    let names: Vec<String> = KINDS.iter().map(|(name, _)| format!("#/$defs/{name}")).collect();
    for (name, kind) in KINDS {
        definitions.insert(name.to_owned(), block(name, kind));
    }
    definitions.insert(
        "block".to_owned(),
        json!({
            "type": "object",
            "required": ["type"],
            "properties": { "type": { "enum": KINDS.map(|(name, _)| name) } },
            "oneOf": names.iter().map(|name| json!({ "$ref": name })).collect::<Vec<_>>(),
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Runlet workflow",
        "description": "A workflow: a list of blocks, or an object around it. Comments and trailing commas are allowed.",
        "oneOf": [
            blocks,
            {
                "type": "object",
                "properties": properties,
                "required": ["blocks"],
                "additionalProperties": false,
            },
        ],
        "$defs": definitions,
    })
}

/// The schema as it is committed: indented, with a line break at its end.
#[must_use]
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// One kind of block.
fn block(name: &str, kind: &Kind) -> Value {
    // What a hook has of the common fields is its name: it starts the run, it does not run.
    let is_hook = std::ptr::eq(kind, &raw const hook::KIND);
    let common = COMMON.iter().filter(|field| !is_hook || matches!(field.name, "id" | "type" | "parameter"));
    let bare: Vec<&Field> = kind.fields.iter().filter(|field| kind.bare.contains(&field.name)).collect();
    let mut properties = field::properties(common);
    properties.extend(field::properties(bare));
    properties.insert("type".to_owned(), json!({ "const": name, "description": "Kind of the block." }));
    let mut required = vec!["type"];
    let parameter = match name {
        "html-scraper" => {
            required.push("parameter");
            let rules = json!({
                "type": "array",
                "minItems": 1,
                "maxItems": limits::RULES_MAX,
                "items": { "$ref": "#/$defs/rule" },
                "description": "The rules, in the order of the output.",
            });
            let below = object(&Map::from_iter([("rules".to_owned(), rules.clone())]), &["rules"]);
            json!({ "anyOf": [rules, below] })
        }
        "fetch" => {
            required.push("parameter");
            object(&field::properties(kind.fields), &["url"])
        }
        "exec" => {
            required.push("parameter");
            object(&field::properties(kind.fields), &["argv"])
        }
        "workflow" => {
            required.push("parameter");
            object(&field::properties(kind.fields), &["name"])
        }
        "memory" => {
            required.push("parameter");
            object(&field::properties(kind.fields), &["op"])
        }
        "send" | "receive" => {
            required.push("parameter");
            object(&field::properties(kind.fields), &["channel"])
        }
        _ => object(&field::properties(kind.fields), &[]),
    };
    properties.insert("parameter".to_owned(), parameter);
    object(&properties, &required)
}

fn object(properties: &Map<String, Value>, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn rule() -> Value {
    let mut rule = object(&field::properties(RULE_FIELDS), &[]);
    rule["oneOf"] = json!([{ "required": ["selector"] }, { "required": ["tags"] }]);
    rule
}

fn duration() -> Value {
    json!({
        "type": "string",
        "pattern": "^[0-9]*\\.?[0-9]+\\s*(ms|s|m|h|d)$",
        "description": "A duration with its unit: 500ms, 30s, 5m, 2h, 1d.",
    })
}

fn size() -> Value {
    json!({
        "type": "string",
        "pattern": "^[0-9]*\\.?[0-9]+\\s*([kKmMgG]?[iI]?)[bB]$",
        "description": "A size with its unit: 64KiB, 10MiB.",
    })
}

fn headers() -> Value {
    let one = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let mut pair = one.clone();
    pair["minProperties"] = json!(1);
    json!({ "anyOf": [one, { "type": "array", "items": pair }] })
}
