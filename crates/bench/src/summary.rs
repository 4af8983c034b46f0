//! From turns to figures: medians over the rounds, and how each system compares with the floor and with Node-RED.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::OTHERS;
use crate::measure::{LOAD, Measured, Point, Sample, is_own_part};
use crate::page::{Page, PageKind};
use crate::system::SystemKind;
use crate::target::{self, Verdict};
use crate::workload::Workload;

/// Everything the bench says, as it stands in the JSON file.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Logical processors, shared by the system, the page server and the load generator.
    pub cores: usize,
    /// Whether this was a quick look, whose figures are rough.
    pub quick: bool,
    /// Turns each system had at each point.
    pub rounds: usize,
    /// Length of a turn in seconds.
    pub window_seconds: f64,
    /// Version of each system that took part.
    pub systems: BTreeMap<&'static str, String>,
    /// Why the others did not.
    pub absent: BTreeMap<&'static str, String>,
    /// The pages that are scraped.
    pub pages: Vec<PageFacts>,
    /// The figures.
    pub points: Vec<Figures>,
    /// Wake-ups of idle systems.
    pub idle: Vec<IdleFigures>,
    /// The targets and whether they are met.
    pub targets: Vec<Verdict>,
}

/// What one has to know about a page to judge a ratio.
#[derive(Debug, Clone, Serialize)]
pub struct PageFacts {
    /// Path on the page server.
    pub path: &'static str,
    /// Size in bytes.
    pub bytes: usize,
    /// Where the last heading ends that a limit of five asks for, in bytes.
    pub needed_bytes: usize,
    /// How many `h1` the page has.
    pub h1: usize,
    /// How many `h2` the page has.
    pub h2: usize,
}

/// The figures of one system at one workload and concurrency; medians over the turns unless it says otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The workload.
    pub workload: Workload,
    /// Connections.
    pub concurrency: usize,
    /// The system.
    pub system: SystemKind,
    /// Right answers per second.
    pub requests_per_second: f64,
    /// The slowest turn.
    pub requests_per_second_min: f64,
    /// The fastest turn.
    pub requests_per_second_max: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// Longest of all turns in milliseconds.
    pub max_ms: f64,
    /// CPU seconds of the whole system per 1,000 requests.
    pub cpu_seconds_per_1000: f64,
    /// The same for each process, the page server and the load generator too.
    pub cpu_seconds_per_1000_by_part: BTreeMap<String, f64>,
    /// CPU seconds per second of the load generator, which has one thread: near 1, it is what limits the system.
    pub load_cores: f64,
    /// CPU seconds per second of everything that has nothing to do with the bench.
    pub other_cores: f64,
    /// Resident memory of the whole system after the last turn in bytes.
    pub rss_bytes: u64,
    /// The same for each process.
    pub rss_bytes_by_part: BTreeMap<String, u64>,
    /// Most memory each process had since its start, in bytes.
    pub peak_bytes_by_part: BTreeMap<String, u64>,
    /// Requests per second ÷ those of the floor.
    pub ratio_to_floor: Option<f64>,
    /// Requests per second ÷ those of Node-RED.
    pub ratio_to_node_red: Option<f64>,
    /// What went wrong; figures with faults are not to be trusted.
    pub faults: Vec<String>,
}

/// Wake-ups of a part of an idle system.
#[derive(Debug, Clone, Serialize)]
pub struct IdleFigures {
    /// The system.
    pub system: SystemKind,
    /// Its part.
    pub part: String,
    /// Voluntary context switches of all its threads per second.
    pub wakeups_per_second: f64,
}

impl PageFacts {
    fn of(kind: PageKind) -> Self {
        let Page { html, h1, h2, needed_bytes } = Page::generate(kind);
        Self { path: kind.path(), bytes: html.len(), needed_bytes, h1: h1.len(), h2: h2.len() }
    }
}

impl Summary {
    /// Fills `points`, `idle`, `absent`, `pages` and `targets` in from what was measured.
    pub fn fill(&mut self, measured: &Measured) {
        self.pages = PageKind::ALL.into_iter().map(PageFacts::of).collect();
        self.points = measured.points.iter().map(Figures::of).collect();
        let rates: Vec<_> = self.points.iter().map(|f| (f.workload, f.concurrency, f.system, f.rate())).collect();
        let rate_of = |figures: &Figures, system| {
            let same =
                |(w, c, s, _): &&(_, _, _, _)| *w == figures.workload && *c == figures.concurrency && *s == system;
            rates.iter().find(same).and_then(|(_, _, _, rate)| *rate)
        };
        for figures in &mut self.points {
            let ratio = |other: Option<f64>| figures.rate().zip(other).map(|(own, other)| own / other);
            let to_floor = ratio(rate_of(figures, SystemKind::Floor));
            let to_node_red = ratio(rate_of(figures, SystemKind::NodeRed));
            (figures.ratio_to_floor, figures.ratio_to_node_red) = (to_floor, to_node_red);
        }
        let idle = |idle: &crate::measure::Idle| IdleFigures {
            system: idle.system,
            part: idle.part.clone(),
            wakeups_per_second: idle.wakeups_per_second,
        };
        self.idle = measured.idle.iter().map(idle).collect();
        self.absent.extend(measured.absent.iter().map(|(system, why)| (system.name(), why.clone())));
        self.targets = target::judge(&self.points, &self.idle);
    }

    /// Whether the floor and Runlet answered rightly all the time; what the peers could not do is told, no more.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.points.iter().all(|figures| figures.faults.is_empty() || figures.system.is_peer())
    }
}

impl Figures {
    fn of(point: &Point) -> Self {
        let over = |figure: &dyn Fn(&Sample) -> f64| median(point.samples.iter().map(figure).collect());
        let rate = |sample: &Sample| count(sample.outcome.requests) / sample.outcome.seconds;
        let rates = || point.samples.iter().map(rate);
        let last = point.samples.last();
        let parts: Vec<String> =
            last.map(|sample| sample.outcome.cpu_seconds.keys().cloned().collect()).unwrap_or_default();
        let cpu_of = |part: &str| {
            over(&|sample| {
                let seconds = sample.outcome.cpu_seconds.get(part).copied().unwrap_or(0.0);
                seconds * 1000.0 / count(sample.outcome.requests.max(1))
            })
        };
        let cores_of = |part: &str| {
            over(&|sample| sample.outcome.cpu_seconds.get(part).copied().unwrap_or(0.0) / sample.outcome.seconds)
        };
        let memory = last.map(|sample| sample.memory.clone()).unwrap_or_default();
        let by_part: BTreeMap<String, f64> = parts.into_iter().map(|part| (part.clone(), cpu_of(&part))).collect();
        let own = by_part.iter().filter(|(part, _)| is_own_part(part));
        Self {
            workload: point.workload,
            concurrency: point.concurrency,
            system: point.system,
            requests_per_second: over(&rate),
            requests_per_second_min: rates().fold(f64::INFINITY, f64::min).min(over(&rate)),
            requests_per_second_max: rates().fold(0.0, f64::max),
            p50_ms: over(&|sample| sample.outcome.p50_ms),
            p99_ms: over(&|sample| sample.outcome.p99_ms),
            max_ms: point.samples.iter().map(|sample| sample.outcome.max_ms).fold(0.0, f64::max),
            cpu_seconds_per_1000: own.map(|(_, seconds)| seconds).sum(),
            cpu_seconds_per_1000_by_part: by_part,
            load_cores: cores_of(LOAD),
            other_cores: cores_of(OTHERS),
            rss_bytes: memory.values().map(|memory| memory.rss_bytes).sum(),
            rss_bytes_by_part: memory.iter().map(|(part, memory)| (part.clone(), memory.rss_bytes)).collect(),
            peak_bytes_by_part: memory.iter().map(|(part, memory)| (part.clone(), memory.peak_bytes)).collect(),
            ratio_to_floor: None,
            ratio_to_node_red: None,
            faults: point.faults.clone(),
        }
    }

    /// Requests per second, if there are figures to be compared.
    fn rate(&self) -> Option<f64> {
        (self.faults.is_empty() && self.requests_per_second > 0.0).then_some(self.requests_per_second)
    }
}

/// The middle value, the mean of the two middle ones for an even number, zero for none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

fn count(requests: u64) -> f64 {
    f64::from(u32::try_from(requests).unwrap_or(u32::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::load::Outcome;
    use crate::measure::PAGES;
    use crate::proc::Memory;

    use super::*;

    /// A point whose turns made so many requests in one second each.
    pub(crate) fn point(workload: Workload, system: SystemKind, requests: &[u64], rss_bytes: u64) -> Point {
        let sample = |requests: &u64| Sample {
            outcome: Outcome {
                requests: *requests,
                seconds: 1.0,
                p50_ms: 1.0,
                p99_ms: 2.0,
                max_ms: 3.0,
                failures: 0,
                first_failure: None,
                cpu_seconds: BTreeMap::from([
                    ("own".to_owned(), 0.5),
                    (PAGES.to_owned(), 9.0),
                    (LOAD.to_owned(), 0.95),
                ]),
            },
            memory: BTreeMap::from([("own".to_owned(), Memory { rss_bytes, peak_bytes: rss_bytes })]),
        };
        Point { workload, concurrency: 16, system, samples: requests.iter().map(sample).collect(), faults: Vec::new() }
    }

    /// A summary of some points.
    pub(crate) fn summary(points: Vec<Point>) -> Summary {
        let mut summary = Summary {
            cores: 2,
            quick: true,
            rounds: 3,
            window_seconds: 1.0,
            systems: BTreeMap::new(),
            absent: BTreeMap::new(),
            pages: Vec::new(),
            points: Vec::new(),
            idle: Vec::new(),
            targets: Vec::new(),
        };
        summary.fill(&Measured { points, ..Measured::default() });
        summary
    }

    #[test]
    fn medians_and_ratios_are_those_of_the_turns() {
        let summary = summary(vec![
            point(Workload::Hello, SystemKind::Floor, &[1000, 100, 900], 1),
            point(Workload::Hello, SystemKind::Runlet, &[450, 440, 10_000], 1),
            point(Workload::Hello, SystemKind::NodeRed, &[90], 1),
            point(Workload::Scrape, SystemKind::Runlet, &[7], 1),
        ]);
        let runlet = &summary.points[1];
        assert!((runlet.requests_per_second - 450.0).abs() < 1e-9);
        assert!(runlet.ratio_to_floor.is_some_and(|ratio| (ratio - 0.5).abs() < 1e-9));
        assert!(runlet.ratio_to_node_red.is_some_and(|ratio| (ratio - 5.0).abs() < 1e-9));
        assert!((runlet.cpu_seconds_per_1000 - 0.5 * 1000.0 / 450.0).abs() < 1e-9, "the page server is not the system");
        assert_eq!(summary.points[3].ratio_to_floor, None);
    }

    #[test]
    fn a_point_with_faults_is_compared_with_nothing() {
        let mut floor = point(Workload::Hello, SystemKind::Floor, &[], 1);
        floor.faults.push("refused".to_owned());
        let summary = summary(vec![floor, point(Workload::Hello, SystemKind::Runlet, &[1], 1)]);
        assert_eq!(summary.points[1].ratio_to_floor, None);
        assert!(!summary.is_clean());
    }
}
