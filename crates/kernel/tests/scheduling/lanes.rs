//! Attempts that begin in the light lane and turn out to belong in the heavy one.

use std::sync::Arc;

use runlet_kernel::{Event, Plan, PlanBlock, Rejected, Span};
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::{Lane, RunState};

use crate::driver::{Did, Driver, heavy, one, plan};

fn moved(driver: &mut Driver, run: RunId, block: u16) -> Result<(), Rejected> {
    let attempt = driver.kernel.run(run).expect("it lives").blocks[usize::from(block)].attempt;
    driver.kernel.handle(driver.now, Event::Moved { run, block: BlockIndex(block), attempt })
}

fn with_memory(name: &str, bytes: u64) -> Arc<Plan> {
    Arc::new(Plan { heavy_memory_bytes: bytes, ..(*one(name)).clone() })
}

#[test]
fn a_moved_attempt_begins_again_as_the_same_one_in_the_heavy_lane() {
    let mut driver = Driver::new(1);
    let run = driver.submit(&with_memory("page", 60));
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)]);
    moved(&mut driver, run, 0).expect("it can begin again");
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)]);
    let control = driver.kernel.run(run).expect("it lives");
    assert_eq!(
        (control.lane, control.blocks[0].lane(), control.blocks[0].attempt),
        (Lane::Heavy, Lane::Heavy, Attempt(1))
    );
    assert!(moved(&mut driver, run, 0).is_err(), "it is there already");
    driver.complete(run, 0);
    assert_eq!(driver.did(), [Did::Ended(run, RunState::Completed)]);
    assert_eq!(driver.kernel.counts().heavy_memory_used, 0);
}

#[test]
fn a_moved_attempt_waits_for_memory_and_its_slot_is_free_meanwhile() {
    let mut driver = Driver::new(1);
    let first = driver.submit(&with_memory("first", 60));
    let second = driver.submit(&with_memory("second", 60));
    let small = driver.submit(&one("small"));
    assert_eq!(driver.did(), [Did::Dispatch(first, 0)]);
    driver.now = driver.now + Span(1);
    moved(&mut driver, first, 0).expect("it can begin again");
    assert_eq!(driver.did(), [Did::Dispatch(second, 0)], "it goes behind those who have not begun");
    moved(&mut driver, second, 0).expect("it can begin again");
    assert_eq!(driver.did(), [Did::Dispatch(small, 0)]);
    driver.complete(small, 0);
    assert_eq!(driver.did(), [Did::Ended(small, RunState::Completed), Did::Dispatch(first, 0)]);
    driver.complete(first, 0);
    assert_eq!(driver.did(), [Did::Ended(first, RunState::Completed), Did::Dispatch(second, 0)]);
}

#[test]
fn what_has_called_and_what_never_fits_stays_where_it_is() {
    let mut driver = Driver::new(2);
    let called = driver.submit(&one("called"));
    driver.wait(called, 0);
    driver.wake(called, 0);
    let _ = driver.did();
    assert!(matches!(moved(&mut driver, called, 0), Err(Rejected::Illegal { .. })));
    let huge = driver.submit(&with_memory("huge", 101));
    assert_eq!(driver.did(), [Did::Dispatch(huge, 0)]);
    assert!(matches!(moved(&mut driver, huge, 0), Err(Rejected::OverMemoryBudget { .. })));
    driver.complete(huge, 0);
    assert_eq!(driver.did(), [Did::Ended(huge, RunState::Completed)]);
}

#[test]
fn a_gated_attempt_waits_without_memory_and_is_moved_to_it() {
    let mut driver = Driver::new(1);
    let gated = PlanBlock { gated: true, ..heavy("a", &[]) };
    let plan = |name: &str, block: PlanBlock| Arc::new(Plan { heavy_memory_bytes: 60, ..plan(name, vec![block]) });
    let waits = driver.submit(&plan("waits", gated));
    assert_eq!(driver.did(), [Did::Dispatch(waits, 0)]);
    let lane = |driver: &Driver| driver.kernel.run(waits).expect("it lives").blocks[0].lane();
    assert_eq!((lane(&driver), driver.kernel.counts().heavy_memory_used), (Lane::Light, 0));
    driver.wait(waits, 0);
    let awaited = driver.submit(&plan("awaited", heavy("a", &[])));
    assert_eq!(driver.did(), [Did::Dispatch(awaited, 0)]);
    driver.wake(waits, 0);
    driver.wait(awaited, 0);
    assert_eq!(driver.did(), [Did::Continue(waits, 0)]);
    moved(&mut driver, waits, 0).expect("it has only waited for its gate");
    assert_eq!(driver.did(), [], "there is no memory for both");
    driver.wake(awaited, 0);
    driver.complete(awaited, 0);
    let after = [Did::Continue(awaited, 0), Did::Ended(awaited, RunState::Completed), Did::Dispatch(waits, 0)];
    assert_eq!(driver.did(), after);
    assert_eq!(lane(&driver), Lane::Heavy);
    assert!(moved(&mut driver, waits, 0).is_err(), "it is there already");
    driver.complete(waits, 0);
    assert_eq!(driver.did(), [Did::Ended(waits, RunState::Completed)]);
}
