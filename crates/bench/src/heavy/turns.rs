//! Programs that never end, of one priority and more than there are cores: what share of the CPU each gets, and how long a
//! run of a higher priority waits among them.

use std::time::Duration;

use tokio::time;

use super::figures::{Start, Turns};
use super::{HeavyError, Lane, ended, start, start_hogs};
use crate::histogram::Histogram;
use crate::proc;
use crate::system::Engine;

const HOGS: usize = 6;

pub(super) async fn measure(lane: &Lane<'_>) -> Result<(Turns, Start), HeavyError> {
    let engine = lane.engine().await?;
    let hogs = start_hogs(&engine, HOGS).await?;
    time::sleep(lane.schedule.warmup).await;
    eprintln!("{HOGS} programs that never end, for {:.0} s", lane.schedule.hogs.as_secs_f64());
    let before = ticks(&hogs)?;
    time::sleep(lane.schedule.hogs).await;
    let after = ticks(&hogs)?;
    let shares: Vec<f64> = before.iter().zip(&after).map(|(b, a)| proc::seconds(a.saturating_sub(*b))).collect();
    let start = start_delays(lane, &engine).await?;
    Ok((Turns::of(shares, lane.schedule.hogs), start))
}

fn ticks(hogs: &[(String, i32)]) -> Result<Vec<u64>, HeavyError> {
    let of = |(run, pid): &(String, i32)| {
        proc::cpu_ticks_of_process(*pid).ok_or_else(|| HeavyError::Unexpected(format!("the process of {run} is gone")))
    };
    hogs.iter().map(of).collect()
}

/// How long short runs of the highest priority wait for their turn, and until they have ended.
async fn start_delays(lane: &Lane<'_>, engine: &Engine) -> Result<Start, HeavyError> {
    eprintln!("{} short runs of the highest priority among them", lane.schedule.runs);
    let (mut dispatched, mut done) = (Histogram::default(), Histogram::default());
    for _ in 0..lane.schedule.runs {
        let run = start(engine, &["short", "--priority", "9"]).await?;
        let told = ended(engine, &run).await?;
        let at = |time: &serde_json::Value| time.as_str().and_then(day_ms);
        let block = &told["blocks"][0];
        let times = (at(&told["createdAt"]), at(&block["startedAt"]), at(&block["endedAt"]));
        let (Some(created), Some(started), Some(ended)) = times else {
            return Err(HeavyError::Unexpected(format!("a short run failed: {told}")));
        };
        let since = |moment: u64| Duration::from_millis((moment + DAY_MS - created) % DAY_MS);
        dispatched.record(since(started));
        done.record(since(ended));
    }
    Ok(Start { dispatched: (&dispatched).into(), done: (&done).into() })
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Milliseconds since midnight of an RFC 3339 time in UTC, `2026-01-02T03:04:05.678Z`: all that a difference needs.
fn day_ms(text: &str) -> Option<u64> {
    let clock = text.split_once('T')?.1.strip_suffix('Z')?;
    let (clock, ms) = clock.split_once('.')?;
    let parts: Vec<u64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = parts[..] else { return None };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read() {
        assert_eq!(day_ms("2026-01-02T03:04:05.678Z"), Some(11_045_678));
        assert_eq!(day_ms("2026-01-02T03:04Z"), None);
        assert_eq!(day_ms("yesterday"), None);
    }
}
