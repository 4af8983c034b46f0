//! The summary as tables for a person.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::summary::{Figures, Summary};
use crate::target::megabytes;

/// From here on the load generator's one thread is what limits a system.
const LOAD_CORES_MAX: f64 = 0.9;

/// What other programs may use without disturbing.
const OTHER_CORES_MAX: f64 = 0.1;

/// All of it: the pages, a table for each workload, idle wake-ups, targets.
#[must_use]
pub fn summary(summary: &Summary) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!(
        "{} cores shared by system, page server and load generator; {} rounds of {} s in turns, medians{}",
        summary.cores,
        summary.rounds,
        summary.window_seconds,
        if summary.quick { "; a quick look: figures are rough" } else { "" }
    ));
    for page in &summary.pages {
        line(format!(
            "page {}: {} bytes, {} h1, {} h2; the fifth of each is complete at byte {} ({:.1} %)",
            page.path,
            page.bytes,
            page.h1,
            page.h2,
            page.needed_bytes,
            percent(page.needed_bytes, page.bytes)
        ));
    }
    for (system, why) in &summary.absent {
        line(format!("without {system}: {why}"));
    }
    for points in summary.points.chunk_by(|a, b| a.workload == b.workload) {
        line(format!("\n{}\n{}", points[0].workload.name(), table(points)));
    }
    for figures in &summary.points {
        for fault in &figures.faults {
            let (workload, system) = (figures.workload.name(), figures.system.name());
            line(format!("FAULT {workload} × {}, {system}: {fault}", figures.concurrency));
        }
    }
    if !summary.idle.is_empty() {
        let parts = summary.idle.iter().map(|idle| {
            let name = if idle.part == idle.system.name() { String::new() } else { format!("{} ", idle.system.name()) };
            format!("{name}{} {:.1}", idle.part, idle.wakeups_per_second)
        });
        line(format!("\nwake-ups per second while idle: {}", parts.collect::<Vec<_>>().join(", ")));
    }
    for caution in cautions(&summary.points) {
        line(caution);
    }
    line("\ntargets".to_owned());
    for verdict in &summary.targets {
        let met = match verdict.met {
            Some(true) => "met    ",
            Some(false) => "NOT met",
            None => "-      ",
        };
        line(format!("{met}  {}: {}", verdict.target, verdict.found));
    }
    text
}

fn table(points: &[Figures]) -> String {
    let mut table = Table::new();
    // Wide as it is, cut nowhere: it is read from files too.
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "conn.",
        "system",
        "req/s",
        "min–max",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU s/1000",
        "RSS MB",
        "× floor",
        "× node-red",
    ]);
    for figures in points {
        let mut row = vec![figures.concurrency.to_string(), figures.system.name().to_owned()];
        if figures.requests_per_second > 0.0 {
            row.extend([
                rate(figures.requests_per_second),
                format!("{}–{}", rate(figures.requests_per_second_min), rate(figures.requests_per_second_max)),
                format!("{:.3}", figures.p50_ms),
                format!("{:.3}", figures.p99_ms),
                format!("{:.1}", figures.max_ms),
                format!("{:.3}", figures.cpu_seconds_per_1000),
                format!("{:.1}", megabytes(figures.rss_bytes)),
                ratio(figures.ratio_to_floor),
                ratio(figures.ratio_to_node_red),
            ]);
        } else {
            row.push("failed".to_owned());
        }
        table.add_row(row);
        for row in part_rows(figures) {
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// A row for each part of a system that has several.
fn part_rows(figures: &Figures) -> Vec<Vec<String>> {
    let parts: Vec<(&String, &u64)> = figures.rss_bytes_by_part.iter().collect();
    if parts.len() < 2 {
        return Vec::new();
    }
    let row = |(part, rss): (&String, &u64)| {
        let mut row = vec![String::new(); 11];
        row[1] = format!("· {part}");
        let cpu = figures.cpu_seconds_per_1000_by_part.get(part);
        row[7] = cpu.map(|seconds| format!("{seconds:.3}")).unwrap_or_default();
        row[8] = format!("{:.1}", megabytes(*rss));
        row
    };
    parts.into_iter().map(row).collect()
}

/// What a reader must know before trusting a figure.
fn cautions(points: &[Figures]) -> Vec<String> {
    let mut cautions = Vec::new();
    for figures in points.iter().filter(|figures| figures.load_cores >= LOAD_CORES_MAX) {
        cautions.push(format!(
            "caution: {} × {}, {}: the load generator was busy {:.0} % of the time, the system could do more",
            figures.workload.name(),
            figures.concurrency,
            figures.system.name(),
            figures.load_cores * 100.0
        ));
    }
    let disturbed = points.iter().map(|figures| figures.other_cores).fold(0.0, f64::max);
    if disturbed >= OTHER_CORES_MAX {
        cautions
            .push(format!("caution: other programs used up to {disturbed:.2} cores meanwhile; figures are disturbed"));
    }
    cautions
}

fn rate(requests_per_second: f64) -> String {
    if requests_per_second < 100.0 { format!("{requests_per_second:.1}") } else { format!("{requests_per_second:.0}") }
}

fn ratio(ratio: Option<f64>) -> String {
    let decimals = |ratio: f64| if ratio < 0.1 { 4 } else { 2 };
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.*}", decimals(ratio)))
}

fn percent(part: usize, whole: usize) -> f64 {
    let float = |bytes: usize| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    100.0 * float(part) / float(whole)
}

#[cfg(test)]
mod tests {
    use crate::summary::tests::{point, summary};
    use crate::system::SystemKind;
    use crate::workload::Workload;

    #[test]
    fn everything_there_is_to_know_is_printed() {
        let mut failed = point(Workload::Scrape, SystemKind::N8n, &[], 1);
        failed.faults.push("status 404: no such webhook".to_owned());
        let text = super::summary(&summary(vec![
            point(Workload::Hello, SystemKind::Floor, &[1000], 5_000_000),
            point(Workload::Hello, SystemKind::Runlet, &[400], 30_000_000),
            failed,
        ]));
        for expected in [
            "page /page-16k: 16384 bytes",
            "0.40",
            "30.0",
            "failed",
            "FAULT scrape × 16, n8n: status 404",
            "caution: hello × 16, runlet: the load generator was busy 95 %",
            "met      hello ≥ 0.3 × floor: 0.40 at 16",
            "-        scrape ≥ 40 × node-red: not measured",
        ] {
            assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
        }
    }
}
