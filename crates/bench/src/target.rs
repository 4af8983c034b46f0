//! The targets Runlet has set itself, and whether a run of the bench met them.

use std::fmt;

use serde::Serialize;

use crate::summary::{Figures, IdleFigures};
use crate::system::SystemKind;
use crate::workload::Workload;

/// Ratios of requests per second that are to be reached: workload, compared with, at least.
const RATIOS: [(Workload, SystemKind, f64); 5] = [
    (Workload::Hello, SystemKind::Floor, 0.30),
    (Workload::Hello, SystemKind::NodeRed, 10.0),
    (Workload::Scrape, SystemKind::Floor, 2.5),
    (Workload::Scrape, SystemKind::NodeRed, 40.0),
    (Workload::ScrapeAll, SystemKind::Floor, 0.8),
];

/// Resident memory of supervisor and gateway together after any load, at most.
const RSS_BYTES_MAX: u64 = 40_000_000;

/// Wake-ups per second of both idle processes together; fewer than this are timers that were due.
const IDLE_WAKEUPS_MAX: f64 = 1.0;

/// One target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What is wanted.
    pub target: String,
    /// What was found, in words.
    pub found: String,
    /// Whether it is met; `None` if it was not measured.
    pub met: Option<bool>,
}

/// A line for a person.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = if self.met == Some(true) { "met    " } else { "NOT met" };
        write!(f, "{met}  {}: {}", self.target, self.found)
    }
}

/// Holds the figures against every target. A ratio is met when it is at each concurrency that was measured.
#[must_use]
pub fn judge(points: &[Figures], idle: &[IdleFigures]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> =
        RATIOS.iter().map(|(workload, other, wanted)| judge_ratio(points, *workload, *other, *wanted)).collect();
    verdicts.push(judge_memory(points));
    verdicts.push(judge_idle(idle));
    verdicts
}

fn judge_ratio(points: &[Figures], workload: Workload, other: SystemKind, wanted: f64) -> Verdict {
    let target = format!("{} ≥ {wanted} × {}", workload.name(), other.name());
    let mut found = Vec::new();
    let mut met = None;
    for figures in of_runlet(points).filter(|figures| figures.workload == workload) {
        let ratio = match other {
            SystemKind::Floor => figures.ratio_to_floor,
            SystemKind::NodeRed => figures.ratio_to_node_red,
            SystemKind::Runlet | SystemKind::N8n => None,
        };
        match ratio {
            Some(ratio) => {
                let here = ratio >= wanted;
                met = Some(met.unwrap_or(true) && here);
                let mark = if here { "" } else { " (not met)" };
                found.push(format!("{ratio:.2} at {}{mark}", figures.concurrency));
            }
            // A fault of Runlet's own is not "not measured".
            None if !figures.faults.is_empty() => {
                met = Some(false);
                found.push(format!("faults at {}", figures.concurrency));
            }
            None => {}
        }
    }
    verdict(target, &found, met)
}

fn judge_memory(points: &[Figures]) -> Verdict {
    let target = format!("gateway + supervisor ≤ {} MB RSS after the load", RSS_BYTES_MAX / 1_000_000);
    let worst = of_runlet(points).filter(|figures| figures.rss_bytes > 0).max_by_key(|figures| figures.rss_bytes);
    let found: Vec<String> = worst
        .iter()
        .map(|f| format!("{:.1} MB at most, after {} × {}", megabytes(f.rss_bytes), f.workload.name(), f.concurrency))
        .collect();
    verdict(target, &found, worst.map(|figures| figures.rss_bytes <= RSS_BYTES_MAX))
}

fn judge_idle(idle: &[IdleFigures]) -> Verdict {
    let target = "idle: no wake-ups beyond timers that are due".to_owned();
    let parts: Vec<&IdleFigures> = idle.iter().filter(|figures| figures.system == SystemKind::Runlet).collect();
    let found: Vec<String> =
        parts.iter().map(|figures| format!("{} {:.1}/s", figures.part, figures.wakeups_per_second)).collect();
    let sum: f64 = parts.iter().map(|figures| figures.wakeups_per_second).sum();
    verdict(target, &found, (!parts.is_empty()).then_some(sum < IDLE_WAKEUPS_MAX))
}

fn of_runlet(points: &[Figures]) -> impl Iterator<Item = &Figures> {
    points.iter().filter(|figures| figures.system == SystemKind::Runlet)
}

/// Puts a verdict together.
pub(crate) fn verdict(target: String, found: &[String], met: Option<bool>) -> Verdict {
    let found = if found.is_empty() { "not measured".to_owned() } else { found.join(", ") };
    Verdict { target, found, met }
}

/// Bytes as megabytes (10⁶), as the target counts them.
#[must_use]
pub fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}

#[cfg(test)]
mod tests {
    use crate::summary::tests::{point, summary};

    use super::*;

    #[test]
    fn met_not_met_and_not_measured_are_told_apart() {
        let summary = summary(vec![
            point(Workload::Hello, SystemKind::Floor, &[1000], 1),
            point(Workload::Hello, SystemKind::Runlet, &[310], 41_000_000),
            point(Workload::Hello, SystemKind::NodeRed, &[100], 1),
        ]);
        let met: Vec<Option<bool>> = summary.targets.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [Some(true), Some(false), None, None, None, Some(false), None]);
        assert_eq!(summary.targets[1].found, "3.10 at 16 (not met)");
        assert_eq!(summary.targets[5].found, "41.0 MB at most, after hello × 16");
    }

    #[test]
    fn a_fault_of_runlet_is_a_target_missed() {
        let mut runlet = point(Workload::Hello, SystemKind::Runlet, &[], 1);
        runlet.faults.push("status 500".to_owned());
        let summary = summary(vec![point(Workload::Hello, SystemKind::Floor, &[1000], 1), runlet]);
        assert_eq!(summary.targets[0].met, Some(false));
    }
}
