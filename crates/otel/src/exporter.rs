//! The queue to the exporter's thread, and what was counted on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::client::{Client, causes};
use crate::delivery::Delivery;
use crate::limits::FLUSH_WITHIN;
use crate::settings::Settings;
use crate::span::Span;

/// An exporter that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no HTTP client.
    #[error(
        "the HTTP client of the OpenTelemetry export cannot be built: {}; a collector with TLS needs the system's \
         certificates (ca-certificates) or a file of them in OTEL_EXPORTER_OTLP_CERTIFICATE", causes(.0)
    )]
    Client(#[source] reqwest::Error),
    /// There is no thread, or it has no runtime.
    #[error("the thread of the OpenTelemetry export cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Takes spans, and never makes anybody wait.
#[derive(Debug)]
pub struct Exporter {
    /// Bounded by `waiting`, in spans: a run may have one or hundreds.
    queue: mpsc::UnboundedSender<Given>,
    spans_max: usize,
    counters: Arc<Counters>,
    closing: watch::Sender<bool>,
    done: oneshot::Receiver<()>,
}

/// Spans that are made once they are sent: who gives them has other things to do.
pub(crate) struct Given {
    pub(crate) count: usize,
    pub(crate) make: Box<dyn FnOnce() -> Vec<Span> + Send>,
}

/// How many spans went which way since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The collector took them.
    pub exported: u64,
    /// There was no room in the queue.
    pub queue_full: u64,
    /// The collector does not want them.
    pub refused: u64,
    /// The collector could not be reached for too long.
    pub failed: u64,
}

impl Counts {
    /// Spans that were not exported and never will be.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue_full + self.refused + self.failed
    }
}

/// [`Counts`] in the making.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    waiting: AtomicUsize,
    exported: AtomicU64,
    queue_full: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counters {
    /// So many spans left the queue.
    pub(crate) fn taken(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn exported(&self, count: u64) {
        self.exported.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, count: u64) {
        self.refused.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, count: u64) {
        self.failed.fetch_add(count, Ordering::Relaxed);
    }

    /// As they are told.
    pub(crate) fn read(&self) -> Counts {
        let Self { waiting: _, exported, queue_full, refused, failed } = self;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { exported: read(exported), queue_full: read(queue_full), refused: read(refused), failed: read(failed) }
    }

    /// Makes room for so many spans, if there is.
    pub(crate) fn admit(&self, count: usize, spans_max: usize) -> bool {
        let waiting = self.waiting.fetch_add(count, Ordering::Relaxed);
        let fits = waiting + count <= spans_max;
        if !fits {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.queue_full.fetch_add(count as u64, Ordering::Relaxed);
        }
        fits
    }
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        // On the thread of the caller, who learns of what is wrong.
        let client = Client::new(settings).map_err(StartError::Client)?;
        let (queue, given) = mpsc::unbounded_channel();
        let (closing, is_closing) = watch::channel(false);
        let (tell_done, done) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let delivery = Delivery::new(client, given, is_closing, Arc::clone(&counters), settings);
        let (tell_begun, begun) = std::sync::mpsc::sync_channel(1);
        let work = move || {
            // Made and dropped here: on a thread of another runtime, as the caller's may be, dropping it is a panic.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Nobody waits for either if the exporter was dropped.
            let runtime = match runtime {
                Ok(runtime) => {
                    let _ = tell_begun.send(Ok(()));
                    runtime
                }
                Err(error) => return drop(tell_begun.send(Err(error))),
            };
            runtime.block_on(delivery.run());
            let _ = tell_done.send(());
        };
        thread::Builder::new().name("otel".to_owned()).spawn(work).map_err(StartError::Thread)?;
        let ended = |_| Err(std::io::Error::other("it ended at once"));
        begun.recv().unwrap_or_else(ended).map_err(StartError::Thread)?;
        Ok(Self { queue, spans_max: settings.queue_spans, counters, closing, done })
    }

    /// Gives it `count` spans, which `make` makes on the exporter's thread. If there is no room for them, they are dropped.
    pub fn give(&self, count: usize, make: impl FnOnce() -> Vec<Span> + Send + 'static) {
        if self.counters.admit(count, self.spans_max) && self.queue.send(Given { count, make: Box::new(make) }).is_err()
        {
            // The thread is gone, by a panic: nothing of it is worth a run.
            self.counters.taken(count);
            self.counters.failed(count as u64);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Sends what waits, within [`FLUSH_WITHIN`], and ends the thread; says so if not all could be sent. What was counted in
    /// all.
    pub async fn close(self) -> Counts {
        let before = self.counts();
        self.closing.send_replace(true);
        let Self { queue, counters, closing: _closing, done, .. } = self;
        drop(queue);
        let is_done = timeout(FLUSH_WITHIN, done).await.is_ok();
        let counts = counters.read();
        let failed = counts.failed - before.failed;
        if !is_done || failed > 0 {
            let waiting = counters.waiting.load(Ordering::Relaxed);
            tracing::warn!(
                failed,
                waiting,
                within = ?FLUSH_WITHIN,
                "spans were not exported: the OpenTelemetry collector did not take them before the end"
            );
        }
        counts
    }
}
