//! Tests of batches and attempts, with a collector that is made up and a clock that does not wait.

use std::collections::VecDeque;
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::time::Instant;

use super::*;
use crate::exporter::Counts;
use crate::limits::{RETRY_AFTER_MAX, TEXT_BYTES_MAX};
use crate::span::{Kind, Place};

/// Answers as it was told, then takes everything; notes when it was asked for how many spans.
#[derive(Debug, Clone, Default)]
struct Collector {
    answers: Arc<Mutex<VecDeque<Sent>>>,
    asked: Arc<Mutex<Vec<(Instant, usize)>>>,
}

impl Transport for Collector {
    async fn send(&self, body: Bytes) -> Sent {
        let read = ExportTraceServiceRequest::decode(body).expect("a message of the protocol");
        let spans = read.resource_spans.iter().flat_map(|of| &of.scope_spans).map(|of| of.spans.len()).sum();
        self.asked.lock().expect("no test panics with it").push((Instant::now(), spans));
        let answer = self.answers.lock().expect("no test panics with it").pop_front();
        answer.unwrap_or(Sent::Taken { rejected: 0, why: String::new() })
    }
}

impl Collector {
    fn answering(answers: impl IntoIterator<Item = Sent>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    /// Spans of each request.
    fn sizes(&self) -> Vec<usize> {
        self.asked.lock().expect("no test panics with it").iter().map(|(_, spans)| *spans).collect()
    }

    /// Times between the requests.
    fn waits(&self) -> Vec<Duration> {
        let asked = self.asked.lock().expect("no test panics with it");
        asked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

/// Lets so much of the made-up time pass.
async fn pass(time: Duration) {
    let _ = timeout_at(Instant::now() + time, std::future::pending::<()>()).await;
}

fn later(after: Option<u64>) -> Sent {
    Sent::Later { after: after.map(Duration::from_secs), why: "busy".to_owned() }
}

/// An exporter in front of a collector that is made up.
struct Bench {
    queue: mpsc::UnboundedSender<Given>,
    counters: Arc<Counters>,
    closing: watch::Sender<bool>,
    delivery: Delivery<Collector>,
}

impl Bench {
    fn new(collector: &Collector, batch_spans: usize) -> Self {
        let endpoint = |name: &str| name.ends_with("_TRACES_ENDPOINT").then(|| "http://localhost".into());
        let mut settings = Settings::read(endpoint).expect("nothing is wrong").expect("an endpoint");
        settings.batch_spans = batch_spans;
        let (queue, given) = mpsc::unbounded_channel();
        let (closing, is_closing) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let delivery = Delivery::new(collector.clone(), given, is_closing, Arc::clone(&counters), &settings);
        Self { queue, counters, closing, delivery }
    }

    fn give(&self, count: usize, name_bytes: usize) {
        assert!(self.counters.admit(count, usize::MAX));
        let make = Box::new(move || vec![span(name_bytes); count]);
        assert!(self.queue.send(Given { count, make }).is_ok());
    }

    /// Lets it send all it was given, and tells what was counted.
    async fn finish(self) -> Counts {
        drop(self.queue);
        self.delivery.run().await;
        drop(self.closing);
        self.counters.read()
    }
}

fn span(name_bytes: usize) -> crate::Span {
    let place = Place { trace_id: 1, span_id: 2, parent_id: None, parent_is_remote: false, state: Arc::from("") };
    let attributes = (0..name_bytes / TEXT_BYTES_MAX).map(|_| ("text", "x".repeat(TEXT_BYTES_MAX).into())).collect();
    crate::Span {
        place,
        name: "run".into(),
        kind: Kind::Internal,
        began_ns: 1,
        ended_ns: 2,
        attributes,
        events: Vec::new(),
        error: None,
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_full_and_no_fuller() {
    let collector = Collector::default();
    let bench = Bench::new(&collector, 100);
    for count in [60, 30, 1, 9, 250, 7] {
        bench.give(count, 0);
    }
    let counts = bench.finish().await;
    assert_eq!(collector.sizes(), [100, 100, 100, 50, 7]);
    assert_eq!(counts, Counts { exported: 357, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_sent_when_it_has_waited_long_enough() {
    let collector = Collector::default();
    let bench = Bench::new(&collector, 100);
    let (queue, counters) = (bench.queue.clone(), Arc::clone(&bench.counters));
    bench.give(3, 0);
    let began = Instant::now();
    let later = tokio::spawn(async move {
        pass(Duration::from_secs(60)).await;
        assert!(counters.admit(1, usize::MAX));
        assert!(queue.send(Given { count: 1, make: Box::new(|| vec![span(0)]) }).is_ok());
    });
    let counts = bench.finish().await;
    later.await.expect("it gave one");
    assert_eq!((collector.sizes(), counts.exported), (vec![3, 1], 4));
    let first = collector.asked.lock().expect("nobody panicked")[0].0;
    assert_eq!(first - began, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_is_large_goes_in_several_requests() {
    let collector = Collector::default();
    let bench = Bench::new(&collector, 1_000);
    bench.give(5, BATCH_BYTES_MAX / 2);
    let counts = bench.finish().await;
    assert_eq!((collector.sizes(), counts.exported), (vec![1; 5], 5));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_taken_later_is_sent_again_after_longer_and_longer_times() {
    let collector = Collector::answering([later(None), later(None), later(None)]);
    let bench = Bench::new(&collector, 10);
    bench.give(10, 0);
    let closing = bench.closing.clone();
    let counts = bench.finish().await;
    drop(closing);
    assert_eq!((collector.sizes(), counts), (vec![10; 4], Counts { exported: 10, ..Counts::default() }));
    for (wait, delay) in collector.waits().iter().zip([1, 2, 4].map(Duration::from_secs)) {
        assert!((delay / 2..=delay + Duration::from_millis(1)).contains(wait), "{wait:?} of {delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_that_the_collector_names_is_waited_for() {
    let collector = Collector::answering([later(Some(7)), later(Some(0))]);
    let bench = Bench::new(&collector, 10);
    bench.give(10, 0);
    let counts = bench.finish().await;
    assert_eq!(counts.exported, 10);
    let waits = collector.waits();
    let (first, second) = (waits[0], waits[1]);
    assert!(first >= Duration::from_secs(7) && first < Duration::from_secs(8), "{first:?}");
    assert!(second < Duration::from_millis(10), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_never_taken_is_dropped_and_the_next_one_has_its_turn() {
    let collector = Collector::answering(vec![later(None); 100]);
    let bench = Bench::new(&collector, 10);
    bench.give(10, 0);
    bench.give(4, 0);
    let began = Instant::now();
    let counts = bench.finish().await;
    assert_eq!(counts, Counts { failed: 14, ..Counts::default() });
    let attempts = collector.sizes();
    assert!(attempts.iter().filter(|spans| **spans == 10).count() > 5, "{attempts:?}");
    assert!(attempts.iter().filter(|spans| **spans == 4).count() > 5, "{attempts:?}");
    assert!(began.elapsed() >= RETRY_FOR * 2 && began.elapsed() < RETRY_FOR * 2 + RETRY_AFTER_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_sent_again() {
    let refused = Sent::Refused { why: "400 Bad Request".to_owned() };
    let collector = Collector::answering([refused, Sent::Taken { rejected: 3, why: "too old".to_owned() }]);
    let bench = Bench::new(&collector, 10);
    bench.give(10, 0);
    bench.give(10, 0);
    let counts = bench.finish().await;
    assert_eq!(counts, Counts { exported: 7, refused: 13, ..Counts::default() });
    assert_eq!((collector.sizes(), counts.dropped()), (vec![10, 10], 13));
}

#[tokio::test(start_paused = true)]
async fn who_closes_does_not_wait_for_another_time() {
    for (answer, attempts) in [(later(None), 2), (later(Some(60)), 1)] {
        let collector = Collector::answering(vec![answer; 100]);
        let bench = Bench::new(&collector, 10);
        bench.give(10, 0);
        let (closing, began) = (bench.closing.clone(), Instant::now());
        let close = tokio::spawn(async move {
            pass(Duration::from_millis(100)).await;
            closing.send_replace(true);
        });
        let counts = bench.finish().await;
        close.await.expect("it closed");
        assert_eq!((collector.sizes(), counts), (vec![10; attempts], Counts { failed: 10, ..Counts::default() }));
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_is_gone_leaves_nothing_running() {
    let collector = Collector::answering(vec![later(None); 100]);
    let bench = Bench::new(&collector, 10);
    bench.give(10, 0);
    let Bench { queue, counters, closing, delivery } = bench;
    drop((queue, closing));
    delivery.run().await;
    assert_eq!((collector.sizes(), counters.read().failed), (vec![10], 10));
}

#[test]
fn a_full_queue_takes_no_more_and_counts_that() {
    let counters = Counters::default();
    assert!(counters.admit(6, 10) && counters.admit(4, 10) && !counters.admit(1, 10));
    counters.taken(6);
    assert!(!counters.admit(7, 10) && counters.admit(6, 10));
    assert_eq!(counters.read(), Counts { queue_full: 8, ..Counts::default() });
}
