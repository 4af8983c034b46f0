//! From the submission of a run until its worker begins with the first block, by the trace: handing the run over, the
//! worker's waking up, its reading of the definition. And from dispatch to the end of a program that does nothing, with the
//! program and the way back.

use std::time::Duration;

use super::figures::Handover;
use super::{HeavyError, Lane, ended, json, start};
use crate::histogram::Histogram;
use crate::system::Engine;

pub(super) async fn measure(lane: &Lane<'_>) -> Result<Handover, HeavyError> {
    let (mut cold, mut cold_done) = (Histogram::default(), Histogram::default());
    for number in 1..=lane.schedule.cold {
        eprintln!("hand-over: first run of supervisor {number} of {}", lane.schedule.cold);
        let engine = lane.engine().await?;
        let (begun, done) = one(&engine).await?;
        cold.record(begun);
        cold_done.record(done);
    }
    let engine = lane.engine().await?;
    let _warms_up = one(&engine).await?;
    eprintln!("hand-over: {} runs to warm workers", lane.schedule.runs);
    let (mut warm, mut warm_done) = (Histogram::default(), Histogram::default());
    for _ in 0..lane.schedule.runs {
        let (begun, done) = one(&engine).await?;
        warm.record(begun);
        warm_done.record(done);
    }
    Ok(Handover {
        warm: (&warm).into(),
        cold: (&cold).into(),
        warm_done: (&warm_done).into(),
        cold_done: (&cold_done).into(),
    })
}

/// One run, alone: from its submission until its worker began, and how long its block took.
async fn one(engine: &Engine) -> Result<(Duration, Duration), HeavyError> {
    let run = start(engine, &["short"]).await?;
    let told = ended(engine, &run).await?;
    if told["state"] != "COMPLETED" {
        return Err(HeavyError::Unexpected(format!("a short run failed: {told}")));
    }
    let spans = json(engine, &["trace", &run]).await?;
    let ms = |what: &str| spans[0][what].as_f64();
    let times = ms("offsetMs").zip(ms("handoverMs")).zip(ms("elapsedMs"));
    let ((offset, handover), elapsed) =
        times.ok_or_else(|| HeavyError::Unexpected(format!("a short run has no trace: {spans}")))?;
    Ok((Duration::from_secs_f64((offset + handover) / 1e3), Duration::from_secs_f64(elapsed / 1e3)))
}
