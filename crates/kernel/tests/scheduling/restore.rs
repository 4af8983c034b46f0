//! What becomes of runs that an earlier kernel began.

use std::sync::Arc;

use runlet_kernel::{BlockInput, Event, Plan, Progress, Restored, RestoredBlock, Span, Time};
use runlet_proto::failure::Failure;
use runlet_proto::ids::{Attempt, BlockIndex, RunId};
use runlet_proto::state::{BlockStatus, RunState};

use crate::driver::{Did, Driver, block, plan};

fn chain() -> Arc<Plan> {
    plan("chain", vec![block("one", &[]), block("two", &[0]), block("three", &[1])]).into()
}

fn known(block: u16, progress: Progress<String>) -> (BlockIndex, RestoredBlock<String>) {
    (BlockIndex(block), RestoredBlock { attempt: Attempt(2), retries: 1, times: None, progress })
}

fn done(block: u16) -> (BlockIndex, RestoredBlock<String>) {
    known(block, Progress::Completed(format!("kept {block}")))
}

fn restore(driver: &mut Driver, plan: &Arc<Plan>, blocks: Vec<(BlockIndex, RestoredBlock<String>)>) -> RunId {
    driver.restore(plan, Restored { created_at: Time(1), paused: false, blocks })
}

#[test]
fn what_was_done_stays_done_and_the_rest_goes_on() {
    let mut driver = Driver::new(1);
    driver.now = Time(50);
    let run = restore(&mut driver, &chain(), vec![done(0)]);
    assert_eq!(driver.did(), [Did::Dispatch(run, 1)]);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(1)), Some(BlockInput::Single(&"kept 0".to_owned())));
    driver.complete(run, 1);
    driver.complete(run, 2);
    let ended = driver.kernel.forget(run).expect("it ended");
    assert_eq!((ended.state, ended.created_at, ended.blocks[0].attempt), (RunState::Completed, Time(1), Attempt(2)));
}

#[test]
fn one_whose_last_step_was_written_down_and_its_end_was_not_ends_now() {
    let mut driver = Driver::new(1);
    let run = restore(&mut driver, &chain(), vec![done(2), done(1), done(0)]);
    assert_eq!(driver.did(), [Did::Ended(run, RunState::Completed)], "in whatever order they are told");
    let unknown = known(1, Progress::Failed(Failure::workflow("outcome-unknown", "the supervisor died")));
    let run = restore(&mut driver, &chain(), vec![done(0), unknown]);
    assert_eq!(driver.did(), [Did::Ended(run, RunState::Failed)]);
    let error = driver.kernel.run(run).and_then(|run| run.error.clone()).expect("why it FAILED");
    assert_eq!(
        (error.block.as_deref(), error.attempt, &*error.failure.code),
        (Some("two"), Attempt(2), "outcome-unknown")
    );
}

#[test]
fn what_cannot_be_so_is_executed() {
    let mut driver = Driver::new(4);
    // Done before what it depends on, there twice, and of no block of this plan.
    let run = restore(&mut driver, &chain(), vec![done(2), done(0), known(0, Progress::Again), done(7)]);
    assert_eq!(driver.did(), [Did::Dispatch(run, 1)]);
    driver.complete(run, 1);
    assert_eq!(driver.did(), [Did::Dispatch(run, 2)]);
}

#[test]
fn timers_go_on_and_attempts_are_counted_on() {
    let mut driver = Driver::new(1);
    driver.now = Time(50);
    let failure = Failure::upstream("connect", "connection refused");
    let run = restore(&mut driver, &chain(), vec![known(0, Progress::Backoff(failure, Time(80)))]);
    assert_eq!(driver.did(), []);
    assert_eq!(driver.kernel.run(run).map(|run| run.state), Some(RunState::Blocked));
    assert_eq!(driver.pass(), Span(30));
    assert_eq!(driver.did(), [Did::Dispatch(run, 0)]);
    assert_eq!(driver.kernel.run(run).map(|run| run.blocks[0].attempt), Some(Attempt(3)));
    let late: Arc<Plan> = Plan { timeout: Some(Span(60)), ..plan("late", vec![block("one", &[])]) }.into();
    let run = driver.restore(&late, Restored { created_at: Time(0), paused: false, blocks: vec![] });
    driver.did();
    driver.pass();
    assert_eq!(driver.kernel.run(run).map(|run| run.state), Some(RunState::Failed), "its time has passed already");
}

#[test]
fn one_that_was_held_is_held_and_a_skipped_block_is_transparent() {
    let mut driver = Driver::new(1);
    let blocks = vec![known(0, Progress::Skipped(None))];
    let run = driver.restore(&chain(), Restored { created_at: Time(0), paused: true, blocks });
    assert_eq!((driver.did(), driver.kernel.run(run).map(|run| run.state)), (vec![], Some(RunState::Paused)));
    driver.event(Event::Resume { run }).expect("it is held");
    assert_eq!(driver.did(), [Did::Dispatch(run, 1)]);
    assert_eq!(driver.kernel.block_input(run, BlockIndex(1)), Some(BlockInput::Single(&"in".to_owned())));
    assert_eq!(driver.kernel.run(run).map(|run| run.blocks[0].status), Some(BlockStatus::Skipped));
}
