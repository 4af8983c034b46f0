//! From dispatch to the end of a program that does nothing: handing a run to a worker, the worker's reading of the
//! definition, the program, and the way back, by the supervisor's own clock.

use std::time::Duration;

use super::figures::Handover;
use super::{HeavyError, Lane, ended, start};
use crate::histogram::Histogram;
use crate::system::Engine;

pub(super) async fn measure(lane: &Lane<'_>) -> Result<Handover, HeavyError> {
    let mut cold = Histogram::default();
    for number in 1..=lane.schedule.cold {
        eprintln!("hand-over: first run of supervisor {number} of {}", lane.schedule.cold);
        let engine = lane.engine().await?;
        cold.record(one(&engine).await?);
    }
    let engine = lane.engine().await?;
    let _warms_up = one(&engine).await?;
    eprintln!("hand-over: {} runs to warm workers", lane.schedule.runs);
    let mut warm = Histogram::default();
    for _ in 0..lane.schedule.runs {
        warm.record(one(&engine).await?);
    }
    Ok(Handover { warm: (&warm).into(), cold: (&cold).into() })
}

/// One run, alone; the time its block took.
async fn one(engine: &Engine) -> Result<Duration, HeavyError> {
    let run = start(engine, &["short"]).await?;
    let told = ended(engine, &run).await?;
    let elapsed_ms = told["blocks"][0]["elapsedMs"].as_f64().filter(|_| told["state"] == "COMPLETED");
    let elapsed_ms = elapsed_ms.ok_or_else(|| HeavyError::Unexpected(format!("a short run failed: {told}")))?;
    Ok(Duration::from_secs_f64(elapsed_ms / 1e3))
}
