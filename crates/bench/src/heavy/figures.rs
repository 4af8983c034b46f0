//! The figures of the heavy lane, their targets, and both as text.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::milliseconds;
use crate::histogram::Histogram;
use crate::target::{Verdict, verdict};

/// A run to a warm worker, from its submission until its first block begins, p50.
const WARM_MS_MAX: f64 = 0.3;

/// The first heavy run of a supervisor, p50.
const COLD_MS_MAX: f64 = 2.0;

/// Heavy runs per second, hook to response, at the best number of connections.
const REQUESTS_PER_SECOND_MIN: f64 = 400.0;

/// Least share of the CPU ÷ greatest, among equals.
const SHARE_MIN: f64 = 0.85;

/// Two quanta: how long a run of a higher priority may wait for its turn.
const START_MS_MAX: f64 = 40.0;

/// A light hook's p99 beside hogs ÷ its undisturbed p99.
const SLOWER_MAX: f64 = 5.0;

/// From a kill to the process being gone, p99.
const KILL_MS_MAX: f64 = 50.0;

/// Everything that was measured of the heavy lane, as it stands in the JSON file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Dispatch to the end of a program that does nothing.
    pub handover: Handover,
    /// Hook → program → response.
    pub throughput: Vec<Throughput>,
    /// Hogs of one priority.
    pub turns: Turns,
    /// Short runs of the highest priority among the hogs.
    pub start: Start,
    /// A light hook beside hogs.
    pub neighbours: Neighbours,
    /// From the start of `runlet stop` to the process being gone.
    pub kill: Spread,
    /// The targets and whether they are met.
    pub targets: Vec<Verdict>,
}

/// How a figure that is taken many times is spread, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Spread {
    /// How often it was taken.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

impl From<&Histogram> for Spread {
    fn from(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            p50_ms: milliseconds(histogram.quantile(0.5)),
            p99_ms: milliseconds(histogram.quantile(0.99)),
            max_ms: milliseconds(histogram.max()),
        }
    }
}

/// Handing a run over: from its submission until its worker begins with the first block, and from the dispatch of a block
/// that does nothing to its end.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Handover {
    /// To a worker that waits.
    pub warm: Spread,
    /// The first run of a supervisor: the zygote is started for it, and the worker forked.
    pub cold: Spread,
    /// To a worker that waits, to the end of the block.
    pub warm_done: Spread,
    /// The first run of a supervisor, to the end of the block.
    pub cold_done: Spread,
}

/// The load at one number of connections.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Throughput {
    /// Connections.
    pub connections: usize,
    /// Right answers per second.
    pub requests_per_second: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
}

/// How hogs shared the CPU.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Turns {
    /// How long they were watched, in seconds.
    pub seconds: f64,
    /// CPU seconds of each.
    pub cpu_seconds: Vec<f64>,
    /// Least ÷ greatest.
    pub least_to_greatest: f64,
}

impl Turns {
    pub(super) fn of(cpu_seconds: Vec<f64>, watched: Duration) -> Self {
        let least = cpu_seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = cpu_seconds.iter().copied().fold(0.0, f64::max);
        let least_to_greatest = if greatest > 0.0 { least / greatest } else { 0.0 };
        Self { seconds: watched.as_secs_f64(), cpu_seconds, least_to_greatest }
    }
}

/// Short runs of the highest priority, from their creation.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Start {
    /// To the dispatch of their block; whole milliseconds.
    pub dispatched: Spread,
    /// To its end; whole milliseconds.
    pub done: Spread,
}

/// A light hook, alone and beside programs that loop and one that leaks.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Neighbours {
    /// Median, undisturbed.
    pub alone_p50_ms: f64,
    /// 99th percentile, undisturbed.
    pub alone_p99_ms: f64,
    /// Median beside them.
    pub beside_p50_ms: f64,
    /// 99th percentile beside them.
    pub beside_p99_ms: f64,
    /// Node-RED beside one function that loops, when it is installed.
    pub node_red: Option<NodeRed>,
}

/// Node-RED's hello.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NodeRed {
    /// 99th percentile, undisturbed.
    pub alone_p99_ms: f64,
    /// 99th percentile beside a function that loops; `None` when nothing was answered.
    pub beside_p99_ms: Option<f64>,
    /// How long an answer was waited for at least.
    pub waited_ms: f64,
}

impl Figures {
    /// Fills `targets` in.
    pub(super) fn judge(&mut self) {
        let at_most =
            |target: String, found: f64, most: f64| verdict(target, &[format!("{found:.2} ms")], Some(found <= most));
        let best = self.throughput.iter().map(|point| point.requests_per_second).fold(0.0, f64::max);
        let slower = self.neighbours.beside_p99_ms / self.neighbours.alone_p99_ms.max(f64::MIN_POSITIVE);
        self.targets = vec![
            at_most(
                format!("warm worker, submit → first block, p50 ≤ {WARM_MS_MAX} ms"),
                self.handover.warm.p50_ms,
                WARM_MS_MAX,
            ),
            at_most(
                format!("first run of a supervisor, submit → first block, p50 ≤ {COLD_MS_MAX} ms"),
                self.handover.cold.p50_ms,
                COLD_MS_MAX,
            ),
            verdict(
                format!("hook → program → response ≥ {REQUESTS_PER_SECOND_MIN}/s"),
                &[format!("{best:.0}/s")],
                Some(best >= REQUESTS_PER_SECOND_MIN),
            ),
            verdict(
                format!("hogs: least share ÷ greatest ≥ {SHARE_MIN}"),
                &[format!("{:.3}", self.turns.least_to_greatest)],
                Some(self.turns.least_to_greatest >= SHARE_MIN),
            ),
            at_most(
                format!("high priority among hogs, dispatched ≤ {START_MS_MAX} ms, p99"),
                self.start.dispatched.p99_ms,
                START_MS_MAX,
            ),
            verdict(
                format!("hello beside hogs and a leak, p99 ≤ {SLOWER_MAX} × undisturbed"),
                &[format!("{slower:.2} ×")],
                Some(slower <= SLOWER_MAX),
            ),
            at_most(format!("stop → process gone, p99 ≤ {KILL_MS_MAX} ms"), self.kill.p99_ms, KILL_MS_MAX),
        ];
    }

    /// All of it for a person.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let spread = |it: &Spread| {
            format!("p50 {:.3} ms, p99 {:.3} ms, longest {:.3} ms of {}", it.p50_ms, it.p99_ms, it.max_ms, it.count)
        };
        let mut lines = vec![
            format!("to a warm worker, submit → first block:  {}", spread(&self.handover.warm)),
            format!("                  dispatch → block done: {}", spread(&self.handover.warm_done)),
            format!("first run of all, submit → first block:  {}", spread(&self.handover.cold)),
            format!("                  dispatch → block done: {}", spread(&self.handover.cold_done)),
        ];
        lines.extend(self.throughput.iter().map(|it| {
            format!(
                "hook → program → response × {:<3} {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
                it.connections, it.requests_per_second, it.p50_ms, it.p99_ms
            )
        }));
        let shares: Vec<String> = self.turns.cpu_seconds.iter().map(|share| format!("{share:.2}")).collect();
        lines.push(format!(
            "hogs over {:.0} s: CPU seconds {}; least ÷ greatest {:.3}",
            self.turns.seconds,
            shares.join(" "),
            self.turns.least_to_greatest
        ));
        lines.push(format!("high priority among them, dispatched:    {}", spread(&self.start.dispatched)));
        lines.push(format!("high priority among them, done:          {}", spread(&self.start.done)));
        let near = &self.neighbours;
        lines.push(format!(
            "hello alone p50 {:.2} ms, p99 {:.2} ms; beside four hogs and a leak p50 {:.2} ms, p99 {:.2} ms",
            near.alone_p50_ms, near.alone_p99_ms, near.beside_p50_ms, near.beside_p99_ms
        ));
        lines.push(match near.node_red {
            None => "Node-RED is not installed; scripts/bench-peers installs it".to_owned(),
            Some(NodeRed { alone_p99_ms, beside_p99_ms: Some(beside), .. }) => {
                format!("Node-RED's hello alone p99 {alone_p99_ms:.2} ms; beside a function that loops {beside:.2} ms")
            }
            Some(NodeRed { alone_p99_ms, beside_p99_ms: None, waited_ms }) => format!(
                "Node-RED's hello alone p99 {alone_p99_ms:.2} ms; beside a function that loops no answer in {waited_ms:.0} ms"
            ),
        });
        lines.push(format!("stop → process gone:                     {}", spread(&self.kill)));
        lines.push("\ntargets".to_owned());
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        for verdict in &self.targets {
            let _ = writeln!(text, "{verdict}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_compared_and_targets_judged() {
        let mut figures = Figures {
            turns: Turns::of(vec![3.0, 4.0, 3.5], Duration::from_secs(10)),
            neighbours: Neighbours { alone_p99_ms: 1.0, beside_p99_ms: 4.0, ..Neighbours::default() },
            ..Figures::default()
        };
        figures.judge();
        let met: Vec<Option<bool>> = figures.targets.iter().map(|verdict| verdict.met).collect();
        let expected = [true, true, false, false, true, true, true];
        assert_eq!(met, expected.map(Some));
        assert!(figures.render().contains("least ÷ greatest 0.750"));
    }
}
