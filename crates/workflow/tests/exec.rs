//! The `exec` block: what is read of it, and what is said about bad ones.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use runlet_workflow::block::exec::{Exec, Stdin, Stdout, is_program_name};
use runlet_workflow::{BlockConfig, Definition, Diagnostic, limits, parse, programs_not_allowed};
use serde_json::{Value, json};

fn block(parameter: &Value) -> Value {
    json!([{ "type": "exec", "parameter": parameter }])
}

fn definition(document: &Value) -> Definition {
    parse("test.json", &document.to_string()).unwrap_or_else(|found| panic!("{document}: {found:#?}"))
}

fn exec(definition: &Definition) -> &Exec {
    let BlockConfig::Exec(exec) = &definition.blocks[0].config else { panic!("not an exec block") };
    exec
}

/// The only finding about a document.
fn finding(document: &Value) -> Diagnostic {
    let mut found = parse("test.json", &document.to_string()).unwrap_err();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn what_it_says_is_read() {
    let plain = definition(&block(&json!({ "argv": ["jq"] })));
    let read = exec(&plain);
    assert_eq!(
        (read.program.as_str(), read.arguments.len(), read.stdin, read.output),
        ("jq", 0, Stdin::Json, Stdout::Json)
    );
    assert!(!plain.blocks[0].has_templates());
    let full = definition(&block(
        &json!({ "argv": ["a.b+c", "-x", "{{ input.size }}", ""], "stdin": "none", "output": "text" }),
    ));
    let read = exec(&full);
    assert_eq!((read.stdin, read.output), (Stdin::Nothing, Stdout::Text));
    let literals: Vec<_> = read.arguments.iter().map(|argument| argument.literal()).collect();
    assert_eq!(literals, [Some("-x"), None, Some("")]);
    assert!(full.blocks[0].has_templates());
    assert_eq!(full.programs().map(|(index, exec)| (index, exec.program.as_str())).collect::<Vec<_>>(), [(0, "a.b+c")]);
    assert_eq!(exec(&definition(&block(&json!({ "argv": ["jq"], "stdin": "text" })))).stdin, Stdin::Text);
}

#[test]
fn a_bad_program_is_refused_with_the_way_out() {
    for (argv, code, path, help) in [
        (json!(["/usr/bin/jq"]), "invalid-name", "[0].parameter.argv[0]", "--allow-exec jq="),
        (json!(["../jq", "."]), "invalid-name", "[0].parameter.argv[0]", "write \"jq\""),
        (json!(["{{ input.program }}"]), "invalid-name", "[0].parameter.argv[0]", "\"jq\""),
        (json!(["j q"]), "invalid-name", "[0].parameter.argv[0]", "63 letters"),
        (json!([""]), "invalid-name", "[0].parameter.argv[0]", "63 letters"),
        (json!([]), "missing-field", "[0].parameter.argv", "\"argv\": ["),
        (json!("jq ."), "wrong-type", "[0].parameter.argv", "no shell splits it"),
        (json!(["jq", 1]), "wrong-type", "[0].parameter.argv[1]", "\"1\""),
        (json!(["jq", "a\0b"]), "invalid-value", "[0].parameter.argv[1]", ""),
        (json!(vec!["jq"; limits::EXEC_ARGUMENTS_MAX + 2]), "too-many", "[0].parameter.argv", "stdin"),
        (json!(["jq", "x".repeat(limits::EXEC_ARGUMENTS_BYTES_MAX)]), "too-long", "[0].parameter.argv", "stdin"),
    ] {
        let found = finding(&block(&json!({ "argv": argv })));
        assert_eq!((found.code, found.path.as_str()), (code, path), "{argv}: {found:#?}");
        assert!(found.help.unwrap_or_default().contains(help), "{argv}");
    }
}

#[test]
fn other_fields_are_checked_too() {
    for (document, code, help) in [
        (block(&json!({})), "missing-field", "\"argv\": ["),
        (json!([{ "type": "exec" }]), "missing-field", "argv"),
        (
            json!([{ "type": "exec", "argv": ["jq"], "parameter": { "argv": ["jq"] } }]),
            "unknown-field",
            "under `parameter`",
        ),
        (block(&json!({ "argv": ["jq"], "stdin": "jsno" })), "invalid-value", "`json`"),
        (block(&json!({ "argv": ["jq"], "ouput": "json" })), "unknown-field", "`output`"),
        (block(&json!({ "argv": ["jq", "{{ inputt }}"] })), "unknown-name", "input"),
        (json!({ "isolation": "thread", "blocks": block(&json!({ "argv": ["jq"] })) }), "isolation", "process"),
        (json!({ "limits": { "processes": 0 }, "blocks": block(&json!({ "argv": ["jq"] })) }), "invalid-value", ""),
        (json!({ "limits": { "processes": 513 }, "blocks": block(&json!({ "argv": ["jq"] })) }), "invalid-value", ""),
    ] {
        let found = finding(&document);
        assert_eq!(found.code, code, "{document}: {found:#?}");
        assert!(found.help.clone().unwrap_or_default().contains(help), "{document}: {found:#?}");
    }
}

#[test]
fn what_an_operator_does_not_allow_is_found_where_it_stands() {
    let text = "{ \"name\": \"a\", \"blocks\": [\n  { \"type\": \"response\" },\n  { \"id\": \"shrink\", \"type\": \"exec\",\n    \"parameter\": { \"argv\": [\"jqq\", \".\"] } } ] }";
    let definition = parse("a.json", text).unwrap();
    assert_eq!(programs_not_allowed(&definition, &["sort", "jqq"], "a.json", text), []);
    let found = programs_not_allowed(&definition, &["sort", "jq"], "a.json", text);
    assert_eq!(found.len(), 1);
    let found = &found[0];
    assert_eq!(
        (found.code, found.line, found.column, found.path.as_str()),
        ("exec-not-allowed", 4, 29, "blocks[1].parameter.argv[0]")
    );
    assert!(found.message.contains("`jqq`") && found.message.contains("`shrink`"), "{}", found.message);
    let help = found.help.as_deref().unwrap();
    assert!(help.contains("did you mean `jq`?") && help.contains("--allow-exec jqq="), "{help}");
    let none = programs_not_allowed(&definition, &[], "a.json", text);
    assert!(!none[0].help.as_deref().unwrap().contains("did you mean"));
}

#[test]
fn a_name_is_short_and_no_path() {
    for name in ["jq", "_x", "7z", "python3.11", "g++", "clang-format"] {
        assert!(is_program_name(name), "{name}");
    }
    for name in ["", ".", "..", "-x", "a/b", "a b", "ä", "a=b", "a,b", "a;b", &"x".repeat(65)] {
        assert!(!is_program_name(name), "{name}");
    }
}
