//! One look at the supervisor, and what has changed since the look before.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use runlet_proto::control::{Reply, Request, RunFilter, RunSummary, SupervisorStatus};
use runlet_proto::ids::RunId;

use crate::client::Client;
use crate::command::CommandError;
use crate::limits::TOP_DELAY_MIN;
use crate::output::one_line;
use crate::output::table::{detail, or_dash, short_id};
use crate::output::time::{age, cpu_time, memory, now_unix_ms};

/// Names of the columns, in the order of [`View::cells`].
pub(super) const COLUMNS: [&str; 12] =
    ["RUN", "STATE", "LANE", "PID", "PRI", "%CPU", "CPU", "RSS", "AGE", "WORKFLOW", "BLOCK", "DETAIL"];

/// What the look before has left.
#[derive(Debug, Default)]
pub(super) struct Before {
    taken: Option<Instant>,
    cpu_us: HashMap<RunId, u64>,
    percent: HashMap<RunId, f64>,
}

/// What is to be shown.
#[derive(Debug)]
pub(super) struct View {
    pub(super) status: SupervisorStatus,
    /// The live runs, those that use most first.
    pub(super) rows: Vec<Row>,
    /// How many live runs there are; the newest of them are in `rows`.
    pub(super) total: u64,
    /// When, in milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
}

/// One run.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) run: RunSummary,
    /// CPU time it used since the look before, or on average since its beginning if there was none, in percent of one core.
    /// A look too soon after another, as behind a key, repeats what that one found.
    pub(super) cpu_percent: Option<f64>,
}

impl View {
    /// Looks, and leaves what the next look needs.
    ///
    /// # Errors
    /// [`CommandError`] of the connection.
    pub(super) fn take(client: &mut Client, before: &mut Before) -> Result<Self, CommandError> {
        let reply = client.call(Request::Status)?;
        let Reply::Status(status) = reply else { return Err(CommandError::unexpected(&reply)) };
        let reply = client.call(Request::Runs(RunFilter::default()))?;
        let Reply::Runs { runs, total } = reply else { return Err(CommandError::unexpected(&reply)) };
        Ok(Self::new(status, runs, total, before, Instant::now(), now_unix_ms()))
    }

    pub(super) fn new(
        status: SupervisorStatus,
        runs: Vec<RunSummary>,
        total: u64,
        before: &mut Before,
        taken: Instant,
        at_ms: u64,
    ) -> Self {
        let since = before.taken.map(|before| taken.saturating_duration_since(before));
        let too_soon = since.is_some_and(|since| since < TOP_DELAY_MIN);
        let used = runs.iter().filter_map(|run| Some((run.id, run.cpu_us?))).collect();
        let mut rows: Vec<Row> = runs
            .into_iter()
            .map(|run| {
                let repeated = before.percent.get(&run.id).copied().filter(|_| too_soon);
                let seen_before = since.zip(before.cpu_us.get(&run.id).copied());
                let cpu_percent = repeated.or_else(|| share(&run, seen_before, at_ms));
                Row { run, cpu_percent }
            })
            .collect();
        let key = |row: &Row| row.cpu_percent.map(|percent| (percent * 10.0) as u64);
        rows.sort_by_key(|row| Reverse((key(row), row.run.cpu_us, row.run.id)));
        if !too_soon {
            let percent = rows.iter().filter_map(|row| Some((row.run.id, row.cpu_percent?))).collect();
            *before = Before { taken: Some(taken), cpu_us: used, percent };
        }
        Self { status, rows, total, at_ms }
    }

    /// The first lines.
    pub(super) fn head(&self) -> [String; 3] {
        let status = &self.status;
        let [ready, running, blocked, paused] = status.live_by_state;
        let [completed, failed, stopped] = status.ended_runs;
        let workers = self.rows.iter().filter(|row| row.run.pid.is_some());
        let (count, resident) = workers.fold((0, 0_u64), |(count, resident), row| {
            (count + 1, resident.saturating_add(row.run.resident_bytes.unwrap_or(0)))
        });
        let up = age(status.started_at_ms, self.at_ms);
        [
            format!(
                "runlet {}, up {up}: {} live runs, {ready} ready, {running} running, {blocked} blocked, {paused} paused",
                status.release, status.live_runs
            ),
            format!(
                "{} of {} slots taken; {count} workers, {} resident; {} of {} of memory allowed to heavy runs",
                status.slots_taken,
                status.slots,
                memory(resident),
                memory(status.heavy_memory_bytes),
                memory(status.heavy_memory_bytes_max)
            ),
            format!("ended: {completed} completed, {failed} failed, {stopped} stopped"),
        ]
    }

    /// The cells of a run, harmless for a terminal.
    pub(super) fn cells(&self, row: &Row) -> [String; COLUMNS.len()] {
        let run = &row.run;
        [
            short_id(run.id),
            run.state.to_string(),
            run.lane.to_string(),
            or_dash(run.pid),
            run.priority.to_string(),
            or_dash(row.cpu_percent.map(|percent| format!("{percent:.1}"))),
            or_dash(run.cpu_us.map(cpu_time)),
            or_dash(run.resident_bytes.map(memory)),
            age(run.created_at_ms, self.at_ms),
            one_line(&run.workflow),
            or_dash(run.block.as_deref().map(one_line)),
            detail(run),
        ]
    }
}

/// CPU time used per time passed, in percent.
fn share(run: &RunSummary, before: Option<(Duration, u64)>, at_ms: u64) -> Option<f64> {
    let cpu_us = run.cpu_us?;
    let (used_us, passed) = match before {
        Some((passed, cpu_before)) => (cpu_us.saturating_sub(cpu_before), passed),
        None => (cpu_us, Duration::from_millis(at_ms.saturating_sub(run.created_at_ms))),
    };
    let passed_us = passed.as_micros() as f64;
    Some(if passed_us > 0.0 { used_us as f64 * 100.0 / passed_us } else { 0.0 })
}

#[cfg(test)]
pub(super) mod tests {
    use runlet_proto::ids::Priority;
    use runlet_proto::state::{Lane, RunState};

    use super::*;

    pub(in crate::command::top) fn status() -> SupervisorStatus {
        SupervisorStatus {
            pid: 1,
            release: "0.1.0".to_owned(),
            started_at_ms: 0,
            workflows: 1,
            live_runs: 2,
            ended_runs: [7, 8, 9],
            shutting_down: false,
            live_by_state: [0, 1, 1, 0],
            slots: 2,
            slots_taken: 1,
            heavy_memory_bytes: 256 << 20,
            heavy_memory_bytes_max: 4 << 30,
            shared_memory: "embedded".to_owned(),
        }
    }

    pub(in crate::command::top) fn run(number: u8, cpu_us: Option<u64>) -> RunSummary {
        RunSummary {
            id: RunId::from_u128(number.into()),
            workflow: "loop".to_owned(),
            version: String::new(),
            state: RunState::Running,
            blocked_on: None,
            lane: Lane::Heavy,
            priority: Priority::DEFAULT,
            block: Some("compute".to_owned()),
            attempt: 1,
            created_at_ms: 1_000,
            updated_at_ms: 1_000,
            error: None,
            pid: cpu_us.map(|_| 42),
            cpu_us,
            resident_bytes: cpu_us.map(|_| 8 << 20),
        }
    }

    pub(in crate::command::top) fn view(runs: Vec<RunSummary>, before: &mut Before, taken: Instant) -> View {
        let total = runs.len() as u64;
        View::new(status(), runs, total, before, taken, 3_000)
    }

    #[test]
    fn a_share_is_of_the_time_since_the_look_before_and_at_first_of_the_whole_life() {
        let (mut before, start) = (Before::default(), Instant::now());
        let first = view(vec![run(1, Some(500_000)), run(2, None)], &mut before, start);
        assert_eq!(first.rows[0].cpu_percent, Some(25.0));
        assert_eq!(first.rows[1].cpu_percent, None);
        let later = start + Duration::from_secs(2);
        let runs = vec![run(1, Some(900_000)), run(2, None), run(3, Some(2_000_000))];
        let second = view(runs, &mut before, later);
        let seen: Vec<_> = second.rows.iter().map(|row| (row.run.id.as_u128(), row.cpu_percent)).collect();
        assert_eq!(seen, [(3, Some(100.0)), (1, Some(20.0)), (2, None)]);
        let soon = view(vec![run(1, Some(900_000))], &mut before, later + Duration::from_millis(1));
        assert_eq!(soon.rows[0].cpu_percent, Some(20.0), "a look behind a key measures nothing");
        let next = view(vec![run(1, Some(1_400_000))], &mut before, later + Duration::from_secs(1));
        assert_eq!(next.rows[0].cpu_percent, Some(50.0));
    }

    #[test]
    fn the_head_counts_and_sums() {
        let seen = view(vec![run(1, Some(0)), run(2, None), run(3, Some(0))], &mut Before::default(), Instant::now());
        let [runs, resources, ended] = seen.head();
        assert!(runs.ends_with("2 live runs, 0 ready, 1 running, 1 blocked, 0 paused"), "{runs}");
        assert_eq!(
            resources,
            "1 of 2 slots taken; 2 workers, 16M resident; 256M of 4.0G of memory allowed to heavy runs"
        );
        assert_eq!(ended, "ended: 7 completed, 8 failed, 9 stopped");
    }
}
