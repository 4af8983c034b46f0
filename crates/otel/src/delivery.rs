//! Batches, and what follows from the collector's answers: the work of the exporter's thread.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Sent, Transport};
use crate::exporter::{Counters, Given};
use crate::limits::{BATCH_BYTES_MAX, RETRY_DELAY_MAX, RETRY_DELAY_MIN, RETRY_FOR};
use crate::message::{Request, Resource, Span};
use crate::settings::Settings;

/// Takes spans from the queue until it is closed and empty.
pub(crate) struct Delivery<T> {
    pub(crate) transport: T,
    pub(crate) queue: mpsc::UnboundedReceiver<Given>,
    /// Whether the exporter is being closed: then nothing is waited for any more.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) resource: Resource,
    pub(crate) batch_spans: usize,
    pub(crate) batch_delay: Duration,
    /// Whether the last batch was not taken, so that the log tells of changes only.
    failing: bool,
    random: RandomState,
}

impl<T: Transport> Delivery<T> {
    pub(crate) fn new(
        transport: T,
        queue: mpsc::UnboundedReceiver<Given>,
        closing: watch::Receiver<bool>,
        counters: Arc<Counters>,
        settings: &Settings,
    ) -> Self {
        Self {
            transport,
            queue,
            closing,
            counters,
            resource: Resource::new(&settings.resource),
            batch_spans: settings.batch_spans,
            batch_delay: settings.batch_delay,
            failing: false,
            random: RandomState::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut batch = Vec::new();
            self.take(&mut batch, first);
            let full_at = Instant::now() + self.batch_delay;
            while batch.len() < self.batch_spans {
                // Closed means that the queue ends, which `recv` tells at once.
                match timeout_at(full_at, self.queue.recv()).await {
                    Ok(Some(given)) => self.take(&mut batch, given),
                    Ok(None) | Err(_) => break,
                }
            }
            while !batch.is_empty() {
                let part = split(&mut batch, self.batch_spans);
                self.deliver(part).await;
            }
        }
    }

    /// Makes the spans that were given.
    fn take(&self, batch: &mut Vec<Span>, given: Given) {
        self.counters.taken(given.count);
        batch.extend((given.make)().into_iter().map(Span::from));
    }

    /// Sends a batch until it is taken, refused, or too old.
    async fn deliver(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let body = Bytes::from(Request::new(&self.resource, spans).encode_to_vec());
        let give_up_at = Instant::now() + RETRY_FOR;
        let mut delay = RETRY_DELAY_MIN;
        loop {
            // What was sent once the exporter is closing is not sent again.
            let is_last = self.is_closing() || Instant::now() >= give_up_at;
            let (after, why) = match self.transport.send(body.clone()).await {
                Sent::Taken { rejected, why } => return self.taken(count, rejected.min(count), &why),
                Sent::Refused { why } => {
                    self.counters.refused(count);
                    tracing::warn!(spans = count, "the OpenTelemetry collector does not take spans: {why}");
                    return;
                }
                Sent::Later { after, why } => (after, why),
            };
            self.tell_failing(&why);
            if is_last {
                self.counters.failed(count);
            }
            let wait = after.unwrap_or_else(|| self.jittered(delay));
            delay = RETRY_DELAY_MAX.min(delay * 2);
            if self.is_closed_within(wait).await && after.is_some() && !is_last {
                // Who wants to be left alone is not asked again.
                return self.counters.failed(count);
            }
            if is_last {
                return;
            }
        }
    }

    fn taken(&mut self, count: u64, rejected: u64, why: &str) {
        self.counters.exported(count - rejected);
        self.counters.refused(rejected);
        if rejected > 0 {
            tracing::warn!(spans = rejected, "the OpenTelemetry collector does not take some spans: {why}");
        } else if !why.is_empty() {
            tracing::warn!("the OpenTelemetry collector warns: {why}");
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!("the OpenTelemetry collector takes spans again");
        }
    }

    fn tell_failing(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                "the OpenTelemetry collector cannot be reached, spans wait, and for which there is no room are dropped: {why}"
            );
        } else {
            tracing::debug!("the OpenTelemetry collector still cannot be reached: {why}");
        }
    }

    /// Whether the exporter is being closed, or is gone.
    fn is_closing(&self) -> bool {
        *self.closing.borrow() || self.closing.has_changed().is_err()
    }

    /// Waits, but not if the exporter is being closed; whether it is.
    async fn is_closed_within(&mut self, wait: Duration) -> bool {
        tokio::select! {
            // The exporter is gone if this fails, which is being closed too.
            _ = self.closing.wait_for(|closing| *closing) => true,
            () = sleep(wait) => false,
        }
    }

    /// Between a half and the whole of it, so that many who were refused at once do not come back at once.
    fn jittered(&self, delay: Duration) -> Duration {
        let random = self.random.hash_one(Instant::now()) as u32;
        delay / 2 + (delay / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// Takes from the front what fits one request: at least one span.
fn split(batch: &mut Vec<Span>, spans_max: usize) -> Vec<Span> {
    let mut bytes = 0;
    let fits = batch.iter().take(spans_max).take_while(|span| {
        bytes += span.encoded_len();
        bytes <= BATCH_BYTES_MAX
    });
    let count = fits.count().max(1);
    let rest = batch.split_off(count);
    std::mem::replace(batch, rest)
}

#[cfg(test)]
mod tests;
