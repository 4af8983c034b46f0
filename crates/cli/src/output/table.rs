//! Tables without borders, for eyes and for `awk`.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement};
use runlet_proto::control::{RunSummary, SupervisorStatus, WorkflowSummary};
use runlet_proto::ids::RunId;
use runlet_proto::state::RunState;

use super::time::{age, cpu_time, elapsed, memory, now_unix_ms};
use super::{colours_on_stdout, one_line};

/// `runlet ps`.
pub(crate) fn runs(runs: &[RunSummary], headers: bool) -> String {
    let now = now_unix_ms();
    let mut table = Table::new(
        &["RUN", "STATE", "LANE", "PID", "PRI", "CPU", "RSS", "AGE", "WORKFLOW", "BLOCK", "DETAIL"],
        headers,
    );
    for run in runs {
        table.row(vec![
            Cell::new(short_id(run.id)),
            Cell::new(run.state).fg(colour(run.state)),
            Cell::new(run.lane),
            Cell::new(or_dash(run.pid)),
            Cell::new(run.priority),
            Cell::new(or_dash(run.cpu_us.map(cpu_time))),
            Cell::new(or_dash(run.resident_bytes.map(memory))),
            Cell::new(age(run.created_at_ms, now)),
            Cell::new(one_line(&run.workflow)),
            Cell::new(or_dash(run.block.as_deref().map(one_line))),
            Cell::new(detail(run)),
        ]);
    }
    table.finish()
}

/// The end of an id, which is its random part: short enough for a line, long enough to be the run's alone. Every command
/// takes it for the whole.
pub(crate) fn short_id(run: RunId) -> String {
    let id = run.to_string();
    id.rsplit('-').next().unwrap_or(&id).to_owned()
}

/// What a live run is BLOCKED on and in which attempt it is, if not in the first, or why it ended.
pub(crate) fn detail(run: &RunSummary) -> String {
    let again = (run.attempt > 1 && !run.state.is_terminal()).then(|| format!("attempt {}", run.attempt));
    let why = run.blocked_on.as_deref().or(run.error.as_deref()).map(one_line);
    or_dash(again.into_iter().chain(why).reduce(|again, why| format!("{again}: {why}")))
}

/// What is not there is a dash, so that columns stay columns.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `runlet workflows`.
pub(crate) fn workflows(workflows: &[WorkflowSummary], headers: bool) -> String {
    let now = now_unix_ms();
    let mut table = Table::new(&["WORKFLOW", "VERSION", "BLOCKS", "PRI", "LIVE", "AGE", "HOOKS"], headers);
    for workflow in workflows {
        let hooks = if workflow.hooks.is_empty() { "-".to_owned() } else { workflow.hooks.join("  ") };
        table.row(vec![
            Cell::new(&workflow.name),
            Cell::new(short(&workflow.version)),
            Cell::new(workflow.blocks),
            Cell::new(workflow.priority),
            Cell::new(workflow.live_runs),
            Cell::new(age(workflow.deployed_at_ms, now)),
            Cell::new(hooks),
        ]);
    }
    table.finish()
}

/// `runlet status`: a line a fact.
pub(crate) fn status(status: &SupervisorStatus, socket: &str) -> String {
    let [completed, failed, stopped] = status.ended_runs;
    let [ready, running, blocked, paused] = status.live_by_state;
    let up = now_unix_ms().saturating_sub(status.started_at_ms).saturating_mul(1_000);
    let mut table = Table::new(&[], false);
    for (name, value) in [
        ("state", if status.shutting_down { "shutting down" } else { "accepting runs" }.to_owned()),
        ("socket", socket.to_owned()),
        ("process", status.pid.to_string()),
        ("release", status.release.clone()),
        ("up", elapsed(up)),
        ("workflows", status.workflows.to_string()),
        (
            "live runs",
            format!("{} ({ready} ready, {running} running, {blocked} blocked, {paused} paused)", status.live_runs),
        ),
        ("slots", format!("{} of {} taken", status.slots_taken, status.slots)),
        (
            "heavy memory",
            format!("{} of {} allowed", memory(status.heavy_memory_bytes), memory(status.heavy_memory_bytes_max)),
        ),
        ("shared memory", one_line(&status.shared_memory)),
        ("completed", completed.to_string()),
        ("failed", failed.to_string()),
        ("stopped", stopped.to_string()),
    ] {
        table.row(vec![Cell::new(name), Cell::new(value)]);
    }
    table.finish()
}

/// `runlet doctor`: a line a fact, and what is to be said of it.
pub(crate) fn facts(rows: &[[String; 3]]) -> String {
    let mut table = Table::new(&[], false);
    for row in rows {
        table.row(row.iter().map(Cell::new).collect());
    }
    table.finish()
}

/// The first twelve digits of a version: enough to tell two by eye.
pub(crate) fn short(version: &str) -> &str {
    version.get(..12).unwrap_or(version)
}

fn colour(state: RunState) -> Color {
    match state {
        RunState::Ready | RunState::Running => Color::Green,
        RunState::Blocked | RunState::Paused => Color::Yellow,
        RunState::Completed => Color::Reset,
        RunState::Failed => Color::Red,
        RunState::Stopped => Color::Magenta,
    }
}

/// A table without borders.
pub(crate) struct Table {
    table: comfy_table::Table,
}

impl Table {
    pub(crate) fn new(names: &[&str], headers: bool) -> Self {
        let mut table = comfy_table::Table::new();
        // Never cut or wrapped: a terminal wraps by itself, and a script must find a row on one line.
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if colours_on_stdout() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if headers && !names.is_empty() {
            table.set_header(names.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        }
        Self { table }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.table.add_row(cells);
    }

    pub(crate) fn finish(mut self) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        trimmed(&self.table.trim_fmt())
    }
}

/// The names of columns are padded inside their colours, where [`comfy_table::Table::trim_fmt`] finds nothing to trim: one
/// long last cell would make the headline wrap.
fn trimmed(table: &str) -> String {
    const COLOURS_END: &str = "\u{1b}[0m";
    let line = |line: &str| match line.strip_suffix(COLOURS_END) {
        Some(styled) => format!("{}{COLOURS_END}", styled.trim_end()),
        None => line.to_owned(),
    };
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use runlet_proto::ids::Priority;
    use runlet_proto::state::Lane;

    use super::*;

    #[test]
    fn a_table_has_no_borders_and_one_line_a_run() {
        let run = RunSummary {
            id: RunId::from_u128(0x0193_2c07_1f3e_7abc_8def_0123_4567_89ab),
            workflow: "headlines".to_owned(),
            version: "f".repeat(64),
            state: RunState::Blocked,
            blocked_on: Some("fetch localhost:4000".to_owned()),
            lane: Lane::Light,
            priority: Priority::DEFAULT,
            block: Some("page".to_owned()),
            attempt: 1,
            created_at_ms: now_unix_ms(),
            updated_at_ms: now_unix_ms(),
            error: None,
            pid: Some(1_234_567),
            cpu_us: Some(59_900_000),
            resident_bytes: Some(120 << 20),
        };
        let printed = runs(std::slice::from_ref(&run), true);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("RUN "));
        assert!(lines[1].starts_with("0123456789ab  BLOCKED  light  1234567  5    59.9s  120M  0s   headlines  page"));
        assert!(lines.iter().all(|line| line.len() <= 100), "{printed}");
        assert!(lines[1].ends_with("fetch localhost:4000"));
        assert_eq!(runs(std::slice::from_ref(&run), false).lines().count(), 1);
        let again = RunSummary { attempt: 3, ..run };
        assert!(runs(&[again], false).ends_with("  attempt 3: fetch localhost:4000"));
    }

    #[test]
    fn a_styled_headline_is_no_longer_than_its_names() {
        assert_eq!(trimmed("\u{1b}[1mDETAIL      \u{1b}[0m\nx"), "\u{1b}[1mDETAIL\u{1b}[0m\nx");
    }

    #[test]
    fn nothing_is_an_empty_table() {
        assert_eq!(runs(&[], false), "");
        assert_eq!(workflows(&[], true).lines().count(), 1);
    }
}
