//! Hook → jq program → response, at several numbers of connections.

use super::figures::Throughput;
use super::{HeavyError, Lane};
use crate::load::{self, Expected, Outcome, Plan};
use crate::system::Engine;

/// Connections of each point.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

const PATH: &str = "/hook/sum?n=20&n=22";
const ANSWER: &[u8] = br#"{"sum":42}"#;

pub(super) async fn measure(lane: &Lane<'_>) -> Result<Vec<Throughput>, HeavyError> {
    let engine = lane.engine().await?;
    let mut points = Vec::new();
    for connections in CONNECTIONS {
        eprintln!("hook, program, response: {connections} connections");
        let outcome = load(lane, &engine, PATH, ANSWER, connections).await?;
        if let Some(failure) = outcome.first_failure {
            return Err(HeavyError::Unexpected(format!("{} failures; the first: {failure}", outcome.failures)));
        }
        points.push(Throughput {
            connections,
            requests_per_second: f64::from(u32::try_from(outcome.requests).unwrap_or(u32::MAX)) / outcome.seconds,
            p50_ms: outcome.p50_ms,
            p99_ms: outcome.p99_ms,
        });
    }
    Ok(points)
}

/// Loads a hook for the window of the schedule.
pub(super) async fn load(
    lane: &Lane<'_>,
    engine: &Engine,
    path: &str,
    expected: &[u8],
    connections: usize,
) -> Result<Outcome, HeavyError> {
    let plan = Plan {
        address: engine.address,
        path: path.to_owned(),
        expected: Expected::Body(expected.to_vec()),
        connections,
        warmup: lane.schedule.warmup,
        window: lane.schedule.window,
        requests_max: None,
        watched: Vec::new(),
    };
    Ok(load::run(plan).await?)
}
