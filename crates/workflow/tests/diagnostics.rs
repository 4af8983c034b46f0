//! What is said about bad documents: rule, place, message and way out.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;

use runlet_workflow::{Definition, Diagnostic, hook_conflicts, parse};

fn render(found: &[Diagnostic]) -> String {
    found.iter().fold(String::new(), |mut out, d| {
        let _ = writeln!(out, "{}:{} {} [{}] {}", d.line, d.column, d.code, d.path, d.message);
        if let Some(help) = &d.help {
            let _ = writeln!(out, "    help: {help}");
        }
        out
    })
}

/// All findings of several documents.
fn report(documents: &[&str]) -> String {
    documents.iter().fold(String::new(), |mut out, text| {
        let found = parse("test.json", text).map(|_| Vec::new()).unwrap_or_else(|found| found);
        let _ = writeln!(out, "{text}\n{}", render(&found));
        out
    })
}

fn definition(file: &str, text: &str) -> Definition {
    parse(file, text).unwrap_or_else(|found| panic!("{text}\n{}", render(&found)))
}

/// A fetch with these parameters after its URL.
fn fetch(more: &str) -> String {
    format!(r#"[{{ "type": "fetch", "parameter": {{ "url": "https://a.example/"{more} }} }}]"#)
}

#[test]
fn documents_as_a_whole() {
    let deep = "[".repeat(65);
    let documents = [
        "",
        "  // nothing\n",
        "{",
        "[{ \"type\": \"hook\" \"path\": \"a\" }]",
        "{ 'name': 1 }",
        "5",
        "[]",
        "[1, null]",
        "{}",
        r#"{ "blocks": {} }"#,
        r#"{ "bloks": [] }"#,
        r#"[{ "type": "hook", "path": "a", "path": "b" }]"#,
        r#"[{ "type": "response", "body": { "x": 1e999, "é": [{ "k": 1, "k": 2 }] } }]"#,
        "[{ \"type\": \"response\", \"body\": \"\\ud800\" }]",
        &deep,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn fields_of_the_object_form() {
    let documents = [
        r#"{ "name": "Head Lines", "priority": 10, "isolation": "proces", "timeout": 30, "concurrency": 0, "durability": "strict",
  "memory": ["prices"], "limits": { "memory": 256, "cpu": "10", "disk": "1GiB" }, "dependencies": ["workflow:rates"], "on_error": "ignore",
  "description": 5, "prioritty": 3, "blocks": [{ "type": "response" }] }"#,
        r#"{ "isolation": "process", "timeout": "0s", "priority": "5", "concurrency": 1.5, "blocks": [{ "type": "response" }] }"#,
        r#"{ "isolation": "thread", "timeout": "1 fortnight", "limits": { "memory": "0B", "cpu": "400d" }, "blocks": [{ "type": "response" }] }"#,
        r#"{ "limits": { "cpu": "1500ms" }, "blocks": [{ "type": "response" }] }"#,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn fields_every_block_has() {
    let documents = [
        r#"[{ "path": "a" }]"#,
        r#"[{ "type": 5 }]"#,
        r#"[{ "type": "html_scraper" }, { "type": "fetsch" }, { "type": "schedule" }, { "type": "memory", "parameter": {} }]"#,
        r#"[{ "type": "workflow", "name": "a" }, { "type": "workflow", "parameter": { "name": "{{ input }}", "wait": "x" } }]"#,
        r#"[{ "type": "response", "id": "9 lives", "timeout": 5, "when": "yes", "for_each": [1], "parallel": 0, "retry": 3, "on_error": "skipp", "wehn": 1 }]"#,
        r#"[{ "type": "response", "retry": { "attempts": 101, "delay": "1m", "max_delay": "1s", "backoff": 0.5, "jitter": "true", "dealy": 1 } }]"#,
        r#"[{ "type": "fetch", "url": "https://a.example/", "parameter": { "timeout": "5s", "retry": {} } }]"#,
        r#"[{ "type": "response", "parallel": 3 }, { "type": "response", "when": "{{ input }} " }]"#,
        r#"[{ "type": "response", "when": true, "for_each": "{{ input }}", "header": {}, "parameter": { "header": {} } }]"#,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn hooks() {
    let documents = [
        r#"[{ "type": "hook" }]"#,
        r#"[{ "type": "hook", "path": "/" }]"#,
        r#"[{ "type": "hook", "path": "a//b" }, { "type": "hook", "path": "a/../b" }, { "type": "hook", "path": "a/{b}" }]"#,
        r#"[{ "type": "hook", "path": "a/*" }, { "type": "hook", "path": "a/:" }, { "type": "hook", "path": ":x/:x" }]"#,
        r#"[{ "type": "hook", "path": "caf\u00e9" }, { "type": "hook", "path": "a b" }, { "type": "hook", "path": "a?b=c" }]"#,
        r#"[{ "type": "hook", "path": "a", "methods": ["get", "GET", "a b", "CONNECT", 5], "respond": "now", "max_body_size": "9MiB", "timeout": "30", "on_disconnect": "go" }]"#,
        r#"[{ "type": "hook", "path": "a", "methods": [], "auth": { "bearer": "x" }, "idempotency_key": "x", "dependencies": [], "when": "{{ true }}", "retry": {} }]"#,
        r#"[{ "type": "hook", "path": "a/:b" }, { "type": "hook", "path": "/a/:c/", "methods": ["GET"] }]"#,
        r#"[{ "type": "response" }, { "type": "hook", "path": "a" }]"#,
        r#"[{ "type": "hook", "path": "a", "parameter": { "path": "b", "methodz": [] } }]"#,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn fetches() {
    let parameters = [
        r#", "metod": "GET", "timeout": 30, "connect_timeout": "10", "max_redirects": 51, "max_body_size": "65MiB", "encoding": "utf-9""#,
        r#", "follow_redirects": "yes", "response": "xml", "fail_on_status": ["404", 99], "tls": { "verfy": false }, "ca_file": "x""#,
        r#", "follow_redirects": false, "max_redirects": 3, "fail_on_status": [], "tls": false, "method": "GE T""#,
        r#", "headers": { "x y": "a", "x": 5, "content-length": "3", "a": "b\nc" }, "header": []"#,
        r#", "headers": [{ "a": "b" }, {}, "c", { "{{ input }}": "d" }]"#,
        r#", "body": { "a": 1 }, "json": 1, "form": { "a": { "b": 1 } }, "query": [1]"#,
        r#", "proxy": "http://p", "cache": "1h", "cookies": true, "pagination": {}, "auth": {}"#,
    ];
    let mut documents: Vec<String> = parameters.iter().map(|more| fetch(more)).collect();
    let urls = [
        "",
        "example.org",
        "//example.org",
        "ftp://example.org",
        "https://",
        "http://a b/",
        "https://[::1",
        "file:///etc/passwd",
        "{{ input",
    ];
    documents.extend(urls.iter().map(|url| format!(r#"[{{ "type": "fetch", "parameter": {{ "url": "{url}" }} }}]"#)));
    documents.push(r#"[{ "type": "fetch", "parameter": { "url": "example.org/{{ input }}" } }]"#.to_owned());
    documents.push(r#"[{ "type": "fetch", "parameter": { "url": "ftp://{{ input }}/" } }]"#.to_owned());
    documents.push(r#"[{ "type": "fetch", "parameter": [] }]"#.to_owned());
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn scrapers() {
    let rules = [
        r#"{}"#,
        r#"{ "selecter": "h1" }"#,
        r#"{ "selector": "h1", "tags": "h1" }"#,
        r#"{ "tags": "h1", "limit": 0, "offset": -1, "multiple": "no", "trim": 1, "name": "" }"#,
        r#"{ "tags": "h1[" }"#,
        r#"{ "tags": "" }"#,
        r#"{ "tags": "a:contains('x')" }"#,
        r#"{ "tags": "//div/h1" }"#,
        r#"{ "tags": "li:eq(2)" }"#,
        r#"{ "tags": "h1::text" }"#,
        r#"{ "tags": "h1", "extract": "innerText" }"#,
        r#"{ "tags": "h1", "extract": "attr" }"#,
        r#"{ "tags": "h1", "extract": { "atr": "href" } }"#,
        r#"{ "tags": "h1", "extract": "html", "attr": "href" }"#,
        r#"{ "tags": "h1", "attr": "a b" }"#,
        r#"{ "tags": "h1", "regex": "x", "fields": [], "required": true }"#,
        r#"{ "tags": "h1" }, { "tags": "h2", "name": "h1" }"#,
    ];
    let mut documents: Vec<String> =
        rules.iter().map(|rules| format!(r#"[{{ "type": "html-scraper", "parameter": [{rules}] }}]"#)).collect();
    documents.push(r#"[{ "type": "html-scraper" }]"#.to_owned());
    documents.push(r#"[{ "type": "html-scraper", "parameter": { "rule": [] } }]"#.to_owned());
    documents.push(r#"[{ "type": "html-scraper", "rules": [] }]"#.to_owned());
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn responses() {
    let documents = [
        r#"[{ "type": "response", "status": 99 }]"#,
        r#"[{ "type": "response", "status": 100 }]"#,
        r#"[{ "type": "response", "status": "404" }]"#,
        r#"[{ "type": "response", "status": "40{{ input }}" }]"#,
        r#"[{ "type": "response", "heders": {} }]"#,
        r#"[{ "type": "response", "header": { "transfer-encoding": "chunked" }, "body": { "{{ input }}": 1 } }]"#,
        r#"[{ "type": "response", "headers": { "content-type": "jsn" } }]"#,
        r#"[{ "type": "response", "status": "{{ hook.a\nb\u001bm }}" }]"#,
        r#"[{ "type": "response" }, { "type": "response" }]"#,
        r#"[{ "type": "response", "for_each": "{{ input }}" }]"#,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn blocks_among_each_other() {
    let documents = [
        r#"[{ "type": "response", "id": "a", "when": "{{ input }}" }, { "type": "response", "id": "a" }]"#,
        r#"[{ "type": "fetch", "id": "page", "parameter": { "url": "https://a.example" } }, { "type": "response", "dependencies": ["pag", "page", "page"] }]"#,
        r#"[{ "type": "response", "id": "a", "dependencies": ["a", "workflow:rates", 5] }]"#,
        r#"[{ "type": "fetch", "id": "a", "dependencies": ["c"], "parameter": { "url": "https://a.example" } },
  { "type": "fetch", "id": "b", "parameter": { "url": "https://a.example" } }, { "type": "response", "id": "c" }]"#,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn templates() {
    let bodies = [
        "{{ inptu.title }}",
        "{{ input.title",
        "{{ }}",
        "a {{ input. }} b {{ 1 + }}",
        "{{ input | upperr }} {{ input is defned }} {{ now() }}",
        "{{ env.HOME }} {{ secrets.key }}",
        "{{ hook.query.q }}",
        "{{ item }} {{ index }}",
        "{{ blocks }}",
        "{{ blocks.pag.output }}",
        "{{ blocks.page.body }}",
        "{{ blocks.html-scraper.output }}",
        "{{ blocks.response.output }}",
        "é {{ blocks.other.output }}",
        "\\u00e9 {{ nothing }}",
    ];
    let documents: Vec<String> = bodies
        .iter()
        .map(|body| {
            format!(
                "[{{ \"type\": \"fetch\", \"id\": \"page\", \"parameter\": {{ \"url\": \"https://a.example\" }} }},\n\
                 {{ \"type\": \"fetch\", \"id\": \"other\", \"dependencies\": [], \"parameter\": {{ \"url\": \"https://a.example\" }} }},\n\
                 {{ \"type\": \"response\", \"dependencies\": [\"page\"], \"body\": {{ \"b\": [\"{body}\"] }} }}]"
            )
        })
        .collect();
    let out = documents.iter().zip(bodies).fold(String::new(), |mut out, (text, body)| {
        let found = parse("test.json", text).unwrap_err();
        let _ = writeln!(out, "{body}\n{}", render(&found));
        out
    });
    insta::assert_snapshot!(out);
}

#[test]
fn members_that_are_never_there() {
    let with = |body: &str| {
        let hook = r#"{ "type": "hook", "path": "things/:kind/:id" }, { "type": "hook", "path": "other/:name" }"#;
        format!(r#"[{hook}, {{ "type": "response", "body": "{body}" }}]"#)
    };
    let texts = [
        "{{ hook.parms.id }}",
        "{{ hook['querry'].q }}",
        "{{ run.attempts + 1 }} {{ run.priority }}",
        "{{ hook.params.idd }}",
        "{{ hook.params.colour }}",
        // All of these may be there.
        "{{ hook.params.id }} {{ hook.params.name }} {{ hook.query.any }} {{ hook.headers['x-y'] }} {{ hook.body.a.b }}",
        "{{ hook.params }} {{ hook.method }} {{ hook.encoding | default('') }} {{ run.createdAt }} {{ hook }}",
    ];
    let mut documents: Vec<String> = texts.map(with).into();
    documents
        .push(r#"[{ "type": "hook", "path": "x" }, { "type": "response", "body": "{{ hook.params.id }}" }]"#.into());
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn a_hook_is_below_hook_already() {
    insta::assert_snapshot!(report(&[r#"[{ "type": "hook", "path": "/hook/shop/:id" }]"#]));
}

#[test]
fn the_span_of_a_finding_is_the_text_it_means() {
    let text = "[\n  { \"type\": \"response\", \"body\": \"é {{ inptu.x }}\" }\n]";
    let found = parse("test.json", text).unwrap_err();
    assert_eq!(&text[found[0].offset..found[0].offset + found[0].length], "inptu.x");
    assert_eq!((found[0].line, found[0].column), (2, 39));
    let marked = format!("\u{feff}{text}");
    let again = parse("test.json", &marked).unwrap_err();
    assert_eq!(&marked[again[0].offset..again[0].offset + again[0].length], "inptu.x");
    assert_eq!((again[0].line, again[0].column), (2, 39));
}

#[test]
fn names_come_from_the_document_or_the_file() {
    let bare = r#"[{ "type": "response" }]"#;
    assert_eq!(definition("flows/head.lines.json", bare).name, "head.lines");
    assert_eq!(definition("x.jsonc", r#"{ "name": "y", "blocks": [{ "type": "response" }] }"#).name, "y");
    for file in ["", "-", "Head Lines.json", "größe.json", "<stdin>"] {
        let found = parse(file, bare).unwrap_err();
        assert_eq!(found[0].code, "missing-name", "{file}");
    }
    insta::assert_snapshot!(render(&parse("Head Lines.json", bare).unwrap_err()));
}

#[test]
fn too_much_is_refused_and_said_once() {
    let huge = format!("[{{ \"type\": \"response\", \"body\": \"{}\" }}]", "x".repeat(1024 * 1024));
    assert_eq!(parse("a.json", &huge).unwrap_err()[0].code, "too-large");
    let many = format!("[{}]", r#"{ "type": "response" },"#.repeat(1001));
    assert_eq!(parse("a.json", &many).unwrap_err()[0].code, "too-many");
    let bad = format!("[{}]", r#"{ "type": 5 },"#.repeat(900));
    let found = parse("a.json", &bad).unwrap_err();
    assert_eq!(found.len(), 201);
    assert_eq!(found[200].message, "700 more findings are not shown");
}

#[test]
fn hooks_of_two_workflows_conflict_when_they_answer_the_same() {
    let mine = "{ \"blocks\": [\n  { \"type\": \"hook\", \"path\": \"a/:id\", \"methods\": [\"GET\"] },\n  { \"type\": \"hook\", \"parameter\": { \"path\": \"b\" } } ] }";
    let definition_of = |name: &str, path: &str, methods: &str| {
        definition(name, &format!(r#"[{{ "type": "hook", "path": "{path}", "methods": [{methods}] }}]"#))
    };
    let own = definition("mine.json", mine);
    let others = [
        definition_of("first.json", "/a/:other/", "\"GET\", \"POST\""),
        definition_of("second.json", "a/:id", "\"POST\""),
        definition_of("third.json", "a/b", "\"GET\""),
        definition_of("fourth.json", "b", "\"PUT\""),
        definition_of("mine.json", "b", "\"GET\""),
    ];
    let found = hook_conflicts(&own, others.iter(), "mine.json", mine);
    insta::assert_snapshot!(render(&found));
    assert!(hook_conflicts(&own, &others[1..3], "mine.json", mine).is_empty());
}

#[test]
fn shared_memory_channels_and_dependencies() {
    let documents = [
        r#"{ "memory": ["Prices", "a:write", "a", "a:read", 1], "blocks": [{ "type": "response" }] }"#,
        r#"{ "memory": "prices", "dependencies": ["rates", 1, "workflow:No", "workflow:a", { "workflow": "a" }], "blocks": [{ "type": "response" }] }"#,
        r#"{ "name": "me", "dependencies": ["workflow:me", { "max_age": "0s" }, { "workflow": "a", "max_age": 5, "strat": true, "on_failure": "skip" }],
  "blocks": [{ "type": "response", "dependencies": ["workflow:me", "workflow:a", "nobody"] }] }"#,
        // Which namespace, and whether it may be written.
        r#"{ "memory": ["prices", "jobs:read"], "blocks": [
  { "type": "memory", "parameter": { "op": "get", "namespace": "price", "key": "a" } },
  { "type": "memory", "parameter": { "op": "get", "key": "a" } },
  { "type": "memory", "parameter": { "op": "set", "namespace": "jobs", "key": "a" } },
  { "type": "memory", "parameter": { "op": "list", "namespace": "jobs" } }] }"#,
        r#"[{ "type": "memory", "parameter": { "op": "get", "namespace": "prices", "key": "a" } }, { "type": "memory" }]"#,
        // Each operation has its own fields.
        r#"{ "memory": ["m"], "blocks": [
  { "type": "memory", "parameter": { "op": "put", "key": "a" } },
  { "type": "memory", "parameter": { "op": "get", "key": "a", "value": 1, "ttl": "1s", "version": 1, "prefix": "x", "limit": 5, "timeout": "1s" } },
  { "type": "memory", "parameter": { "op": "set", "ttl": 5, "default": 1 } },
  { "type": "memory", "parameter": { "op": "set", "key": "", "vaule": 1 } },
  { "type": "memory", "parameter": { "op": "compare-and-set", "key": "a", "value": 1 } },
  { "type": "memory", "parameter": { "op": "compare-and-set", "key": "a", "version": -1 } },
  { "type": "memory", "parameter": { "op": "list", "key": "a", "limit": 5000 } },
  { "type": "memory", "parameter": { "op": "unlock", "lock": { "ttl": "2h", "time": "1s" } } },
  { "type": "memory", "parameter": { "op": "get", "key": "{{ blocks.nobody.output }}", "lock": "30s" } }] }"#,
        r#"[{ "type": "send", "parameter": { "channel": "Bad Name" } }, { "type": "send", "parameter": { "mesage": 1 } },
  { "type": "receive", "parameter": { "channel": "c", "timeout": 5, "acknowledge": "never", "deliveries": 0 } },
  { "type": "receive", "parameter": { "channel": "c", "default": null } }, { "type": "receive" }]"#,
    ];
    insta::assert_snapshot!(report(&documents));
}

#[test]
fn a_namespace_is_a_plain_name_and_what_is_shared_is_bounded() {
    let uses = |memory: &str, namespace: &str| {
        let block = format!(r#"{{ "type": "memory", "parameter": {{ "op": "list", "namespace": "{namespace}" }} }}"#);
        let found = parse("a.json", &format!(r#"{{ "memory": [{memory}], "blocks": [{block}] }}"#)).unwrap_err();
        (found.len(), found[0].code, found[0].help.clone().unwrap_or_default())
    };
    let literal = "a namespace is written as it is, not as a template; vary the key instead";
    assert_eq!(uses(r#""a""#, "{{ input }}"), (1, "invalid-name", literal.to_owned()));
    assert_eq!(uses("", "Prices").1, "invalid-name");
    let declare = |help: &str| (1, "undeclared-namespace", help.to_owned());
    assert_eq!(uses("", "prices"), declare(r#"write "memory": ["prices"] beside `blocks`"#));
    assert_eq!(uses(r#""stock""#, "prices"), declare(r#"add "prices" to `memory` of the workflow"#));
    assert_eq!(uses(r#""price""#, "prices"), declare("did you mean `price`?"));

    let names =
        |prefix: &str, count: usize| (0..count).map(|n| format!(r#""{prefix}n{n}""#)).collect::<Vec<_>>().join(", ");
    let document = |namespaces: usize, workflows: usize, of_block: usize| {
        let (memory, on) = (names("", namespaces), names("workflow:", workflows));
        let block = format!(r#"{{ "type": "response", "dependencies": [{}] }}"#, names("workflow:", of_block));
        parse("a.json", &format!(r#"{{ "memory": [{memory}], "dependencies": [{on}], "blocks": [{block}] }}"#))
    };
    let codes = |result: Result<Definition, Vec<Diagnostic>>| {
        result
            .map(|_| ())
            .map_err(|found| found.iter().map(|found| (found.code, found.path.clone())).collect::<Vec<_>>())
    };
    assert_eq!(codes(document(32, 64, 64)), Ok(()));
    let too_many = |path: &str| Err(vec![("too-many", path.to_owned())]);
    assert_eq!(codes(document(33, 1, 1)), too_many("memory"));
    assert_eq!(codes(document(1, 70, 1)), too_many("dependencies[64]"));
    assert_eq!(codes(document(1, 1, 70)), too_many("blocks[0].dependencies[64]"));
    assert_eq!(codes(document(50_000, 0, 0)), too_many("memory"), "and does not compare each with each");
}
