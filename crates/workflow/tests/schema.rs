//! The committed JSON Schema is the generated one, and it says the same as the parser.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use jsonc_parser::ParseOptions;
use jsonschema::Validator;
use serde_json::{Value, json};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/workflow.schema.json")
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&runlet_workflow::schema()).unwrap()
}

fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    found
}

fn value(text: &str) -> Value {
    jsonc_parser::parse_to_serde_value(text, &ParseOptions::default()).unwrap()
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    if std::env::var_os("RUNLET_BLESS").is_some() {
        fs::write(committed(), runlet_workflow::schema_text()).unwrap();
    }
    let committed = fs::read_to_string(committed()).unwrap();
    assert!(committed == runlet_workflow::schema_text(), "the schema has changed: RUNLET_BLESS=1 rewrites the file");
}

#[test]
fn it_is_a_schema() {
    jsonschema::draft202012::meta::validate(&runlet_workflow::schema()).unwrap();
}

#[test]
fn every_example_is_valid_for_the_schema_and_the_parser() {
    let validator = validator();
    let examples = examples();
    assert!(examples.len() >= 4, "the examples are there");
    for (name, text) in examples {
        if let Err(error) = validator.validate(&value(&text)) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
        if let Err(found) = runlet_workflow::parse(&name, &text) {
            panic!("{name}: {found:#?}");
        }
    }
}

#[test]
fn right_shapes_are_accepted_by_both() {
    let documents = [
        json!([{ "type": "hook", "parameter": { "path": "a", "methods": ["GET"], "respond": "at-once" } }]),
        json!([{ "type": "hook", "id": "h", "path": "a", "max_body_size": "1.5 MiB", "timeout": "0.5s", "on_disconnect": "continue" }]),
        json!({
            "$schema": "x", "name": "a.b-c_1", "description": "d", "priority": 9, "isolation": "auto", "timeout": "500 ms",
            "concurrency": 1, "durability": "relaxed", "limits": { "memory": "1GiB", "cpu": "1h" }, "on_error": "retry",
            "blocks": [{
                "type": "fetch", "id": "f", "input": [1], "dependencies": [], "timeout": "1d", "when": "{{ input }}",
                "for_each": "{{ input }}", "parallel": 256, "on_error": "skip", "tls": { "verify": false, "ca_file": "x" },
                "retry": { "attempts": 100, "delay": "0s", "backoff": 1, "max_delay": "30s", "jitter": false },
                "parameter": {
                    "url": "{{ input }}", "method": "{{ input }}", "header": [{ "a": "b" }], "query": { "a": [1, null] },
                    "form": { "a": "b" }, "connect_timeout": "1s", "max_redirects": 0, "max_body_size": "64mib",
                    "encoding": "utf-8", "response": "auto", "fail_on_status": false,
                },
            }],
        }),
        json!([{ "type": "html-scraper", "parameter": { "rules": [{ "tags": "a", "extract": { "attr": "href" } }] } }]),
        json!([{ "type": "html-scraper", "parameter": [{
            "selector": "a", "name": "n", "extract": "value", "limit": 1, "offset": 0, "multiple": true, "trim": false,
        }] }]),
        json!([{ "type": "response", "status": "{{ input }}", "headers": {}, "body": null }]),
        json!({ "limits": { "processes": 512 }, "blocks": [{ "type": "exec", "timeout": "1s", "parameter": {
            "argv": ["jq", "{{ input }}"], "stdin": "text", "output": "text",
        } }] }),
        json!([{ "type": "workflow", "timeout": "1m", "input": 1, "parameter": { "name": "other", "wait": false } }]),
        json!([{ "type": "response", "parameter": { "status": 599, "header": [], "body": { "a": 1 } } }]),
        json!({
            "memory": ["a", "b.c-d:read"],
            "dependencies": ["workflow:x", { "workflow": "y", "max_age": "1h", "start": false, "on_failure": "continue" }],
            "blocks": [
                { "type": "memory", "dependencies": ["workflow:z"], "parameter": {
                    "op": "set", "namespace": "a", "key": "{{ input.k }}", "value": { "v": ["{{ input }}"] }, "ttl": "1d",
                    "detail": true, "lock": true,
                } },
                { "type": "memory", "dependencies": ["memory", { "workflow": "z" }], "parameter": {
                    "op": "get", "namespace": "b.c-d", "key": "k", "default": null, "lock": false,
                } },
                { "type": "memory", "parameter": { "op": "add", "namespace": "a", "key": "k", "value": -1.5, "lock": { "ttl": "1h" } } },
                { "type": "memory", "parameter": {
                    "op": "compare-and-set", "namespace": "a", "key": "k", "version": "{{ input.version }}", "value": null,
                } },
                { "type": "memory", "parameter": { "op": "list", "namespace": "a", "prefix": "p", "after": "{{ input }}", "limit": 1000 } },
                { "type": "memory", "parameter": { "op": "watch", "namespace": "b.c-d", "key": "k", "version": 7, "timeout": "5s" } },
                { "type": "memory", "parameter": { "op": "unlock", "namespace": "a" } },
                { "type": "send", "parameter": { "channel": "{{ input }}", "message": [1] } },
                { "type": "receive", "timeout": "1m", "parameter": {
                    "channel": "c", "timeout": "30s", "default": {}, "acknowledge": "run", "deliveries": 100, "detail": true,
                } },
            ],
        }),
    ];
    let validator = validator();
    for document in documents {
        if let Err(error) = validator.validate(&document) {
            panic!("{document}: {error} at {}", error.instance_path());
        }
        if let Err(found) = runlet_workflow::parse("test.json", &document.to_string()) {
            panic!("{document}: {found:#?}");
        }
    }
}

/// Documents that are wrong in their shape: the schema refuses what the parser refuses.
#[test]
fn wrong_shapes_are_refused_by_both() {
    let hook = json!({ "type": "hook", "path": "a" });
    let documents = [
        json!(1),
        json!([]),
        json!({}),
        json!({ "blocks": [] }),
        json!({ "blocks": [hook], "nam": "x" }),
        json!({ "blocks": [hook], "name": "Not A Name" }),
        json!({ "blocks": [hook], "priority": 10 }),
        json!({ "blocks": [hook], "timeout": 30 }),
        json!({ "blocks": [hook], "timeout": "30" }),
        json!({ "blocks": [hook], "concurrency": 0 }),
        json!({ "blocks": [hook], "isolation": "vm" }),
        json!({ "blocks": [hook], "durability": "always" }),
        json!({ "blocks": [hook], "limits": { "memory": 5 } }),
        json!([{ "type": "workflow", "parameter": {} }]),
        json!([{ "type": "workflow", "parameter": { "name": "Not A Name" } }]),
        json!([{ "type": "workflow", "parameter": { "name": "a", "wait": "no" } }]),
        json!([{ "path": "a" }]),
        json!([{ "type": "hoook", "path": "a" }]),
        json!([{ "type": "hook", "path": 1 }]),
        json!([{ "type": "hook", "path": "a", "methods": "GET" }]),
        json!([{ "type": "hook", "path": "a", "respond": "later" }]),
        json!([{ "type": "hook", "path": "a", "when": "{{ true }}" }]),
        json!([{ "type": "hook", "path": "a", "auth": {} }]),
        json!([{ "type": "fetch" }]),
        json!([{ "type": "fetch", "parameter": {} }]),
        json!([{ "type": "fetch", "url": "https://a.example/" }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/", "timeout": 5 } }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/", "max_redirects": 51 } }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/", "tls": { "verfy": false } } }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/", "headers": [1] } }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/" }, "for_each": [1, 2] }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/" }, "retry": { "attempts": 0 } }]),
        json!([{ "type": "fetch", "parameter": { "url": "https://a.example/" }, "on_error": "ignore" }]),
        json!([{ "type": "html-scraper" }]),
        json!([{ "type": "html-scraper", "parameter": [] }]),
        json!([{ "type": "html-scraper", "parameter": [{}] }]),
        json!([{ "type": "html-scraper", "parameter": [{ "tags": "a", "selector": "b" }] }]),
        json!([{ "type": "html-scraper", "parameter": [{ "tags": "a", "limit": 0 }] }]),
        json!([{ "type": "html-scraper", "parameter": [{ "tags": "a", "extract": "txt" }] }]),
        json!([{ "type": "response", "status": 99 }]),
        json!([{ "type": "response", "header": "json" }]),
        json!([{ "type": "schedule", "parameter": { "every": "5m" } }]),
        json!([{ "type": "exec" }]),
        json!([{ "type": "exec", "parameter": {} }]),
        json!([{ "type": "exec", "parameter": { "argv": [] } }]),
        json!([{ "type": "exec", "parameter": { "argv": "jq" } }]),
        json!([{ "type": "exec", "parameter": { "argv": ["jq"], "stdin": "csv" } }]),
        json!({ "blocks": [hook], "limits": { "processes": 513 } }),
    ];
    refused_by_both(&documents);
}

#[test]
fn wrong_shapes_of_what_runs_share_are_refused_by_both() {
    let hook = json!({ "type": "hook", "path": "a" });
    refused_by_both(&[
        json!({ "blocks": [hook], "memory": ["prices:write"] }),
        json!({ "blocks": [hook], "dependencies": ["rates"] }),
        json!({ "blocks": [hook], "memory": "prices" }),
        json!({ "blocks": [hook], "dependencies": [{ "max_age": "1h" }] }),
        json!({ "blocks": [hook], "dependencies": [{ "workflow": "rates", "on_failure": "skip" }] }),
        json!([hook, { "type": "response", "dependencies": [{ "workflow": "rates", "max_age": 60 }] }]),
        json!([{ "type": "memory", "parameter": { "op": "put" } }]),
        json!([{ "type": "memory", "parameter": { "key": "a" } }]),
        json!({ "memory": ["m"], "blocks": [{ "type": "memory", "parameter": { "op": "list", "limit": 1001 } }] }),
        json!({ "memory": ["m"], "blocks": [{ "type": "memory", "parameter": { "op": "unlock", "lock": { "tll": "1s" } } }] }),
        json!([{ "type": "send", "parameter": { "message": 1 } }]),
        json!([{ "type": "receive", "parameter": { "channel": "c", "deliveries": 0 } }]),
        json!([{ "type": "receive", "parameter": { "channel": "c", "acknowledge": "never" } }]),
    ]);
}

fn refused_by_both(documents: &[Value]) {
    let validator = validator();
    for document in documents {
        assert!(!validator.is_valid(document), "the schema accepts {document}");
        assert!(runlet_workflow::parse("test.json", &document.to_string()).is_err(), "the parser accepts {document}");
    }
}
