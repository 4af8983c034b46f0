//! What holds of every document: no panic, the same answer twice, a version that form does not change.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use runlet_workflow::template::Scope;
use runlet_workflow::{BlockConfig, Diagnostic, block::response::ResponseBody, parse, schema};
use serde_json::{Map, Value, json};

fn examples() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// What must hold of any answer.
fn check(text: &str) {
    match (parse("some.json", text), parse("some.json", text)) {
        (Ok(first), Ok(second)) => assert_eq!(format!("{first:?}"), format!("{second:?}")),
        (Err(first), Err(second)) => {
            assert_eq!(first, second);
            assert!(!first.is_empty());
            for found in &first {
                check_place(text, found);
            }
            assert!(first.iter().rev().skip(1).rev().is_sorted_by_key(|found| found.offset));
        }
        _ => panic!("two answers for one document: {text}"),
    }
}

fn check_place(text: &str, found: &Diagnostic) {
    assert!(found.offset + found.length <= text.len(), "{found:?}");
    assert!(found.line >= 1 && found.column >= 1, "{found:?}");
    assert!(text.is_char_boundary(found.offset) && text.is_char_boundary(found.offset + found.length), "{found:?}");
    assert!(!found.message.is_empty() && !found.message.contains('\n'), "{found:?}");
}

/// JSON text of a value in some other form: keys turned around, white space and comments in between.
fn restyle(value: &Value, seed: u64, out: &mut String) {
    let spaces = ["", " ", "\n", "\t/* x */ ", " // y\n"];
    let space = |n: u64, out: &mut String| out.push_str(spaces[usize::try_from((seed / 7 + n) % 5).unwrap()]);
    match value {
        Value::Array(list) => {
            out.push('[');
            for (n, element) in list.iter().enumerate() {
                space(n as u64, out);
                restyle(element, seed.rotate_left(7), out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (n, (key, member)) in members.iter().rev().enumerate() {
                space(n as u64, out);
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                space(n as u64 + 1, out);
                restyle(member, seed.rotate_left(9), out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let word = select(vec![
        "hook",
        "fetch",
        "html-scraper",
        "response",
        "{{ input }}",
        "{{ blocks.a.output }}",
        "{{ item",
        "30s",
        "10MiB",
        "a/:b",
        "https://a.example/{{ input.x }}",
        "h1 > a",
        "GET",
        "retry",
        "a",
        "b",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    // Keys the language knows make the random documents reach deep.
    let key = select(names(&schema()));
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every property name in the schema.
fn names(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if key == "properties" {
                    found.extend(member.as_object().unwrap().keys().cloned());
                }
                found.extend(names(member));
            }
        }
        Value::Array(list) => found.extend(list.iter().flat_map(names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.sort();
    found.dedup();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        check(&text);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_json_is_answered(value in json_value()) {
        check(&value.to_string());
        check(&json!([value, value]).to_string());
        check(&json!({ "blocks": value }).to_string());
    }

    #[test]
    fn any_block_is_answered(fields in json_value(), parameter in json_value(), kind in select(vec!["hook", "fetch", "html-scraper", "memory", "send", "receive", "response"])) {
        let mut block = fields.as_object().cloned().unwrap_or_default();
        block.insert("type".to_owned(), kind.into());
        block.insert("parameter".to_owned(), parameter);
        check(&json!([block]).to_string());
    }

    #[test]
    fn damaged_examples_are_answered(
        example in any::<Index>(),
        cuts in prop::collection::vec((any::<Index>(), any::<Index>(), "[\\[\\]{}\",:a0 \\\\é]{0,3}"), 1..4),
    ) {
        let examples = examples();
        let mut chars: Vec<char> = example.get(&examples).chars().collect();
        for (from, length, put) in cuts {
            let from = from.index(chars.len() + 1);
            let to = (from + length.index(4)).min(chars.len());
            chars.splice(from..to, put.chars());
        }
        check(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn the_version_is_that_of_the_meaning(example in any::<Index>(), seed in any::<u64>()) {
        let examples = examples();
        let text = example.get(&examples);
        let value: Value = jsonc_parser::parse_to_serde_value(text, &Default::default()).unwrap();
        let mut restyled = String::new();
        restyle(&value, seed, &mut restyled);
        let version = parse("some.json", text).unwrap().version;
        prop_assert_eq!(&parse("some.json", &restyled).unwrap().version, &version);
        prop_assert_eq!(version.len(), 64);
        let changed = restyled.replacen("hook", "\\u0068ook", 1);
        prop_assert_eq!(&parse("some.json", &changed).unwrap().version, &version);
        let mut other = value;
        let blocks = if other.is_array() { &mut other } else { &mut other["blocks"] };
        blocks[0]["path"] = "somewhere/else".into();
        prop_assert_ne!(parse("some.json", &other.to_string()).map(|d| d.version), Ok(version));
    }

    #[test]
    fn any_expression_is_answered(parts in prop::collection::vec(select(vec![
        "input", ".a", "[0]", "['b c']", " | ", "upper", "map('upper')", "map(attribute='a')", "default(1)", "join(',')", " + ", " * ",
        "1", "2.5", "'x'", "[", "]", "(", ")", "{", "}", ":", ",", " is ", "not ", "defined", " if ", " else ", "hook.query", "run.id",
        "range(3)", "list", "tojson", "~", "**", "-", "é", "\\", "\"", "}}", "{{", " ", "sort", "first", "length", " in ", " and ", "==",
    ]), 0..12), input in json_value()) {
        let body = format!("{{{{ {} }}}}", parts.concat());
        let document = json!([{ "type": "hook", "path": "a" }, { "type": "response", "header": { "content-type": "html" }, "body": [body, format!("é {body} b")] }]);
        check(&document.to_string());
        let Ok(definition) = parse("a.json", &document.to_string()) else { return Ok(()) };
        let BlockConfig::Response(response) = &definition.blocks[1].config else { panic!("the response") };
        let ResponseBody::Json(template) = &response.body else { panic!("a list") };
        let scope = Scope { input: Arc::new(input), hook: None, blocks: Vec::new(), run: Arc::new(json!({ "id": "r" })), item: None };
        let first = template.render(&scope);
        if let Err(error) = &first {
            prop_assert!(!error.message.is_empty() && error.code().starts_with("template-"));
        }
        prop_assert_eq!(first, template.render(&scope));
    }
}

/// Deep things that a recursive reader would fall over.
#[test]
fn depth_is_no_danger() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("/*", "*/"), ("[{\"a\":", "}]")] {
        check(&format!("{}1{}", open.repeat(50_000), close.repeat(50_000)));
        check(&open.repeat(50_000));
    }
    for part in [":not(", ":is(", ":has(", ":nth-child(1 of ", "a>", "(", "[a", "*|"] {
        for times in [10, 1000, 50_000] {
            let document = json!([{ "type": "html-scraper", "parameter": [{ "tags": format!("{}a{}", part.repeat(times), ")".repeat(times)) }] }]);
            check(&document.to_string());
        }
    }
    let path = vec![":a"; 300].join("/");
    check(&json!([{ "type": "hook", "path": path }]).to_string());
    check(
        &json!([{ "type": "fetch", "parameter": { "url": format!("https://{}/", "a.".repeat(100_000)) } }]).to_string(),
    );
}

/// A chain, a fan and a full graph of as many blocks as there may be.
#[test]
fn large_graphs_are_read() {
    let block = |id: usize, dependencies: Vec<String>| json!({ "id": format!("b{id}"), "type": "fetch", "dependencies": dependencies, "parameter": { "url": "https://a.example/" } });
    let chain: Vec<Value> =
        (0..1000).map(|id| block(id, if id == 0 { vec![] } else { vec![format!("b{}", id - 1)] })).collect();
    assert!(parse("a.json", &json!(chain).to_string()).is_ok());
    let backwards: Vec<Value> =
        (0..1000).map(|id| block(id, if id == 999 { vec![] } else { vec![format!("b{}", id + 1)] })).collect();
    assert!(parse("a.json", &json!(backwards).to_string()).is_ok());
    let ring: Vec<Value> = (0..1000).map(|id| block(id, vec![format!("b{}", (id + 1) % 1000)])).collect();
    let found = parse("a.json", &json!(ring).to_string()).unwrap_err();
    assert_eq!((found.len(), found[0].code), (1, "cycle"));
    let full: Vec<Value> = (0..250).map(|id| block(id, (0..id).map(|before| format!("b{before}")).collect())).collect();
    assert!(parse("a.json", &json!(full).to_string()).is_ok());
    let mut named: Vec<Value> = (0..999).map(|id| block(id, vec![])).collect();
    named.push(json!({ "type": "response", "dependencies": ["b5"], "body": ["{{ blocks.b5.output }}", "{{ blocks.b6.output }}"] }));
    let found = parse("a.json", &json!(named).to_string()).unwrap_err();
    assert_eq!((found.len(), found[0].code), (1, "not-before"));
}
