//! Random workflows and kernels: small, so that everything competes with everything.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use runlet_kernel::{Config, OnError, Plan, PlanBlock, Retry, Span};
use runlet_proto::ids::{BlockIndex, Priority};
use runlet_proto::state::Lane;

use crate::rng::Rng;

/// An ageing so long that nothing ages.
pub(crate) const NEVER: Span = Span(u64::MAX);

pub(crate) fn config(rng: &mut Rng) -> Config {
    Config {
        slots: NonZeroUsize::MIN.saturating_add(usize::try_from(rng.below(3)).expect("small")),
        heavy_memory_bytes: rng.between(2, 6),
        parked_attempts_max: NonZeroUsize::MIN.saturating_add(usize::try_from(rng.below(3)).expect("small")),
        live_runs_max: usize::try_from(rng.between(4, 24)).expect("small"),
        quantum: Span(rng.between(5, 40)),
        ageing: if rng.percent(50) { NEVER } else { Span(rng.between(20, 400)) },
    }
}

pub(crate) fn plans(rng: &mut Rng) -> Vec<Arc<Plan>> {
    (0..rng.between(1, 4)).map(|at| Arc::new(plan(rng, &format!("w{at}")))).collect()
}

pub(crate) fn priority(rng: &mut Rng) -> Priority {
    let level = if rng.percent(50) { 5 } else { rng.below(10) };
    Priority::new(u8::try_from(level).expect("small")).expect("below 10")
}

fn plan(rng: &mut Rng, workflow: &str) -> Plan {
    let blocks = rng.between(1, 6);
    let chain = rng.percent(40);
    Plan {
        workflow: workflow.into(),
        version: "1".into(),
        priority: priority(rng),
        concurrency: rng
            .percent(35)
            .then(|| NonZeroU32::MIN.saturating_add(u32::try_from(rng.below(3)).expect("small"))),
        timeout: rng.percent(25).then(|| Span(rng.between(50, 2_000))),
        // Sometimes more than the whole budget.
        heavy_memory_bytes: rng.between(1, 4),
        blocks: (0..u16::try_from(blocks).expect("small")).map(|at| block(rng, at, chain)).collect(),
    }
}

fn block(rng: &mut Rng, at: u16, chain: bool) -> PlanBlock {
    let trigger = rng.percent(if at == 0 { 40 } else { 3 });
    let dependencies = match (chain, at) {
        (_, 0) => vec![],
        (true, at) => vec![BlockIndex(at - 1)],
        (false, at) => (0..at).filter(|_| rng.percent(40)).map(BlockIndex).collect(),
    };
    PlanBlock {
        id: format!("b{at}").into(),
        trigger,
        brief: rng.percent(30),
        lane: if rng.percent(35) { Lane::Heavy } else { Lane::Light },
        gated: rng.percent(20),
        dependencies,
        timeout: rng.percent(25).then(|| Span(rng.between(10, 300))),
        retry: if rng.percent(50) { retry(rng) } else { Retry::NEVER },
        on_error: if rng.percent(30) { OnError::Skip } else { OnError::Fail },
    }
}

fn retry(rng: &mut Rng) -> Retry {
    Retry {
        attempts: u32::try_from(rng.between(1, 4)).expect("small"),
        delay: Span(rng.below(60)),
        backoff: 1.0 + (rng.below(20) as f64) / 10.0,
        delay_max: Span(rng.between(20, 200)),
        jitter: rng.percent(50),
    }
}
