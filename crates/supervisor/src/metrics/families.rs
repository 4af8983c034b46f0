//! The supervisor's numbers as they are told: their names, what they mean, and what is looked up for them.

use std::time::Duration;

use runlet_journal::Stats;
use runlet_kernel::Counts;
use runlet_proto::control::{RefusalKind, Reply};
use runlet_proto::metrics::{MetricFamily, MetricKind, MetricSample, MetricUnit, MetricValue};
use runlet_proto::state::RunState;

use super::process::Own;
use super::{CAUSES, KINDS, Metrics, OTHER, REASONS, process};
use crate::core::{Core, Ended};
use crate::heavy::workers::Numbers;
use crate::inbound::Inbound;
use crate::limits::PAST_READS_MAX;
use crate::reply::{RefusalExt as _, refusal};
use crate::run_record::RequestId;

/// The lanes, in the order of `lane_index`.
const LANES: [&str; 2] = ["light", "heavy"];

impl Core {
    /// Tells the numbers. What has to be read from the system is read on another thread.
    pub(crate) fn tell_metrics(&mut self, from: RequestId) {
        // Whoever reads the journal takes no more than half of the places.
        if self.durable.reads >= 2 * PAST_READS_MAX {
            let busy = refusal(RefusalKind::Overloaded, "too many others ask for what has to be read");
            return self.refuse(from, busy.with_help("try again when they are done"));
        }
        let mut families = self.metrics.families();
        families.extend(of_kernel(&self.kernel.counts(), self.live_by_state()));
        families.extend(of_workers(self.workers.numbers()));
        families.extend(of_journal(&self.durable.journal().stats(), self.durable.unwritten));
        families.extend(of_export(self.export.counts()));
        let inbound = self.loop_queue.max_capacity() - self.loop_queue.capacity();
        families.push(gauge("runlet_pool_threads", "Threads of the light pool", self.pool.threads() as u64));
        families.push(gauge("runlet_inbound_messages", "Messages that wait for the supervisor's loop", inbound as u64));
        families.push(one(
            ("runlet_supervisor_start_time", "When the supervisor started, since the Unix epoch"),
            (MetricUnit::Seconds, MetricKind::Gauge),
            self.started_at_ms.saturating_mul(1_000_000),
        ));
        let loop_queue = self.loop_queue.clone();
        self.durable.reads += 1;
        tokio::task::spawn_blocking(move || {
            families.extend(of_process(process::own()));
            let _ = loop_queue.blocking_send(Inbound::Past { to: from, replies: vec![Reply::Metrics(families)] });
        });
    }
}

impl Metrics {
    fn families(&self) -> Vec<MetricFamily> {
        let number = MetricValue::Number;
        let mut ended = family("runlet_runs_ended", "Runs that ended, by state and workflow", MetricKind::Counter);
        let rows = self.ended.by_workflow.iter().map(|(workflow, ended)| (&**workflow, ended));
        for (workflow, Ended { completed, failed, stopped }) in rows.chain([(OTHER, &self.ended.other)]) {
            for (state, count) in [("COMPLETED", completed), ("FAILED", failed), ("STOPPED", stopped)] {
                ended.samples.push(sample(&[("state", state), ("workflow", workflow)], number(*count)));
            }
        }
        let mut attempts =
            histogram("runlet_block_duration", "How long attempts of blocks took, waiting included, by kind and lane");
        for (kind, lanes) in KINDS.iter().zip(&self.attempts) {
            for (lane, observed) in LANES.iter().zip(lanes).filter(|(_, observed)| !observed.is_empty()) {
                attempts.samples.push(sample(&[("kind", *kind), ("lane", *lane)], observed.value()));
            }
        }
        let single = |name, help, observed: &super::Histogram| {
            let samples = vec![sample(&[], observed.value())];
            MetricFamily { samples, ..histogram(name, help) }
        };
        let labelled = |name, help, label, names: &[&str], counts: &[u64]| {
            let samples = names.iter().zip(counts).map(|(value, count)| sample(&[(label, *value)], number(*count)));
            MetricFamily { samples: samples.collect(), ..family(name, help, MetricKind::Counter) }
        };
        vec![
            ended,
            single("runlet_run_duration", "How long runs took from submission to end", &self.runs),
            attempts,
            single("runlet_queue_wait", "How long runs waited for their first dispatch", &self.queue_waits),
            single(
                "runlet_heavy_handover",
                "From a heavy attempt's dispatch to its worker's beginning",
                &self.handovers,
            ),
            labelled(
                "runlet_worker_ends",
                "Workers of runs that ended, by cause; `cancelled` if they were no longer needed",
                "cause",
                &CAUSES,
                &self.worker_ends,
            ),
            labelled(
                "runlet_preemptions",
                "Attempts that were asked to give their slot back, by lane",
                "lane",
                &LANES,
                &self.preemptions,
            ),
            labelled(
                "runlet_promotions",
                "Attempts that were moved to the heavy lane, by reason",
                "reason",
                &REASONS,
                &self.promotions,
            ),
        ]
    }
}

fn of_kernel(counts: &Counts, live_by_state: [u64; 4]) -> Vec<MetricFamily> {
    let number = |count: usize| MetricValue::Number(count as u64);
    let states = [RunState::Ready, RunState::Running, RunState::Blocked, RunState::Paused].iter().zip(live_by_state);
    let states = states.map(|(state, count)| sample(&[("state", state.as_str())], MetricValue::Number(count)));
    let ready = counts.ready.iter().enumerate();
    let ready = ready.map(|(priority, count)| sample(&[("priority", &priority.to_string())], number(*count)));
    let waiting = [("memory", counts.awaiting_memory), ("parking", counts.awaiting_parking)];
    let waiting = waiting.iter().map(|(reason, count)| sample(&[("reason", reason)], number(*count)));
    let bytes = |name, help, value| one((name, help), (MetricUnit::Bytes, MetricKind::Gauge), value);
    let gauges = |name, help, samples| MetricFamily { samples, ..family(name, help, MetricKind::Gauge) };
    vec![
        gauges("runlet_runs", "Live runs, by state", states.collect()),
        gauges("runlet_ready_blocks", "Blocks that wait for a slot, by priority", ready.collect()),
        gauges("runlet_waiting_blocks", "Blocks whose turn has come and that lack something", waiting.collect()),
        gauge("runlet_waiting_runs", "Runs held back by `concurrency`", counts.awaiting_admission as u64),
        gauge("runlet_slots", "CPU slots", counts.slots as u64),
        gauge("runlet_slots_taken", "CPU slots that are taken", (counts.slots - counts.slots_free) as u64),
        bytes("runlet_heavy_memory_used", "Memory that live heavy runs are allowed", counts.heavy_memory_used),
        bytes("runlet_heavy_memory_allowed", "Memory that heavy runs may be allowed", counts.heavy_memory_budget),
    ]
}

fn of_workers(numbers: Numbers) -> Vec<MetricFamily> {
    let states = [("busy", numbers.busy), ("spare", numbers.spare), ("ending", numbers.ending)];
    let states = states.iter().map(|(state, count)| sample(&[("state", state)], MetricValue::Number(*count as u64)));
    let family = family("runlet_workers", "Worker processes, by state", MetricKind::Gauge);
    vec![MetricFamily { samples: states.collect(), ..family }]
}

fn of_journal(stats: &Stats, unwritten: u64) -> Vec<MetricFamily> {
    let counter = |name, help, value| one((name, help), (MetricUnit::None, MetricKind::Counter), value);
    let bytes = |name, help, value| one((name, help), (MetricUnit::Bytes, MetricKind::Gauge), value);
    let seconds = |name, help, kind, value: Duration| {
        let ns = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        one((name, help), (MetricUnit::Seconds, kind), ns)
    };
    let total = MetricKind::Counter;
    vec![
        counter("runlet_journal_commits", "Transactions of the journal", stats.commits),
        counter("runlet_journal_entries", "Entries written to the journal", stats.entries),
        seconds("runlet_journal_commit", "Time that transactions took, fsync included", total, stats.commit_total),
        seconds("runlet_journal_last_commit", "Time of the last transaction", MetricKind::Gauge, stats.commit_last),
        bytes("runlet_journal_waiting", "Entries that wait to be written", stats.bytes_waiting),
        bytes("runlet_journal_kept", "Size of the database and of its output files", stats.bytes_kept),
        counter(
            "runlet_journal_unwritten_runs",
            "Runs that completed, were promised nothing, and were too many",
            unwritten,
        ),
        gauge("runlet_journal_kept_runs", "Ended runs that the journal keeps", stats.runs_kept),
    ]
}

/// Why spans are dropped, in the order in which the export counts them.
const DROPS: [&str; 4] = ["queue-full", "refused", "unreachable", "too-many"];

/// What became of spans that were to be exported; without an export nothing.
fn of_export((exported, dropped): (u64, [u64; 4])) -> Vec<MetricFamily> {
    let counter = MetricKind::Counter;
    let samples = DROPS.iter().zip(dropped).map(|(why, count)| sample(&[("reason", why)], MetricValue::Number(count)));
    let help = "Spans that the OpenTelemetry collector did not get, by reason";
    vec![
        one(
            ("runlet_otel_spans_exported", "Spans that the OpenTelemetry collector took"),
            (MetricUnit::None, counter),
            exported,
        ),
        MetricFamily { samples: samples.collect(), ..family("runlet_otel_spans_dropped", help, counter) },
    ]
}

fn of_process(own: Option<Own>) -> Vec<MetricFamily> {
    let (bytes, seconds) = (MetricUnit::Bytes, MetricUnit::Seconds);
    let told = |(name, help), unit, kind, value: Option<u64>| {
        let samples = value.map(|value| sample(&[], MetricValue::Number(value))).into_iter().collect();
        MetricFamily { samples, unit, ..family(name, help, kind) }
    };
    vec![
        told(
            ("runlet_supervisor_resident_memory", "Resident memory of the supervisor"),
            bytes,
            MetricKind::Gauge,
            own.map(|own| own.resident_bytes),
        ),
        told(
            ("runlet_supervisor_open_fds", "Open file descriptors of the supervisor"),
            MetricUnit::None,
            MetricKind::Gauge,
            own.map(|own| own.descriptors),
        ),
        told(
            ("runlet_supervisor_cpu", "CPU time of the supervisor and of workers that ended"),
            seconds,
            MetricKind::Counter,
            own.map(|own| own.cpu_ns),
        ),
    ]
}

fn family(name: &str, help: &str, kind: MetricKind) -> MetricFamily {
    MetricFamily { name: name.to_owned(), help: help.to_owned(), unit: MetricUnit::None, kind, samples: Vec::new() }
}

fn histogram(name: &str, help: &str) -> MetricFamily {
    MetricFamily { unit: MetricUnit::Seconds, ..family(name, help, MetricKind::Histogram) }
}

fn gauge(name: &str, help: &str, value: u64) -> MetricFamily {
    one((name, help), (MetricUnit::None, MetricKind::Gauge), value)
}

/// A family of one number without labels.
fn one((name, help): (&str, &str), (unit, kind): (MetricUnit, MetricKind), value: u64) -> MetricFamily {
    MetricFamily { unit, samples: vec![sample(&[], MetricValue::Number(value))], ..family(name, help, kind) }
}

fn sample(labels: &[(&str, &str)], value: MetricValue) -> MetricSample {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    MetricSample { labels: labels.collect(), value }
}
