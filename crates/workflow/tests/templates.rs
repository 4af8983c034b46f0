//! What templates yield, and that none of them can take more than its share.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;

use runlet_workflow::block::response::ResponseBody;
use runlet_workflow::template::{Expression, Scope, TemplateError, TemplateErrorKind};
use runlet_workflow::{BlockConfig, Definition, limits, parse};
use serde_json::{Value, json};

/// A workflow whose response has this body; its last block stands under `for_each` when `item` is used.
fn definition(body: &Value, headers: &Value) -> Definition {
    let document = json!([
        { "type": "hook", "path": "a/:id" },
        { "type": "fetch", "id": "the-page", "parameter": { "url": "https://a.example/" } },
        { "type": "response", "headers": headers, "body": body },
    ]);
    parse("test.json", &document.to_string()).unwrap_or_else(|found| panic!("{body}: {found:#?}"))
}

fn scope() -> Scope {
    let input = json!({
        "title": "A & B", "count": 3, "price": 1.5, "none": null, "yes": true, "big": u64::MAX,
        "items": [{ "name": "x", "n": 2 }, { "name": "<y>", "n": 1 }], "nested": { "a b": { "c": [1, 2, 3] } }, "items_count": 2,
    });
    Scope {
        input: Arc::new(input),
        hook: Some(Arc::new(json!({ "params": { "id": "7" }, "query": {}, "headers": {} }))),
        blocks: vec![("the-page".into(), Arc::new(json!({ "status": 200 })))],
        run: Arc::new(json!({ "id": "r1" })),
        item: None,
    }
}

fn render_in(body: &str, headers: &Value, scope: &Scope) -> Result<Value, TemplateError> {
    let definition = definition(&Value::from(body), headers);
    let BlockConfig::Response(response) = &definition.blocks[2].config else {
        panic!("the last block is the response")
    };
    match &response.body {
        ResponseBody::Json(template) => template.render(scope),
        ResponseBody::Text(template) => template.render(scope).map(Value::from),
        ResponseBody::ByType(template) => template.render_markup(scope).map(Value::from),
        ResponseBody::Input => Ok((*scope.input).clone()),
    }
}

fn render(body: &str) -> Result<Value, TemplateError> {
    render_in(body, &json!({}), &scope())
}

#[test]
fn one_expression_yields_a_typed_value_and_everything_else_text() {
    for (body, expected) in [
        ("{{ input.count }}", json!(3)),
        ("{{input.count}}", json!(3)),
        (" {{ input.count }}", json!(" 3")),
        ("{{ input.price }}", json!(1.5)),
        ("{{ input.big }}", json!(u64::MAX)),
        ("{{ input.big + 0 }}", json!(u64::MAX)),
        ("{{ input.none }}", json!(null)),
        ("{{ input.yes }} {{ input.none }} {{ input.items[0] }}", json!("true null {\"name\":\"x\",\"n\":2}")),
        ("{{ input.nested[\"a b\"].c }}", json!([1, 2, 3])),
        ("{{ input.nested['a b'].c[1] + 40 }}", json!(42)),
        ("{{ input.nested['a b'].c[-1] }}", json!(3)),
        ("{{ input.nested['a b'].c[1:] }}", json!([2, 3])),
        ("{{ input.items | map(attribute='name') | join(', ') }}", json!("x, <y>")),
        ("{{ input.items | sort(attribute='n') | first }}", json!({ "name": "<y>", "n": 1 })),
        ("{{ input.items | length }}", json!(2)),
        ("{{ input.items }}", json!([{ "name": "x", "n": 2 }, { "name": "<y>", "n": 1 }])),
        ("{{ {\"z\": input.count, \"a\": [input.title]} }}", json!({ "z": 3, "a": ["A & B"] })),
        ("{{ input.title | upper }}!", json!("A & B!")),
        ("{{ hook.params.id | int }}", json!(7)),
        ("{{ blocks[\"the-page\"].output.status }}", json!(200)),
        ("{{ run.id }}", json!("r1")),
        ("{{ input.count > 2 and not input.none }}", json!(true)),
        ("{{ 'many' if input.count > 2 else 'few' }}", json!("many")),
        ("{{ input.title | tojson }}", json!("\"A \\u0026 B\"")),
        ("{{ input.title | urlencode }}", json!("A%20%26%20B")),
        ("{% if x %}{# no #} # {{ 1 }} %}", json!("{% if x %}{# no #} # 1 %}")),
        ("a\n {{- 1 -}} \n b", json!("a1b")),
        ("{{ \"{{\" }}", json!("{{")),
        ("{{ input.items_count }}", json!(2)),
        ("{{ 10 // 3 }} {{ 10 / 4 }}", json!("3 2.5")),
    ] {
        assert_eq!(render(body), Ok(expected), "{body}");
    }
}

#[test]
fn text_from_outside_is_never_a_template() {
    let mut scope = scope();
    scope.input = Arc::new(json!({ "evil": "{{ run.id }} {% raw %}" }));
    assert_eq!(render_in("{{ input.evil }}", &json!({}), &scope), Ok(json!("{{ run.id }} {% raw %}")));
    assert_eq!(render_in("<{{ input.evil }}>", &json!({}), &scope), Ok(json!("<{{ run.id }} {% raw %}>")));
}

#[test]
fn values_are_escaped_where_the_reply_is_markup() {
    let html = json!({ "content-type": "html" });
    let text = json!({ "content-type": "text" });
    let body = "<b>{{ input.title }}</b>{{ input.items[1].name | safe }}{{ input.items[1] }}";
    let escaped = "<b>A &amp; B</b><y>{&quot;name&quot;:&quot;&lt;y&gt;&quot;,&quot;n&quot;:1}";
    assert_eq!(render_in(body, &html, &scope()), Ok(json!(escaped)));
    assert_eq!(render_in("{{ input.title }}", &html, &scope()), Ok(json!("A &amp; B")));
    assert_eq!(render_in("{{ input.title }}", &text, &scope()), Ok(json!("A & B")));
    assert_eq!(render_in("{{ input.items[1].name ~ '!' }}", &html, &scope()), Ok(json!("&lt;y&gt;!")));
    let late = json!({ "content-type": "{{ 'text/html' }}" });
    assert_eq!(render_in(body, &late, &scope()), Ok(json!(escaped)));
    for markup in ["TEXT/HTML; charset=utf-8", "xml", "text/xml", "application/xhtml+xml", "image/svg+xml"] {
        let headers = json!({ "content-type": markup });
        assert_eq!(
            render_in("<a>{{ input.title }}</a>", &headers, &scope()),
            Ok(json!("<a>A &amp; B</a>")),
            "{markup}"
        );
    }
}

#[test]
fn what_is_missing_is_named_and_default_stands_in_for_it() {
    for (body, message, help) in [
        ("{{ input.titel }}", "`input.titel` is undefined", "did you mean `title`?"),
        ("{{ input.nested.x.y }}", "`input.nested.x` is undefined", "known: `a b`"),
        ("a {{ input.count.x }}", "`input.count.x` is undefined: `input.count` is a number", "default"),
        ("{{ input.items[5] }}", "`input.items[5]` is undefined: `input.items` has 2 elements", "default"),
        ("{{ input.titel | upper }}", "`input.titel` is undefined", "did you mean `title`?"),
        ("{{ 1 + input.coutn }}", "`input.coutn` is undefined", "did you mean `count`?"),
        ("{{ [input.titel] }}", "`input.titel` is undefined", "did you mean `title`?"),
        ("{{ (input.items | first).nam }}", "`(input.items | first).nam` yields nothing", "default"),
        ("{{ blocks['the-page'].output.body }}", "`blocks[\"the-page\"].output.body` is undefined", "known: `status`"),
    ] {
        let error = render(body).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (TemplateErrorKind::Undefined, message), "{body}");
        assert!(error.help.as_ref().unwrap().contains(help), "{body}: {:?}", error.help);
        assert_eq!(error.code(), "template-undefined");
    }
    for (body, expected) in [
        ("{{ input.titel | default('none') }}", json!("none")),
        ("{{ input.a.b.c | default(input.count) }}", json!(3)),
        ("{{ input.a.b.c is defined }}", json!(false)),
        ("{{ input.none | default('x') }}", json!(null)),
        ("{{ input.none | default('x', true) }}", json!("x")),
        ("{{ hook.query.limit | default(10) | int }}", json!(10)),
        ("x{{ input.nested.x | d('') }}", json!("x")),
    ] {
        assert_eq!(render(body), Ok(expected), "{body}");
    }
}

#[test]
fn a_run_without_a_hook_has_an_empty_request() {
    let scope = Scope { hook: None, ..scope() };
    assert_eq!(render_in("{{ hook.query.q | default('x') }}", &json!({}), &scope), Ok(json!("x")));
    for hook in [None, Some(Arc::new(json!(null)))] {
        let error = render_in("{{ hook.query.q }}", &json!({}), &Scope { hook, ..scope.clone() }).unwrap_err();
        assert!(error.help.unwrap().starts_with("no request started this run"));
    }
}

#[test]
fn failures_name_the_expression_and_the_cause() {
    for (body, kind) in [
        ("{{ 1 / 0 }}", TemplateErrorKind::Evaluation),
        ("{{ input.title + 1 }}", TemplateErrorKind::Evaluation),
        ("{{ input.items.foo() }}", TemplateErrorKind::Evaluation),
        ("{{ 1e308 * 10 }}", TemplateErrorKind::NotJson),
        ("{{ 2 ** 100 }}", TemplateErrorKind::NotJson),
        ("{{ {1.5: 2, none: 3} }}", TemplateErrorKind::NotJson),
        ("{{ input.items | map(attribute='zzz') }}", TemplateErrorKind::Evaluation),
    ] {
        let error = render(body).unwrap_err();
        assert_eq!(error.kind, kind, "{body}: {error}");
        assert!(error.message.contains('`'), "{body}: {error}");
    }
}

#[test]
fn bombs_are_stopped() {
    let bombs = [
        "{{ 'x' * 100000000 }}",
        "{{ ('x' * 10000000) * 1000 }}",
        "{{ 'x' * 99999999999999999999 }}",
        "{{ 'x' * 20000000 }}",
        "{{ input.items * 10000000 }}",
        "{{ range(99999999) | list }}",
        "{{ range(90000) | map('string') | list | length + (range(90000) | map('string') | list | length) + 'x' }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ 'a' | indent(999999999, true) }}",
        "{{ range(9999) | join('x') | replace('x', range(9999) | join('y')) }}",
        "{{ range(90000) | map(attribute='x', default=range(90000)) | list }}",
        "{{ range(90000) | map('default', input.items) | list }}",
    ];
    for bomb in bombs {
        let error = render(bomb).unwrap_err();
        let kinds = [TemplateErrorKind::Fuel, TemplateErrorKind::OutputTooLarge, TemplateErrorKind::Evaluation];
        assert!(kinds.contains(&error.kind), "{bomb}: {error:?}");
    }
}

#[test]
fn a_list_cannot_be_put_many_times_into_another() {
    for body in [
        "{{ [[[0] * 1000] * 1000] * 1000 }}",
        "{{ '' ~ ([input.items * 1000] * 1000) }}",
        "{{ (range(1000) | list) * 1000 }}",
        "{{ (input.items | list) * 1000 in 'x' }}",
        "{{ {'a': input.count * 2} }}",
    ] {
        let document = json!([{ "type": "response", "body": body }]);
        let found = parse("a.json", &document.to_string()).unwrap_err();
        assert_eq!(found[0].code, "template-product", "{body}");
    }
    assert_eq!(render("{{ input.count * 2 + (input.price | round | int) * 3 }}"), Ok(json!(12)));
    assert_eq!(render("{{ input.nested['a b'].c[0] * 2 }}"), Ok(json!(2)));
}

#[test]
fn printing_a_document_many_times_is_bounded() {
    let scope = Scope { input: Arc::new(json!(vec!["x".repeat(1000); 1000])), ..scope() };
    let many = vec!["input"; 40].join(", ");
    for body in
        [format!("{{{{ '' ~ [{many}] }}}}"), format!("{{{{ [{many}] in 'x' }}}}"), format!("{{{{ [{many}] | join }}}}")]
    {
        let error = render_in(&body, &json!({}), &scope).unwrap_err();
        assert!(matches!(error.kind, TemplateErrorKind::OutputTooLarge | TemplateErrorKind::Fuel), "{body}: {error:?}");
    }
    assert_eq!(render_in("{{ ('' ~ input) | length }}", &json!({}), &scope), Ok(json!(1_003_001)));
}

#[test]
fn a_value_may_be_large_but_not_larger_than_a_frame() {
    let page = |bytes: usize| Scope { input: Arc::new(json!({ "body": "é".repeat(bytes / 2) })), ..scope() };
    let large = page(10 * 1024 * 1024);
    for body in [
        "{{ input.body }}",
        "{{ input }}",
        "<{{ input.body }}>",
        "{{ input.body | upper }}",
        "{{ input.body | length }}",
    ] {
        render_in(body, &json!({}), &large).unwrap();
    }
    let too_large = page(limits::TEMPLATE_OUTPUT_BYTES_MAX + 2);
    for body in ["{{ input.body }}", "{{ input }}", "<{{ input.body }}>"] {
        assert_eq!(
            render_in(body, &json!({}), &too_large).unwrap_err().kind,
            TemplateErrorKind::OutputTooLarge,
            "{body}"
        );
    }
    assert_eq!(render_in("{{ input.body[:2] }}", &json!({}), &too_large), Ok(json!("éé")));
    let twice = render_in("{{ input.body }}{{ input.body }}", &json!({}), &large).unwrap_err();
    assert_eq!(twice.kind, TemplateErrorKind::OutputTooLarge);
}

#[test]
fn many_values_are_bounded_together() {
    let document = json!([{ "type": "response", "body": vec!["{{ input.body }}"; 10] }]);
    let definition = parse("a.json", &document.to_string()).unwrap();
    let BlockConfig::Response(response) = &definition.blocks[0].config else { panic!("one response") };
    let ResponseBody::Json(template) = &response.body else { panic!("a list") };
    let scope = Scope { input: Arc::new(json!({ "body": "x".repeat(2 * 1024 * 1024) })), ..scope() };
    assert_eq!(template.render(&scope).unwrap_err().kind, TemplateErrorKind::OutputTooLarge);
}

#[test]
fn nesting_is_bounded() {
    let long = |part: &str| format!("1{}", part.repeat(1000));
    for expression in [
        format!("{}1{}", "(".repeat(1000), ")".repeat(1000)),
        format!("{}1{}", "[".repeat(1000), "]".repeat(1000)),
        format!("{}1", "- ".repeat(1000)),
        format!("{}1", "not ".repeat(1000)),
        format!("input{}", ".a".repeat(1000)),
        format!("input{}", "[0]".repeat(1000)),
        format!("input{}", "|d".repeat(1000)),
        format!("input{}", "()".repeat(1000)),
        long("+1"),
        long("~1"),
        long("**1"),
        long("<1"),
        long(" if 1"),
        long(" and 1"),
        long(" is odd"),
        "[input]+".repeat(65) + "[input]",
        format!("'{}'", "x".repeat(5000)),
    ] {
        let document = json!([{ "type": "response", "body": format!("{{{{ {expression} }}}}") }]);
        let found = parse("a.json", &document.to_string()).unwrap_err();
        assert_eq!(found[0].code, "too-large", "{expression}");
    }
    for open in ["(", "[", "- ", "not ", "{1:", "input[", "1 if ", "input|d(", "1 + "] {
        // Unfinished, but within the bounds: refused for what it is, without a deep stack.
        let document = json!([{ "type": "response", "body": format!("{{{{ {} }}}}", open.repeat(200)) }]);
        parse("a.json", &document.to_string()).unwrap_err();
    }
    let sum = format!("{{{{ 1{} }}}}", " + 1".repeat(255));
    assert_eq!(render(&sum), Ok(json!(256)));
    let many = "{{ 1 }}".repeat(101);
    let document = json!([{ "type": "response", "body": many }]);
    assert_eq!(parse("a.json", &document.to_string()).unwrap_err()[0].code, "too-many");
}

#[test]
fn elements_have_a_name_and_a_number() {
    let document = json!([{
        "type": "fetch", "for_each": "{{ input.ids }}", "parallel": 4,
        "parameter": { "url": "https://a.example/{{ item.id }}?n={{ index }}" },
    }]);
    let definition = parse("a.json", &document.to_string()).unwrap();
    let block = &definition.blocks[0];
    let BlockConfig::Fetch(fetch) = &block.config else { panic!("a fetch") };
    let scope = Scope { item: Some((2, Arc::new(json!({ "id": 9 })))), ..scope() };
    assert_eq!(fetch.url.render(&scope).unwrap(), "https://a.example/9?n=2");
    assert!(fetch.url.render(&Scope { item: None, ..scope }).is_err());
    let for_each = block.for_each.as_ref().unwrap();
    assert_eq!((for_each.items.source(), for_each.parallel), ("input.ids", 4));
    assert!(block.has_templates() && fetch.url.literal().is_none());
}

#[test]
fn compiled_templates_cross_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Expression>();
    shared::<Definition>();
}

#[test]
fn hosts_that_stand_literally_are_known() {
    for (url, hosts) in [
        ("https://A.Example:8080/x", vec!["a.example"]),
        ("https://localhost:4000", vec!["localhost"]),
        ("http://[::1]:80/{{ input }}", vec!["[::1]"]),
        ("https://a.example/{{ input }}", vec!["a.example"]),
        ("https://a.example?{{ input }}", vec!["a.example"]),
        ("https://a.example{{ input }}", vec![]),
        ("https://a.example:{{ input }}/", vec![]),
        ("https://{{ input }}.example/", vec![]),
        ("https://user:{{ input }}@a.example/", vec![]),
        ("https://user@a.example/{{ input }}", vec!["a.example"]),
        ("{{ input }}", vec![]),
        ("htt{{ input }}", vec![]),
    ] {
        let document = json!([{ "type": "fetch", "parameter": { "url": url } }]);
        let definition = parse("a.json", &document.to_string()).unwrap_or_else(|found| panic!("{url}: {found:#?}"));
        assert_eq!(definition.literal_hosts, hosts, "{url}");
    }
}
