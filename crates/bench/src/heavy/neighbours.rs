//! What a light hook notices of programs that loop and of one that takes all the memory it may; how fast such a program is
//! gone when it is stopped; and what Node-RED makes of one that loops.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio::time;

use super::figures::{Neighbours, NodeRed, Spread};
use super::throughput::load;
use super::{HeavyError, Lane, milliseconds, start_hogs};
use crate::exchange;
use crate::histogram::Histogram;
use crate::limits::KILL_LOOK_INTERVAL;
use crate::load::{self as http_load, Expected, Plan};
use crate::system::{Engine, SystemKind, start_node_red};
use crate::workload::HELLO_BODY;

const HOGS: usize = 4;

/// Connections of the light load.
const CONNECTIONS: usize = 16;

pub(super) async fn measure(lane: &Lane<'_>) -> Result<(Neighbours, Spread), HeavyError> {
    let engine = Arc::new(lane.engine().await?);
    eprintln!("hello, undisturbed");
    let alone = load(lane, &engine, "/hook/hello", HELLO_BODY.as_bytes(), CONNECTIONS).await?;
    let hogs = start_hogs(&engine, HOGS).await?;
    let leaking = leak_on_and_on(Arc::clone(&engine));
    eprintln!("hello, beside {HOGS} programs that loop and one that leaks");
    let beside = load(lane, &engine, "/hook/hello", HELLO_BODY.as_bytes(), CONNECTIONS).await?;
    leaking.abort();
    for (run, _) in &hogs {
        engine.tell(&["stop", run]).await?;
    }
    if let Some(failure) = alone.first_failure.or(beside.first_failure) {
        return Err(HeavyError::Unexpected(failure));
    }
    let neighbours = Neighbours {
        alone_p50_ms: alone.p50_ms,
        alone_p99_ms: alone.p99_ms,
        beside_p50_ms: beside.p50_ms,
        beside_p99_ms: beside.p99_ms,
        node_red: node_red(lane).await?,
    };
    Ok((neighbours, kills(lane, &engine).await?))
}

/// Keeps one leaking program alive: when one has had its memory, the next begins.
fn leak_on_and_on(engine: Arc<Engine>) -> AbortHandle {
    let leaking = async move {
        loop {
            // That it fails is what it is for.
            let _ = engine.tell(&["run", "--quiet", "leak"]).await;
        }
    };
    tokio::spawn(leaking).abort_handle()
}

/// From the start of `runlet stop` to the moment at which there is no such process any more, not even one that has ended
/// and was not waited for.
async fn kills(lane: &Lane<'_>, engine: &Engine) -> Result<Spread, HeavyError> {
    eprintln!("{} programs that loop, stopped", lane.schedule.runs);
    let mut gone = Histogram::default();
    for _ in 0..lane.schedule.runs {
        let hogs = start_hogs(engine, 1).await?;
        let Some((run, pid)) = hogs.first() else { continue };
        let began = Instant::now();
        let process = format!("/proc/{pid}");
        let is_gone = async {
            while Path::new(&process).exists() {
                time::sleep(KILL_LOOK_INTERVAL).await;
            }
            began.elapsed()
        };
        let stop = ["stop", run.as_str()];
        let (told, elapsed) = tokio::join!(engine.tell(&stop), is_gone);
        told?;
        gone.record(elapsed);
    }
    Ok((&gone).into())
}

/// The same in Node-RED, where a function that loops is alone in the process; `None` when it is not installed.
async fn node_red(lane: &Lane<'_>) -> Result<Option<NodeRed>, HeavyError> {
    if SystemKind::NodeRed.version(lane.ground).is_err() {
        return Ok(None);
    }
    eprintln!("Node-RED: hello, undisturbed and beside one function that loops");
    let running = start_node_red(lane.ground, "heavy/node-red.json").await?;
    let plan = |window: Duration| Plan {
        address: running.address,
        path: "/hello".to_owned(),
        expected: Expected::Body(HELLO_BODY.as_bytes().to_vec()),
        connections: CONNECTIONS,
        warmup: lane.schedule.warmup,
        window,
        requests_max: None,
        watched: Vec::new(),
    };
    let alone = http_load::run(plan(lane.schedule.window)).await?;
    let address = running.address;
    // It never answers; the request is on its way when this has been polled for a moment.
    let hog = tokio::spawn(async move { exchange::get(address, "/hog").await.is_ok() });
    time::sleep(lane.schedule.warmup).await;
    let beside = http_load::run(plan(lane.schedule.window)).await?;
    hog.abort();
    Ok(Some(NodeRed {
        alone_p99_ms: alone.p99_ms,
        beside_p99_ms: (beside.requests > 0).then_some(beside.p99_ms),
        waited_ms: milliseconds(lane.schedule.window),
    }))
}
