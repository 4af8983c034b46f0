//! An exporter and a real collector over HTTP: what is sent, and what follows from each answer.

use std::sync::Arc;

use runlet_otel::{Counts, Exporter, Kind, Place, Settings, Span};
use runlet_tests::certificate::Authority;
use runlet_tests::collector::{Collector, refusal, taken_but};
use runlet_tests::upstream::Reply;

fn exporter(url: &str, variables: &[(&str, &str)]) -> Exporter {
    let get = |name: &str| {
        let set = variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| *value);
        (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then_some(url).or(set).map(Into::into)
    };
    let settings = Settings::read(get).expect("nothing is wrong").expect("an endpoint");
    Exporter::start(&settings).expect("a thread")
}

fn spans(count: usize) -> Vec<Span> {
    let state: Arc<str> = Arc::from("");
    let span = |number: u64| Span {
        place: Place {
            trace_id: 1,
            span_id: number,
            parent_id: None,
            parent_is_remote: false,
            state: Arc::clone(&state),
        },
        name: format!("run {number}").into(),
        kind: Kind::Internal,
        began_ns: 1,
        ended_ns: 2,
        attributes: vec![("number", 7_u16.into())],
        events: Vec::new(),
        error: None,
    };
    (1..).take(count).map(span).collect()
}

/// Gives so many spans, closes, and tells what became of them.
fn export(exporter: Exporter, count: usize) -> Counts {
    exporter.give(count, move || spans(count));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(exporter.close())
}

#[test]
fn what_is_given_arrives_compressed_if_it_is_to_be() {
    for coding in ["none", "gzip"] {
        let collector = Collector::start();
        let variables = [
            ("OTEL_EXPORTER_OTLP_COMPRESSION", coding),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "host.name=here"),
        ];
        let counts = export(exporter(&collector.url(), &variables), 700);
        assert_eq!(counts, Counts { exported: 700, ..Counts::default() });
        let (spans, asked) = (collector.spans(), collector.asked());
        assert!(spans.len() == 700 && spans[699].name == "run 700" && spans[0].attribute("number") == "7");
        assert_eq!((spans[0].resource["host.name"].as_str(), asked.len()), ("here", 2));
        let header = |name: &str| asked[0].headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(header("x-key"), Some("a b"));
        assert_eq!(header("content-encoding"), Some(coding).filter(|coding| *coding != "none"));
        assert!(header("user-agent").is_some_and(|agent| agent.starts_with("runlet/")));
    }
}

#[test]
fn a_collector_with_a_certificate_of_its_own_is_trusted_if_it_is_named() {
    let authority = Authority::new();
    let file = authority.ca_file();
    let collector = Collector::with_tls(&authority);
    let trusted = [("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().expect("a temporary path is text"))];
    assert_eq!(export(exporter(&collector.url(), &trusted), 3).exported, 3);
    assert_eq!(export(exporter(&collector.url(), &[]), 3), Counts { failed: 3, ..Counts::default() });
    assert_eq!(collector.spans().len(), 3);
}

#[test]
fn what_is_refused_is_counted_and_not_sent_again() {
    let moved = refusal(307).with_header("location", "/elsewhere").into();
    for (answer, counts) in [
        (refusal(400).into(), Counts { refused: 5, ..Counts::default() }),
        (moved, Counts { refused: 5, ..Counts::default() }),
        (taken_but(2, "too old"), Counts { exported: 3, refused: 2, ..Counts::default() }),
        // More than there were would be nonsense.
        (taken_but(7, ""), Counts { refused: 5, ..Counts::default() }),
        (taken_but(-1, ""), Counts { exported: 5, ..Counts::default() }),
    ] {
        let collector = Collector::answering([answer]);
        assert_eq!(export(exporter(&collector.url(), &[]), 5), counts);
        assert_eq!(collector.asked().len(), 1);
    }
}

#[test]
fn what_is_asked_to_come_later_is_dropped_at_the_end() {
    for answer in [refusal(503).with_header("retry-after", "60").into(), refusal(429).into(), Reply::Hangup] {
        let collector = Collector::answering(vec![answer; 10]);
        let counts = export(exporter(&collector.url(), &[]), 5);
        assert_eq!(counts, Counts { failed: 5, ..Counts::default() });
        assert!(collector.spans().is_empty());
    }
}

#[test]
fn a_full_queue_drops_what_comes() {
    let collector = Collector::start();
    let exporter = exporter(&collector.url(), &[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]);
    exporter.give(11, || panic!("nobody makes what was dropped"));
    assert_eq!(exporter.counts(), Counts { queue_full: 11, ..Counts::default() });
    assert_eq!(export(exporter, 10), Counts { exported: 10, queue_full: 11, ..Counts::default() });
}
